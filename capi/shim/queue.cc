// SPDX-License-Identifier: Apache-2.0
//
// The functions of a completion queue, but for the packed ones. Wake and release functions of the
// application run after guarded() has returned.
#include <cstdint>
#include <memory>
#include <utility>

#include "client/runtime.h"
#include "shim/boundary.h"
#include "shim/callback.h"
#include "shim/handles.h"
#include "shim/lent_body.h"
#include "shim/options.h"
#include "shim/sized.h"

using namespace gcs::shim;
using gcs::EventList;
using gcs::Refusal;
using gcs::Status;

gcs_status gcs_queue_create(const gcs_queue_options* options, gcs_queue* out_queue,
                            gcs_error** out_error) {
  if (out_queue != nullptr) *out_queue = 0;
  return guarded(out_error, [&]() -> Refusal {
    if (out_queue == nullptr) return refuse_argument("out_queue is NULL");
    gcs_queue_options wanted{};
    if (options != nullptr) {
      const Status status = read_struct(options, options->struct_size, &wanted);
      if (status != Status::kOk) {
        return refuse(status, "gcs_queue_options and this library do not fit together");
      }
    }
    HandleTable::Reservation reservation = HandleTable::current().reserve(HandleType::kQueue);
    auto object =
        std::make_unique<QueueHandle>(CompletionQueue::create(wanted.wake, wanted.wake_user));
    *out_queue = reservation.publish(std::move(object));
    return {};
  });
}

gcs_status gcs_queue_fd(gcs_queue queue, int32_t* out_fd) {
  return guarded([&] {
    if (out_fd == nullptr) return Status::kInvalidArgument;
    *out_fd = -1;
    PinnedQueue pinned;
    if (const Status status = pinned.find(queue); status != Status::kOk) return status;
    if (pinned->has_wake()) return Status::kNotFound;
    *out_fd = pinned->descriptor();
    return Status::kOk;
  });
}

void gcs_queue_push(void* user, gcs_event* event) {
  if (event == nullptr) return;
  std::unique_ptr<gcs::Event> owned(from_c(event));
  PinnedQueue pinned;
  guarded([&] { return pinned.find(reinterpret_cast<std::uintptr_t>(user)); });
  if (pinned) pinned->deliver_one(std::move(owned));
}

gcs_status gcs_queue_drain(gcs_queue queue, gcs_event** events, size_t capacity,
                           size_t* out_count) {
  PinnedQueue pinned;
  EventList due;
  const gcs_status status = guarded([&] {
    if (out_count == nullptr) return Status::kInvalidArgument;
    *out_count = 0;
    if (events == nullptr && capacity != 0) return Status::kInvalidArgument;
    if (const Status refused = pinned.find(queue); refused != Status::kOk) return refused;
    *out_count = pinned->take({events, capacity}, &due);
    return Status::kOk;
  });
  if (!due.empty()) run_releases(*pinned, std::move(due));
  return status;
}

gcs_status gcs_queue_wait(gcs_queue queue, int64_t timeout) {
  return guarded_wait([&] {
    if (!is_waiting_time(timeout)) return Status::kInvalidArgument;
    if (gcs::Runtime::on_library_thread()) return Status::kWouldDeadlock;
    PinnedQueue pinned;
    const Status status = pinned.find(queue);
    return status == Status::kOk ? pinned->wait(timeout) : status;
  });
}

gcs_status gcs_queue_close(gcs_queue queue) {
  PinnedQueue pinned;
  const gcs_status status = guarded([&] { return pinned.close(queue); });
  if (pinned) pinned->close();
  return status;
}

gcs_status gcs_queue_destroy(gcs_queue queue, int64_t timeout) {
  std::shared_ptr<Gate> gate;
  {
    PinnedQueue pinned;
    const gcs_status status = guarded([&] {
      if (!is_waiting_time(timeout)) return Status::kInvalidArgument;
      // A wake or release function runs while the queue is in use.
      if (gcs::Runtime::on_library_thread() || CallbackScope::active()) {
        return Status::kWouldDeadlock;
      }
      return pinned.close(queue);
    });
    if (!pinned) return status;
    gate = pinned->gate();
    pinned->close();
  }
  return guarded([&] { return gate->wait(timeout) ? Status::kOk : Status::kDeadline; });
}
