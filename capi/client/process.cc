// SPDX-License-Identifier: Apache-2.0
#include "client/process.h"

#include <pthread.h>

#include <atomic>

namespace gcs {
namespace {

std::atomic<std::uint64_t> next{1};
std::atomic<std::uint32_t> generation{0};

void count_fork() {
  generation.fetch_add(1, std::memory_order_relaxed);
}

// At load time, so that no fork can come before it.
[[maybe_unused]] const int registered = pthread_atfork(nullptr, nullptr, count_fork);

}  // namespace

std::uint64_t reserve_ids(std::uint64_t count) noexcept {
  return next.fetch_add(count, std::memory_order_relaxed);
}

std::uint64_t next_id() noexcept {
  return next.load(std::memory_order_relaxed);
}

std::uint32_t fork_generation() noexcept {
  return generation.load(std::memory_order_relaxed);
}

}  // namespace gcs
