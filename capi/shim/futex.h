// SPDX-License-Identifier: Apache-2.0
//
// Threads that wait for a number in memory to change. The number is this process's own.
//
// Threads: any. A thread may be cancelled where it waits, and nowhere else.
#pragma once

#include <atomic>
#include <cstdint>

namespace gcs::shim {

// Waits until woken, at once if the word is not `seen` any more. 0; or EAGAIN, ETIMEDOUT, and EINTR
// whenever a signal handler has run, SA_RESTART or not. May return for nothing. `timeout` is in
// nanoseconds and not negative.
[[nodiscard]] int futex_wait(const std::atomic<std::uint32_t>& word, std::uint32_t seen,
                             std::int64_t timeout);

// Wakes every thread that waits for the word.
void futex_wake_all(const std::atomic<std::uint32_t>& word) noexcept;

}  // namespace gcs::shim
