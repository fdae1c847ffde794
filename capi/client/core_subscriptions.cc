// SPDX-License-Identifier: Apache-2.0
//
// What subscriptions have the client do: calls of its own, and events.
#include <utility>

#include "client/core.h"
#include "client/subscription.h"
#include "client/text.h"

namespace gcs {

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
