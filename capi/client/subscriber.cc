// SPDX-License-Identifier: Apache-2.0
//
// The subscriber's members and topics, and when it does what; the polls.
#include "client/subscriber.h"

#include <algorithm>
#include <new>
#include <utility>

#include "client/random_bytes.h"
#include "client/text.h"

namespace gcs {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
// The longest time between two resubscriptions.
constexpr std::int64_t kLongestPeriod = 60 * kSecond;
// A server that answers polls at once with nothing is not asked faster than this.
constexpr std::int64_t kShortestPoll = kSecond;
// A poll costs as much as fifty messages: after a reply with many of them the next poll is not sent
// sooner than this after the last one, so that more come with it.
constexpr std::int64_t busy_period(std::uint64_t messages) {
  constexpr std::int64_t kShort = 2'000'000;
  return messages < 16 ? 0 : messages < 256 ? kShort : 2 * kShort;
}
// No server forgets a subscriber sooner.
constexpr std::int64_t kShortestPatience = kSecond;

}  // namespace

Subscriber::Subscriber(SubscriptionHost& host, PubsubServer& server, Owner& owner,
                       PubsubService service, bool exclusive)
    : host_(host),
      server_(server),
      owner_(owner),
      service_(service),
      exclusive_(exclusive),
      id_(random_bytes(kIdSize)),
      back_off_(static_cast<std::uint64_t>(host.now()) ^ reinterpret_cast<std::uintptr_t>(this)) {}

Subscriber::~Subscriber() {
  drop_questions();
  host_.forget(*this);
  leave_server();
}

void Subscriber::add(Call& member) {
  Subscription& subscription = *member.subscription;
  const auto [at, is_new] = topics_.try_emplace(subscription.topic());
  Topic& topic = at->second;
  if (is_new) {
    const std::string_view name = at->first;
    topic.name = &at->first;
    topic.channel = name.substr(0, name.find('\0'));
    topic.key = name.substr(topic.channel.size() + 1);
  }
  try {
    topic.members.push_back(&member);
    // From here on each topic has its place in there.
    if (queued_.capacity() < topics_.size()) queued_.reserve(2 * topics_.size());
  } catch (const std::bad_alloc&) {
    if (!topic.members.empty() && topic.members.back() == &member) topic.members.pop_back();
    if (is_new) topics_.erase(at);
    throw;
  }
  members_.push_back(member);
  subscription.subscriber = this;
  if (topic.state == Topic::State::kSubscribed) {
    announce(member);
  } else {
    queue(topic);
  }
}

void Subscriber::remove(Call& member) noexcept {
  const auto at = topics_.find(member.subscription->topic());
  std::erase(at->second.members, &member);
  members_.erase(member);
  member.subscription->subscriber = nullptr;
  if (at->second.members.empty()) queue(at->second);
  owner_.rescheduled();
}

void Subscriber::queue(Topic& topic) noexcept {
  if (!std::exchange(topic.queued, true)) queued_.push_back(&topic);
}

void Subscriber::erase(Topic& topic) noexcept {
  topics_.erase(topics_.find(*topic.name));
}

void Subscriber::grant(Call& member, std::uint64_t messages, std::uint64_t bytes) noexcept {
  member.subscription->grant(member, messages, bytes, host_.out());
  if (!exclusive_) return;
  take_held();
  step();
}

void Subscriber::restart(bool reconnected) noexcept {
  if (!reconnected) return;
  reconnected_ = true;
  not_before_ = 0;
}

// Everything is to be said to the server again.
void Subscriber::establish() noexcept {
  drop_questions();
  if (!std::exchange(establishing_, true)) quiet_since_ = heard_at_;
  if (established_until_ != transport::kNever && !has_expired_) {
    // It is late only if this process stood still, and sent no polls.
    const std::int64_t late = host_.now() - established_until_;
    has_expired_ = late > 0 && late + period() > server_.subscriber_timeout();
  }
  probing_ = false;
  established_until_ = transport::kNever;
  for (auto& [name, topic] : topics_) {
    // What the server may still have, and nobody wants any more, it is told to drop.
    topic.state = topic.members.empty() ? Topic::State::kSubscribed : Topic::State::kUnsent;
    queue(topic);
  }
  for (Call* member = members_.front(); member != nullptr; member = member->waiting_next) {
    member->subscription->fresh = false;
  }
  owner_.rescheduled();
}

void Subscriber::drop_questions() noexcept {
  if (command_ != 0) host_.drop_question(std::exchange(command_, 0));
  for (std::uint64_t& poll : polls_) {
    if (poll != 0) host_.drop_question(std::exchange(poll, 0));
  }
  commanded_.clear();
}

transport::TimePoint Subscriber::due() const noexcept {
  if (members_.empty() || !server_.layout() || !host_.is_ready()) return transport::kNever;
  transport::TimePoint due = established_until_;
  if (command_ == 0 && !queued_.empty()) due = std::min(due, not_before_);
  if (poll_after_ != 0 && may_poll()) due = std::min(due, poll_after_);
  return due;
}

void Subscriber::step() noexcept {
  owner_.rescheduled();
  if (members_.empty() || !server_.layout() || !host_.is_ready()) return;
  if (not_before_ > host_.now()) return;
  if (established_until_ <= host_.now() || may_be_forgotten()) establish();
  send_commands();
  while (probing_ && open_polls() < polls_.size()) send_poll();
  if (may_poll() && poll_after_ <= host_.now()) send_poll();
}

bool Subscriber::may_poll() const noexcept {
  return !establishing_ && !probing_ && open_polls() == 0 && wants_messages();
}

bool Subscriber::wants_messages() const noexcept {
  return !exclusive_ || (!held_ && members_.front()->subscription->can_take());
}

std::size_t Subscriber::open_polls() const noexcept {
  return static_cast<std::size_t>(polls_[0] != 0) + static_cast<std::size_t>(polls_[1] != 0);
}

std::unique_ptr<Call> Subscriber::make_call(std::uint32_t method, std::string_view request,
                                            std::int64_t timeout) {
  auto call = make_question(*this, method, request, timeout);
  call->retry = Retry::kNever;
  call->ray_version = server_.ray_version();
  return call;
}

void Subscriber::send_poll() noexcept {
  try {
    if (!probing_) unacknowledged_ = 0;
    const std::int64_t acknowledged = unacknowledged_ == 0 ? seen_ : unacknowledged_ - 1;
    auto call =
        make_call(poll_method(service_), poll_request(id_, acknowledged, publisher_), kTimeoutNone);
    call->long_poll = true;
    (polls_[0] == 0 ? polls_[0] : polls_[1]) = call->id;
    polled_at_ = host_.now();
    poll_after_ = 0;
    host_.ask(std::move(call));
  } catch (const std::bad_alloc&) {
    failed_for(true, Status::kNoMemory, kFlagLocal | kFlagRetryable, {});
  }
}

void Subscriber::answered(std::unique_ptr<Call> answer) noexcept {
  if (answer->id == command_) {
    command_ = 0;
    commanded(*answer);
  } else if (const auto poll = std::find(polls_.begin(), polls_.end(), answer->id);
             poll != polls_.end()) {
    *poll = 0;
    polled(std::move(answer));
  }
  step();
}

void Subscriber::polled(std::unique_ptr<Call> answer) noexcept {
  if (answer->status == Status::kOk) {
    read_reply(std::move(answer));
  } else if (answer->status == Status::kLimit) {
    give_up(ResyncReason::kTooLarge);
  } else {
    failed(*answer);
  }
}

// The server would send the same again: what it holds is given up, with the id that it is held for.
void Subscriber::give_up(ResyncReason reason) noexcept {
  drop_questions();
  leave_server();
  try {
    id_ = random_bytes(kIdSize);
  } catch (const std::bad_alloc&) {
    failed_for(true, Status::kNoMemory, kFlagLocal | kFlagRetryable, {});
    return;
  }
  given_up_ = std::max(given_up_, reason);
  unacknowledged_ = 0;
  establish();
  // At once, but for one whose every reply is.
  not_before_ = std::max(not_before_, host_.now() + back_off_.next());
}

void Subscriber::read_reply(std::unique_ptr<Call> answer) noexcept {
  const auto reply = read_poll_reply(answer->body());
  if (!reply || reply->publisher_id.size() != kIdSize) {
    failed_for(false, Status::kInternal, kFlagLocal,
               "the reply to a poll is not the protobuf message expected");
    return;
  }
  heard_at_ = host_.now();
  const std::string_view publisher{reinterpret_cast<const char*>(reply->publisher_id.data()),
                                   reply->publisher_id.size()};
  const bool was_probing = probing_;
  if (!was_probing && publisher != publisher_) {
    replaced();
    return;
  }
  try {
    if (was_probing) settle_publisher(publisher, *answer);
  } catch (const std::bad_alloc&) {
    failed_for(true, Status::kNoMemory, kFlagLocal | kFlagRetryable, {});
    return;
  }
  if (reply->count > 0) {
    const std::int64_t period = busy_period(reply->count);
    if (period > 0) poll_after_ = polled_at_ + period;
    const bool is_readable = exclusive_ ? hold(std::move(answer)) : deliver_all(*answer);
    if (!is_readable) give_up(ResyncReason::kDropped);
  } else if (!was_probing && open_polls() == 0) {
    // Its time was over. It may have forgotten what this subscriber wants, too.
    const std::int64_t after = host_.now() - polled_at_;
    if (after >= kShortestPoll) {
      server_.note_empty_poll(after);
    } else {
      not_before_ = host_.now() + kShortestPoll;
    }
    establish();
  }
}

// The server is another one, on the same connection. How it lays out what it says is not known, so
// that the reply is not read; nothing of it is acknowledged. The resync follows when it has the
// topics: whoever reads a table for it misses no change of it then.
void Subscriber::replaced() noexcept {
  establish();
  // Two servers that answer in turns are not asked faster than this.
  not_before_ = std::max(not_before_, host_.now() + kShortestPoll);
  owner_.server_changed();
}

// Throws std::bad_alloc.
void Subscriber::settle_publisher(std::string_view publisher, const Call& answer) {
  const bool is_other = publisher != publisher_;
  if (is_other) {
    publisher_ = publisher;
    seen_ = unacknowledged_ = 0;
  }
  probing_ = false;
  const bool kept = is_kept(answer);
  if (!kept) unacknowledged_ = 0;
  has_expired_ = has_expired_ || !kept || heard_at_ - polled_at_ > server_.subscriber_timeout();
  ResyncReason reason = ResyncReason::kNone;
  if (is_other) {
    reason = ResyncReason::kRestarted;
  } else if (has_expired_) {
    reason = ResyncReason::kExpired;
  } else {
    reason = given_up_;
  }
  for (Call* member = members_.front(); member != nullptr; member = member->waiting_next) {
    Subscription& subscription = *member->subscription;
    // What is new has missed nothing.
    if (std::exchange(subscription.fresh, false)) continue;
    const bool is_table = reconnected_ && channel_is_table(subscription.options().channel);
    resync(*member, std::max(reason, is_table ? ResyncReason::kReconnected : ResyncReason::kNone));
  }
  reconnected_ = has_expired_ = false;
  given_up_ = ResyncReason::kNone;
  back_off_.reset();
  failing_since_ = 0;
  established_until_ = host_.now() + period();
}

std::int64_t Subscriber::period() const noexcept {
  return std::min(kLongestPeriod, server_.subscriber_timeout() / 3);
}

// Whether the server still has what was not acknowledged, and with it this subscriber.
bool Subscriber::is_kept(const Call& answer) const noexcept {
  if (unacknowledged_ == 0) return true;
  PollMessages messages(answer.body());
  std::span<const std::uint8_t> bytes;
  PublishedMessage message;
  return messages.next(&bytes) && server_.layout()->read(bytes, &message) &&
         message.sequence_id == unacknowledged_;
}

// Its consumer has stopped the polls for longer than a server is patient, for all that is known:
// of a timeout in the server's environment nobody tells.
bool Subscriber::may_be_forgotten() const noexcept {
  return unacknowledged_ != 0 && may_poll() && host_.now() - heard_at_ >= kShortestPatience;
}

void Subscriber::resync(Call& member, ResyncReason reason, std::uint64_t lost) noexcept {
  if (reason == ResyncReason::kNone || !member.subscription->announced()) return;
  if (held_) {
    // It stands behind what was published before.
    resync_after_held_ = std::max(resync_after_held_, reason);
  } else {
    member.subscription->resync(member, reason, lost, host_.out());
  }
}

void Subscriber::resync_all(ResyncReason reason, std::uint64_t lost) noexcept {
  for (Call* member = members_.front(); member != nullptr; member = member->waiting_next)
    resync(*member, reason, lost);
}

// False: no message of it can be read.
bool Subscriber::hold(std::unique_ptr<Call> answer) noexcept {
  if (held_) return true;
  held_layout_ = server_.layout();
  held_floor_ = seen_;
  held_ = std::move(answer);
  held_messages_ = PollMessages(held_->body());
  const std::int64_t last = last_sequence_id(held_messages_);
  seen_ = std::max(seen_, last);
  unacknowledged_ = seen_;
  take_held();
  return last != 0;
}

// They are in order: all of them are acknowledged with the last that can be read. 0: none can.
std::int64_t Subscriber::last_sequence_id(PollMessages messages) const noexcept {
  std::span<const std::uint8_t> bytes;
  PublishedMessage message;
  PollMessages all = messages;
  while (all.next(&bytes)) {
  }
  if (held_layout_->read(bytes, &message)) return message.sequence_id;
  std::int64_t last = 0;
  while (messages.next(&bytes)) {
    if (held_layout_->read(bytes, &message)) last = message.sequence_id;
  }
  return last;
}

void Subscriber::take_held() noexcept {
  if (!held_ || members_.empty()) return;
  Call& member = *members_.front();
  std::span<const std::uint8_t> bytes;
  while (member.subscription->can_take()) {
    if (!held_messages_.next(&bytes)) {
      held_.reset();
      const ResyncReason reason = std::exchange(resync_after_held_, ResyncReason::kNone);
      resync(member, reason);
      return;
    }
    PublishedMessage message;
    if (!held_layout_->read(bytes, &message)) {
      member.subscription->resync(member, ResyncReason::kDropped, 1, host_.out());
    } else if (message.sequence_id > held_floor_) {
      held_floor_ = message.sequence_id;
      deliver_one(member, message);
    }
  }
}

// False: no message of it can be read.
bool Subscriber::deliver_all(const Call& answer) noexcept {
  PollMessages messages(answer.body());
  std::span<const std::uint8_t> bytes;
  bool is_readable = false;
  while (messages.next(&bytes)) {
    PublishedMessage message;
    if (!server_.layout()->read(bytes, &message)) {
      resync_all(ResyncReason::kDropped, 1);
      continue;
    }
    is_readable = true;
    if (message.sequence_id <= seen_) continue;
    seen_ = message.sequence_id;
    deliver(message);
  }
  unacknowledged_ = seen_;
  return is_readable;
}

// To those of the whole channel, and to those of its key.
void Subscriber::deliver(const PublishedMessage& message) noexcept {
  for (const PubsubChannel& channel : server_.layout()->channels()) {
    if (channel.number != message.channel) continue;
    deliver_to(channel.name, {}, message);
    if (!message.key.empty()) deliver_to(channel.name, message.key, message);
  }
}

void Subscriber::deliver_to(std::string_view channel, std::span<const std::uint8_t> key,
                            const PublishedMessage& message) noexcept {
  try {
    scratch_.assign(channel);
    scratch_ += '\0';
    scratch_.append(reinterpret_cast<const char*>(key.data()), key.size());
  } catch (const std::bad_alloc&) {
    resync_all(ResyncReason::kDropped, 1);
    return;
  }
  const auto at = topics_.find(scratch_);
  if (at == topics_.end()) return;
  for (Call* member : at->second.members) deliver_one(*member, message);
}

void Subscriber::deliver_one(Call& member, const PublishedMessage& message) noexcept {
  // It may come before the answer to the command.
  announce(member);
  if (message.is_failure) {
    // The publisher has given the key up.
    resync(member, ResyncReason::kReconnected);
    return;
  }
  member.subscription->take(member, message.key, message.payload, message.sequence_id, host_.out());
}

}  // namespace gcs
