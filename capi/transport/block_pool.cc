// SPDX-License-Identifier: Apache-2.0
//
// A kept block holds the link to the next one of its size in its first bytes. The pool is never
// destroyed.
#include "transport/block_pool.h"

#include <array>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <mutex>

namespace gcs::transport {
namespace {

constexpr std::size_t kSizes =
    std::bit_width(BlockPool::kLargest) - std::bit_width(BlockPool::kSmallest) + 1;

struct Pool {
  std::mutex mutex;
  std::size_t kept = 0;
  std::array<std::uint8_t*, kSizes> first{};
};
constinit Pool pool;

bool is_pooled_size(std::size_t size) {
  return size >= BlockPool::kSmallest && size <= BlockPool::kLargest && std::has_single_bit(size);
}

std::size_t index_of(std::size_t size) {
  return static_cast<std::size_t>(std::bit_width(size) - std::bit_width(BlockPool::kSmallest));
}

}  // namespace

std::uint8_t* BlockPool::take(std::size_t size) noexcept {
  if (!is_pooled_size(size)) return nullptr;
  const std::unique_lock lock(pool.mutex, std::try_to_lock);
  if (!lock.owns_lock()) return nullptr;
  std::uint8_t*& first = pool.first[index_of(size)];
  std::uint8_t* const block = first;
  if (block != nullptr) {
    std::memcpy(&first, block, sizeof first);
    pool.kept -= size;
  }
  return block;
}

void BlockPool::give(std::uint8_t* block, std::size_t size) noexcept {
  if (is_pooled_size(size)) {
    const std::unique_lock lock(pool.mutex, std::try_to_lock);
    if (lock.owns_lock() && pool.kept + size <= kKeptBytes) {
      std::uint8_t*& first = pool.first[index_of(size)];
      std::memcpy(block, &first, sizeof first);
      first = block;
      pool.kept += size;
      return;
    }
  }
  std::free(block);
}

std::size_t BlockPool::kept_bytes() noexcept {
  const std::lock_guard lock(pool.mutex);
  return pool.kept;
}

}  // namespace gcs::transport
