// SPDX-License-Identifier: Apache-2.0
//
// The library's log. A record may be made anywhere, deep inside the client or inside
// gcs_log_set_target() itself, so that a function of the application gets it by the I/O thread.
#include "client/log.h"

#include <utility>

#include "shim/boundary.h"
#include "shim/callback_sink.h"
#include "shim/objects.h"
#include "shim/target.h"

using namespace gcs::shim;
using gcs::Refusal;
using gcs::Status;

gcs_status gcs_log_set_level(int32_t level) {
  return guarded([&] {
    if (level < 0 || level > GCS_LOG_OFF) return Status::kInvalidArgument;
    gcs::log::set_level(static_cast<gcs::log::Level>(level));
    return Status::kOk;
  });
}

gcs_status gcs_log_set_target(gcs_completion_fn fn, void* user) {
  return guarded([&] {
    if (fn == nullptr) {
      gcs::log::set_target({}, nullptr, nullptr);
      return Status::kOk;
    }
    Target target;
    if (const Refusal refusal = resolve_target(fn, user, &target)) return refusal.status;
    if (target.queue == nullptr) {
      target.sink = gcs::SinkReference(&DeferredCallbackSink::instance());
    }
    gcs::log::set_target(std::move(target.sink), target.function, target.user);
    return Status::kOk;
  });
}

gcs_status gcs_log_drain(gcs_event** events, size_t capacity, size_t* out_count) {
  return guarded([&] {
    if (out_count == nullptr) return Status::kInvalidArgument;
    *out_count = 0;
    if (events == nullptr && capacity != 0) return Status::kInvalidArgument;
    gcs::EventList records = gcs::log::take(capacity);
    while (auto record = records.pop_front())
      events[(*out_count)++] = event_to_c(std::move(record));
    return Status::kOk;
  });
}
