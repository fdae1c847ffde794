// SPDX-License-Identifier: Apache-2.0
//
// What is framed and not yet accepted by the socket: small pieces copied together, large bodies by
// reference.
//
// Invariants: bytes leave in the order in which they came. A body's block is held exactly as long
// as bytes of it are unsent. appended() counts every byte that ever came in.
//
// Threads: the event loop's thread.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "transport/shared_bytes.h"

namespace gcs::transport {

class OutputQueue {
 public:
  // Both throw std::bad_alloc, and then have appended nothing.
  void append(std::span<const std::uint8_t> bytes);
  // `bytes` lie inside the block of `owner`.
  void append_shared(const SharedBytes& owner, std::span<const std::uint8_t> bytes);

  bool empty() const noexcept { return size_ == 0; }
  std::size_t size() const noexcept { return size_; }
  std::uint64_t appended() const noexcept { return appended_; }

  // The first bytes, as at most `pieces.size()` pieces; returns how many it filled.
  std::size_t gather(std::span<iovec> pieces) const noexcept;
  // `count` bytes were accepted.
  void consume(std::size_t count) noexcept;
  // Forgets what is unsent.
  void clear() noexcept;

 private:
  struct Segment {
    SharedBytes owner;                   // empty: the next bytes of staging_
    const std::uint8_t* data = nullptr;  // when owned
    std::size_t size = 0;
  };

  std::vector<Segment> segments_;
  std::size_t first_segment_ = 0;
  std::vector<std::uint8_t> staging_;
  std::size_t staging_begin_ = 0;
  std::size_t size_ = 0;
  std::uint64_t appended_ = 0;
};

}  // namespace gcs::transport
