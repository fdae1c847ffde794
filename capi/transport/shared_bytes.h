// SPDX-License-Identifier: Apache-2.0
//
// A counted reference to an immutable block of bytes: a large request body, copied once or lent by
// the application. The last reference frees it, and for a lent block runs the release function,
// exactly once, on whatever thread drops it.
//
// Threads: counting is atomic; the bytes are never written after construction.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

namespace gcs::transport {

class SharedBytes {
 public:
  using Release = void (*)(void* user, const std::uint8_t* data, std::size_t size) noexcept;

  SharedBytes() noexcept = default;
  SharedBytes(const SharedBytes& other) noexcept : block_(other.block_) {
    if (block_ != nullptr) block_->references.fetch_add(1, std::memory_order_relaxed);
  }
  SharedBytes(SharedBytes&& other) noexcept : block_(std::exchange(other.block_, nullptr)) {}
  SharedBytes& operator=(SharedBytes other) noexcept {
    std::swap(block_, other.block_);
    return *this;
  }
  ~SharedBytes() { reset(); }

  // A block of `size` bytes, and in *room where to write them, before the block is shared. Throws
  // std::bad_alloc.
  static SharedBytes allocate(std::size_t size, std::uint8_t** room);
  // Copies `bytes`. Throws std::bad_alloc.
  static SharedBytes copy(std::span<const std::uint8_t> bytes);
  // Takes over a lent block; `release` runs when the last reference goes. Throws std::bad_alloc,
  // and then has not taken it over.
  static SharedBytes adopt(std::span<const std::uint8_t> bytes, Release release, void* user);

  void reset() noexcept {
    if (block_ != nullptr && block_->references.fetch_sub(1, std::memory_order_acq_rel) == 1)
      destroy(block_);
    block_ = nullptr;
  }
  std::span<const std::uint8_t> bytes() const noexcept {
    return block_ == nullptr ? std::span<const std::uint8_t>{} : block_->bytes;
  }
  explicit operator bool() const noexcept { return block_ != nullptr; }

 private:
  struct Block {
    std::atomic<std::uint32_t> references{1};
    std::span<const std::uint8_t> bytes;
    Release release = nullptr;
    void* user = nullptr;
  };
  static void destroy(Block* block) noexcept;

  Block* block_ = nullptr;
};

}  // namespace gcs::transport
