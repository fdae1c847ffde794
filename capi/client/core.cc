// SPDX-License-Identifier: Apache-2.0
//
// The calls: how they are accepted, wait, start, expire and end.
#include "client/core.h"

#include <algorithm>
#include <cstdio>
#include <new>
#include <utility>

#include "client/outbox.h"
#include "client/text.h"

namespace gcs {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
// A deadline that expires after nothing came for so long makes the connection suspect.
constexpr std::int64_t kLongestSilence = 10 * kSecond;

// A tenth less than connect() has, so that an attempt that times out can still say what it was
// waiting for.
std::int64_t attempt_timeout(std::int64_t connect_timeout) {
  return connect_timeout - connect_timeout / 10;
}

transport::TimePoint add(transport::TimePoint time, std::int64_t duration) noexcept {
  return duration > transport::kNever - time ? transport::kNever : time + duration;
}

// It gets events of its own kind, and is not sent.
bool is_listener(const Call& call) noexcept {
  return call.kind == EventKind::kState || call.kind == EventKind::kSubscriptionEnd;
}

// That there is no such key is an answer.
bool is_absence(const Call& call) noexcept {
  return call.kind == EventKind::kKvGet && call.status == ray_status(kRayNotFound);
}

}  // namespace

std::string seconds_text(std::int64_t nanoseconds) noexcept {
  char text[32];
  std::snprintf(text, sizeof text, "%.4g s",
                static_cast<double>(nanoseconds) / static_cast<double>(kSecond));
  return text;
}

Core::Core(transport::EventLoop& loop, transport::Connector& connector,
           const ClientOptions& options, const transport::Address& address, Credentials credentials,
           std::shared_ptr<transport::TlsContext> tls, ClientStatus& status, std::uint64_t event_id)
    : loop_(loop),
      connector_(connector),
      options_(options),
      address_(address),
      address_text_(address.text()),
      credentials_(std::move(credentials)),
      status_(status),
      // Seeds only have to differ from client to client.
      passive_(~static_cast<std::uint64_t>(loop.now())),
      refused_(static_cast<std::uint64_t>(loop.now())),
      unversioned_(static_cast<std::uint64_t>(loop.now()) + 1),
      terminal_(std::make_unique<Event>(EventKind::kClientClosed)),
      back_off_(static_cast<std::uint64_t>(loop.now()) ^ reinterpret_cast<std::uintptr_t>(this)),
      cluster_id_(options.cluster_id),
      subscriptions_(*this),
      deadline_timer_(loop.make_timer(expiry_)),
      reconnect_timer_(loop.make_timer(reconnect_)) {
  connection_options_.connect_timeout = attempt_timeout(options.connect_timeout);
  connection_options_.tcp_user_timeout = options.tcp_user_timeout;
  connection_options_.max_send_message = static_cast<std::size_t>(options.max_send_message);
  connection_options_.max_receive_message = static_cast<std::size_t>(options.max_receive_message);
  connection_options_.tls = std::move(tls);
  status_.set_cluster_id(cluster_id_);
  terminal_->id = event_id;
  terminal_->sink = options.event_sink;
  terminal_->target_function = options.event_function;
  terminal_->target_user = options.event_user;
}

void Core::accept(EventList calls) noexcept {
  while (auto event = calls.pop_front()) {
    accept_one(std::unique_ptr<Call>(static_cast<Call*>(event.release())));
  }
  pump();
}

void Core::accept_one(std::unique_ptr<Call> call) noexcept {
  if (!is_listener(*call)) status_.started.add();
  const bool is_connect = call->kind == EventKind::kConnect;
  if (call->timeout == kTimeoutDefault)
    call->timeout = is_connect ? options_.connect_timeout : options_.timeout;
  if (call->started == 0) call->started = now_;
  call->deadline =
      call->timeout == kTimeoutNone ? transport::kNever : add(call->started, call->timeout);
  try {
    table_.reserve_one();
    deadlines_.reserve_one();
  } catch (const std::bad_alloc&) {
    if (!is_listener(*call)) status_.failed.add();
    call->fail(Status::kNoMemory, kFlagLocal, {}, {});
    hand_out(std::move(call));
    return;
  }
  Call& accepted = *call;
  const bool id_in_use = table_.find(accepted.id) != nullptr;
  table_.insert(std::move(call));
  if (refuse(accepted, id_in_use)) return;
  if (accepted.deadline != transport::kNever) deadlines_.insert(accepted);
  wait(accepted);
}

// Ends what need not be tried.
bool Core::refuse(Call& call, bool id_in_use) noexcept {
  if (id_in_use) {
    fail(call, Status::kInvalidArgument, kFlagLocal,
         join({"the id ", Digits(call.id), " is in use already"}));
  } else if (call.deadline <= now_ && !(call.kind == EventKind::kConnect && is_ready())) {
    expire_one(call);
  } else if (cluster_has_changed_ && call.kind != EventKind::kState) {
    fail(call, Status::kClusterChanged, kFlagLocal, cluster_changed_);
  } else if (call.message.size() > options_.max_send_message) {
    fail(
        call, Status::kLimit, kFlagLocal,
        join({"the request has ", Digits(call.message.size()),
              " bytes, and the client's max_send_message is ", Digits(options_.max_send_message)}));
  } else {
    return false;
  }
  return true;
}

void Core::count_end(const Call& call, bool answered) noexcept {
  (answered ? status_.completed : status_.failed).add();
  if (call.kind == EventKind::kConnect) return;
  if (!call.long_poll) status_.latencies.add(now_ - call.started);
  ClientStatus::MethodCounters& method = counters(call);
  if (answered) {
    method.ok.add();
  } else if (call.status == Status::kCancelled) {
    method.cancelled.add();
  } else if (call.status == Status::kDeadline) {
    method.expired.add();
  } else {
    method.failed.add();
  }
}

ClientStatus::MethodCounters& Core::counters(const Call& call) noexcept {
  return status_.method(call.known == nullptr ? 0 : call.known->id);
}

void Core::wait(Call& call) noexcept {
  if (call.kind == EventKind::kState) {
    call.place = Call::Place::kWatching;
    watching_.push_back(call);
    tell_state(call, join({"the client is ", state_name(status_.state())}));
    return;
  }
  if (call.kind == EventKind::kConnect && is_ready()) {
    end(call);
    return;
  }
  if (!current_) want_connection();
  // Who does not want to wait is not made to, but for the very first attempt.
  const bool first = current_ && !ever_ready_ && last_failure_.empty();
  if (!has_connection() && !first && !waits_for_ready(call)) {
    fail(call, Status::kUnavailable, kFlagLocal | kFlagRetryable, no_connection_text());
    return;
  }
  if (call.kind == EventKind::kSubscriptionEnd) {
    call.place = Call::Place::kSubscribed;
    subscriptions_.add(call);
    return;
  }
  call.place = Call::Place::kWaiting;
  waiting_.push_back(call);
}

bool Core::waits_for_ready(const Call& call) const noexcept {
  return call.kind == EventKind::kConnect ||
         (call.wait_for_ready < 0 ? options_.wait_for_ready : call.wait_for_ready != 0);
}

// One that can be used, or as soon as the server has said which cluster it is.
bool Core::has_connection() const noexcept {
  return current_ && current_->phase() != Link::Phase::kConnecting;
}

// Starts what waits, as far as the connection has room.
void Core::pump() noexcept {
  while (!waiting_.empty() && is_ready()) {
    Call& call = *waiting_.front();
    if (call.deadline <= now_) {
      expire_one(call);  // before the timer has fired
    } else if (call.kind == EventKind::kConnect) {
      end(call);
    } else if (call.ray_version != 0 && call.ray_version != current_->version()) {
      settle_version(call);
    } else if (current_->can_start()) {
      waiting_.erase(call);
      start(call);
    } else {
      break;
    }
  }
}

void Core::start(Call& call) noexcept {
  call.place = Call::Place::kInFlight;
  call.token_version = current_->token_version();
  if (!call.long_poll) current_->note_waiting(now_);
  current_->start(call);
}

void Core::cancel(std::uint64_t id) noexcept {
  Call* const call = table_.find(id);
  if (call != nullptr && call->asker == nullptr) cancel(*call);
}

void Core::cancel(Call& call) noexcept {
  const bool in_flight = call.place == Call::Place::kInFlight;
  const std::uint32_t maybe = in_flight || call.may_have_run > 0 ? kFlagMaybeExecuted : 0;
  if (in_flight) call.link->cancel(call);
  // No text: a call that was cancelled needs no explanation, and there may be very many.
  call.status = Status::kCancelled;
  call.flags = kFlagLocal | maybe;
  end(call);
}

void Core::cancel_calls_of(const CompletionSink* sink) noexcept {
  table_.for_each([this, sink](Call& call) {
    if (call.sink.get() == sink && call.asker == nullptr) cancel(call);
  });
}

void Core::expire() {
  while (Call* call = deadlines_.earliest()) {
    if (call->deadline > now_) break;
    const bool waits_for_current =
        call->place == Call::Place::kUnversioned ||
        (call->place == Call::Place::kInFlight && call->link == current_.get());
    const bool silent = waits_for_current && current_->silence(now_) >= kLongestSilence;
    if (call->place == Call::Place::kInFlight) call->link->cancel(*call);
    expire_one(*call);
    if (silent) suspect_link();
  }
  for (HeldBack* held : {&passive_, &refused_, &unversioned_}) {
    if (held->until <= now_) release(*held);
  }
  log_.write_due(now_);
  drop_spent_links();
  if (current_ && current_->identity_deadline <= now_) {
    give_up_link(Status::kUnavailable, kFlagLocal | kFlagRetryable,
                 join({"connected, but GetClusterId was not answered within ",
                       seconds_text(attempt_timeout(options_.connect_timeout))}),
                 false);
  }
  version_unanswered();
  subscriptions_.advance();
  pump();
}

// Before those that wait already: they came earlier.
void Core::put_back(HeldBack& held) noexcept {
  Call* const before = waiting_.front();
  while (Call* call = held.calls.front()) {
    held.calls.erase(*call);
    call->place = Call::Place::kWaiting;
    waiting_.insert_before(*call, before);
  }
}

void Core::release(HeldBack& held) noexcept {
  put_back(held);
  if (!waiting_.empty()) want_connection();
}

void Core::expire_one(Call& call) noexcept {
  const std::string within = join({" within ", seconds_text(call.timeout)});
  if (call.kind == EventKind::kConnect) {
    fail(call, Status::kUnavailable, kFlagLocal | kFlagRetryable, no_connection_text(within));
  } else if (call.place == Call::Place::kInFlight) {
    fail(call, Status::kDeadline, kFlagLocal | kFlagTimeout | kFlagRetryable | kFlagMaybeExecuted,
         join({"no reply", within}));
  } else if (call.place == Call::Place::kSubscribed) {
    fail(call, Status::kDeadline, kFlagLocal | kFlagTimeout | kFlagRetryable,
         is_ready() ? join({"the server did not take the subscription", within})
                    : join({"not subscribed", within, ": ", no_connection_text()}));
  } else if (call.place == Call::Place::kPassive || call.place == Call::Place::kRefused) {
    fail(call, Status::kDeadline, kFlagLocal | kFlagTimeout | kFlagRetryable,
         join({call.place == Call::Place::kPassive
                   ? "the GCS was passive (read-only), and did not take the call"
                   : "the server refused the call's stream again and again",
               within}));
  } else if (call.timeout == 0) {
    fail(call, Status::kDeadline, kFlagLocal | kFlagTimeout,
         "a timeout of 0 has expired at once; nothing was sent");
  } else {
    std::string missing;
    if (call.place == Call::Place::kUnversioned) {
      missing = version_problem_.empty() ? join({"the server has not said which Ray it is"})
                                         : join({version_problem_});
    } else if (!is_ready()) {
      missing = no_connection_text();
    } else if (call.place == Call::Place::kWaiting && waiting_.front() != &call) {
      missing = join({"other calls were before it"});
    } else {
      missing = join({"the time was over before its turn came"});
    }
    fail(call, Status::kDeadline, kFlagLocal | kFlagTimeout | kFlagRetryable,
         join({call.may_have_run > 0 ? "the call was lost, and not sent again"
                                     : "the call was not sent",
               within, ": ", missing}));
  }
}

std::string Core::no_connection_text(std::string_view within) const noexcept {
  std::string_view why = "the first attempt has not ended";
  if (!last_failure_.empty()) {
    why = last_failure_;
  } else if (current_ && current_->phase() == Link::Phase::kIdentifying) {
    why = "connected, but GetClusterId was not answered";
  }
  return join({"no connection to ", address_text_, within, ": ", why});
}

void Core::fail(Call& call, Status status, std::uint32_t flags, std::string_view message) noexcept {
  if (call.may_have_run > 0) flags |= kFlagMaybeExecuted;
  call.fail(status, flags, message, address_text_);
  end(call);
}

void Core::end(Call& call) noexcept {
  if (call.place == Call::Place::kWaiting) waiting_.erase(call);
  if (call.place == Call::Place::kPassive) passive_.calls.erase(call);
  if (call.place == Call::Place::kRefused) refused_.calls.erase(call);
  if (call.place == Call::Place::kUnversioned) unversioned_.calls.erase(call);
  if (call.place == Call::Place::kWatching) watching_.erase(call);
  if (call.place == Call::Place::kSubscribed) subscriptions_.remove(call);
  call.place = Call::Place::kEnded;
  call.link = nullptr;
  deadlines_.erase(call);
  call.drop_request();
  const bool answered = call.status == Status::kOk || is_absence(call);
  if (!is_listener(call)) count_end(call, answered);
  hand_out(table_.take(call));
}

// A question that was cancelled has no answer, and nobody asks any more when the client is closed.
void Core::hand_out(std::unique_ptr<Call> call) noexcept {
  if (call->asker != nullptr) {
    if (!closed_ && call->status != Status::kCancelled) answers_.push_back(std::move(call));
    return;
  }
  auto after = std::move(call->after_end);
  ended_.push_back(std::move(call));
  if (after) ended_.push_back(std::move(after));
}

void Core::fail_waiting(Status status, std::uint32_t flags, std::string_view message,
                        bool only_impatient) noexcept {
  for (Call* call = waiting_.front(); call != nullptr;) {
    Call* next = call->waiting_next;
    // Of a call that was on its way it is said that it was lost.
    const bool lost = status == Status::kUnavailable && call->may_have_run > 0;
    if (!only_impatient || !waits_for_ready(*call))
      fail(*call, lost ? Status::kConnectionLost : status, flags, message);
    call = next;
  }
  fail_subscriptions(status, flags, message, only_impatient);
}

void Core::close() noexcept {
  closed_ = true;
  log_.write_held(now_);
  if (current_) count_bytes(*current_);
  for (const auto& link : draining_) count_bytes(*link);
  // Frees the streams of the calls in flight; nothing is heard of them any more.
  current_.reset();
  draining_.clear();
  set_state(State::kClosed, "the client was closed");
  table_.for_each([this](Call& call) {
    const std::uint32_t maybe = call.place == Call::Place::kInFlight ? kFlagMaybeExecuted : 0;
    fail(call, Status::kClosed, kFlagLocal | maybe,
         join({"the client of ", address_text_, " was closed"}));
  });
  subscriptions_.close();
  if (terminal_->sink) ended_.push_back(std::move(terminal_));
}

void Core::end_pass() noexcept {
  if (!closed_) take_answers();
  if (current_) current_->flush();
  for (const auto& link : draining_) link->flush();
  if (current_) count_bytes(*current_);
  for (const auto& link : draining_) count_bytes(*link);
  const std::size_t waiting =
      waiting_.size() + passive_.calls.size() + refused_.calls.size() + unversioned_.calls.size();
  status_.waiting.set(waiting);
  status_.in_flight.set(table_.size() - waiting - watching_.size() - subscriptions_.size());
  if (!closed_) {
    transport::TimePoint next =
        deadlines_.earliest() == nullptr ? transport::kNever : deadlines_.earliest()->deadline;
    if (current_) next = std::min({next, current_->identity_deadline, current_->version_deadline});
    for (const HeldBack* held : {&passive_, &refused_, &unversioned_}) {
      if (!held->calls.empty()) next = std::min(next, held->until);
    }
    next = std::min({next, log_.due(), subscriptions_.due()});
    for (const auto& link : draining_) {
      if (link->is_spent()) next = now_;
    }
    deadline_timer_->set(next);
  }
  deliver(std::move(ended_));
}

// One change of state for whoever `listener` stands for.
void Core::tell_state(const Event& listener, std::string_view why) noexcept {
  if (!listener.sink) return;
  try {
    auto event = std::make_unique<Event>(EventKind::kState);
    event->id = listener.id;
    event->number = static_cast<std::int64_t>(status_.state());
    event->set_text(why, address_text_);
    event->sink = listener.sink;
    event->target_function = listener.target_function;
    event->target_user = listener.target_user;
    ended_.push_back(std::move(event));
  } catch (const std::bad_alloc&) {
    // A missed change of state; the state itself can be asked for.
  }
}

}  // namespace gcs
