// SPDX-License-Identifier: Apache-2.0
//
// Calls that were made for one release of Ray: requests and replies are laid out differently by
// different releases, and a server may come back as another one behind a client's back.
//
// Invariants:
// - Nothing is asked before there is such a call. Then the server is asked with CheckAlive, which
//   every release answers in the same way, and every later connection is asked when it is ready.
// - While calls are held back, either the question is open or the time is set at which they go back
//   to those that wait; so they do when the connection is given up.
#include <new>
#include <string>
#include <utility>

#include "client/core.h"
#include "client/ray_version.h"
#include "client/reply.h"
#include "client/text.h"
#include "transport/grpc_text.h"

namespace gcs {

using transport::Origin;
using transport::StatusCode;

namespace {

// Whether the answer to CheckAlive names a release. Throws std::bad_alloc.
bool take_version(Link& link, const Call& answer) {
  const auto text = read_ray_version(answer.response.bytes());
  const std::uint32_t number = text ? ray_version_number(*text) : 0;
  if (number == 0) return false;
  constexpr std::size_t kLongest = 100;  // Ray's own has some twenty
  const bool readable = text->size() <= kLongest && is_text(*text);
  link.set_version(number, readable ? transport::printable(*text) : ray_version_text(number));
  return true;
}

}  // namespace

// The first of those that wait cannot be sent on this connection: the server is of another release,
// or has not said of which. The latter waits apart.
void Core::settle_version(Call& call) noexcept {
  if (current_->version() != 0) {
    fail(call, Status::kUnsupported, kFlagLocal | kFlagRetryable,
         join({"the server is Ray ", current_->version_text(),
               " now, and the request was made for Ray ", ray_version_text(call.ray_version)}));
    return;
  }
  wants_version_ = true;
  const bool is_first = unversioned_.calls.empty();
  waiting_.erase(call);
  call.place = Call::Place::kUnversioned;
  unversioned_.calls.push_back(call);
  // While the answer is on its way, it is not asked for again.
  if (is_first && current_->version_deadline == transport::kNever) ask_version();
}

void Core::ask_version() noexcept {
  try {
    current_->ask_version();
  } catch (const std::bad_alloc&) {
    version_failed("out of memory");
    return;
  }
  unversioned_.until = transport::kNever;
  current_->version_deadline = now_ + connection_options_.connect_timeout;
  current_->note_waiting(now_);
}

void Core::link_versioned(Link& link, Call& answer) noexcept {
  // With the connection gone, link_ended() follows, which puts back who waits.
  if (answer.result.origin == Origin::kConnectionLost || &link != current_.get()) return;
  begin_pass();
  link.version_deadline = transport::kNever;
  const auto& result = answer.result;
  const bool answered = result.origin == Origin::kServer;
  if (answered && result.code == StatusCode::kOk) {
    read_version(link, answer);
  } else if (answered && is_wrong_cluster(result)) {
    version_failed(result.message);
    if (link.phase() == Link::Phase::kReady) ask_identity(link);
  } else if (answered && result.code == StatusCode::kUnauthenticated) {
    if (has_newer_token(answer)) {
      ask_version();
    } else {
      fail_unversioned(grpc_status(static_cast<std::int32_t>(result.code)), kFlagAuth,
                       join({result.message, " (", credentials_.where_looked(), ")"}));
    }
  } else if (answered && result.code == StatusCode::kUnimplemented) {
    fail_unversioned(
        Status::kUnsupported, kFlagLocal,
        "the server has no method CheckAlive, and the request was made for one release "
        "of Ray; is this the address of a GCS?");
  } else {
    version_failed(result.message);
  }
  pump();
  end_pass();
}

void Core::read_version(Link& link, const Call& answer) noexcept {
  try {
    const auto status = read_status(answer.response.bytes(), answer.known->status_field);
    if (status && status->code != 0) {
      version_failed(status->message);
      return;
    }
    if (!status || !take_version(link, answer)) {
      fail_unversioned(Status::kUnsupported, kFlagLocal,
                       "the answer to CheckAlive names no release of Ray, and the request was made "
                       "for one; is this the address of a GCS?");
      return;
    }
  } catch (const std::bad_alloc&) {
    version_failed("out of memory");
    return;
  }
  version_problem_.clear();
  unversioned_.back_off.reset();
  put_back(unversioned_);
}

// Behind a proxy that keeps the connection the server may have been replaced, which whoever asks it
// finds out for all.
void Core::renew_version(Link& link, const Call& answer) noexcept {
  if (link.version() == 0) return;
  try {
    take_version(link, answer);
  } catch (const std::bad_alloc&) {
    link.set_version(0, {});  // it is asked when it is needed
  }
}

// It is asked again after a while, for those that have the time.
void Core::version_failed(std::string_view why) noexcept {
  version_problem_ = join({"CheckAlive, which tells the server's release of Ray, failed: ", why});
  unversioned_.until = now_ + unversioned_.back_off.next();
  for (Call* call = unversioned_.calls.front(); call != nullptr;) {
    Call* next = call->waiting_next;
    if (!waits_for_ready(*call)) {
      fail(*call, Status::kUnavailable, kFlagLocal | kFlagRetryable, version_problem_);
    }
    call = next;
  }
}

void Core::version_unanswered() noexcept {
  if (!current_ || current_->version_deadline > now_) return;
  current_->drop_version_question();
  version_failed(join({"no answer within ", seconds_text(connection_options_.connect_timeout)}));
}

void Core::fail_unversioned(Status status, std::uint32_t flags, std::string_view message) noexcept {
  while (Call* call = unversioned_.calls.front()) fail(*call, status, flags, message);
}

}  // namespace gcs
