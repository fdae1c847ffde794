// SPDX-License-Identifier: Apache-2.0
//
// Blocks of memory for large replies, from 64 KiB up, in powers of two. A few are kept between
// replies, because the page faults of fresh memory cost more than the copy into it.
//
// Threads: any. The pool's lock is only ever tried: where it is taken, or was held by another
// thread when the process forked, blocks come from and go to malloc.
#pragma once

#include <cstddef>
#include <cstdint>

namespace gcs::transport {

class BlockPool {
 public:
  static constexpr std::size_t kSmallest = std::size_t{64} << 10;
  static constexpr std::size_t kLargest = std::size_t{32} << 20;
  static constexpr std::size_t kKeptBytes = std::size_t{32} << 20;  // in all sizes together

  // A kept block of exactly `size` bytes, or nullptr. `size` is a power of two from kSmallest to
  // kLargest.
  static std::uint8_t* take(std::size_t size) noexcept;
  // Keeps a block from malloc, or frees it when it is of no such size or the pool is full.
  static void give(std::uint8_t* block, std::size_t size) noexcept;
  static std::size_t kept_bytes() noexcept;
};

}  // namespace gcs::transport
