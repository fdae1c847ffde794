// SPDX-License-Identifier: Apache-2.0
//
// Invariants:
// - A fork and OpenSSL's clean-up wait for the threads that are inside OpenSSL, as long as it seems
//   reasonable: then they go on, and the child may meet a lock that nobody will release.
// - What OpenSSL holds for a thread that we brought in is given back before the thread ends, from
//   inside. OpenSSL's own way to free it begins later, where nobody can make the clean-up wait,
//   which frees the same.
// - A thread that is waited for never waits here itself: it has the lock once, however often it
//   enters.
#include "transport/openssl.h"

#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>

namespace gcs::transport {
namespace {

constexpr time_t kPatience = 1;  // seconds

// Held for reading inside OpenSSL, for writing over a fork, and from OpenSSL's end on. Who waits to
// write comes before who wants to read: a fork does not wait for threads that keep coming back.
// Never destroyed.
constexpr pthread_rwlock_t kUnused = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;
pthread_rwlock_t in_use = kUnused;
std::atomic<bool> openssl_ends{false};
// It went on without the lock.
std::atomic<bool> impatient_end{false};

struct ThisThread {
  unsigned uses = 0;
  bool holds_lock = false;  // while uses > 0, but for the thread that has closed it for ever
  bool has_state = false;
  bool held_over_fork = false;
};
constinit thread_local ThisThread this_thread;

timespec end_of_patience() {
  timespec deadline{};
  clock_gettime(CLOCK_REALTIME, &deadline);
  deadline.tv_sec += kPatience;
  return deadline;
}

bool wait_until_unused() {
  const timespec deadline = end_of_patience();
  return pthread_rwlock_timedwrlock(&in_use, &deadline) == 0;
}

void before_fork() {
  this_thread.held_over_fork = wait_until_unused();
}

void after_fork_in_parent() {
  if (this_thread.held_over_fork) pthread_rwlock_unlock(&in_use);
}

// The thread that holds the lock has another id here, and cannot release it.
void after_fork_in_child() {
  in_use = kUnused;
}

[[maybe_unused]] const int registered =
    pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);

// Not released: a thread that comes now waits for the end.
void keep_out() {
  if (!openssl_ends.exchange(true) && !wait_until_unused()) impatient_end = true;
}

// Behind the clean-up that the application may have registered, so that it runs before. If the
// process is ending already, that may be too late; then the clean-up itself calls it, once OpenSSL
// refuses most of what it is asked for.
int register_for_end() {
  static_cast<void>(std::atexit(keep_out));
  return OPENSSL_atexit(keep_out);
}

// False once the clean-up has begun. Takes none of OpenSSL's locks then, which are being freed.
bool initialize() {
  return OPENSSL_init_ssl(OPENSSL_INIT_NO_ATEXIT, nullptr) == 1;
}

// Of a thread, at its end: before the keys of other libraries, OpenSSL's among them.
struct Departure {
  ~Departure() {
    // The main thread is the one that cleans up.
    if (!this_thread.has_state || ::gettid() == ::getpid()) return;
    const timespec deadline = end_of_patience();
    if (pthread_rwlock_timedrdlock(&in_use, &deadline) != 0) return;
    if (!impatient_end) OPENSSL_thread_stop();
    pthread_rwlock_unlock(&in_use);
  }
};

}  // namespace

bool begin_using_openssl() {
  if (openssl_ends) return false;
  pthread_rwlock_rdlock(&in_use);
  const bool usable = initialize();
  pthread_rwlock_unlock(&in_use);
  if (!usable) return false;
  const OpensslUse openssl;
  [[maybe_unused]] static const int registered_for_end = register_for_end();
  // The clean-up that has begun meanwhile may not know of the registration.
  if (initialize()) return true;
  this_thread.has_state = false;
  return false;
}

OpensslUse::OpensslUse() noexcept {
  if (this_thread.uses++ == 0) {
    // Refused to the thread that has it for writing, which is in the clean-up.
    this_thread.holds_lock = pthread_rwlock_rdlock(&in_use) == 0;
    this_thread.has_state = true;
    [[maybe_unused]] thread_local const Departure departure;
  }
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
  if (--this_thread.uses == 0 && this_thread.holds_lock) pthread_rwlock_unlock(&in_use);
}

}  // namespace gcs::transport
