// SPDX-License-Identifier: Apache-2.0
#include "client/subscription.h"

#include <algorithm>
#include <new>
#include <utility>

namespace gcs {
namespace {

constexpr std::int64_t kUnlimited = std::numeric_limits<std::int64_t>::max();

std::int64_t credit(std::uint64_t amount) noexcept {
  return amount > static_cast<std::uint64_t>(kUnlimited) ? kUnlimited
                                                         : static_cast<std::int64_t>(amount);
}

// Once unlimited, always.
std::int64_t add_credit(std::int64_t left, std::uint64_t more) noexcept {
  const std::int64_t added = credit(more);
  if (left == kUnlimited || added == kUnlimited) return kUnlimited;
  return left > 0 && added > kUnlimited - 1 - left ? kUnlimited - 1 : left + added;
}

}  // namespace

std::string_view resync_text(ResyncReason reason) noexcept {
  switch (reason) {
    case ResyncReason::kNone:
      break;
    case ResyncReason::kDropped:
      return "what was not taken in time, or could not be read, was dropped";
    case ResyncReason::kReconnected:
      return "the connection was lost, and changes may have been missed meanwhile";
    case ResyncReason::kTooLarge:
      return "a reply with messages was larger than max_receive_message, and could not be received";
    case ResyncReason::kExpired:
      return "the server was not polled for longer than it keeps messages for a subscriber";
    case ResyncReason::kRestarted:
      return "the GCS has restarted, and messages may have been missed meanwhile";
  }
  return {};
}

Subscription::Subscription(SubscriptionOptions options)
    : options_(std::move(options)),
      topic_(options_.channel + '\0' + options_.key),
      announcement_(std::make_unique<SubscriptionEvent>(EventKind::kSubscribed)),
      messages_(credit(options_.credit_messages)),
      bytes_(credit(options_.credit_bytes)) {}

void Subscription::Mark::add(const Mark& other) noexcept {
  reason = std::max(reason, other.reason);
  lost += other.lost;
}

void Subscription::announce(const Event& listener, EventList& out) noexcept {
  if (announcement_) emit(listener, std::move(announcement_), out);
}

void Subscription::take(const Event& listener, std::span<const std::uint8_t> key,
                        std::span<const std::uint8_t> payload, std::int64_t sequence_id,
                        EventList& out) noexcept {
  const bool may_leave = has_credit() && first_.empty() && kept_.empty() && mark_.empty();
  if (may_leave && join_run(listener, key, payload, sequence_id, out)) {
    spend(key.size() + payload.size());
    return;
  }
  std::unique_ptr<SubscriptionEvent> event;
  try {
    event = SubscriptionEvent::make(key, payload, sequence_id);
  } catch (const std::bad_alloc&) {
    resync(listener, ResyncReason::kDropped, 1, out);
    return;
  }
  if (may_leave) {
    spend(event->size());
    emit(listener, std::move(event), out);
    return;
  }
  keep(std::move(event));
  emit_kept(listener, out);
}

bool Subscription::fits(std::size_t size) const noexcept {
  return kept_messages_ < options_.max_messages && size <= options_.max_bytes &&
         kept_bytes_ <= options_.max_bytes - size;
}

void Subscription::keep(std::unique_ptr<SubscriptionEvent> event) noexcept {
  constexpr Mark kOneDropped{ResyncReason::kDropped, 1};
  const std::size_t size = event->size();
  // Nothing makes way for what could not be kept all the same.
  if (options_.policy == Policy::kDropOldest && size <= options_.max_bytes) {
    while (!fits(size) && !kept_.empty()) drop_first();
  }
  if (!fits(size)) {
    mark_.add(kOneDropped);
    return;
  }
  if (!mark_.empty() && kept_.empty()) {
    first_.add(std::exchange(mark_, {}));
  } else if (!mark_.empty()) {
    try {
      kept_.push_back(event_of(mark_));
      mark_ = {};
    } catch (const std::bad_alloc&) {
      mark_.add(kOneDropped);
      return;
    }
  }
  ++kept_messages_;
  kept_bytes_ += size;
  kept_.push_back(std::move(event));
}

// With it goes what stood between it and its neighbours: the marks are one.
void Subscription::drop_first() noexcept {
  take_marks_out();
  const auto dropped = kept_.pop_front();
  first_.add({ResyncReason::kDropped, 1});
  --kept_messages_;
  kept_bytes_ -= static_cast<const SubscriptionEvent&>(*dropped).size();
  take_marks_out();
}

// A mark in kept_ has a message behind it.
void Subscription::take_marks_out() noexcept {
  while (!kept_.empty() && kept_.front()->kind == EventKind::kResync) {
    const auto mark = kept_.pop_front();
    first_.add({static_cast<ResyncReason>(mark->flags), static_cast<std::uint64_t>(mark->number)});
  }
}

void Subscription::resync(const Event& listener, ResyncReason reason, std::uint64_t lost,
                          EventList& out) noexcept {
  mark_.add({reason, lost});
  emit_kept(listener, out);
}

void Subscription::grant(const Event& listener, std::uint64_t messages, std::uint64_t bytes,
                         EventList& out) noexcept {
  messages_ = add_credit(messages_, messages);
  bytes_ = add_credit(bytes_, bytes);
  emit_kept(listener, out);
}

void Subscription::spend(std::size_t size) noexcept {
  if (messages_ != kUnlimited) --messages_;
  if (bytes_ != kUnlimited) bytes_ -= static_cast<std::int64_t>(size);
}

bool Subscription::join_run(const Event& listener, std::span<const std::uint8_t> key,
                            std::span<const std::uint8_t> payload, std::int64_t sequence_id,
                            EventList& out) noexcept {
  Event* const last = out.back();
  return last != nullptr && last->kind == EventKind::kMessage && last->id == listener.id &&
         last->sink.get() == listener.sink.get() && listener.sink && listener.sink->takes_runs() &&
         static_cast<SubscriptionEvent&>(*last).append(key, payload, sequence_id);
}

void Subscription::emit(const Event& listener, std::unique_ptr<SubscriptionEvent> event,
                        EventList& out) noexcept {
  event->id = listener.id;
  event->sink = listener.sink;
  event->target_function = listener.target_function;
  event->target_user = listener.target_user;
  out.push_back(std::move(event));
}

std::unique_ptr<SubscriptionEvent> Subscription::event_of(const Mark& mark) {
  auto event = std::make_unique<SubscriptionEvent>(EventKind::kResync);
  event->number = static_cast<std::int64_t>(mark.lost);
  event->flags = static_cast<std::uint32_t>(mark.reason);
  event->set_text(resync_text(mark.reason), {});
  return event;
}

// False without memory: the mark stays.
bool Subscription::emit_mark(const Event& listener, Mark& mark, EventList& out) noexcept {
  try {
    auto event = event_of(mark);
    spend(0);
    emit(listener, std::move(event), out);
  } catch (const std::bad_alloc&) {
    return false;
  }
  mark = {};
  return true;
}

void Subscription::emit_kept(const Event& listener, EventList& out) noexcept {
  if (kept_.empty()) mark_.add(std::exchange(first_, {}));
  while (has_credit()) {
    if (!first_.empty()) {
      if (!emit_mark(listener, first_, out)) return;
    } else if (!kept_.empty()) {
      std::unique_ptr<SubscriptionEvent> event(
          static_cast<SubscriptionEvent*>(kept_.pop_front().release()));
      const std::size_t size = event->size();
      if (event->kind == EventKind::kMessage) {
        --kept_messages_;
        kept_bytes_ -= size;
      }
      spend(size);
      emit(listener, std::move(event), out);
    } else if (!mark_.empty()) {
      if (!emit_mark(listener, mark_, out)) return;
    } else {
      return;
    }
  }
}

}  // namespace gcs
