// SPDX-License-Identifier: Apache-2.0
//
// A completion queue: events wait here until the application takes them.
//
// Invariants:
// - A queue becomes signalled when events arrive and it was not, and ceases to be when events are
//   taken and none is left, both under the lock: so a burst costs one signal. A closed queue stays
//   signalled for ever. The descriptor, which is made when somebody asks for it, is readable while
//   the queue is signalled. A wake function is called for each change from not signalled to
//   signalled that an arrival makes, and threads that wait are woken by each.
// - A thread waits only while the queue is not signalled, and counts as waiting before it lets the
//   lock go: whoever signals the queue later sees it, and changes the word that it waits for.
// - Nothing is queued in a closed queue: what arrives is freed, and lent bodies among it are
//   released.
// - Never more events than calls that were accepted, each of which brought its own: a queue does
//   not overflow.
// - Events are taken in their order: whoever takes some has either left or given back the rest when
//   the next one takes, and only then is a lent body due that stood behind them.
//
// Locks: one for the lists, held only to move them around and to write or read the descriptor; and
// before it one that whoever takes holds until it has given back. The wake function and release
// functions run without them, and threads are woken without them: they want them first.
//
// Threads: any. References: the handle and every pending call hold one; the descriptor is closed
// with the last.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>

#include "client/event.h"
#include "client/status.h"
#include "gcs_capi.h"
#include "shim/refused_count.h"

namespace gcs::shim {

// Opens when the last reference to a queue is gone. Outlives it.
class Gate {
 public:
  void open();
  // False after `timeout` nanoseconds; a negative timeout is none.
  bool wait(std::int64_t timeout);

 private:
  std::mutex mutex_;
  std::condition_variable opened_;
  bool open_ = false;
};

class CompletionQueue final : public CompletionSink {
 public:
  struct DropReference {
    void operator()(CompletionQueue* queue) const noexcept { queue->release(); }
  };
  using Owner = std::unique_ptr<CompletionQueue, DropReference>;

  // Throws std::bad_alloc.
  static Owner create(gcs_wake_fn wake, void* wake_user);
  CompletionQueue(gcs_wake_fn wake, void* wake_user);
  ~CompletionQueue();

  bool has_wake() const noexcept { return wake_ != nullptr; }
  // Throws std::system_error when there is none left.
  int descriptor();
  const std::shared_ptr<Gate>& gate() const noexcept { return gate_; }
  const std::shared_ptr<RefusedCount>& refused() const noexcept { return refused_; }

  // May call the wake function, and release functions if the queue is closed.
  void deliver(EventList events) override;
  bool takes_runs() const noexcept override { return true; }
  void deliver_one(std::unique_ptr<Event> event);

  // Nobody else takes while it is held. For take_all() and give_back(); take() does it itself.
  std::unique_lock<std::mutex> begin_drain() { return std::unique_lock(drain_mutex_); }
  // Fills `out`, and moves the lent bodies that it meets to `due`. Returns how many it has written.
  // Throws std::bad_alloc if that is none, for lack of memory.
  std::size_t take(std::span<gcs_event*> out, EventList* due);
  // Takes everything, to be followed by give_back(): until then the queue counts as not empty and
  // stays signalled.
  EventList take_all();
  // Puts back, in front, what was not used. True if the queue holds events now. Closed meanwhile:
  // they go to `discarded`.
  bool give_back(EventList unused, EventList* discarded);

  // kOk when there are events; kDeadline, kInterrupted, kClosed. A negative timeout is none.
  Status wait(std::int64_t timeout);

  // Discards what is queued, cancels the calls that would end here, and releases lent bodies.
  // Idempotent.
  void close();
  // Cancels the calls that would end here if the queue has been closed. After every submission: one
  // that is under way when the queue is closed is not there yet when its calls are cancelled.
  void cancel_if_closed() noexcept;

 private:
  void dispose() noexcept override;
  std::unique_ptr<Event> take_one();
  // Both under the lock. True if threads wait, to be woken when it is free.
  [[nodiscard]] bool signal() noexcept;
  void unsignal_if_empty() noexcept;
  void wake_waiting() noexcept;

  const gcs_wake_fn wake_;
  void* const wake_user_;
  const std::shared_ptr<Gate> gate_ = std::make_shared<Gate>();
  const std::shared_ptr<RefusedCount> refused_ = std::make_shared<RefusedCount>();
  std::mutex drain_mutex_;
  std::mutex mutex_;
  EventList events_;
  std::atomic<bool> closed_{false};  // changed under the lock
  bool signalled_ = false;
  int descriptor_ = -1;
  std::atomic<std::uint32_t> signals_{0};  // made while a thread waited; what it waits for
  std::atomic<std::uint32_t> waiting_{0};  // counted up under the lock
};

}  // namespace gcs::shim
