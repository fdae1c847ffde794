// SPDX-License-Identifier: Apache-2.0
//
// How long to stay away from a server that fails: not at all the first time, then a random part of
// 50 ms, 100 ms, ... up to 2 s (full jitter, so that a thousand clients of a restarted server do
// not come at once). Only a completed call resets it: a server that accepts connections and then
// drops them is not well.
//
// Threads: whoever has the loop's turn.
#pragma once

#include <algorithm>
#include <cstdint>
#include <random>

namespace gcs {

class BackOff {
 public:
  explicit BackOff(std::uint64_t seed) : random_(seed) {}

  // Nanoseconds to wait before the next attempt; counts it.
  std::int64_t next() {
    const std::uint32_t attempt = failures_++;
    if (attempt == 0) return 0;
    constexpr std::int64_t kFirst = 50'000'000;
    constexpr std::int64_t kLongest = 2'000'000'000;
    constexpr std::uint32_t kDoublings = 6;  // past it the longest is reached
    const std::int64_t bound = std::min(kLongest, kFirst << std::min(attempt - 1, kDoublings));
    return std::uniform_int_distribution<std::int64_t>(0, bound)(random_);
  }
  void reset() noexcept { failures_ = 0; }

 private:
  std::uint32_t failures_ = 0;
  std::minstd_rand random_;
};

}  // namespace gcs
