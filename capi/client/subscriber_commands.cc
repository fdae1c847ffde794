// SPDX-License-Identifier: Apache-2.0
//
// What a subscriber tells the server that it wants, and what becomes of it when the server does not
// take it.
#include <algorithm>
#include <new>
#include <utility>
#include <vector>

#include "client/subscriber.h"
#include "client/text.h"

namespace gcs {
namespace {

constexpr std::size_t kMostCommands = 2000;  // of a batch, says the server

// Takes answers that nobody waits for.
class Nobody final : public Asker {
 public:
  void answered(std::unique_ptr<Call>) noexcept override {}
};

Asker& nobody() noexcept {
  static Nobody asker;
  return asker;
}

}  // namespace

// nullptr: the server has it no more, or at another service.
const PubsubChannel* Subscriber::channel_of(const Topic& topic) const noexcept {
  const PubsubChannel* const channel = server_.layout()->find(topic.channel);
  return channel != nullptr && channel->service == service_ ? channel : nullptr;
}

void Subscriber::send_commands() noexcept {
  if (command_ != 0) return;
  try {
    std::vector<PubsubCommand> commands;
    commands.reserve(std::min(queued_.size(), kMostCommands));
    commanded_.reserve(commands.capacity());
    while (!queued_.empty() && commands.size() < kMostCommands) {
      Topic& topic = *queued_.back();
      queued_.pop_back();
      topic.queued = false;
      const bool wanted = !topic.members.empty();
      const PubsubChannel* const channel = channel_of(topic);
      if (!wanted && (topic.state == Topic::State::kUnsent || channel == nullptr)) {
        erase(topic);
      } else if (channel != nullptr && wanted == (topic.state == Topic::State::kUnsent)) {
        topic.state = wanted ? Topic::State::kSubscribing : Topic::State::kUnsubscribing;
        commands.push_back({channel->number, topic.key, wanted});
        commanded_.push_back(&topic);
      }
    }
    if (commands.empty()) {
      // What was queued meanwhile is as it should be already.
      if (establishing_) established();
      return;
    }
    auto call = make_call(command_method(service_), command_request(id_, commands), kAnswerTimeout);
    command_ = call->id;
    host_.ask(std::move(call));
  } catch (const std::bad_alloc&) {
    failed_for(true, Status::kNoMemory, kFlagLocal | kFlagRetryable, {});
  }
}

void Subscriber::commanded(const Call& answer) noexcept {
  if (answer.status != Status::kOk) {
    failed(answer);
    return;
  }
  heard_at_ = host_.now();
  for (Topic* const topic : commanded_) {
    const bool subscribed = topic->state == Topic::State::kSubscribing;
    topic->state = subscribed ? Topic::State::kSubscribed : Topic::State::kUnsent;
    if (subscribed) {
      for (Call* member : topic->members) announce(*member);
    }
    if (subscribed == topic->members.empty()) {
      queue(*topic);  // it is no longer, or again, wanted
    } else if (!subscribed && !topic->queued) {
      erase(*topic);
    }
  }
  commanded_.clear();
  if (establishing_ && queued_.empty()) established();
}

// The server has all the topics.
void Subscriber::established() noexcept {
  establishing_ = false;
  probing_ = true;
  has_expired_ = has_expired_ ||
                 (quiet_since_ != 0 && heard_at_ - quiet_since_ > server_.subscriber_timeout());
}

void Subscriber::announce(Call& member) noexcept {
  Subscription& subscription = *member.subscription;
  if (subscription.announced()) return;
  subscription.fresh = establishing_ || probing_;
  subscription.announce(member, host_.out());
  host_.subscribed(member);
}

// Else it would collect, until its time is over, what nobody is going to ask for.
void Subscriber::leave_server() noexcept {
  if (!server_.layout() || !host_.is_ready()) return;
  try {
    std::vector<PubsubCommand> commands;
    for (const auto& [name, topic] : topics_) {
      if (topic.state == Topic::State::kUnsent || commands.size() == kMostCommands) continue;
      if (const PubsubChannel* channel = channel_of(topic))
        commands.push_back({channel->number, topic.key, false});
    }
    if (commands.empty()) return;
    auto call = make_call(command_method(service_), command_request(id_, commands), kAnswerTimeout);
    call->asker = &nobody();
    host_.ask(std::move(call));
  } catch (const std::bad_alloc&) {
    // The server's time for it ends some minutes later.
  }
}

void Subscriber::failed(const Call& answer) noexcept {
  const bool transient = is_transient(answer);
  failed_for(transient, answer.status, answer.flags, static_cast<const Event&>(answer).message());
  // Behind a proxy that keeps the connection another one may take its place.
  if (transient) owner_.server_changed();
}

// Whoever still waits for the first answer hears of what is not going to change soon; the others
// when it has not changed for long.
void Subscriber::failed_for(bool transient, Status status, std::uint32_t flags,
                            std::string_view message) noexcept {
  const transport::TimePoint now = host_.now();
  establish();
  not_before_ = std::max(not_before_, now + back_off_.next());
  if (transient) return;
  if (failing_since_ == 0) failing_since_ = now;
  end_members(now - failing_since_ >= kRefusalPatience, status, flags, message);
}

void Subscriber::end_members(bool announced_too, Status status, std::uint32_t flags,
                             std::string_view message) noexcept {
  for (Call* member = members_.front(); member != nullptr;) {
    Call* const next = member->waiting_next;
    if (announced_too || !member->subscription->announced())
      host_.fail(*member, status, flags, message);
    member = next;
  }
}

}  // namespace gcs
