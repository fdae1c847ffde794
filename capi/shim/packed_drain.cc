// SPDX-License-Identifier: Apache-2.0
//
// Many events into one block of records and bytes. The queue's lock is taken twice, to move lists:
// the packing itself is done without it, while nobody else takes. Lent bodies that have come due
// are released after guarded() has returned.
#include <algorithm>
#include <utility>

#include "client/log.h"
#include "client/runtime.h"
#include "shim/boundary.h"
#include "shim/clock.h"
#include "shim/handles.h"
#include "shim/lent_body.h"
#include "shim/options.h"
#include "shim/packed_format.h"

using namespace gcs::shim;
using gcs::EventList;
using gcs::Status;

namespace {

// What one pass takes out of the queue, and what has to be done outside of it.
struct Pass {
  EventList due;
  EventList discarded;
};

void pack(CompletionQueue& queue, EventPacker& packer, Pass* pass, gcs_packed_drain* out) {
  const auto drain = queue.begin_drain();
  EventList events = queue.take_all();
  packer.pack(events, pass->due);
  out->more = queue.give_back(std::move(events), &pass->discarded) ? 1 : 0;
  out->count = packer.count();
  out->arena_used = packer.arena_used();
}

}  // namespace

gcs_status gcs_queue_drain_packed(gcs_queue queue, int64_t timeout, gcs_packed_event* events,
                                  size_t capacity, void* arena, size_t arena_size,
                                  gcs_packed_drain* out_drain) {
  PinnedQueue pinned;
  gcs_status status = guarded([&] {
    if (out_drain == nullptr) return Status::kInvalidArgument;
    *out_drain = {};
    if (events == nullptr || capacity == 0 || arena == nullptr ||
        arena_size < GCS_PACKED_ARENA_MIN || !is_waiting_time(timeout)) {
      return Status::kInvalidArgument;
    }
    if (timeout != 0 && gcs::Runtime::on_library_thread()) return Status::kWouldDeadlock;
    return pinned.find(queue);
  });
  if (status != GCS_OK) return status;
  EventPacker packer({events, capacity}, {static_cast<std::uint8_t*>(arena), arena_size});
  const std::int64_t until = timeout > 0 ? deadline_after(timeout) : kForever;
  std::int64_t left = timeout;
  for (;;) {
    Pass pass;
    status = guarded_wait([&] {
      if (left != 0) {
        if (const Status waited = pinned->wait(left); waited != Status::kOk) return waited;
      }
      pack(*pinned, packer, &pass, out_drain);
      return Status::kOk;
    });
    run_releases(*pinned, std::move(pass.due));
    discard(std::move(pass.discarded));
    // Only lent bodies came due: that is no event to wait for.
    if (status != GCS_OK || packer.count() != 0 || left == 0) break;
    if (timeout > 0) left = std::max<std::int64_t>(until - monotonic_now(), 1);
  }
  out_drain->log_waiting = gcs::log::waiting() ? 1 : 0;
  return status;
}
