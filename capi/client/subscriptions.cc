// SPDX-License-Identifier: Apache-2.0
#include "client/subscriptions.h"

#include <algorithm>
#include <new>
#include <string>
#include <utility>

#include "client/text.h"
#include "transport/grpc_text.h"

namespace gcs {
namespace {

// Of a name that is none.
constexpr std::size_t kLongestShown = 100;

}  // namespace

Subscriptions::Subscriptions(SubscriptionHost& host) noexcept
    : host_(host), server_(host, *this), back_off_(reinterpret_cast<std::uintptr_t>(this)) {}

void Subscriptions::add(Call& subscription) noexcept {
  ++count_;
  if (server_.layout() && !server_is_old_) {
    attach(subscription);
    return;
  }
  unattached_.push_back(subscription);
  if (!host_.is_ready()) {
    host_.want_connection();
  } else if (ask_at_ == transport::kNever) {
    server_.ask();
  }
}

void Subscriptions::remove(Call& subscription) noexcept {
  --count_;
  if (Subscriber* const subscriber = subscription.subscription->subscriber) {
    subscriber->remove(subscription);
    has_spent_ = has_spent_ || subscriber->empty();
  } else {
    unattached_.erase(subscription);
  }
}

void Subscriptions::grant(Call& subscription, std::uint64_t messages,
                          std::uint64_t bytes) noexcept {
  if (Subscriber* const subscriber = subscription.subscription->subscriber) {
    subscriber->grant(subscription, messages, bytes);
  } else {
    subscription.subscription->grant(subscription, messages, bytes, host_.out());
  }
}

void Subscriptions::connected() noexcept {
  server_.forget();
  server_is_old_ = false;
  reconnected_ = true;
  ask_at_ = transport::kNever;
  for (const auto& subscriber : subscribers_) subscriber->stop();
  due_is_known_ = false;
  if (count_ > 0) server_.ask();
}

void Subscriptions::resumed() noexcept {
  if (!server_.layout() && ask_at_ == transport::kNever && count_ > 0) server_.ask();
  for (const auto& subscriber : subscribers_) subscriber->step();
  due_is_known_ = false;
}

void Subscriptions::server_changed() noexcept {
  server_is_old_ = true;
  due_is_known_ = false;
}

// ---- The server -----------------------------------------------------------------------------

void Subscriptions::server_known() noexcept {
  back_off_.reset();
  failing_since_ = 0;
  regroup();
  const bool reconnected = std::exchange(reconnected_, false);
  for (const auto& subscriber : subscribers_) {
    subscriber->restart(reconnected);
    subscriber->step();
  }
  attach_all();
}

void Subscriptions::server_failed(Status status, std::uint32_t flags,
                                  std::string_view message) noexcept {
  ask_at_ = host_.now() + std::max<std::int64_t>(back_off_.next(), 1);
  due_is_known_ = false;
  if ((flags & kFlagRetryable) != 0) return;
  if (failing_since_ == 0) failing_since_ = host_.now();
  while (Call* const waiting = unattached_.front()) host_.fail(*waiting, status, flags, message);
  if (host_.now() - failing_since_ < kRefusalPatience) return;
  for (const auto& subscriber : subscribers_) subscriber->end_all(status, flags, message);
}

const PubsubChannel* Subscriptions::channel_of(const Call& subscription) const noexcept {
  return server_.layout()->find(subscription.subscription->options().channel);
}

// What the server at hand does not have ends; what it has at another service goes there, and is
// told that something may be missing.
void Subscriptions::regroup() noexcept {
  for (const auto& subscriber : subscribers_) {
    for (Call* member = subscriber->first_member(); member != nullptr;) {
      Call* const next = member->waiting_next;
      const PubsubChannel* const channel = channel_of(*member);
      if (channel == nullptr) {
        refuse(*member);
      } else if (channel->service != subscriber->service()) {
        subscriber->remove(*member);
        unattached_.push_back(*member);
        has_spent_ = has_spent_ || subscriber->empty();
      }
      member = next;
    }
  }
}

void Subscriptions::attach_all() noexcept {
  while (Call* const subscription = unattached_.front()) {
    unattached_.erase(*subscription);
    attach(*subscription);
  }
}

void Subscriptions::attach(Call& subscription) noexcept {
  const PubsubChannel* const channel = channel_of(subscription);
  if (channel == nullptr) {
    unattached_.push_back(subscription);  // from where it ends
    refuse(subscription);
    return;
  }
  try {
    Subscriber& subscriber = subscriber_for(*subscription.subscription, channel->service);
    subscriber.add(subscription);
    subscription.path = find_method(poll_method(channel->service))->path;
    subscriber.step();
  } catch (const std::bad_alloc&) {
    has_spent_ = true;
    unattached_.push_back(subscription);
    host_.fail(subscription, Status::kNoMemory, kFlagLocal, {});
  }
}

// Throws std::bad_alloc.
Subscriber& Subscriptions::subscriber_for(const Subscription& subscription, PubsubService service) {
  Subscriber*& shared = shared_[static_cast<std::size_t>(service)];
  if (!subscription.waits() && shared != nullptr) return *shared;
  Subscriber::Owner& owner = *this;
  subscribers_.push_back(
      std::make_unique<Subscriber>(host_, server_, owner, service, subscription.waits()));
  if (!subscription.waits()) shared = subscribers_.back().get();
  return *subscribers_.back();
}

void Subscriptions::refuse(Call& subscription) noexcept {
  const std::string& name = subscription.subscription->options().channel;
  const std::string release =
      server_.ray_version_text().empty() ? "" : join({" (Ray ", server_.ray_version_text(), ")"});
  if (is_known_channel(name)) {
    host_.fail(
        subscription, Status::kUnsupported, kFlagLocal,
        join({"the server", release, " has no channel ", name, " (", channel_releases(name), ")"}));
    return;
  }
  std::string names;
  for (const PubsubChannel& channel : server_.layout()->channels())
    names = join({names, names.empty() ? "" : ", ", channel.name});
  host_.fail(subscription, Status::kInvalidArgument, kFlagLocal,
             join({"the server", release, " has no channel \"",
                   transport::printable(std::string_view(name).substr(0, kLongestShown)),
                   "\"; it has ", names}));
}

// ---- Time -----------------------------------------------------------------------------------

transport::TimePoint Subscriptions::due() noexcept {
  if (due_is_known_) return due_;
  due_ = ask_at_;
  for (const auto& subscriber : subscribers_) due_ = std::min(due_, subscriber->due());
  due_is_known_ = true;
  return due_;
}

void Subscriptions::advance() noexcept {
  const transport::TimePoint now = host_.now();
  if (ask_at_ <= now) {
    ask_at_ = transport::kNever;
    if (host_.is_ready() && count_ > 0) server_.ask();
  }
  for (const auto& subscriber : subscribers_) {
    if (subscriber->due() <= now) subscriber->step();
  }
  due_is_known_ = false;
}

void Subscriptions::end_pass() noexcept {
  if (std::exchange(server_is_old_, false)) {
    server_.forget();
    for (const auto& subscriber : subscribers_) subscriber->stop();
    if (count_ > 0) server_.ask();
  }
  if (!std::exchange(has_spent_, false)) return;
  for (Subscriber*& shared : shared_) {
    if (shared != nullptr && shared->empty()) shared = nullptr;
  }
  std::erase_if(subscribers_, [](const auto& subscriber) { return subscriber->empty(); });
  due_is_known_ = false;
}

void Subscriptions::close() noexcept {
  subscribers_.clear();
  shared_ = {};
  server_.forget();
}

}  // namespace gcs
