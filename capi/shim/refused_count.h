// SPDX-License-Identifier: Apache-2.0
//
// How many events of refused calls are on their way to one place, and have not been taken there.
//
// Threads: any.
#pragma once

#include <atomic>
#include <cstdint>

namespace gcs::shim {

class RefusedCount {
 public:
  void add() noexcept { count_.fetch_add(1, std::memory_order_relaxed); }
  void remove() noexcept { count_.fetch_sub(1, std::memory_order_relaxed); }
  // Nothing that would add to them is to be accepted.
  bool is_full() const noexcept { return count_.load(std::memory_order_relaxed) >= kMost; }

 private:
  static constexpr std::uint64_t kMost = 100'000;  // of some hundred bytes each

  std::atomic<std::uint64_t> count_{0};
};

}  // namespace gcs::shim
