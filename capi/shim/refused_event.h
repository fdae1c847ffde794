// SPDX-License-Identifier: Apache-2.0
//
// The event of a call of a batch that was refused. No client counts such calls, so that they are
// counted here: a caller that goes on without ever taking an event must not use up the memory.
//
// Threads: any.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>

#include "client/event.h"
#include "client/status.h"
#include "transport/shared_bytes.h"

namespace gcs::shim {

class RefusedEvent final : public Event {
 public:
  // Throws std::bad_alloc.
  static std::unique_ptr<RefusedEvent> make(EventKind kind, std::uint64_t id,
                                            const Refusal& refusal) {
    return std::make_unique<RefusedEvent>(kind, id, refusal, count());
  }
  // As many were made, and have not been taken, as there may be in a process.
  static bool too_many();

  using Count = std::atomic<std::uint64_t>;
  RefusedEvent(EventKind event_kind, std::uint64_t event_id, const Refusal& refusal,
               Count& untaken) noexcept
      : Event(event_kind), untaken_(&untaken) {
    untaken.fetch_add(1, std::memory_order_relaxed);
    id = event_id;
    fail(refusal.status, refusal.flags | kFlagLocal, refusal.message, {});
  }
  ~RefusedEvent() override { RefusedEvent::handed_over(); }
  void handed_over() noexcept override {
    if (Count* const untaken = std::exchange(untaken_, nullptr))
      untaken->fetch_sub(1, std::memory_order_relaxed);
  }
  // A lent body, which is released with the event.
  void keep(transport::SharedBytes bytes) noexcept { bytes_ = std::move(bytes); }

 private:
  static Count& count();

  Count* untaken_;
  transport::SharedBytes bytes_;
};

}  // namespace gcs::shim
