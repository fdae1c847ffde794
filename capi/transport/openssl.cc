// SPDX-License-Identifier: Apache-2.0
//
// A fork and OpenSSL's clean-up wait for the threads that are inside OpenSSL, as long as it seems
// reasonable: then they go on, and the child may meet a lock that nobody will release.
#include "transport/openssl.h"

#include <pthread.h>
#include <time.h>

#include <atomic>
#include <cstdlib>

#include "transport/openssl_thread.h"

namespace gcs::transport {
namespace {

constexpr time_t kPatience = 1;  // seconds

// Held for reading inside OpenSSL, for writing over a fork, and from OpenSSL's end on. Never
// destroyed.
pthread_rwlock_t in_use = PTHREAD_RWLOCK_INITIALIZER;
thread_local bool held_over_fork = false;
std::atomic<bool> openssl_ends{false};

// What OpenSSL holds for a thread, it frees when the thread ends, at which nobody can make its
// clean-up wait, so that both may free the same. No thread leaves with something, therefore.
struct ThisThread {
  unsigned uses = 0;
  bool keeps_state = false;
  bool has_state = false;
};
thread_local ThisThread this_thread;

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
void keep_out() {
  if (!openssl_ends.exchange(true)) static_cast<void>(wait_until_unused());
}

// Behind the clean-up that the application may have registered, so that it runs before. If the
// process is ending already, that may be too late; then the clean-up itself calls it, once OpenSSL
// refuses most of what it is asked for.
int register_for_end() {
  static_cast<void>(std::atexit(keep_out));
  return OPENSSL_atexit(keep_out);
}

bool initialize() {
  return OPENSSL_init_ssl(OPENSSL_INIT_NO_ATEXIT, nullptr) == 1;
}

void after_fork_in_parent() {
  if (held_over_fork) pthread_rwlock_unlock(&in_use);
}

// The thread that holds the lock has another id here, and cannot release it.
void after_fork_in_child() {
  pthread_rwlock_init(&in_use, nullptr);
  // Which may be under another lock for ever.
  this_thread.has_state = false;
}

}  // namespace

bool begin_using_openssl() {
  [[maybe_unused]] static const int registered =
      pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
  if (openssl_ends) return false;
  const OpensslUse openssl;
  if (!initialize()) return false;
  [[maybe_unused]] static const int registered_for_end = register_for_end();
  // Refused once the clean-up has begun, which then may not know of the registration.
  return initialize();
}

OpensslUse::OpensslUse() noexcept {
  pthread_rwlock_rdlock(&in_use);
  ++this_thread.uses;
  this_thread.has_state = true;
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
  if (--this_thread.uses == 0 && !this_thread.keeps_state) {
    OPENSSL_thread_stop();
    this_thread.has_state = false;
  }
  pthread_rwlock_unlock(&in_use);
}

OpensslThread::OpensslThread() noexcept {
  this_thread.keeps_state = true;
}

OpensslThread::~OpensslThread() {
  this_thread.keeps_state = false;
  if (this_thread.has_state) const OpensslUse last;
}

}  // namespace gcs::transport
