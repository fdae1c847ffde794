// SPDX-License-Identifier: Apache-2.0
//
// What a handle of the C API stands for. A handle is a number: [type 4][fork generation 8][slot
// 20][generation 32], never 0 and never dereferenced.
//
// Invariants:
// - A slot is one atomic word: its generation, whether it is closed, its type, and how many pins it
//   has. A look-up is one compare-and-swap that adds a pin; it takes no lock and allocates nothing.
//   While a slot is pinned its object lives.
// - Closing sets the closed bit; from then on no look-up succeeds, and a second close finds a bad
//   handle. The last unpin of a closed slot reclaims it: it destroys the object, with no lock held,
//   and gives the slot the next generation. A slot whose generations are used up is retired.
// - Chunks of slots are never freed, so that a stale or forged handle always meets a slot to be
//   compared with.
// - The child of a fork has a table of its own; a handle that was made before the fork is refused
//   before anything that belongs to the parent is touched.
//
// Locks: one, for the list of free slots and for growing. Raw new and delete occur in this file's
// two halves alone.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>

#include "client/status.h"

namespace gcs::shim {

enum class HandleType : std::uint8_t { kClient = 1, kQueue = 2 };

class HandleObject {
 public:
  HandleObject() = default;
  HandleObject(const HandleObject&) = delete;
  HandleObject& operator=(const HandleObject&) = delete;
  virtual ~HandleObject() = default;
};

class HandleTable {
  struct Slot;

 public:
  // Keeps an object alive.
  class Pin {
   public:
    Pin() noexcept = default;
    Pin(Pin&& other) noexcept
        : table_(std::exchange(other.table_, nullptr)),
          slot_(std::exchange(other.slot_, nullptr)) {}
    Pin& operator=(Pin&& other) noexcept {
      Pin before(std::move(*this));
      table_ = std::exchange(other.table_, nullptr);
      slot_ = std::exchange(other.slot_, nullptr);
      return *this;
    }
    ~Pin() {
      if (slot_ != nullptr) table_->unpin(*slot_);
    }
    explicit operator bool() const noexcept { return slot_ != nullptr; }
    HandleObject& object() const noexcept;

   private:
    friend class HandleTable;
    Pin(HandleTable& table, Slot& slot) noexcept : table_(&table), slot_(&slot) {}
    HandleTable* table_ = nullptr;
    Slot* slot_ = nullptr;
  };

  // A slot that has a handle already, and no object yet: every look-up fails until publish().
  class Reservation {
   public:
    Reservation(Reservation&& other) noexcept
        : table_(std::exchange(other.table_, nullptr)),
          slot_(other.slot_),
          handle_(other.handle_) {}
    Reservation& operator=(Reservation&&) = delete;
    ~Reservation() {
      if (table_ != nullptr) table_->recycle(*slot_);
    }
    std::uint64_t handle() const noexcept { return handle_; }
    std::uint64_t publish(std::unique_ptr<HandleObject> object) noexcept;

   private:
    friend class HandleTable;
    Reservation(HandleTable& table, Slot& slot, std::uint64_t handle) noexcept
        : table_(&table), slot_(&slot), handle_(handle) {}
    HandleTable* table_;
    Slot* slot_;
    std::uint64_t handle_;
  };

  // The process's table. Throws std::bad_alloc when it has to be made.
  static HandleTable& current();

  // `first_generation` is what a slot begins with.
  explicit HandleTable(std::uint32_t first_generation = 1) noexcept;
  HandleTable(const HandleTable&) = delete;
  HandleTable& operator=(const HandleTable&) = delete;
  // No pin may be left.
  ~HandleTable();

  // Throws std::bad_alloc, also when there are too many handles.
  Reservation reserve(HandleType type);
  // kBadHandle; kForked.
  Status pin(HandleType type, std::uint64_t handle, Pin* pin) noexcept;
  // As pin(), and no later look-up finds the object: it goes with the last pin.
  Status close(HandleType type, std::uint64_t handle, Pin* pin) noexcept;
  // Closes everything of a type that is open.
  void close_all(HandleType type) noexcept;

 private:
  static constexpr unsigned kSlotBits = 20;
  static constexpr std::size_t kChunkSlots = 1024;
  static constexpr std::size_t kSlots = std::size_t{1} << kSlotBits;
  static constexpr std::size_t kChunks = kSlots / kChunkSlots;

  struct Slot {
    std::atomic<std::uint64_t> state;
    std::uint32_t index;
    HandleObject* object;
    Slot* next_free;
  };
  struct Chunk {
    std::array<Slot, kChunkSlots> slots;
  };

  Status find(HandleType type, std::uint64_t handle, std::uint64_t mark, Pin* pin) noexcept;
  Slot* slot_at(std::size_t index) noexcept;
  std::uint64_t handle_of(HandleType type, const Slot& slot) const noexcept;
  // 0: no open handle of that type stands there.
  std::uint64_t open_handle(HandleType type, std::size_t index) noexcept;
  void unpin(Slot& slot) noexcept;
  void reclaim(Slot& slot) noexcept;
  void recycle(Slot& slot) noexcept;
  void grow();

  const std::uint32_t fork_generation_;
  const std::uint32_t first_generation_;
  std::array<std::atomic<Chunk*>, kChunks> chunks_{};
  std::mutex mutex_;
  Slot* free_ = nullptr;
  std::size_t chunk_count_ = 0;
};

using Pin = HandleTable::Pin;

}  // namespace gcs::shim
