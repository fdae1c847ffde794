// SPDX-License-Identifier: Apache-2.0
//
// What a client does in the loop's turn: it keeps the calls, the deadlines, and a connection to
// start them on.
//
// Invariants:
// - A call is in the table from acceptance until it ends, and in exactly one place: the waiting
//   list, a list of those that are held back since the server has refused them or its release of
//   Ray is not known yet, in flight on a link; or it is no call but a watch (kind kState), which
//   gets every change of state until it is cancelled, or a subscription (kind kSubscriptionEnd).
// - A call that ends leaves the table, the heap and its place at once, and is delivered at the end
//   of the pass, when nothing of this object is on the stack but end_pass().
// - The deadline of a call is set once and never restarts, however often the call is sent. Nothing
//   is sent when it is over.
// - A call that was made for one release of Ray is sent to a server of that release only. The
//   server is asked for its release as soon as there is such a call, and from then on once for each
//   connection; no other call waits for the answer.
// - A call is sent again if it never ran. What may have run is sent again only if running twice
//   does no harm (a read-only method, or Retry::kAlways), and at most twice: what kills a server
//   must not kill it for ever.
//
// A pass is what one wake-up does: begin_pass(), any number of other functions, end_pass().
//
// Threads: whoever has the loop's turn, but for the constructor.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "client/back_off.h"
#include "client/call.h"
#include "client/call_table.h"
#include "client/client_options.h"
#include "client/client_status.h"
#include "client/connection_log.h"
#include "client/credentials.h"
#include "client/deadline_heap.h"
#include "client/link.h"
#include "client/subscription_host.h"
#include "client/subscriptions.h"
#include "client/waiting_list.h"
#include "transport/connection.h"

namespace gcs {

class Core final : private Link::Owner, private SubscriptionHost {
 public:
  Core(transport::EventLoop& loop, transport::Connector& connector, const ClientOptions& options,
       const transport::Address& address, Credentials credentials,
       std::shared_ptr<transport::TlsContext> tls, ClientStatus& status, std::uint64_t event_id);
  Core(const Core&) = delete;
  Core& operator=(const Core&) = delete;
  ~Core() = default;

  void begin_pass() noexcept {
    now_ = loop_.now();
    looked_for_token_ = false;
  }
  // Every event is a Call.
  void accept(EventList calls) noexcept;
  void cancel(std::uint64_t id) noexcept;
  void cancel_calls_of(const CompletionSink* sink) noexcept;
  // Lets a subscription deliver more; nothing if it has ended.
  void grant(std::uint64_t id, std::uint64_t messages, std::uint64_t bytes) noexcept;
  // Ends every call with kClosed, and delivers the terminal event at the end of the pass.
  void close() noexcept;
  // Writes what was started, arms the timers, delivers what has ended.
  void end_pass() noexcept;

 private:
  // Calls that the server refused before it looked at them, or that wait for what it says about
  // itself: they wait apart, so that others go on, and go on together.
  struct HeldBack {
    explicit HeldBack(std::uint64_t seed) : back_off(seed) {}
    WaitingList calls;
    BackOff back_off;
    transport::TimePoint until = 0;
  };

  // Runs a member function as a pass of its own when a timer expires.
  template <void (Core::*kFunction)()>
  class Expiry final : public transport::Task {
   public:
    explicit Expiry(Core& core) noexcept : core_(core) {}
    void run() noexcept override {
      core_.begin_pass();
      (core_.*kFunction)();
      core_.end_pass();
    }

   private:
    Core& core_;
  };

  // Calls (core.cc).
  void accept_one(std::unique_ptr<Call> call) noexcept;
  bool refuse(Call& call, bool id_in_use) noexcept;
  void count_end(const Call& call, bool answered) noexcept;
  ClientStatus::MethodCounters& counters(const Call& call) noexcept;
  void wait(Call& call) noexcept;
  void pump() noexcept;
  void start(Call& call) noexcept;
  void expire();
  void expire_one(Call& call) noexcept;
  void put_back(HeldBack& held) noexcept;
  void release(HeldBack& held) noexcept;
  // Takes the call out of everything; its status, flags and text are set already.
  void end(Call& call) noexcept;
  void fail(Call& call, Status status, std::uint32_t flags,
            std::string_view message) noexcept override;
  void fail_waiting(Status status, std::uint32_t flags, std::string_view message,
                    bool only_impatient) noexcept;
  bool waits_for_ready(const Call& call) const noexcept;
  bool has_connection() const noexcept;
  void tell_state(const Event& listener, std::string_view why) noexcept;
  void cancel(Call& call) noexcept;
  void hand_out(std::unique_ptr<Call> call) noexcept;

  // Subscriptions (core_subscriptions.cc).
  transport::TimePoint now() const noexcept override { return now_; }
  bool is_ready() const noexcept override {
    return current_ && current_->phase() == Link::Phase::kReady;
  }
  void want_connection() noexcept override;
  void ask(std::unique_ptr<Call> call) noexcept override;
  void drop_question(std::uint64_t id) noexcept override;
  void forget(const Asker& asker) noexcept override;
  EventList& out() noexcept override { return ended_; }
  void subscribed(Call& subscription) noexcept override;
  void fail_subscriptions(Status status, std::uint32_t flags, std::string_view message,
                          bool only_impatient) noexcept;
  void take_answers() noexcept;

  // Replies (core_replies.cc).
  void link_calls_ended(Link& link, transport::UnaryCall* first) noexcept override;
  void settle(Link& link, Call& call, Call* before) noexcept;
  void succeed(Link& link, Call& call) noexcept;
  void settle_refusal(Link& link, Call& call, Call* before) noexcept;
  void settle_lost(Call& call, Call* before) noexcept;
  void take_back(Call& call) noexcept;
  void hold_back(Call& call, HeldBack& held, Call::Place place) noexcept;
  bool hold_back_passive(Call& call) noexcept;
  bool may_send_again(const Call& call) const noexcept;
  bool has_newer_token(const Call& call) noexcept;
  bool reload_token() noexcept;
  void send_again(Call& call, Call* before) noexcept;

  // The server's release of Ray (core_version.cc).
  void link_versioned(Link& link, Call& answer) noexcept override;
  void settle_version(Call& call) noexcept;
  void ask_version() noexcept;
  void read_version(Link& link, const Call& answer) noexcept;
  void renew_version(Link& link, const Call& answer) noexcept;
  void version_failed(std::string_view why) noexcept;
  void version_unanswered() noexcept;
  void fail_unversioned(Status status, std::uint32_t flags, std::string_view message) noexcept;

  // The connection and the cluster's identity (core_connection.cc).
  void link_connected(Link& link) noexcept override;
  void link_identified(Link& link, Call& answer) noexcept override;
  void link_has_capacity(Link& link) noexcept override;
  void link_draining(Link& link, const std::string& reason) noexcept override;
  void link_ended(Link& link, const transport::ConnectionError& error) noexcept override;
  void suspect_link() noexcept;
  void let_finish(std::string_view reason) noexcept;
  void drop_spent_links() noexcept;
  void connect();
  void give_up_link(Status status, std::uint32_t flags, std::string_view message,
                    bool tell_everyone) noexcept;
  void ask_identity(Link& link) noexcept;
  void identify(Link& link, const Call& answer) noexcept;
  void identified_as(Link& link, const std::string& cluster_id) noexcept;
  void become_ready(Link& link, std::string_view change) noexcept;
  void set_state(State state, std::string_view why) noexcept;
  void note_disconnect(std::string_view what, std::string_view why) noexcept;
  void note_failed_attempt(std::string_view why) noexcept;
  void note_tls_problem() noexcept;
  void count_bytes(Link& link) noexcept;
  std::vector<transport::Header> metadata(bool with_cluster_id) const;
  std::string no_connection_text(std::string_view within = {}) const noexcept;

  transport::EventLoop& loop_;
  transport::Connector& connector_;
  const ClientOptions& options_;
  const transport::Address& address_;
  const std::string address_text_;
  Credentials credentials_;
  std::uint32_t token_version_ = 0;
  bool looked_for_token_ = false;  // in this pass
  ClientStatus& status_;
  transport::ConnectionOptions connection_options_;

  transport::TimePoint now_ = 0;
  CallTable table_;
  DeadlineHeap deadlines_;
  WaitingList waiting_;
  HeldBack passive_;      // the GCS is passive
  HeldBack refused_;      // REFUSED_STREAM, more than once
  HeldBack unversioned_;  // the server's release is not known; not due while it is being asked
  WaitingList watching_;
  EventList ended_;
  EventList answers_;                // for their askers, at the end of the pass
  std::unique_ptr<Event> terminal_;  // also: where state events go

  std::unique_ptr<Link> current_;
  std::vector<std::unique_ptr<Link>> draining_;
  BackOff back_off_;
  bool reconnect_pending_ = false;
  bool ever_ready_ = false;
  bool closed_ = false;
  bool doubts_identity_ = false;      // a call was refused for its cluster
  bool wants_version_ = false;        // there was a call made for one release of Ray
  transport::TimePoint lost_at_ = 0;  // 0: not since it was ready
  std::uint64_t attempts_ = 0;        // to connect, since then
  std::string cluster_id_;            // known: given, or learned
  bool cluster_has_changed_ = false;  // every call fails with the text
  std::string cluster_changed_;
  std::string last_failure_;     // since it was ready
  std::string version_problem_;  // why the last question about the release failed
  std::string tls_problem_;      // what was logged last
  std::string state_reason_;     // what watches were told last
  ConnectionLog log_;
  Subscriptions subscriptions_;  // after what it uses as it goes

  Expiry<&Core::expire> expiry_{*this};
  Expiry<&Core::connect> reconnect_{*this};
  const std::unique_ptr<transport::Timer> deadline_timer_;
  const std::unique_ptr<transport::Timer> reconnect_timer_;
};

// "2.5 s"
std::string seconds_text(std::int64_t nanoseconds) noexcept;

}  // namespace gcs
