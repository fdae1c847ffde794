// SPDX-License-Identifier: Apache-2.0
//
// The subscriptions of a client: which subscriber each belongs to, and when they begin anew.
//
// Invariants:
// - Those whose policy drops share a subscriber per service of the server; one that waits has its
//   own, so that a slow consumer stops nobody else.
// - A subscription is in `unattached_` until it is known how the server lays out pub/sub, and with
//   a subscriber from then on.
// - A subscriber without members goes when nothing of it is on the stack: in end_pass().
//
// Threads: whoever has the loop's turn.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "client/back_off.h"
#include "client/call.h"
#include "client/pubsub_server.h"
#include "client/subscriber.h"
#include "client/subscription_host.h"
#include "client/waiting_list.h"

namespace gcs {

class Subscriptions final : private PubsubServer::Owner, private Subscriber::Owner {
 public:
  explicit Subscriptions(SubscriptionHost& host) noexcept;
  Subscriptions(const Subscriptions&) = delete;
  Subscriptions& operator=(const Subscriptions&) = delete;
  ~Subscriptions() = default;

  bool empty() const noexcept { return count_ == 0; }
  std::size_t size() const noexcept { return count_; }
  void add(Call& subscription) noexcept;
  // It has ended.
  void remove(Call& subscription) noexcept;
  void grant(Call& subscription, std::uint64_t messages, std::uint64_t bytes) noexcept;

  // There is another connection, or another cluster behind the same.
  void connected() noexcept;
  // The connection was not ready for a while, and is the same.
  void resumed() noexcept;
  // When advance() has something to do that nothing else brings about.
  transport::TimePoint due() noexcept;
  void advance() noexcept;
  void end_pass() noexcept;
  // The client is closed; every subscription has ended.
  void close() noexcept;

 private:
  static constexpr std::size_t kServices = 3;

  void server_known() noexcept override;
  void server_failed(Status status, std::uint32_t flags,
                     std::string_view message) noexcept override;
  void server_changed() noexcept override;
  void rescheduled() noexcept override { due_is_known_ = false; }

  void attach_all() noexcept;
  void attach(Call& subscription) noexcept;
  Subscriber& subscriber_for(const Subscription& subscription, PubsubService service);
  const PubsubChannel* channel_of(const Call& subscription) const noexcept;
  void refuse(Call& subscription) noexcept;
  void regroup() noexcept;

  SubscriptionHost& host_;
  std::size_t count_ = 0;
  WaitingList unattached_;
  // Before the subscribers, which ask it as they go.
  PubsubServer server_;
  std::vector<std::unique_ptr<Subscriber>> subscribers_;
  std::array<Subscriber*, kServices> shared_{};
  bool reconnected_ = false;    // since the subscribers were last told
  bool server_is_old_ = false;  // it has to be asked anew
  bool has_spent_ = false;      // a subscriber may have no member any more
  BackOff back_off_;
  transport::TimePoint ask_at_ = transport::kNever;
  transport::TimePoint failing_since_ = 0;
  bool due_is_known_ = false;
  transport::TimePoint due_ = transport::kNever;
};

}  // namespace gcs
