// SPDX-License-Identifier: Apache-2.0
//
// What is logged of one client's connection: at most one record a second, since a server that
// accepts and drops must not fill a disk. A record that comes too early waits for its time, and
// gives way to a later one, so that the last that happened is always said.
//
// Threads: whoever has the loop's turn.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "client/log.h"
#include "transport/event_loop.h"

namespace gcs {

class ConnectionLog {
 public:
  void write(transport::TimePoint now, log::Level level, std::string_view text) noexcept;
  // When the record that waits is to be written; kNever if none does.
  transport::TimePoint due() const noexcept { return due_; }
  void write_due(transport::TimePoint now) noexcept {
    if (due_ <= now) write_held(now);
  }
  // Whatever the time.
  void write_held(transport::TimePoint now) noexcept;

 private:
  transport::TimePoint next_ = 0;  // before it nothing is written
  transport::TimePoint due_ = transport::kNever;
  log::Level level_ = log::Level::kDebug;
  std::string text_;
  std::uint64_t left_out_ = 0;  // records that gave way
};

}  // namespace gcs
