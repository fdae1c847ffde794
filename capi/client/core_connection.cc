// SPDX-License-Identifier: Apache-2.0
//
// The connection: made when it is wanted, made again when it is lost, identified before it is used.
#include <algorithm>
#include <exception>
#include <new>
#include <string_view>
#include <utility>

#include "client/core.h"
#include "client/log.h"
#include "client/reply.h"
#include "client/text.h"
#include "transport/tls_context.h"

namespace gcs {

using transport::ConnectionError;
using transport::Origin;
using transport::StatusCode;
namespace {

std::string_view reason_of(const std::exception& error) noexcept {
  return dynamic_cast<const std::bad_alloc*>(&error) != nullptr ? "out of memory" : error.what();
}

}  // namespace

// Sees to it that a connection is being made, now or after the back-off.
void Core::want_connection() noexcept {
  if (current_ || reconnect_pending_ || closed_ || cluster_has_changed_) return;
  if (status_.state() == State::kIdle)
    set_state(State::kConnecting, join({"connecting to ", address_text_}));
  reconnect_pending_ = true;
  const std::int64_t delay = back_off_.next();
  if (delay == 0) {
    connect();
  } else {
    reconnect_timer_->set(now_ + delay);
  }
}

void Core::connect() {
  reconnect_pending_ = false;
  if (current_ || closed_) return;
  ++attempts_;
  try {
    Link::Owner& owner = *this;
    current_ = std::make_unique<Link>(owner, connector_, address_, connection_options_);
    note_tls_problem();
  } catch (const std::exception& error) {
    note_failed_attempt(reason_of(error));
    set_state(ever_ready_ ? State::kLost : State::kConnecting, reason_of(error));
    fail_waiting(Status::kUnavailable, kFlagLocal | kFlagRetryable, no_connection_text(), true);
    want_connection();
  }
}

void Core::link_connected(Link& link) noexcept {
  begin_pass();
  ask_identity(link);
  end_pass();
}

// Without the id that we know: the server would refuse the question.
void Core::ask_identity(Link& link) noexcept {
  try {
    link.ask_identity(metadata(false), token_version_);
    link.identity_deadline = now_ + connection_options_.connect_timeout;
  } catch (const std::exception& error) {
    give_up_link(Status::kUnavailable, kFlagLocal | kFlagRetryable, reason_of(error), false);
  }
}

void Core::link_identified(Link& link, Call& answer) noexcept {
  // With the connection gone, link_ended() follows; a draining one is not going to be used.
  if (answer.result.origin == Origin::kConnectionLost || &link != current_.get()) return;
  begin_pass();
  link.identity_deadline = transport::kNever;
  const auto& result = answer.result;
  if (result.origin == Origin::kServer && result.code == StatusCode::kOk) {
    identify(link, answer);
  } else if (result.code == StatusCode::kUnauthenticated) {
    // Some call may have found the new one meanwhile.
    if (answer.token_version != token_version_ || reload_token()) {
      ask_identity(link);
    } else {
      give_up_link(Status{static_cast<std::int32_t>(StatusCode::kUnauthenticated)}, kFlagAuth,
                   join({result.message, " (", credentials_.where_looked(), ")"}), true);
    }
  } else if (result.code == StatusCode::kUnimplemented) {
    give_up_link(Status::kUnavailable, kFlagLocal,
                 "the server has no method GetClusterId; is this the address of a GCS?", true);
  } else {
    give_up_link(Status::kUnavailable, kFlagLocal | kFlagRetryable,
                 join({"GetClusterId failed: ", result.message}), false);
  }
  pump();
  end_pass();
}

void Core::identify(Link& link, const Call& answer) noexcept {
  try {
    const auto status = read_status(answer.response.bytes(), answer.known->status_field);
    const auto id = read_cluster_id(answer.response.bytes());
    if (status && status->code == 0 && id) {
      identified_as(link, *id);
    } else {
      give_up_link(Status::kUnavailable, kFlagLocal,
                   "the answer to GetClusterId is not a cluster id; is this the address of a GCS?",
                   true);
    }
  } catch (const std::bad_alloc&) {
    give_up_link(Status::kUnavailable, kFlagLocal | kFlagRetryable, "out of memory", false);
  }
}

void Core::identified_as(Link& link, const std::string& cluster_id) noexcept {
  std::string change;
  if (!cluster_id_.empty() && cluster_id.empty()) {
    give_up_link(Status::kUnavailable, kFlagLocal | kFlagRetryable,
                 "the answer to GetClusterId holds no id", false);
    return;
  }
  if (!cluster_id_.empty() && cluster_id != cluster_id_) {
    change = join({"the GCS at ", address_text_, " is that of cluster ", cluster_id,
                   ever_ready_ ? " now; this client was connected to cluster "
                               : "; this client was made for cluster ",
                   cluster_id_});
    // The id that the client was made for holds whatever may change later.
    if (options_.on_cluster_change == OnClusterChange::kError || !ever_ready_) {
      cluster_has_changed_ = true;
      cluster_changed_ = join({change, ever_ready_ ? ". Make a new client, or let "
                                                     "on_cluster_change be \"adopt\""
                                                   : ""});
      count_bytes(link);
      const std::unique_ptr<Link> gone = std::move(current_);
      table_.for_each([&](Call& call) {
        if (call.place == Call::Place::kSubscribed) {
          fail(call, Status::kClusterChanged, kFlagLocal, cluster_changed_);
        } else if (call.link == gone.get()) {
          gone->cancel(call);
          fail(call, Status::kClusterChanged, kFlagLocal | kFlagMaybeExecuted, cluster_changed_);
        }
      });
      note_failed_attempt(cluster_changed_);
      set_state(State::kLost, cluster_changed_);
      release(passive_);
      release(refused_);
      release(unversioned_);
      fail_waiting(Status::kClusterChanged, kFlagLocal, cluster_changed_, false);
      return;
    }
    log::write(log::Level::kWarning, join({change}));
  }
  try {
    cluster_id_ = cluster_id;
    status_.set_cluster_id(cluster_id_);
  } catch (const std::bad_alloc&) {
    give_up_link(Status::kUnavailable, kFlagLocal | kFlagRetryable, "out of memory", false);
    return;
  }
  become_ready(link, change);
}

void Core::become_ready(Link& link, std::string_view change) noexcept {
  const bool is_new = link.phase() == Link::Phase::kIdentifying && !link.was_ready();
  if (!change.empty()) {
    // What is another cluster now may be another release.
    link.drop_version_question();
    link.set_version(0, {});
  }
  try {
    link.become_ready(metadata(true), token_version_);
  } catch (const std::exception& error) {
    give_up_link(Status::kUnavailable, kFlagLocal | kFlagRetryable, reason_of(error), false);
    return;
  }
  if (lost_at_ != 0) {
    log_.write(now_, log::Level::kWarning,
               join({"connected again to ", address_text_, " after ", seconds_text(now_ - lost_at_),
                     " and ", Digits(attempts_), attempts_ == 1 ? " attempt" : " attempts"}));
  }
  ever_ready_ = true;
  lost_at_ = 0;
  attempts_ = 0;
  last_failure_.clear();
  if (is_new) {
    status_.connects.add();
    version_problem_.clear();  // it was another connection's
  }
  set_state(State::kReady, change.empty() ? join({"connected to ", address_text_}) : change);
  for (Call* call = waiting_.front(); call != nullptr;) {
    Call* next = call->waiting_next;
    if (call->kind == EventKind::kConnect) end(*call);
    call = next;
  }
  if (!is_new && change.empty()) {
    subscriptions_.resumed();
    return;
  }
  if (wants_version_) ask_version();
  subscriptions_.connected();
}

void Core::link_has_capacity(Link& link) noexcept {
  if (&link != current_.get()) return;
  begin_pass();
  pump();
  end_pass();
}

void Core::link_draining(Link& link, const std::string& reason) noexcept {
  if (&link != current_.get()) return;
  begin_pass();
  if (!link.was_ready()) {
    // Nothing is on it but the question.
    give_up_link(Status::kUnavailable, kFlagLocal | kFlagRetryable, reason, false);
    end_pass();
    return;
  }
  note_disconnect(join({"the GCS at ", address_text_, " asks to reconnect"}), reason);
  set_state(State::kLost, reason);
  let_finish(reason);
  end_pass();
}

// Calls expire, and nothing has come for long: what is wrong with this connection may be wrong with
// it alone. New calls go to another one; those that are on it may still be answered.
void Core::suspect_link() noexcept {
  const std::string reason =
      join({"nothing came from ", address_text_, " for ", seconds_text(current_->silence(now_)),
            " while calls were waiting"});
  note_disconnect("the connection is not trusted any more", reason);
  set_state(State::kLost, reason);
  current_->retire();
  let_finish(reason);
}

void Core::let_finish(std::string_view reason) noexcept {
  current_->drop_questions();
  try {
    draining_.push_back(std::move(current_));
  } catch (const std::bad_alloc&) {
    // Without room to let it finish, its calls end here, as they would with the connection.
    give_up_link(Status::kConnectionLost, kFlagLocal | kFlagRetryable, reason, false);
    return;
  }
  put_back(unversioned_);
  fail_waiting(Status::kUnavailable, kFlagLocal | kFlagRetryable, no_connection_text(), true);
  want_connection();
}

void Core::drop_spent_links() noexcept {
  std::erase_if(draining_, [this](const std::unique_ptr<Link>& link) {
    if (!link->is_spent()) return false;
    count_bytes(*link);
    return true;
  });
}

void Core::link_ended(Link& link, const ConnectionError& error) noexcept {
  begin_pass();
  const auto drained = std::find_if(draining_.begin(), draining_.end(),
                                    [&link](const auto& other) { return other.get() == &link; });
  if (drained != draining_.end()) {
    count_bytes(link);
    const std::unique_ptr<Link> gone = std::move(*drained);
    draining_.erase(drained);
    end_pass();
    return;
  }
  const bool hopeless = error.is_misconfiguration();
  give_up_link(Status::kUnavailable, kFlagLocal | (hopeless ? 0 : kFlagRetryable), error.message,
               hopeless);
  end_pass();
}

// The current connection is of no use. Who waits for one is told if it is unlikely to get better
// soon; else only those who do not want to wait. Once there was a connection, another one is tried
// for ever; before that, while somebody waits for it.
void Core::give_up_link(Status status, std::uint32_t flags, std::string_view message,
                        bool tell_everyone) noexcept {
  const std::unique_ptr<Link> gone = std::move(current_);
  if (!gone) return;
  count_bytes(*gone);
  if (gone->was_ready()) {
    note_disconnect(join({"lost the connection to ", address_text_}), message);
  } else {
    note_failed_attempt(message);
  }
  put_back(unversioned_);
  // Calls on it that it has not ended itself.
  Call* const before = waiting_.front();
  table_.for_each([&](Call& call) {
    if (call.link != gone.get()) return;
    gone->cancel(call);
    call.result.origin = Origin::kConnectionLost;
    call.result.fate = transport::Fate::kMayHaveRun;
    assign(call.result.message, message);
    settle_lost(call, before);
  });
  fail_waiting(status, flags, no_connection_text(), !tell_everyone);
  const bool is_wanted = !waiting_.empty() || !subscriptions_.empty();
  if (ever_ready_) {
    set_state(State::kLost, message);
  } else {
    set_state(is_wanted ? State::kConnecting : State::kIdle, message);
  }
  if (ever_ready_ || is_wanted) want_connection();
}

// The end of a connection that was ready.
void Core::note_disconnect(std::string_view what, std::string_view why) noexcept {
  if (lost_at_ == 0) lost_at_ = now_;
  status_.disconnects.add();
  status_.set_last_disconnect(why);
  assign(last_failure_, why);
  log_.write(now_, log::Level::kWarning, join({what, ": ", why}));
}

// Serious unless it is the reason of the attempt before.
void Core::note_failed_attempt(std::string_view why) noexcept {
  const bool news = why != last_failure_;
  assign(last_failure_, why);
  status_.set_last_connect_error(why);
  log_.write(now_, news ? log::Level::kWarning : log::Level::kInfo,
             join({"cannot connect to ", address_text_, ": ", why}));
}

void Core::note_tls_problem() noexcept {
  const auto& tls = connection_options_.tls;
  if (!tls || tls->problem() == tls_problem_) return;
  assign(tls_problem_, tls->problem());
  if (tls_problem_.empty()) return;
  log::write(log::Level::kWarning,
             join({"the files for TLS to ", address_text_, " cannot be read again: ", tls_problem_,
                   "; the client goes on with what it had read"}));
}

// Watches hear of every change, and of every new reason for what has not changed.
void Core::set_state(State state, std::string_view why) noexcept {
  if (status_.state() == state && why == state_reason_) return;
  status_.set_state(state);
  assign(state_reason_, why);
  if (log::enabled(log::Level::kDebug)) {
    log::write(log::Level::kDebug,
               join({"the client of ", address_text_, " is ", state_name(state), ": ", why}));
  }
  if (terminal_) tell_state(*terminal_, why);
  for (const Call* call = watching_.front(); call != nullptr; call = call->waiting_next)
    tell_state(*call, why);
}

void Core::count_bytes(Link& link) noexcept {
  const std::uint64_t sent = link.connection().bytes_sent();
  const std::uint64_t received = link.connection().bytes_received();
  status_.bytes_sent.add(sent - std::exchange(link.counted_sent, sent));
  status_.bytes_received.add(received - std::exchange(link.counted_received, received));
}

std::vector<transport::Header> Core::metadata(bool with_cluster_id) const {
  std::vector<transport::Header> headers;
  if (!credentials_.token().empty())
    headers.push_back({"authorization", "Bearer " + credentials_.token()});
  if (with_cluster_id && !cluster_id_.empty()) headers.push_back({"ray_cluster_id", cluster_id_});
  return headers;
}

}  // namespace gcs
