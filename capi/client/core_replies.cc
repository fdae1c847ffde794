// SPDX-License-Identifier: Apache-2.0
//
// How calls end that were sent: with a reply, with a refusal of the server, or with the connection.
#include <utility>

#include "client/core.h"
#include "client/kv.h"
#include "client/log.h"
#include "client/reply.h"
#include "client/text.h"

namespace gcs {
namespace {

using transport::CallResult;
using transport::Fate;
using transport::Origin;
using transport::StatusCode;

// How often a call is sent again that may have run, and one that was rejected for its cluster or
// its token.
constexpr std::uint8_t kMostRepeats = 2;

std::uint32_t maybe_executed(const CallResult& result) noexcept {
  return result.fate == Fate::kNeverRan ? 0 : kFlagMaybeExecuted;
}

bool is_kv(EventKind kind) noexcept {
  return kind >= EventKind::kKvGet && kind <= EventKind::kKvKeys;
}

// What a server that lacks the method can be told apart by.
std::string releases_text(const Method& method) noexcept {
  if (*method.last_release == '\0') return join({"Ray has it from ", method.first_release, " on"});
  return join({"Ray had it from ", method.first_release, " to ", method.last_release});
}

}  // namespace

void Core::link_calls_ended(Link& link, transport::UnaryCall* first) noexcept {
  begin_pass();
  // Calls that are sent again go before those that wait, in their old order.
  Call* const before = waiting_.front();
  while (first != nullptr) {
    Call& call = static_cast<Call&>(*first);
    first = std::exchange(call.next, nullptr);
    settle(link, call, before);
  }
  // Not sooner: it may give the link up, and with it what had not been settled.
  if (std::exchange(doubts_identity_, false) && &link == current_.get() &&
      link.phase() == Link::Phase::kReady) {
    ask_identity(link);
  }
  // A draining connection may give calls back when there is no other.
  if (!waiting_.empty()) want_connection();
  pump();
  end_pass();
}

void Core::settle(Link& link, Call& call, Call* before) noexcept {
  const CallResult& result = call.result;
  switch (result.origin) {
    case Origin::kServer:
      back_off_.reset();
      if (call.refused) refused_.back_off.reset();
      if (result.code == StatusCode::kOk) {
        succeed(link, call);
      } else {
        settle_refusal(link, call, before);
      }
      return;
    case Origin::kPeer:
    case Origin::kConnectionLost:
      settle_lost(call, before);
      return;
    case Origin::kLocal:
      if (result.code == StatusCode::kUnavailable) {
        settle_lost(call, before);
        return;
      }
      fail(call, result.code == StatusCode::kResourceExhausted ? Status::kLimit : Status::kInternal,
           kFlagLocal | maybe_executed(result), result.message);
      return;
    case Origin::kNoMemory:
      fail(call, Status::kNoMemory, kFlagLocal | maybe_executed(result), result.message);
      return;
  }
}

void Core::succeed(Link& link, Call& call) noexcept {
  if (is_kv(call.kind)) {
    kv::decode(call);
  } else {
    call.set_body(call.response.bytes());
    if (call.known != nullptr && call.known->status_field != 0) {
      auto status = read_status(call.response.bytes(), call.known->status_field);
      if (!status) {
        call.fail(Status::kInternal, kFlagLocal | kFlagMaybeExecuted,
                  "the reply is not the protobuf message expected", {});
      } else if (status->code != 0) {
        call.fail(ray_status(status->code), 0, std::move(status->message), {});
      }
    }
  }
  if (call.status == ray_status(kRayGcsPassive)) {
    if (hold_back_passive(call)) return;
    call.flags = kFlagRetryable;
  } else if (call.known == nullptr || !call.known->read_only) {
    passive_.back_off.reset();
  }
  if (call.status == Status::kOk) {
    if (call.known != nullptr && call.known->id == method::kCheckAlive) renew_version(link, call);
  } else {
    if (call.may_have_run > 0) call.flags |= kFlagMaybeExecuted;  // by an earlier sending
    call.set_text(join({static_cast<const Event&>(call).message()}), address_text_);
  }
  end(call);
}

void Core::settle_refusal(Link& link, Call& call, Call* before) noexcept {
  const CallResult& result = call.result;
  if (is_wrong_cluster(result) && call.rejections < kMostRepeats) {
    // Refused before it was looked at.
    ++call.rejections;
    send_again(call, before);
    if (&link == current_.get()) doubts_identity_ = true;
    return;
  }
  std::uint32_t flags = 0;
  std::string message = describe(result);
  switch (result.code) {
    case StatusCode::kUnauthenticated:
      if (is_wrong_cluster(result)) break;
      if (call.rejections < kMostRepeats && has_newer_token(call)) {
        ++call.rejections;
        send_again(call, before);
        return;
      }
      flags = kFlagAuth;
      message = join({message, " (", credentials_.where_looked(), ")"});
      break;
    case StatusCode::kAborted:
      if (is_wrong_cluster(result)) break;
      if (const auto status = read_aborted(result)) {
        const bool is_passive = status->code == kRayGcsPassive;
        if (is_passive && hold_back_passive(call)) return;
        if (!is_passive && (call.known == nullptr || !call.known->read_only))
          passive_.back_off.reset();
        fail(call, ray_status(status->code), is_passive ? kFlagRetryable : 0, status->message);
        return;
      }
      flags = maybe_executed(result);
      break;
    case StatusCode::kCancelled:  // Not by us: a server that is asked to end does this.
    case StatusCode::kUnavailable:
      if (may_send_again(call)) {
        ++call.may_have_run;
        send_again(call, before);
        return;
      }
      flags = kFlagRetryable | maybe_executed(result);
      break;
    case StatusCode::kDeadlineExceeded:
      flags = kFlagTimeout | kFlagRetryable | maybe_executed(result);
      break;
    case StatusCode::kUnimplemented:
      if (message.empty()) assign(message, "the server has no such method");
      if (call.known != nullptr) message = join({message, " (", releases_text(*call.known), ")"});
      break;
    default:
      flags = maybe_executed(result);
  }
  fail(call, grpc_status(static_cast<std::int32_t>(result.code)), flags, message);
}

// Whether another token is known than the one that the call was sent with; looks for one. Of many
// calls that were sent with the old one, the first finds the new.
bool Core::has_newer_token(const Call& call) noexcept {
  if (call.token_version == token_version_ &&
      (std::exchange(looked_for_token_, true) || !reload_token())) {
    return false;
  }
  if (is_ready() && current_->token_version() != token_version_) {
    try {
      current_->become_ready(metadata(true), token_version_);
    } catch (const std::bad_alloc&) {
      return false;  // the connection keeps the old one, until the next call is rejected
    }
  }
  return true;
}

bool Core::reload_token() noexcept {
  try {
    if (!credentials_.reload()) return false;
  } catch (const std::bad_alloc&) {
    return false;
  }
  ++token_version_;
  return true;
}

// The call ended without an answer.
void Core::settle_lost(Call& call, Call* before) noexcept {
  const CallResult& result = call.result;
  const bool never_ran = result.fate == Fate::kNeverRan;
  if (never_ran) {
    // At once the first time; then the call waits for a while, and holds up no other.
    const bool again = result.origin == Origin::kPeer && std::exchange(call.refused, true);
    if (!again || cluster_has_changed_) {
      send_again(call, before);
    } else if (waits_for_ready(call)) {
      hold_back(call, refused_, Call::Place::kRefused);
    } else {
      fail(call, Status::kUnavailable, kFlagLocal | kFlagRetryable,
           join({"the server refused the call's stream twice: ", result.message}));
    }
    return;
  }
  const bool unavailable =
      result.origin == Origin::kConnectionLost || result.code == StatusCode::kUnavailable;
  if (unavailable && may_send_again(call)) {
    ++call.may_have_run;
    send_again(call, before);
    return;
  }
  const Status status = result.origin == Origin::kConnectionLost
                            ? Status::kConnectionLost
                            : grpc_status(static_cast<std::int32_t>(result.code));
  fail(call, status, (unavailable ? kFlagRetryable : 0) | kFlagMaybeExecuted | kFlagLocal,
       result.message);
}

// From the link on which it has ended: as if it had not been sent, but counted.
void Core::take_back(Call& call) noexcept {
  status_.sent_again.add();
  counters(call).sent_again.add();
  call.stream = {};
  call.response.clear();
  call.result = {};
  call.link = nullptr;
}

// A passive GCS answers some questions and refuses everything else: such a call never ran, and
// waits apart, so that others go on. False if it is not to wait.
bool Core::hold_back_passive(Call& call) noexcept {
  if (!waits_for_ready(call) || cluster_has_changed_) return false;
  hold_back(call, passive_, Call::Place::kPassive);
  return true;
}

void Core::hold_back(Call& call, HeldBack& held, Call::Place place) noexcept {
  take_back(call);
  call.set_body({});
  call.forget_outcome();
  // Those that come later go with those that wait already.
  if (held.calls.empty()) held.until = now_ + held.back_off.next();
  call.place = place;
  held.calls.push_back(call);
}

bool Core::may_send_again(const Call& call) const noexcept {
  if (call.may_have_run >= kMostRepeats || call.retry == Retry::kNever) return false;
  return call.retry == Retry::kAlways || (call.known != nullptr && call.known->read_only);
}

void Core::send_again(Call& call, Call* before) noexcept {
  const std::string reason = std::move(call.result.message);
  take_back(call);
  if (cluster_has_changed_) {
    fail(call, Status::kClusterChanged, kFlagLocal, cluster_changed_);
    return;
  }
  if (!has_connection() && !waits_for_ready(call)) {
    const Status status = call.may_have_run > 0 ? Status::kConnectionLost : Status::kUnavailable;
    fail(call, status, kFlagLocal | kFlagRetryable, reason);
    return;
  }
  call.place = Call::Place::kWaiting;
  waiting_.insert_before(call, before);
}

}  // namespace gcs
