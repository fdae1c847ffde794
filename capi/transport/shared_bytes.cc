// SPDX-License-Identifier: Apache-2.0
//
// A copied block lies behind its own header in one allocation; a lent one has a header alone.
#include "transport/shared_bytes.h"

#include <cstring>
#include <new>

namespace gcs::transport {

SharedBytes SharedBytes::allocate(std::size_t size, std::uint8_t** room) {
  void* memory = ::operator new(sizeof(Block) + size);
  Block* block = ::new (memory) Block;
  *room = static_cast<std::uint8_t*>(memory) + sizeof(Block);
  block->bytes = {*room, size};
  SharedBytes out;
  out.block_ = block;
  return out;
}

SharedBytes SharedBytes::copy(std::span<const std::uint8_t> bytes) {
  std::uint8_t* room = nullptr;
  SharedBytes out = allocate(bytes.size(), &room);
  if (!bytes.empty()) std::memcpy(room, bytes.data(), bytes.size());
  return out;
}

SharedBytes SharedBytes::adopt(std::span<const std::uint8_t> bytes, Release release, void* user) {
  Block* block = ::new (::operator new(sizeof(Block))) Block;
  block->bytes = bytes;
  block->release = release;
  block->user = user;
  SharedBytes out;
  out.block_ = block;
  return out;
}

void SharedBytes::destroy(Block* block) noexcept {
  const Release release = block->release;
  void* const user = block->user;
  const std::span<const std::uint8_t> bytes = block->bytes;
  block->~Block();
  ::operator delete(block);
  if (release != nullptr) release(user, bytes.data(), bytes.size());
}

}  // namespace gcs::transport
