// SPDX-License-Identifier: Apache-2.0
//
// What the library says about itself, and the proof that the numbers of the C API are those of the
// client.
#include <cstdint>
#include <string_view>

#include "client/call.h"
#include "client/client_options.h"
#include "client/client_status.h"
#include "client/event.h"
#include "client/log.h"
#include "client/ray_version.h"
#include "client/status.h"
#include "client/subscription.h"
#include "shim/boundary.h"
#include "shim/clock.h"

using namespace gcs::shim;
using gcs::Status;

namespace {

template <class Enum>
constexpr bool agree(long number, Enum twin) {
  return number == static_cast<long>(twin);
}

static_assert(agree(GCS_OK, Status::kOk));
static_assert(agree(GCS_INVALID_ARGUMENT, Status::kInvalidArgument));
static_assert(agree(GCS_BAD_HANDLE, Status::kBadHandle));
static_assert(agree(GCS_CLOSED, Status::kClosed));
static_assert(agree(GCS_CANCELLED, Status::kCancelled));
static_assert(agree(GCS_DEADLINE, Status::kDeadline));
static_assert(agree(GCS_CONNECTION_LOST, Status::kConnectionLost));
static_assert(agree(GCS_CLUSTER_CHANGED, Status::kClusterChanged));
static_assert(agree(GCS_FORKED, Status::kForked));
static_assert(agree(GCS_ABI, Status::kAbi));
static_assert(agree(GCS_NO_MEMORY, Status::kNoMemory));
static_assert(agree(GCS_WOULD_DEADLOCK, Status::kWouldDeadlock));
static_assert(agree(GCS_NOT_FOUND, Status::kNotFound));
static_assert(agree(GCS_LIMIT, Status::kLimit));
static_assert(agree(GCS_UNSUPPORTED, Status::kUnsupported));
static_assert(agree(GCS_INTERRUPTED, Status::kInterrupted));
static_assert(agree(GCS_INTERNAL, Status::kInternal));
static_assert(agree(GCS_UNAVAILABLE, Status::kUnavailable));
static_assert(agree(GCS_RAY_STATUS, Status::kRay));
static_assert(agree(GCS_RAY_NOT_FOUND, gcs::ray_status(gcs::kRayNotFound)));

static_assert(agree(GCS_FLAG_LOCAL, gcs::kFlagLocal));
static_assert(agree(GCS_FLAG_MAYBE_EXECUTED, gcs::kFlagMaybeExecuted));
static_assert(agree(GCS_FLAG_RETRYABLE, gcs::kFlagRetryable));
static_assert(agree(GCS_FLAG_TIMEOUT, gcs::kFlagTimeout));
static_assert(agree(GCS_FLAG_AUTH, gcs::kFlagAuth));

static_assert(agree(GCS_TIMEOUT_NONE, gcs::kTimeoutNone));
static_assert(agree(GCS_TIMEOUT_DEFAULT, gcs::kTimeoutDefault));

static_assert(agree(GCS_EVENT_CALL, gcs::EventKind::kCall));
static_assert(agree(GCS_EVENT_KV_GET, gcs::EventKind::kKvGet));
static_assert(agree(GCS_EVENT_KV_MULTI_GET, gcs::EventKind::kKvMultiGet));
static_assert(agree(GCS_EVENT_KV_PUT, gcs::EventKind::kKvPut));
static_assert(agree(GCS_EVENT_KV_DELETE, gcs::EventKind::kKvDelete));
static_assert(agree(GCS_EVENT_KV_DELETE_PREFIX, gcs::EventKind::kKvDeletePrefix));
static_assert(agree(GCS_EVENT_KV_EXISTS, gcs::EventKind::kKvExists));
static_assert(agree(GCS_EVENT_KV_KEYS, gcs::EventKind::kKvKeys));
static_assert(agree(GCS_EVENT_CONNECT, gcs::EventKind::kConnect));
static_assert(agree(GCS_EVENT_STATE, gcs::EventKind::kState));
static_assert(agree(GCS_EVENT_CLIENT_CLOSED, gcs::EventKind::kClientClosed));
static_assert(agree(GCS_EVENT_LOG, gcs::EventKind::kLog));
static_assert(agree(GCS_EVENT_RELEASE, gcs::EventKind::kRelease));
static_assert(agree(GCS_EVENT_SUBSCRIBED, gcs::EventKind::kSubscribed));
static_assert(agree(GCS_EVENT_MESSAGE, gcs::EventKind::kMessage));
static_assert(agree(GCS_EVENT_RESYNC, gcs::EventKind::kResync));
static_assert(agree(GCS_EVENT_SUBSCRIPTION_END, gcs::EventKind::kSubscriptionEnd));

static_assert(agree(GCS_POLICY_WAIT, gcs::Policy::kWait));
static_assert(agree(GCS_POLICY_DROP_OLDEST, gcs::Policy::kDropOldest));
static_assert(agree(GCS_POLICY_DROP_NEWEST, gcs::Policy::kDropNewest));

static_assert(agree(GCS_RESYNC_DROPPED, gcs::ResyncReason::kDropped));
static_assert(agree(GCS_RESYNC_RECONNECTED, gcs::ResyncReason::kReconnected));
static_assert(agree(GCS_RESYNC_TOO_LARGE, gcs::ResyncReason::kTooLarge));
static_assert(agree(GCS_RESYNC_EXPIRED, gcs::ResyncReason::kExpired));
static_assert(agree(GCS_RESYNC_RESTARTED, gcs::ResyncReason::kRestarted));

static_assert(agree(GCS_CLUSTER_CHANGE_ERROR, gcs::OnClusterChange::kError));
static_assert(agree(GCS_CLUSTER_CHANGE_ADOPT, gcs::OnClusterChange::kAdopt));

static_assert(agree(GCS_STATE_IDLE, gcs::State::kIdle));
static_assert(agree(GCS_STATE_CONNECTING, gcs::State::kConnecting));
static_assert(agree(GCS_STATE_READY, gcs::State::kReady));
static_assert(agree(GCS_STATE_LOST, gcs::State::kLost));
static_assert(agree(GCS_STATE_CLOSED, gcs::State::kClosed));

static_assert(agree(GCS_LOG_DEBUG, gcs::log::Level::kDebug));
static_assert(agree(GCS_LOG_INFO, gcs::log::Level::kInfo));
static_assert(agree(GCS_LOG_WARNING, gcs::log::Level::kWarning));
static_assert(agree(GCS_LOG_ERROR, gcs::log::Level::kError));
static_assert(agree(GCS_LOG_OFF, gcs::log::Level::kOff));

static_assert(sizeof(void*) == 8, "handles and packed records are made for 64-bit platforms");

constexpr std::string_view kFeatures[] = {"kv",  "packed", "ray_version", "subscriptions",
                                          "tls", "wake"};

}  // namespace

uint32_t gcs_abi_version(void) {
  return GCS_ABI_VERSION;
}

gcs_status gcs_abi_check(uint32_t header_version) {
  return guarded([&] {
    const bool serves = header_version != 0 && header_version <= GCS_ABI_VERSION;
    return serves ? Status::kOk : Status::kAbi;
  });
}

const char* gcs_version(void) {
  return GCS_VERSION;
}

int32_t gcs_has_feature(const char* name) {
  return guarded_value<int32_t>(0, [&] {
    if (name == nullptr) return 0;
    for (const std::string_view feature : kFeatures) {
      if (feature == name) return 1;
    }
    return 0;
  });
}

const char* gcs_status_name(gcs_status status) {
  return guarded_value("UNKNOWN_STATUS",
                       [&] { return gcs::status_name(static_cast<Status>(status)); });
}

gcs_status gcs_status_at(size_t index, gcs_status* out_status) {
  return guarded([&] {
    if (out_status == nullptr) return Status::kInvalidArgument;
    Status status = Status::kOk;
    if (!gcs::status_at(index, &status)) return Status::kNotFound;
    *out_status = c_status(status);
    return Status::kOk;
  });
}

uint32_t gcs_ray_version_number(const char* text) {
  return guarded_value<uint32_t>(
      0, [&] { return text == nullptr ? 0u : gcs::ray_version_number(text); });
}

int64_t gcs_now(void) {
  return guarded_value<int64_t>(0, [] { return monotonic_now(); });
}
