// SPDX-License-Identifier: Apache-2.0
#include "shim/target.h"

#include "client/process.h"
#include "shim/callback_sink.h"
#include "shim/handles.h"

namespace gcs::shim {

std::shared_ptr<RefusedCount> refused_count(const Target& target) {
  if (target.queue != nullptr) return target.queue->refused();
  struct ForAllFunctions {
    const std::shared_ptr<RefusedCount> count = std::make_shared<RefusedCount>();
  };
  return per_process<ForAllFunctions>().count;
}

Target callback_target(gcs_completion_fn fn, void* user) noexcept {
  return {SinkReference(&CallbackSink::instance()), nullptr, reinterpret_cast<void (*)()>(fn),
          user};
}

Refusal resolve_target(gcs_completion_fn fn, void* user, Target* target) {
  if (fn == nullptr) return refuse_argument("the completion function is NULL");
  if (fn != gcs_queue_push) {
    *target = callback_target(fn, user);
    return {};
  }
  PinnedQueue queue;
  const Status status = queue.find(reinterpret_cast<std::uintptr_t>(user));
  if (status != Status::kOk) return refuse_handle(status, "completion queue");
  *target = {SinkReference(&*queue), &*queue, nullptr, nullptr};
  return {};
}

}  // namespace gcs::shim
