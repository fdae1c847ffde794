// SPDX-License-Identifier: Apache-2.0
//
// The monotonic clock, and times of the C API as moments on it.
#pragma once

#include <time.h>

#include <cstdint>
#include <limits>

namespace gcs::shim {

inline constexpr std::int64_t kForever = std::numeric_limits<std::int64_t>::max();

// CLOCK_MONOTONIC, which is also what std::chrono::steady_clock and the event loop read.
inline std::int64_t monotonic_now() noexcept {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::int64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec;
}

// `timeout` is not negative.
inline std::int64_t deadline_after(std::int64_t timeout) noexcept {
  const std::int64_t now = monotonic_now();
  return timeout > kForever - now ? kForever : now + timeout;
}

}  // namespace gcs::shim
