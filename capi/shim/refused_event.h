// SPDX-License-Identifier: Apache-2.0
//
// The event of a call of a batch that was refused. No client counts such calls, so that they are
// counted here, by queue, and in one for all where events go to functions: a caller that goes on
// without ever taking an event must not use up the memory.
//
// Threads: any.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>

#include "client/event.h"
#include "client/status.h"
#include "shim/refused_count.h"
#include "transport/shared_bytes.h"

namespace gcs::shim {

class RefusedEvent final : public Event {
 public:
  RefusedEvent(EventKind event_kind, std::uint64_t event_id, const Refusal& refusal,
               std::shared_ptr<RefusedCount> untaken) noexcept
      : Event(event_kind), untaken_(std::move(untaken)) {
    untaken_->add();
    id = event_id;
    fail(refusal.status, refusal.flags | kFlagLocal, refusal.message, {});
  }
  ~RefusedEvent() override { RefusedEvent::handed_over(); }
  void handed_over() noexcept override {
    if (const auto untaken = std::move(untaken_)) untaken->remove();
  }
  // A lent body, which is released with the event.
  void keep(transport::SharedBytes bytes) noexcept { bytes_ = std::move(bytes); }

 private:
  std::shared_ptr<RefusedCount> untaken_;
  transport::SharedBytes bytes_;
};

}  // namespace gcs::shim
