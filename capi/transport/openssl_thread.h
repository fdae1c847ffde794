// SPDX-License-Identifier: Apache-2.0
//
// A thread that comes back to OpenSSL again and again.
#pragma once

namespace gcs::transport {

// OpenSSL holds errors and random numbers for each thread. Others give them back each time they
// leave it; this thread does when this is destroyed, on the same thread and before it ends.
class OpensslThread {
 public:
  OpensslThread() noexcept;
  ~OpensslThread();
  OpensslThread(const OpensslThread&) = delete;
  OpensslThread& operator=(const OpensslThread&) = delete;
};

}  // namespace gcs::transport
