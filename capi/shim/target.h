// SPDX-License-Identifier: Apache-2.0
//
// A completion target, resolved when something is submitted: the library's own queue, or any other
// function.
#pragma once

#include "client/event.h"
#include "client/status.h"
#include "gcs_capi.h"
#include "shim/completion_queue.h"

namespace gcs::shim {

struct Target {
  SinkReference sink;
  CompletionQueue* queue = nullptr;  // what `sink` is, if it is a queue
  void (*function)() = nullptr;
  void* user = nullptr;

  // To be called when what was to end here has been submitted.
  void submitted() const noexcept {
    if (queue != nullptr) queue->cancel_if_closed();
  }
  void apply_to(Event& event) const noexcept {
    event.sink = sink;
    event.target_function = function;
    event.target_user = user;
  }
};

// Counts the events of refused calls that go there. Throws std::bad_alloc.
std::shared_ptr<RefusedCount> refused_count(const Target& target);

// A function, whatever it is.
Target callback_target(gcs_completion_fn fn, void* user) noexcept;

// kInvalidArgument without a function; for a queue kBadHandle, kForked.
Refusal resolve_target(gcs_completion_fn fn, void* user, Target* target);

}  // namespace gcs::shim
