// SPDX-License-Identifier: Apache-2.0
//
// How long the next read of a busy connection waits, so that several replies come with it.
//
// A wake-up for each reply costs more than the reply. When many calls are in flight, a wait that is
// short beside the time that a call takes anyway brings several replies in one read.
//
// Invariants:
// - A wait is at most an eighth of the time that the quickest of the last calls took, so that no
//   caller notices it, and at most a millisecond.
// - There is none unless several replies are to be expected in it. A caller who makes one call
//   after the other never waits, whatever else is in flight: replies that do not come do not count.
//
// Threads: the event loop's thread.
#pragma once

#include <cstdint>

#include "transport/event_loop.h"

namespace gcs::transport {

class ReceivePacing {
 public:
  // A call got its reply, `latency` nanoseconds after it was started.
  void replied(std::int64_t latency) noexcept;
  // A read is over at `now`. How many nanoseconds the next one is to wait; mostly 0.
  std::int64_t wait_after(TimePoint now) noexcept;

 private:
  std::int64_t fastest_in_read_ = kNever;
  std::int64_t replies_in_read_ = 0;
  std::int64_t latency_ = 0;  // of the fastest calls: falls at once, and rises slowly
  std::int64_t spacing_ = 0;  // between two replies, on average
  TimePoint last_reply_ = 0;
};

}  // namespace gcs::transport
