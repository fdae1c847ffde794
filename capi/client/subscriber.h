// SPDX-License-Identifier: Apache-2.0
//
// One subscriber of the server's: an id, the topics that it has subscribed to by commands, and the
// long poll that brings what is published. Several subscriptions share one, or one that waits for
// its consumer has it for itself.
//
// Invariants:
// - It never goes deaf without a word: the topics are subscribed to anew on each connection, when
//   another publisher answers, when a poll brings nothing, and on a period that is shorter than the
//   server's patience. Each time two polls are sent, of which the server answers the first at once:
//   that tells which publisher it is. Where something may have been missed, a resync follows.
// - A message is delivered once: its sequence id is larger than those before it, of the same
//   publisher. It is acknowledged, by the next poll, when it is here. The polls that tell which
//   publisher it is leave the last one unacknowledged: a server that does not send it again has
//   forgotten this subscriber, whatever its patience.
// - One command batch is open at a time, so that the server sees commands in their order.
// - One that waits keeps one reply at most, and polls for the next when that one has been taken. A
//   reply that comes meanwhile is dropped and not acknowledged: the server sends it again.
//
// Threads: whoever has the loop's turn.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "client/back_off.h"
#include "client/call.h"
#include "client/pubsub_layout.h"
#include "client/pubsub_server.h"
#include "client/subscription.h"
#include "client/subscription_host.h"
#include "client/waiting_list.h"
#include "transport/event_loop.h"

namespace gcs {

class Subscriber final : private Asker {
 public:
  static constexpr std::size_t kIdSize = 28;

  class Owner {
   public:
    // The server may be another one, of another release: it has to be asked anew.
    virtual void server_changed() noexcept = 0;
    // What due() says may have changed.
    virtual void rescheduled() noexcept = 0;

   protected:
    ~Owner() = default;
  };

  Subscriber(SubscriptionHost& host, PubsubServer& server, Owner& owner, PubsubService service,
             bool exclusive);
  Subscriber(const Subscriber&) = delete;
  Subscriber& operator=(const Subscriber&) = delete;
  ~Subscriber();

  PubsubService service() const noexcept { return service_; }
  bool is_exclusive() const noexcept { return exclusive_; }
  bool empty() const noexcept { return members_.empty(); }
  Call* first_member() const noexcept { return members_.front(); }

  // A subscription, as the Call that carries it. Throws std::bad_alloc, and then has not taken it.
  void add(Call& member);
  void remove(Call& member) noexcept;
  // More may be delivered.
  void grant(Call& member, std::uint64_t messages, std::uint64_t bytes) noexcept;

  // After stop(): what the server at hand says of itself is known; it may be another one.
  void restart(bool reconnected) noexcept;
  // What was open is not worth waiting for; restart() follows.
  void stop() noexcept { establish(); }
  // Ends every member.
  void end_all(Status status, std::uint32_t flags, std::string_view message) noexcept {
    end_members(true, status, flags, message);
  }
  // Sends what is to be sent.
  void step() noexcept;
  // When step() has something to do that nothing else brings about.
  transport::TimePoint due() const noexcept;

 private:
  struct Topic {
    enum class State : std::uint8_t { kUnsent, kSubscribing, kSubscribed, kUnsubscribing };
    const std::string* name = nullptr;  // its key in the map
    std::string_view channel;           // these two lie in the name
    std::string_view key;
    State state = State::kUnsent;
    bool queued = false;
    std::vector<Call*> members;
  };
  using Topics = std::unordered_map<std::string, Topic>;

  void answered(std::unique_ptr<Call> answer) noexcept override;
  std::unique_ptr<Call> make_call(std::uint32_t method, std::string_view request,
                                  std::int64_t timeout);
  void establish() noexcept;
  void drop_questions() noexcept;
  void queue(Topic& topic) noexcept;
  void erase(Topic& topic) noexcept;
  std::size_t open_polls() const noexcept;

  // Commands (subscriber_commands.cc).
  const PubsubChannel* channel_of(const Topic& topic) const noexcept;
  void send_commands() noexcept;
  void commanded(const Call& answer) noexcept;
  void established() noexcept;
  void announce(Call& member) noexcept;
  void leave_server() noexcept;
  void failed(const Call& answer) noexcept;
  void failed_for(bool transient, Status status, std::uint32_t flags,
                  std::string_view message) noexcept;
  void end_members(bool announced_too, Status status, std::uint32_t flags,
                   std::string_view message) noexcept;

  // Polls.
  void send_poll() noexcept;
  bool wants_messages() const noexcept;
  bool may_poll() const noexcept;
  void polled(std::unique_ptr<Call> answer) noexcept;
  void give_up(ResyncReason reason) noexcept;
  void read_reply(std::unique_ptr<Call> answer) noexcept;
  void replaced() noexcept;
  void settle_publisher(std::string_view publisher, const Call& answer);
  std::int64_t period() const noexcept;
  bool is_kept(const Call& answer) const noexcept;
  bool may_be_forgotten() const noexcept;
  void resync(Call& member, ResyncReason reason, std::uint64_t lost = 0) noexcept;
  void resync_all(ResyncReason reason, std::uint64_t lost = 0) noexcept;
  bool hold(std::unique_ptr<Call> answer) noexcept;
  std::int64_t last_sequence_id(PollMessages messages) const noexcept;
  void take_held() noexcept;
  bool deliver_all(const Call& answer) noexcept;
  void deliver(const PublishedMessage& message) noexcept;
  void deliver_to(std::string_view channel, std::span<const std::uint8_t> key,
                  const PublishedMessage& message) noexcept;
  void deliver_one(Call& member, const PublishedMessage& message) noexcept;

  SubscriptionHost& host_;
  PubsubServer& server_;
  Owner& owner_;
  const PubsubService service_;
  const bool exclusive_;
  std::string id_;

  WaitingList members_;
  Topics topics_;
  std::vector<Topic*> queued_;  // what the server has to be told of
  std::uint64_t command_ = 0;   // the open command batch; 0: none
  std::vector<Topic*> commanded_;

  bool establishing_ = true;  // subscribing to everything anew, with polls to follow
  bool probing_ = false;      // the polls are out, and the publisher is not known yet
  std::array<std::uint64_t, 2> polls_{};
  transport::TimePoint polled_at_ = 0;
  transport::TimePoint poll_after_ = 0;  // after a busy reply; else 0

  std::string publisher_;            // empty: none has answered yet
  std::int64_t seen_ = 0;            // the largest of its sequence ids that has come
  std::int64_t unacknowledged_ = 0;  // seen_, until a poll has acknowledged it; else 0
  bool reconnected_ = false;
  ResyncReason given_up_ = ResyncReason::kNone;  // why the id was
  bool has_expired_ = false;
  transport::TimePoint heard_at_ = 0;     // the server has answered
  transport::TimePoint quiet_since_ = 0;  // before it was established anew

  std::unique_ptr<Call> held_;   // the reply that is being taken
  PollMessages held_messages_;   // those that have not been taken
  std::int64_t held_floor_ = 0;  // those up to here have been delivered before
  std::shared_ptr<const PubsubLayout> held_layout_;
  ResyncReason resync_after_held_ = ResyncReason::kNone;

  BackOff back_off_;
  transport::TimePoint not_before_ = 0;
  transport::TimePoint failing_since_ = 0;  // 0: it is not
  transport::TimePoint established_until_ = transport::kNever;
  std::string scratch_;
};

}  // namespace gcs
