// SPDX-License-Identifier: Apache-2.0
//
// Marks the time during which a function of the application runs on this thread, so that it cannot
// wait there for what only its own return would bring about.
#pragma once

namespace gcs::shim {

class CallbackScope {
 public:
  CallbackScope() noexcept { ++depth_; }
  CallbackScope(const CallbackScope&) = delete;
  CallbackScope& operator=(const CallbackScope&) = delete;
  ~CallbackScope() { --depth_; }
  static bool active() noexcept { return depth_ != 0; }

 private:
  static inline thread_local unsigned depth_ = 0;
};

}  // namespace gcs::shim
