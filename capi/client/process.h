// SPDX-License-Identifier: Apache-2.0
//
// What the process as a whole has: the ids of calls, how often it was forked, and state that a fork
// starts afresh.
//
// Threads: everything here is atomic and may be called from anywhere, also in the child of a fork.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

namespace gcs {

// The first of `count` ids; they are unique in the process, and never 0.
std::uint64_t reserve_ids(std::uint64_t count) noexcept;
// The id that the next reservation begins with: every id below it is reserved.
std::uint64_t next_id() noexcept;

// 0 in the first process, one more in every child of a fork. What was made under another generation
// must not be touched.
std::uint32_t fork_generation() noexcept;

// The process's one T, made on first use and never destroyed. The child of a fork gets another: the
// inherited one may have been locked by a thread that does not exist there. Throws what T's
// constructor throws.
template <class T>
T& per_process() {
  struct Instance {
    std::uint32_t generation;
    T value;
  };
  static std::atomic<Instance*> current{nullptr};
  const std::uint32_t generation = fork_generation();
  Instance* seen = current.load(std::memory_order_acquire);
  if (seen != nullptr && seen->generation == generation) return seen->value;
  auto made = std::make_unique<Instance>();
  made->generation = generation;
  while (seen == nullptr || seen->generation != generation) {
    if (current.compare_exchange_weak(seen, made.get(), std::memory_order_acq_rel))
      return made.release()->value;
  }
  return seen->value;
}

}  // namespace gcs
