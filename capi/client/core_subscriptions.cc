// SPDX-License-Identifier: Apache-2.0
//
// What subscriptions have the client do: calls of its own, and events.
#include <utility>

#include "client/core.h"
#include "client/subscription.h"
#include "client/text.h"

namespace gcs {

void Core::subscribe(Call& subscription) noexcept {
  subscription.place = Call::Place::kSubscribed;
  if (!current_) want_connection();
  // As for calls: the very first attempt is waited for.
  const bool first = current_ && !ever_ready_ && last_failure_.empty();
  subscriptions_.add(subscription);
  if (subscription.place != Call::Place::kSubscribed) return;
  if (!has_connection() && !first && !waits_for_ready(subscription)) {
    fail(subscription, Status::kUnavailable, kFlagLocal | kFlagRetryable, no_connection_text());
  }
}

void Core::grant(std::uint64_t id, std::uint64_t messages, std::uint64_t bytes) noexcept {
  Call* const call = table_.find(id);
  if (call != nullptr && call->place == Call::Place::kSubscribed)
    subscriptions_.grant(*call, messages, bytes);
}

void Core::ask(std::unique_ptr<Call> call) noexcept {
  accept_one(std::move(call));
}

void Core::drop_question(std::uint64_t id) noexcept {
  Call* const call = table_.find(id);
  if (call != nullptr && call->asker != nullptr) cancel(*call);
}

void Core::forget(const Asker& asker) noexcept {
  EventList others;
  while (auto event = answers_.pop_front()) {
    if (static_cast<const Call&>(*event).asker != &asker) others.push_back(std::move(event));
  }
  answers_ = std::move(others);
}

// From now on it ends only when it is ended.
void Core::subscribed(Call& subscription) noexcept {
  deadlines_.erase(subscription);
  subscription.deadline = transport::kNever;
}

void Core::end(Call& subscription, Status status, std::uint32_t flags,
               std::string_view message) noexcept {
  fail(subscription, status, flags, message);
}

void Core::fail_subscriptions(Status status, std::uint32_t flags, std::string_view message,
                              bool only_impatient) noexcept {
  if (subscriptions_.empty()) return;
  table_.for_each([&](Call& call) {
    if (call.place != Call::Place::kSubscribed || call.subscription->announced()) return;
    if (!only_impatient || !waits_for_ready(call)) fail(call, status, flags, message);
  });
}

void Core::take_answers() noexcept {
  do {
    while (auto event = answers_.pop_front()) {
      std::unique_ptr<Call> answer(static_cast<Call*>(event.release()));
      Asker& asker = *answer->asker;
      asker.answered(std::move(answer));
    }
    subscriptions_.end_pass();
    pump();
  } while (!answers_.empty());
}

}  // namespace gcs
