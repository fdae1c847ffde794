// SPDX-License-Identifier: Apache-2.0
#include "client/subscription_host.h"

#include <algorithm>
#include <array>

#include "client/process.h"

namespace gcs {

std::unique_ptr<Call> make_question(Asker& asker, std::uint32_t method, std::string_view request,
                                    std::int64_t timeout) {
  auto call = Call::make(EventKind::kCall, *find_method(method));
  call->id = reserve_ids(1);
  call->asker = &asker;
  call->timeout = timeout;
  call->wait_for_ready = 1;
  call->copy_request({reinterpret_cast<const std::uint8_t*>(request.data()), request.size()});
  return call;
}

bool is_transient(const Call& answer) noexcept {
  using transport::StatusCode;
  constexpr auto kOfServer = [](StatusCode code) {
    return grpc_status(static_cast<std::int32_t>(code));
  };
  constexpr std::array kTransient{
      Status::kConnectionLost,
      Status::kUnavailable,
      Status::kDeadline,
      Status::kNoMemory,
      kOfServer(StatusCode::kCancelled),
      kOfServer(StatusCode::kDeadlineExceeded),
      kOfServer(StatusCode::kUnavailable),
  };
  if (std::find(kTransient.begin(), kTransient.end(), answer.status) != kTransient.end())
    return true;
  return answer.status == Status::kUnsupported && (answer.flags & kFlagRetryable) != 0;
}

}  // namespace gcs
