// SPDX-License-Identifier: Apache-2.0
//
// Marks the time during which a function of the application runs on this thread, so that it cannot
// wait there for what only its own return would bring about. In the child of a fork that it makes
// there is nothing of that kind.
#pragma once

#include <cstdint>
#include <utility>

#include "client/process.h"

namespace gcs::shim {

class CallbackScope {
 public:
  CallbackScope() noexcept : before_(std::exchange(running_in_, 1 + fork_generation())) {}
  CallbackScope(const CallbackScope&) = delete;
  CallbackScope& operator=(const CallbackScope&) = delete;
  ~CallbackScope() { running_in_ = before_; }
  static bool active() noexcept { return running_in_ == 1 + fork_generation(); }

 private:
  // 1 + the fork generation of the process; 0: none runs.
  static inline thread_local std::uint32_t running_in_ = 0;

  const std::uint32_t before_;
};

}  // namespace gcs::shim
