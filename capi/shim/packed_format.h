// SPDX-License-Identifier: Apache-2.0
//
// The packed forms: reading records of calls, and writing events. Pure functions of their
// arguments; nothing is locked.
//
// A batch is untrusted: every size in it is checked against what is left before it is used.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "client/event.h"
#include "client/kv.h"
#include "gcs_capi.h"

namespace gcs::shim {

// One record of a batch, taken apart. The bytes lie in the batch, or where it points to.
struct PackedRecord {
  gcs_packed_call head;
  kv::Bytes name;
  kv::Bytes key;
  kv::Bytes body;
};

// Walks the records of a batch.
class PackedReader {
 public:
  enum class Outcome { kRecord, kEnd, kMalformed };

  explicit PackedReader(std::span<const std::uint8_t> batch) noexcept : rest_(batch) {}
  Outcome next(PackedRecord* record) noexcept;

 private:
  std::span<const std::uint8_t> rest_;
};

// True if every record fits.
bool is_well_formed(std::span<const std::uint8_t> batch) noexcept;

// The keys of a multi-get, each as uint32_t size and bytes. False if they do not fit. Throws
// std::bad_alloc.
bool read_packed_keys(kv::Bytes packed, std::vector<kv::Bytes>* keys);

// Writes events until `events`, the slots or the arena is used up.
class EventPacker {
 public:
  // Bodies up to this size are copied into the arena; larger ones are handed over as a buffer.
  static constexpr std::size_t kLargestCopied = 16384;
  // Of several messages in one event.
  static constexpr std::size_t kLargestRun = 32768;

  EventPacker(std::span<gcs_packed_event> slots, std::span<std::uint8_t> arena) noexcept
      : slots_(slots), arena_(arena) {}

  // Takes from the front of `events` what fits. Lent bodies go to `due`. May be called again with
  // more.
  void pack(EventList& events, EventList& due) noexcept;
  std::size_t count() const noexcept { return count_; }
  std::size_t arena_used() const noexcept { return used_; }

 private:
  enum class Bytes { kPacked, kBuffer, kNoRoom };

  Bytes pack_bytes(Event& event, gcs_packed_event* slot) noexcept;
  struct Run {
    std::size_t count = 0;
    std::size_t size = 0;
  };
  Run measure_run(const EventList& events) const noexcept;
  Bytes pack_messages(EventList& events, gcs_packed_event* slot) noexcept;
  Bytes pack_text(const Event& event) noexcept;
  Bytes pack_entries(Event& event, gcs_packed_event* slot) noexcept;
  std::uint8_t* room() const noexcept { return arena_.data() + used_; }
  std::size_t left() const noexcept { return arena_.size() - used_; }

  const std::span<gcs_packed_event> slots_;
  const std::span<std::uint8_t> arena_;
  std::size_t count_ = 0;
  std::size_t used_ = 0;
};

}  // namespace gcs::shim
