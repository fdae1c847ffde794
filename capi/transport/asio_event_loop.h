// SPDX-License-Identifier: Apache-2.0
//
// The real event loop: one Asio io_context that one thread runs.
//
// Invariants:
// - run_one() lets no exception out but the unwinding of a thread that is being ended.
// - stop() makes the current run_one() return soon, or the next one at once when none is under way.
// - Whatever Asio calls back takes the turn first: a mutex, which try_enter() only ever tries.
// - post() allocates nothing: tasks are linked by themselves, and the one wake-up that is ever
//   queued has its own place.
// - Tasks run in the order in which they were posted.
// - A timer that cannot be armed for lack of memory fires early rather than never.
// - Threads that may outlive the loop (look-ups) reach it through its gate alone, which closes with
//   it.
//
// Threads: run_one() on one thread at a time; post(), stop(), make_timer() and try_enter() on any;
// the rest in the turn.
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
    explicit Gate(AsioEventLoop& loop) noexcept : loop_(&loop) {}
    void close() noexcept {
      const std::lock_guard lock(mutex_);
      loop_ = nullptr;
    }
    // False when the loop is gone. Throws std::bad_alloc.
    template <typename Function>
    bool post(Function function) {
      const std::lock_guard lock(mutex_);
      if (loop_ == nullptr) return false;
      asio::post(loop_->context_, loop_->in_turn(std::move(function)));
      return true;
    }
    std::atomic<int> lookups{0};  // threads at work for this loop

   private:
    std::mutex mutex_;
    AsioEventLoop* loop_;
  };

  AsioEventLoop();
  ~AsioEventLoop() override;
  AsioEventLoop(const AsioEventLoop&) = delete;
  AsioEventLoop& operator=(const AsioEventLoop&) = delete;

  // Waits for something to do, and does it: one task or handler, more or less. False after stop().
  bool run_one();
  void run() {
    while (run_one()) {
    }
  }
  void stop() noexcept;
  asio::io_context& context() noexcept { return context_; }
  const std::shared_ptr<Gate>& gate() const noexcept { return gate_; }

  TimePoint now() const noexcept override;
  void post(Task& task) noexcept override;
  std::unique_ptr<Timer> make_timer(Task& on_expiry) override;
  bool try_enter() noexcept override;
  void leave() noexcept override;

  // What Asio is to call: `handler`, in the turn.
  template <typename Handler>
  auto in_turn(Handler handler) {
    return [this, handler = std::move(handler)](auto&&... results) mutable {
      const Turn turn(*this);
      handler(std::forward<decltype(results)>(results)...);
    };
  }

 private:
  class Turn {
   public:
    explicit Turn(AsioEventLoop& loop) noexcept : loop_(loop) { loop_.enter(); }
    ~Turn() { loop_.leave(); }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

   private:
    AsioEventLoop& loop_;
  };

  // Memory for the one queued wake-up. Asio gives it back before the wake-up runs.
  struct WakeSlot {
    alignas(std::max_align_t) std::byte memory[256];
    bool taken = false;
  };
  template <typename T>
  struct WakeAllocator;
  struct Wake;

  void enter() noexcept;
  void run_posted() noexcept;

  std::mutex turn_;
  WakeSlot wake_slot_;
  std::atomic<Task*> posted_{nullptr};  // newest first
  asio::io_context context_{1};
  asio::executor_work_guard<asio::io_context::executor_type> work_;
  std::shared_ptr<Gate> gate_;
};

}  // namespace gcs::transport
