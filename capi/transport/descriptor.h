// SPDX-License-Identifier: Apache-2.0
//
// A file descriptor that is closed when its owner goes; negative: none.
#pragma once

#include <unistd.h>

namespace gcs::transport {

class Descriptor {
 public:
  explicit Descriptor(int fd) noexcept : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const noexcept { return fd_; }

 private:
  const int fd_;
};

}  // namespace gcs::transport
