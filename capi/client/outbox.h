// SPDX-License-Identifier: Apache-2.0
//
// Events on their way to their sinks. A sink may run the application's code, which may take its
// time, call back into the library, or end the thread: so events that arise inside the client are
// put here, and the I/O thread hands them over when nothing of the client is on its stack.
//
// Invariants:
// - Events of one sink arrive in the order in which they were put in.
// - What a sink that ends the thread has not taken stays here, for the thread that follows.
// - A sink may fork: in the child nothing more is handed over, since the parent does it.
//
// Threads: add() from any; hand_over() on the I/O thread, outside of the loop's turn.
#pragma once

#include <atomic>
#include <mutex>

#include "client/event.h"

namespace gcs {

class Outbox {
 public:
  Outbox() = default;
  Outbox(const Outbox&) = delete;
  Outbox& operator=(const Outbox&) = delete;

  // While a Scope lives, what this thread delivers goes into the outbox.
  class Scope {
   public:
    explicit Scope(Outbox& outbox) noexcept;
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Outbox* const before_;
  };
  // Of this thread; nullptr without a Scope.
  static Outbox* current() noexcept;

  bool empty() const noexcept { return empty_.load(std::memory_order_acquire); }
  void add(EventList events) noexcept;
  // To the front: they were taken, and not handed over.
  void put_back(EventList events) noexcept;
  // Until it is empty. Not noexcept: the unwinding of a thread that is being ended passes.
  void hand_over();

 private:
  // Events from the front that share a sink, without it.
  EventList take_run(SinkReference* sink) noexcept;

  std::mutex mutex_;
  EventList events_;
  std::atomic<bool> empty_{true};
};

// Hands each event to its sink, runs of the same sink together: at once, or by way of this thread's
// outbox.
void deliver(EventList events);

}  // namespace gcs
