// SPDX-License-Identifier: Apache-2.0
//
// The messages of an event, one behind the other: of each its sequence id, its heading, and its
// bytes.
#include <algorithm>
#include <cstring>
#include <memory>
#include <new>

#include "client/subscription.h"

namespace gcs {

bool SubscriptionEvent::Items::next(Item* item) noexcept {
  if (left_ == 0) return false;
  --left_;
  std::uint32_t ends[2];
  std::memcpy(&item->sequence_id, rest_.data(), sizeof item->sequence_id);
  std::memcpy(ends, rest_.data() + sizeof item->sequence_id, sizeof ends);
  static_assert(sizeof ends == kItemHead);
  item->key_end = ends[0];
  item->bytes = rest_.subspan(sizeof item->sequence_id, ends[1]);
  rest_ = rest_.subspan(sizeof item->sequence_id + ends[1]);
  return true;
}

std::unique_ptr<SubscriptionEvent> SubscriptionEvent::make(std::span<const std::uint8_t> key,
                                                           std::span<const std::uint8_t> payload,
                                                           std::int64_t sequence_id) {
  auto event = std::make_unique<SubscriptionEvent>(EventKind::kMessage);
  event->reserve(kPrefix + key.size() + payload.size());
  event->put(key, payload, sequence_id);
  event->number = sequence_id;
  return event;
}

bool SubscriptionEvent::append(std::span<const std::uint8_t> key,
                               std::span<const std::uint8_t> payload,
                               std::int64_t sequence_id) noexcept {
  const std::size_t size = kPrefix + key.size() + payload.size();
  if (end_ > kLargestRun || size > kLargestRun - end_) return false;
  try {
    reserve(end_ + size);
  } catch (const std::bad_alloc&) {
    return false;
  }
  put(key, payload, sequence_id);
  return true;
}

// Several times as much each time, so that few bytes are copied again.
void SubscriptionEvent::reserve(std::size_t size) {
  if (size <= capacity_) return;
  const std::size_t capacity = count_ == 0 ? size : std::min(kLargestRun, std::max(size, 4 * end_));
  auto larger = std::make_unique_for_overwrite<std::uint8_t[]>(capacity);
  if (end_ > 0) std::memcpy(larger.get(), large_ ? large_.get() : inline_, end_);
  large_ = std::move(larger);
  capacity_ = capacity;
}

void SubscriptionEvent::put(std::span<const std::uint8_t> key,
                            std::span<const std::uint8_t> payload,
                            std::int64_t sequence_id) noexcept {
  std::uint8_t* to = (large_ ? large_.get() : inline_) + end_;
  const auto key_end = static_cast<std::uint32_t>(kItemHead + key.size());
  const std::uint32_t ends[] = {key_end, key_end + static_cast<std::uint32_t>(payload.size())};
  std::memcpy(to, &sequence_id, sizeof sequence_id);
  std::memcpy(to + sizeof sequence_id, ends, sizeof ends);
  to += kPrefix;
  if (!key.empty()) std::memcpy(to, key.data(), key.size());
  if (!payload.empty()) std::memcpy(to + key.size(), payload.data(), payload.size());
  end_ += kPrefix + key.size() + payload.size();
  ++count_;
}

SubscriptionEvent::Item SubscriptionEvent::first() const noexcept {
  Item item;
  Items(*this).next(&item);
  return item;
}

std::unique_ptr<SubscriptionEvent> SubscriptionEvent::take_first() {
  auto event = make(key(), body(), number);
  event->id = id;
  drop(1);
  return event;
}

void SubscriptionEvent::drop(std::size_t count) noexcept {
  Items items(*this);
  Item item;
  for (std::size_t i = 0; i < count && items.next(&item); ++i) {
    begin_ += sizeof item.sequence_id + item.bytes.size();
    --count_;
  }
  number = first().sequence_id;
}

std::span<const std::uint8_t> SubscriptionEvent::key() const noexcept {
  const Item item = first();
  return count_ == 0 ? item.bytes : item.bytes.subspan(kItemHead, item.key_end - kItemHead);
}

std::span<const std::uint8_t> SubscriptionEvent::body() const noexcept {
  const Item item = first();
  return count_ == 0 || shows_all_ ? item.bytes : item.bytes.subspan(item.key_end);
}

std::size_t SubscriptionEvent::size() const noexcept {
  return count_ == 0 ? 0 : first().bytes.size() - kItemHead;
}

}  // namespace gcs
