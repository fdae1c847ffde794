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

  void apply_to(Event& event) const noexcept {
    event.sink = sink;
    event.target_function = function;
    event.target_user = user;
  }
};

// A function, whatever it is.
Target callback_target(gcs_completion_fn fn, void* user) noexcept;

// kInvalidArgument without a function; for a queue kBadHandle, kForked.
Refusal resolve_target(gcs_completion_fn fn, void* user, Target* target);

}  // namespace gcs::shim
