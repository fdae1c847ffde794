// SPDX-License-Identifier: Apache-2.0
//
// The library's log: records are events. They go to the target, or without one the last 256 are
// kept until someone takes them. Text never holds a token.
//
// Threads: one lock, which is not held while the target runs.
#pragma once

#include <cstdint>
#include <string>

#include "client/event.h"

namespace gcs::log {

enum class Level : std::int32_t { kDebug = 10, kInfo = 20, kWarning = 30, kError = 40, kOff = 100 };

void set_level(Level level) noexcept;
bool enabled(Level level) noexcept;
// Without memory the record is lost.
void write(Level level, std::string text) noexcept;

// An empty reference: keep. `function` and `user` are put into each event for the sink.
void set_target(SinkReference sink, void (*function)(), void* user) noexcept;
// Some records are kept; a glance, without the lock.
bool waiting() noexcept;
EventList take(std::size_t limit) noexcept;

}  // namespace gcs::log
