// SPDX-License-Identifier: Apache-2.0
//
// While it lives, this thread cannot be cancelled (pthread_cancel): for what must not be left half
// done, and for functions that no unwinding can pass.
#pragma once

#include <pthread.h>

namespace gcs {

class CancellationDisabled {
 public:
  CancellationDisabled() noexcept { pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before_); }
  CancellationDisabled(const CancellationDisabled&) = delete;
  CancellationDisabled& operator=(const CancellationDisabled&) = delete;
  ~CancellationDisabled() {
    int ignored = 0;
    pthread_setcancelstate(before_, &ignored);
  }

 private:
  int before_ = PTHREAD_CANCEL_ENABLE;
};

}  // namespace gcs
