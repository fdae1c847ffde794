// SPDX-License-Identifier: Apache-2.0
//
// The real event loop: one Asio io_context that one thread runs.
//
// Invariants:
// - run() lets no exception out but the unwinding of a thread that is being ended (pthread_exit,
//   pthread_cancel).
// - stop() makes the current run() return soon, or the next one at once when none is under way.
// - post() allocates nothing: tasks are linked by themselves, and the one wake-up that is ever
//   queued has its own place.
// - Tasks run in the order in which they were posted.
// - A timer that cannot be re-armed for lack of memory fires early rather than never.
// - Threads that may outlive the loop (look-ups) reach it through its gate alone, which closes with
//   it.
//
// Threads: run() on one thread at a time; post() and stop() on any; the rest on the thread in
// run(), or before it.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <mutex>
#include <utility>

#include "transport/asio.h"
#include "transport/event_loop.h"

namespace gcs::transport {

class AsioEventLoop final : public EventLoop {
 public:
  class Gate {
   public:
    explicit Gate(asio::io_context& context) noexcept : context_(&context) {}
    void close() noexcept {
      const std::lock_guard lock(mutex_);
      context_ = nullptr;
    }
    // False when the loop is gone. Throws std::bad_alloc.
    template <typename Function>
    bool post(Function&& function) {
      const std::lock_guard lock(mutex_);
      if (context_ == nullptr) return false;
      asio::post(*context_, std::forward<Function>(function));
      return true;
    }
    std::atomic<int> lookups{0};  // threads at work for this loop

   private:
    std::mutex mutex_;
    asio::io_context* context_;
  };

  AsioEventLoop();
  ~AsioEventLoop() override;
  AsioEventLoop(const AsioEventLoop&) = delete;
  AsioEventLoop& operator=(const AsioEventLoop&) = delete;

  void run();
  void stop() noexcept;
  asio::io_context& context() noexcept { return context_; }
  const std::shared_ptr<Gate>& gate() const noexcept { return gate_; }

  TimePoint now() const noexcept override;
  void post(Task& task) noexcept override;
  std::unique_ptr<Timer> make_timer(Task& on_expiry) override;

 private:
  // Memory for the one queued wake-up. Asio gives it back before the wake-up runs.
  struct WakeSlot {
    alignas(std::max_align_t) std::byte memory[256];
    bool taken = false;
  };
  template <typename T>
  struct WakeAllocator;
  struct Wake;

  void run_posted() noexcept;

  WakeSlot wake_slot_;
  std::atomic<Task*> posted_{nullptr};  // newest first
  asio::io_context context_{1};
  asio::executor_work_guard<asio::io_context::executor_type> work_;
  std::shared_ptr<Gate> gate_;
};

}  // namespace gcs::transport
