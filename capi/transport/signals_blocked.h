// SPDX-License-Identifier: Apache-2.0
//
// Blocks every signal on this thread for as long as it lives. A thread inherits the mask of the one
// that starts it, so that the library's threads never run a signal handler of the application's.
#pragma once

#include <pthread.h>
#include <signal.h>

namespace gcs::transport {

class SignalsBlocked {
 public:
  SignalsBlocked() noexcept {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_{};
};

}  // namespace gcs::transport
