// SPDX-License-Identifier: Apache-2.0
//
// What the client and the transport need of the thread that they run on: a clock, timers, and a way
// to be called from another thread. The real one is AsioEventLoop; tests and fuzzing put a virtual
// clock in its place.
//
// Threads: "the loop's thread" is whoever has the loop's turn: the thread that runs it, while a
// task or a handler is under way, or another one between try_enter() and leave(). post(),
// make_timer() and try_enter() may be called from any thread, the rest on the loop's. Tasks and
// timer handlers run one at a time on the thread that runs the loop, never inside the call that
// asked for them.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>

namespace gcs::transport {

// Nanoseconds of a monotonic clock; on the real loop CLOCK_MONOTONIC.
using TimePoint = std::int64_t;
inline constexpr TimePoint kNever = std::numeric_limits<TimePoint>::max();

// Something to run on the loop's thread. Owned by whoever posts it, who keeps it alive until it has
// run, or was dropped, and posts it again only after that. Posting links it into a list, so that it
// allocates nothing and cannot fail.
class Task {
 public:
  virtual void run() noexcept = 0;
  // Instead of that: the loop has ended.
  virtual void drop() noexcept {}

  Task* next_posted = nullptr;  // the loop's

 protected:
  ~Task() = default;
};

// One timer; destroying it cancels it, and its handler does not run afterwards.
class Timer {
 public:
  virtual ~Timer() = default;
  // Replaces what was set before. kNever disarms. A time that has passed fires on the loop's next
  // turn. Without memory it fires early.
  virtual void set(TimePoint when) noexcept = 0;
};

class EventLoop {
 public:
  virtual ~EventLoop() = default;
  virtual TimePoint now() const noexcept = 0;
  virtual void post(Task& task) noexcept = 0;
  virtual std::unique_ptr<Timer> make_timer(Task& on_expiry) = 0;
  // Takes the loop's turn on a thread that is not the loop's, so that a little work needs no
  // hand-over. False, at once, while someone has it, and on a loop that does not lend it. True is
  // followed by leave(), soon: nothing else of the loop runs meanwhile.
  virtual bool try_enter() noexcept { return false; }
  virtual void leave() noexcept {}
};

}  // namespace gcs::transport
