// SPDX-License-Identifier: Apache-2.0
//
// The options structs of the C API: their defaults, and what the values in them mean to the client.
#pragma once

#include <cstdint>

#include "client/call.h"
#include "client/gcs_client.h"
#include "client/status.h"
#include "client/subscription.h"
#include "gcs_capi.h"

namespace gcs::shim {

gcs_client_options default_client_options() noexcept;
gcs_call_options default_call_options() noexcept;
gcs_subscribe_options default_subscribe_options() noexcept;

// Everything but what the client itself checks: the address, the cluster id, the token.
Refusal read_client_options(const gcs_client_options* given, ClientOptions* out);

// What one call asks for.
struct CallOptions {
  std::int64_t timeout = kTimeoutDefault;
  std::int8_t wait_for_ready = -1;
  Retry retry = Retry::kSafe;
  std::uint32_t ray_version = 0;

  void apply_to(Call& call) const noexcept {
    call.timeout = timeout;
    call.wait_for_ready = wait_for_ready;
    call.retry = retry;
    call.ray_version = ray_version;
  }
};
// `given` may be null.
Refusal read_call_options(const gcs_call_options* given, CallOptions* out);

// What a subscription asks for; `drop` has release and user set. `given` may be null.
Refusal read_subscribe_options(const gcs_subscribe_options* given, SubscriptionOptions* out,
                               CallOptions* call, gcs_body* drop);

// A time of the C API: not negative, GCS_TIMEOUT_NONE or GCS_TIMEOUT_DEFAULT.
constexpr bool is_timeout(std::int64_t timeout) noexcept {
  return timeout >= kTimeoutDefault;
}
// The same where there is no default.
constexpr bool is_waiting_time(std::int64_t timeout) noexcept {
  return timeout >= kTimeoutNone;
}

}  // namespace gcs::shim
