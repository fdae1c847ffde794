// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <string_view>

#include "client/subscription.h"
#include "shim/objects.h"
#include "shim/packed_format.h"

namespace gcs::shim {
namespace {

bool is_text(const Event& event) noexcept {
  return event.status != Status::kOk || event.kind == EventKind::kState ||
         event.kind == EventKind::kClientClosed || event.kind == EventKind::kLog ||
         event.kind == EventKind::kResync || event.kind == EventKind::kSubscriptionEnd;
}

bool has_entries(const Event& event) noexcept {
  return event.kind == EventKind::kKvKeys || event.kind == EventKind::kKvMultiGet;
}

// Cuts a text to `size` bytes, between two characters of UTF-8.
std::string_view cut_text(std::string_view text, std::size_t size) noexcept {
  if (text.size() <= size) return text;
  while (size > 0 && (static_cast<unsigned char>(text[size]) & 0xc0) == 0x80) --size;
  return text.substr(0, size);
}

std::uint8_t* put(std::uint8_t* at, std::string_view bytes) noexcept {
  if (!bytes.empty()) std::memcpy(at, bytes.data(), bytes.size());
  return at + bytes.size();
}

// A NUL would end it before its end.
std::uint8_t* put_text(std::uint8_t* at, std::string_view text) noexcept {
  std::uint8_t* end = put(at, text);
  std::replace(at, end, std::uint8_t{0}, static_cast<std::uint8_t>(' '));
  *end = 0;
  return end + 1;
}

std::uint8_t* put_size(std::uint8_t* at, std::size_t size) noexcept {
  const auto number = static_cast<std::uint32_t>(size);
  std::memcpy(at, &number, sizeof number);
  return at + sizeof number;
}

// The entries of `event` in packed form; `pairs` adds the values.
std::size_t entries_size(const Event& event, bool pairs) noexcept {
  std::size_t size = 0;
  kv::Entries entries(event);
  for (kv::Bytes key, value; entries.next(&key, &value);) {
    size += sizeof(std::uint32_t) + key.size();
    if (pairs) size += sizeof(std::uint32_t) + value.size();
  }
  return size;
}

void put_entries(std::uint8_t* at, const Event& event, bool pairs) noexcept {
  kv::Entries entries(event);
  for (kv::Bytes key, value; entries.next(&key, &value);) {
    at = put_size(at, key.size());
    if (pairs) at = put_size(at, value.size());
    at = std::copy(key.begin(), key.end(), at);
    if (pairs) at = std::copy(value.begin(), value.end(), at);
  }
}

}  // namespace

void EventPacker::pack(EventList& events, EventList& due) noexcept {
  while (Event* event = events.front()) {
    if (event->kind == EventKind::kRelease) {
      due.push_back(events.pop_front());
      continue;
    }
    if (count_ == slots_.size()) return;
    gcs_packed_event& slot = slots_[count_];
    slot = {event->id, 0,      static_cast<std::uint16_t>(event->kind), 0, event->number, used_,
            0,         nullptr};
    const std::size_t before = used_;
    const bool is_message = event->kind == EventKind::kMessage;
    const Bytes bytes = is_message ? pack_messages(events, &slot) : pack_bytes(*event, &slot);
    if (bytes == Bytes::kNoRoom) return;
    slot.size = used_ - before;
    if (is_message && bytes == Bytes::kPacked) {
      ++count_;
      continue;
    }
    // After the bytes: without memory for them the event turns into a failure.
    std::unique_ptr<Event> taken = events.pop_front();
    slot.status = c_status(taken->status);
    slot.flags = static_cast<std::uint16_t>(taken->flags);
    ++count_;
    if (bytes == Bytes::kBuffer) {
      slot.offset = 0;
      if (slot.buffer == nullptr) slot.buffer = buffer_to_c(std::move(taken));
      slot.size = gcs_buffer_size(slot.buffer);
    }
  }
}

EventPacker::Bytes EventPacker::pack_bytes(Event& event, gcs_packed_event* slot) noexcept {
  if (is_text(event)) return pack_text(event);
  if (has_entries(event)) return pack_entries(event, slot);
  const kv::Bytes body = event.body();
  if (body.size() > kLargestCopied) return Bytes::kBuffer;
  if (body.size() > left()) return Bytes::kNoRoom;
  if (!body.empty()) std::memcpy(room(), body.data(), body.size());
  used_ += body.size();
  return Bytes::kPacked;
}

// A run of one subscription's: where the key and the message of each end, and then their bytes.
// What is packed is taken from `events`.
EventPacker::Bytes EventPacker::pack_messages(EventList& events, gcs_packed_event* slot) noexcept {
  const Run run = measure_run(events);
  if (run.count == 0) {
    auto& message = static_cast<SubscriptionEvent&>(*events.front());
    if (message.size() + SubscriptionEvent::kItemHead <= kLargestCopied) return Bytes::kNoRoom;
    message.show_all();
    slot->number = 1;
    return Bytes::kBuffer;
  }
  std::uint8_t* head = room();
  std::uint8_t* const begin = head;
  std::uint8_t* at = head + run.count * SubscriptionEvent::kItemHead;
  for (std::size_t left = run.count; left > 0;) {
    auto& event = static_cast<SubscriptionEvent&>(*events.front());
    const std::size_t count = std::min(left, event.count());
    SubscriptionEvent::Items items(event);
    SubscriptionEvent::Item item;
    for (std::size_t i = 0; i < count && items.next(&item); ++i) {
      const std::span<const std::uint8_t> bytes = item.bytes.subspan(SubscriptionEvent::kItemHead);
      const auto offset = static_cast<std::size_t>(at - begin);
      head = put_size(head, offset + item.key_end - SubscriptionEvent::kItemHead);
      head = put_size(head, offset + bytes.size());
      at = std::copy(bytes.begin(), bytes.end(), at);
    }
    left -= count;
    if (count == event.count()) {
      events.pop_front();
    } else {
      event.drop(count);
    }
  }
  used_ += run.size;
  slot->number = static_cast<std::int64_t>(run.count);
  return Bytes::kPacked;
}

// How many of the messages at the front go together, and their bytes when they are packed.
EventPacker::Run EventPacker::measure_run(const EventList& events) const noexcept {
  const std::size_t most = std::min(left(), kLargestRun);
  Run run;
  const std::uint64_t id = events.front()->id;
  for (const Event* event = events.front();
       event != nullptr && event->kind == EventKind::kMessage && event->id == id;
       event = EventList::after(*event)) {
    SubscriptionEvent::Items items(static_cast<const SubscriptionEvent&>(*event));
    for (SubscriptionEvent::Item item; items.next(&item);) {
      if (item.bytes.size() > std::min(most - run.size, kLargestCopied)) return run;
      run.size += item.bytes.size();
      ++run.count;
    }
  }
  return run;
}

EventPacker::Bytes EventPacker::pack_text(const Event& event) noexcept {
  constexpr std::size_t kLongestName = 1024;
  constexpr std::size_t kShortestMessage = 1024;
  constexpr std::size_t kTerminators = 3;
  const std::string_view method = cut_text(event.method(), kLongestName);
  const std::string_view address = cut_text(event.address(), kLongestName);
  // Half of a serialized message is of no use: details go as a whole or not at all.
  std::string_view details = event.details();
  std::size_t budget = kLargestCopied - kTerminators - method.size() - address.size();
  if (details.size() > budget - kShortestMessage) details = {};
  budget -= details.size();
  const std::string_view message = cut_text(event.message(), budget);
  const std::size_t size =
      method.size() + address.size() + message.size() + details.size() + kTerminators;
  if (size > left()) return Bytes::kNoRoom;
  put(put_text(put_text(put_text(room(), method), address), message), details);
  used_ += size;
  return Bytes::kPacked;
}

EventPacker::Bytes EventPacker::pack_entries(Event& event, gcs_packed_event* slot) noexcept {
  const bool pairs = event.kind == EventKind::kKvMultiGet;
  const std::size_t size = entries_size(event, pairs);
  if (size <= kLargestCopied) {
    if (size > left()) return Bytes::kNoRoom;
    put_entries(room(), event, pairs);
    used_ += size;
    return Bytes::kPacked;
  }
  try {
    std::string packed(size, '\0');
    put_entries(reinterpret_cast<std::uint8_t*>(packed.data()), event, pairs);
    slot->buffer = buffer_to_c(std::make_unique<TextBuffer>(std::move(packed)));
    return Bytes::kBuffer;
  } catch (const std::bad_alloc&) {
    event.status = Status::kNoMemory;
    event.flags = kFlagLocal | kFlagMaybeExecuted;
    event.number = 0;
    return pack_text(event);
  }
}

}  // namespace gcs::shim
