// SPDX-License-Identifier: Apache-2.0
//
// The word of a slot: [generation 32][closed 1][type 3][pins 28]. A slot without an object is
// closed and has no pins.
#include "shim/handle_table.h"

#include <limits>
#include <new>

#include "client/process.h"

namespace gcs::shim {
namespace {

constexpr std::uint64_t kClosed = std::uint64_t{1} << 31;
constexpr unsigned kStateTypeShift = 28;
constexpr std::uint64_t kPins = (std::uint64_t{1} << kStateTypeShift) - 1;
constexpr std::uint64_t kTypes = kClosed - 1 - kPins;
constexpr unsigned kGenerationBits = 32;
constexpr unsigned kForkShift = 52;
constexpr unsigned kTypeShift = 60;
constexpr std::uint32_t kForkMask = 0xff;

constexpr std::uint64_t type_bits(HandleType type) noexcept {
  return static_cast<std::uint64_t>(type) << kStateTypeShift;
}

constexpr std::uint64_t generation_of(std::uint64_t state) noexcept {
  return state >> kGenerationBits;
}

}  // namespace

HandleTable& HandleTable::current() {
  return per_process<HandleTable>();
}

HandleTable::HandleTable(std::uint32_t first_generation) noexcept
    : fork_generation_(gcs::fork_generation()), first_generation_(first_generation) {}

HandleTable::~HandleTable() {
  for (std::size_t i = 0; i < chunk_count_; ++i) {
    Chunk* chunk = chunks_[i].load(std::memory_order_acquire);
    for (Slot& slot : chunk->slots) delete slot.object;
    delete chunk;
  }
}

HandleObject& HandleTable::Pin::object() const noexcept {
  return *slot_->object;
}

std::uint64_t HandleTable::Reservation::publish(std::unique_ptr<HandleObject> object) noexcept {
  slot_->object = object.release();
  const std::uint64_t state = slot_->state.load(std::memory_order_relaxed);
  slot_->state.store(state & ~kClosed, std::memory_order_release);
  table_ = nullptr;
  return handle_;
}

HandleTable::Reservation HandleTable::reserve(HandleType type) {
  Slot* slot = nullptr;
  {
    const std::lock_guard lock(mutex_);
    if (free_ == nullptr) grow();
    slot = free_;
    free_ = slot->next_free;
  }
  const std::uint64_t generation = generation_of(slot->state.load(std::memory_order_relaxed));
  slot->state.store(generation << kGenerationBits | kClosed | type_bits(type),
                    std::memory_order_relaxed);
  return {*this, *slot, handle_of(type, *slot)};
}

HandleTable::Slot* HandleTable::slot_at(std::size_t index) noexcept {
  Chunk* chunk = chunks_[index / kChunkSlots].load(std::memory_order_acquire);
  return chunk == nullptr ? nullptr : &chunk->slots[index % kChunkSlots];
}

std::uint64_t HandleTable::handle_of(HandleType type, const Slot& slot) const noexcept {
  return static_cast<std::uint64_t>(type) << kTypeShift |
         static_cast<std::uint64_t>(fork_generation_ & kForkMask) << kForkShift |
         static_cast<std::uint64_t>(slot.index) << kGenerationBits |
         generation_of(slot.state.load(std::memory_order_relaxed));
}

std::uint64_t HandleTable::open_handle(HandleType type, std::size_t index) noexcept {
  const Slot* slot = slot_at(index);
  if (slot == nullptr) return 0;
  const std::uint64_t state = slot->state.load(std::memory_order_relaxed);
  if ((state & (kClosed | kTypes)) != type_bits(type)) return 0;
  return handle_of(type, *slot);
}

void HandleTable::grow() {
  if (chunk_count_ == kChunks) throw std::bad_alloc();
  Chunk* chunk = new Chunk;
  for (std::size_t i = kChunkSlots; i-- > 0;) {
    Slot& slot = chunk->slots[i];
    slot.state.store(std::uint64_t{first_generation_} << kGenerationBits | kClosed,
                     std::memory_order_relaxed);
    slot.index = static_cast<std::uint32_t>(chunk_count_ * kChunkSlots + i);
    slot.object = nullptr;
    slot.next_free = free_;
    free_ = &slot;
  }
  chunks_[chunk_count_].store(chunk, std::memory_order_release);
  ++chunk_count_;
}

Status HandleTable::pin(HandleType type, std::uint64_t handle, Pin* pin) noexcept {
  return find(type, handle, 1, pin);
}

Status HandleTable::close(HandleType type, std::uint64_t handle, Pin* pin) noexcept {
  return find(type, handle, kClosed | 1, pin);
}

void HandleTable::close_all(HandleType type) noexcept {
  for (std::size_t index = 0; index < kSlots; ++index) {
    const std::uint64_t handle = open_handle(type, index);
    Pin pin;
    if (handle != 0) static_cast<void>(close(type, handle, &pin));
  }
}

Status HandleTable::find(HandleType type, std::uint64_t handle, std::uint64_t mark,
                         Pin* pin) noexcept {
  if (handle >> kTypeShift != static_cast<std::uint64_t>(type)) return Status::kBadHandle;
  const auto made_under = static_cast<std::uint32_t>(handle >> kForkShift) & kForkMask;
  const std::uint32_t age = (fork_generation_ - made_under) & kForkMask;
  if (age != 0) return age <= fork_generation_ ? Status::kForked : Status::kBadHandle;
  Slot* found = slot_at((handle >> kGenerationBits) & (kSlots - 1));
  if (found == nullptr) return Status::kBadHandle;
  Slot& slot = *found;
  const std::uint64_t open = handle << kGenerationBits | type_bits(type);
  std::uint64_t state = slot.state.load(std::memory_order_relaxed);
  do {
    if ((state & ~kPins) != open) return Status::kBadHandle;
  } while (!slot.state.compare_exchange_weak(state, state + mark, std::memory_order_acquire,
                                             std::memory_order_relaxed));
  *pin = Pin(*this, slot);
  return Status::kOk;
}

void HandleTable::unpin(Slot& slot) noexcept {
  const std::uint64_t before = slot.state.fetch_sub(1, std::memory_order_acq_rel);
  if ((before & (kClosed | kPins)) == (kClosed | 1)) reclaim(slot);
}

void HandleTable::reclaim(Slot& slot) noexcept {
  // A pin that was taken before a fork and let go in the child: the object is the parent's.
  if (fork_generation_ != gcs::fork_generation()) return;
  delete std::exchange(slot.object, nullptr);
  recycle(slot);
}

void HandleTable::recycle(Slot& slot) noexcept {
  const std::uint64_t generation = generation_of(slot.state.load(std::memory_order_relaxed));
  if (generation == std::numeric_limits<std::uint32_t>::max()) return;
  slot.state.store((generation + 1) << kGenerationBits | kClosed, std::memory_order_relaxed);
  const std::lock_guard lock(mutex_);
  slot.next_free = free_;
  free_ = &slot;
}

}  // namespace gcs::shim
