// SPDX-License-Identifier: Apache-2.0
//
// The bytes of one reply. Small ones lie inside the object; larger ones in a block that doubles as
// data arrives, and never because a length prefix promised more. Blocks of 64 KiB and more go back
// to a process-wide pool, since the page faults of fresh memory cost more than the copy.
//
// Threads: a buffer belongs to one thread at a time; the pool behind it is locked.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace gcs::transport {

class MessageBuffer {
 public:
  static constexpr std::size_t kInline = 192;

  MessageBuffer() noexcept = default;
  MessageBuffer(MessageBuffer&& other) noexcept;
  MessageBuffer& operator=(MessageBuffer&& other) noexcept;
  ~MessageBuffer() { clear(); }

  // `expected` is what the peer announced; it bounds growth, but is not reserved. Throws
  // std::bad_alloc.
  void append(std::span<const std::uint8_t> bytes, std::size_t expected);
  void clear() noexcept;
  std::span<const std::uint8_t> bytes() const noexcept {
    return {data_ == nullptr ? inline_.data() : data_, size_};
  }
  std::size_t size() const noexcept { return size_; }

 private:
  void grow(std::size_t needed, std::size_t expected);
  std::uint8_t* data_ = nullptr;  // nullptr: inline
  std::size_t size_ = 0;
  std::size_t capacity_ = kInline;
  std::array<std::uint8_t, kInline> inline_;
};

}  // namespace gcs::transport
