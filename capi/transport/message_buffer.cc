// SPDX-License-Identifier: Apache-2.0
//
// Growth of replies. The peer's announcement bounds a block's size and picks one out of the pool,
// where its memory is there already; it never makes memory be allocated: that follows the bytes
// that arrived.
#include "transport/message_buffer.h"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

#include "transport/block_pool.h"

namespace gcs::transport {

MessageBuffer::MessageBuffer(MessageBuffer&& other) noexcept {
  *this = std::move(other);
}

MessageBuffer& MessageBuffer::operator=(MessageBuffer&& other) noexcept {
  if (this == &other) return *this;
  clear();
  if (other.data_ == nullptr) {
    std::memcpy(inline_.data(), other.inline_.data(), other.size_);
  } else {
    data_ = std::exchange(other.data_, nullptr);
    capacity_ = std::exchange(other.capacity_, kInline);
  }
  size_ = std::exchange(other.size_, 0);
  return *this;
}

void MessageBuffer::clear() noexcept {
  if (data_ != nullptr) BlockPool::give(data_, capacity_);
  data_ = nullptr;
  size_ = 0;
  capacity_ = kInline;
}

void MessageBuffer::append(std::span<const std::uint8_t> bytes, std::size_t expected) {
  if (bytes.empty()) return;
  const std::size_t needed = size_ + bytes.size();
  if (needed > capacity_) grow(needed, expected);
  std::memcpy((data_ == nullptr ? inline_.data() : data_) + size_, bytes.data(), bytes.size());
  size_ = needed;
}

void MessageBuffer::grow(std::size_t needed, std::size_t expected) {
  const std::size_t whole = std::max(needed, expected);
  std::uint8_t* block = nullptr;
  std::size_t capacity = 0;
  if (whole > BlockPool::kSmallest / 2 && whole <= BlockPool::kLargest) {
    capacity = std::max(std::bit_ceil(whole), BlockPool::kSmallest);
    block = BlockPool::take(capacity);
  }
  if (block == nullptr) {
    capacity = std::min(std::max(needed, capacity_ * 2), whole);
    // Powers of two are what the pool keeps.
    if (capacity >= BlockPool::kSmallest && capacity <= BlockPool::kLargest) {
      capacity = std::bit_ceil(capacity);
      block = BlockPool::take(capacity);
    }
  }
  if (block == nullptr) {
    // realloc moves the pages of a large block instead of copying them.
    void* const memory = std::realloc(data_, capacity);
    if (memory == nullptr) throw std::bad_alloc();
    block = static_cast<std::uint8_t*>(memory);
    if (data_ == nullptr) std::memcpy(block, inline_.data(), size_);
  } else {
    std::memcpy(block, data_ == nullptr ? inline_.data() : data_, size_);
    if (data_ != nullptr) BlockPool::give(data_, capacity_);
  }
  data_ = block;
  capacity_ = capacity;
}

}  // namespace gcs::transport
