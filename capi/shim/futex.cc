// SPDX-License-Identifier: Apache-2.0
#include "shim/futex.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <ctime>

namespace gcs::shim {

static_assert(std::atomic<std::uint32_t>::is_always_lock_free &&
              sizeof(std::atomic<std::uint32_t>) == sizeof(std::uint32_t));

// The C library has no function for it, so this is no cancellation point unless it is made one. The
// unwinding may begin inside of the system call, where the compiler expects none: so nothing here
// has a destructor, no sanitizer adds what acts like one, and no argument lies on the stack.
__attribute__((noinline, no_sanitize("thread", "address", "undefined"))) int futex_wait(
    const std::atomic<std::uint32_t>& word, std::uint32_t seen, std::int64_t timeout) {
  constexpr std::int64_t kSecond = 1'000'000'000;
  // Never without a timeout: the kernel would go on waiting behind a handler with SA_RESTART.
  constexpr std::int64_t kLongest = std::int64_t{1} << 60;
  const std::int64_t patience = std::min(timeout, kLongest);
  const timespec relative{patience / kSecond, patience % kSecond};
  int before = PTHREAD_CANCEL_DEFERRED;
  pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &before);
  const long result = ::syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, seen, &relative);
  const int error = result < 0 ? errno : 0;
  pthread_setcanceltype(before, nullptr);
  return error;
}

void futex_wake_all(const std::atomic<std::uint32_t>& word) noexcept {
  static_cast<void>(::syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, INT_MAX));
}

}  // namespace gcs::shim
