// SPDX-License-Identifier: Apache-2.0
//
// A fork and the end of the process wait for the threads that are inside OpenSSL, as long as it
// seems reasonable: then they go on, and the child may meet a lock that nobody will release.
#include "transport/openssl.h"

#include <pthread.h>
#include <time.h>

#include <atomic>
#include <cstdlib>

namespace gcs::transport {
namespace {

constexpr time_t kPatience = 1;  // seconds

// Held for reading inside OpenSSL, for writing over a fork, and from the process's end on. Never
// destroyed.
pthread_rwlock_t in_use = PTHREAD_RWLOCK_INITIALIZER;
thread_local bool held_over_fork = false;
std::atomic<bool> process_ends{false};

bool wait_until_unused() {
  timespec deadline{};
  clock_gettime(CLOCK_REALTIME, &deadline);
  deadline.tv_sec += kPatience;
  return pthread_rwlock_timedwrlock(&in_use, &deadline) == 0;
}

void before_fork() {
  held_over_fork = wait_until_unused();
}

// Not released: a thread that comes now waits for the end.
void keep_out_at_exit() {
  process_ends = true;
  static_cast<void>(wait_until_unused());
}

void after_fork_in_parent() {
  if (held_over_fork) pthread_rwlock_unlock(&in_use);
}

// The thread that holds the lock has another id here, and cannot release it.
void after_fork_in_child() {
  pthread_rwlock_init(&in_use, nullptr);
}

}  // namespace

bool begin_using_openssl() {
  [[maybe_unused]] static const int registered =
      pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
  if (process_ends) return false;
  pthread_rwlock_rdlock(&in_use);
  OPENSSL_init_ssl(OPENSSL_INIT_NO_ATEXIT, nullptr);
  pthread_rwlock_unlock(&in_use);
  // Behind the clean-up that the application may have registered, so that it runs before.
  [[maybe_unused]] static const int registered_for_exit = std::atexit(keep_out_at_exit);
  return true;
}

OpensslUse::OpensslUse() noexcept {
  pthread_rwlock_rdlock(&in_use);
  ERR_clear_error();
}

bool OpensslUse::lacked_memory() const noexcept {
  bool lacked = false;
  while (const unsigned long error = ERR_get_error()) {
    lacked |= ERR_GET_REASON(error) == ERR_R_MALLOC_FAILURE;
  }
  return lacked;
}

OpensslUse::~OpensslUse() {
  ERR_clear_error();
  pthread_rwlock_unlock(&in_use);
}

}  // namespace gcs::transport
