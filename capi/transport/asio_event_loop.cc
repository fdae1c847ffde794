// SPDX-License-Identifier: Apache-2.0
//
// The loop's timers are lazy: moving one to a later time only notes it, and the armed Asio timer
// finds out when it fires. A deadline heap whose earliest entry moves on with every call therefore
// costs no system call.
#include "transport/asio_event_loop.h"

#include <cxxabi.h>
#include <time.h>

#include <cstdint>
#include <new>

namespace gcs::transport {
namespace {

TimePoint monotonic_now() noexcept {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

// This thread has a loop's turn.
thread_local bool has_turn = false;

// Shared with the waits in flight, whose handlers run even after the timer was destroyed. As a task
// it stands for a wait for which there was no memory.
struct TimerState final : std::enable_shared_from_this<TimerState>, Task {
  TimerState(AsioEventLoop& event_loop, Task& on_expiry)
      : loop(event_loop), timer(event_loop.context()), task(&on_expiry) {}

  void set(TimePoint time) noexcept {
    when = time;
    if (when < armed && !arm() && !posted) {
      posted = shared_from_this();
      loop.post(*this);
    }
  }

  bool arm() noexcept {
    const std::uint64_t mine = ++generation;
    armed = kNever;
    try {
      timer.expires_at(std::chrono::steady_clock::time_point(std::chrono::nanoseconds(when)));
      timer.async_wait(loop.in_turn([self = shared_from_this(), mine](const asio::error_code&) {
        if (self->generation == mine) self->expired();
      }));
    } catch (const std::exception&) {
      return false;
    }
    armed = when;
    return true;
  }

  void run() noexcept override {
    const std::shared_ptr<TimerState> self = std::move(posted);
    if (armed == kNever) expired();
  }

  void drop() noexcept override { const std::shared_ptr<TimerState> self = std::move(posted); }

  void expired() noexcept {
    armed = kNever;
    if (task == nullptr || when == kNever) return;
    if (monotonic_now() < when && arm()) return;
    when = kNever;
    task->run();
  }

  AsioEventLoop& loop;
  AsioTimerBase timer;
  Task* task;
  TimePoint when = kNever;
  TimePoint armed = kNever;
  std::uint64_t generation = 0;
  std::shared_ptr<TimerState> posted;  // itself, while it is a task that was posted
};

class AsioTimer final : public Timer {
 public:
  AsioTimer(AsioEventLoop& loop, Task& on_expiry)
      : state_(std::make_shared<TimerState>(loop, on_expiry)) {}
  ~AsioTimer() override {
    state_->task = nullptr;
    ++state_->generation;
    state_->timer.cancel();
  }
  AsioTimer(const AsioTimer&) = delete;
  AsioTimer& operator=(const AsioTimer&) = delete;

  void set(TimePoint when) noexcept override { state_->set(when); }

 private:
  std::shared_ptr<TimerState> state_;
};

}  // namespace

template <typename T>
struct AsioEventLoop::WakeAllocator {
  using value_type = T;
  explicit WakeAllocator(WakeSlot* place) noexcept : slot(place) {}
  template <typename U>  // An allocator converts to that of another type by itself.
  WakeAllocator(const WakeAllocator<U>& other) noexcept  // NOLINT(google-explicit-constructor)
      : slot(other.slot) {}

  T* allocate(std::size_t count) {
    static_assert(sizeof(T) <= sizeof(WakeSlot::memory) && alignof(T) <= alignof(std::max_align_t));
    if (slot->taken || count != 1) throw std::bad_alloc();
    slot->taken = true;
    return reinterpret_cast<T*>(slot->memory);
  }
  void deallocate(T*, std::size_t) noexcept { slot->taken = false; }

  template <typename U>
  bool operator==(const WakeAllocator<U>& other) const noexcept {
    return slot == other.slot;
  }

  WakeSlot* slot;
};

struct AsioEventLoop::Wake {
  using allocator_type = WakeAllocator<void>;
  allocator_type get_allocator() const noexcept { return allocator_type(&loop->wake_slot_); }
  void operator()() const noexcept {
    const Turn turn(*loop);
    loop->run_posted();
  }

  AsioEventLoop* loop;
};

AsioEventLoop::AsioEventLoop()
    : work_(asio::make_work_guard(context_)), gate_(std::make_shared<Gate>(*this)) {}

AsioEventLoop::~AsioEventLoop() {
  gate_->close();
  for (Task* task = posted_.exchange(nullptr, std::memory_order_acquire); task != nullptr;) {
    Task* const older = task->next_posted;
    task->drop();
    task = older;
  }
}

bool AsioEventLoop::run_one() {
  try {
    if (context_.run_one() != 0) return true;
    context_.restart();
    return false;
  } catch (const abi::__forced_unwind&) {
    throw;
  } catch (...) {
    // Out of memory inside Asio: the handler that it hit is gone, and everything else goes on.
    return true;
  }
}

void AsioEventLoop::enter() noexcept {
  turn_.lock();
  has_turn = true;
}

bool AsioEventLoop::try_enter() noexcept {
  if (has_turn || !turn_.try_lock()) return false;
  has_turn = true;
  return true;
}

void AsioEventLoop::leave() noexcept {
  has_turn = false;
  turn_.unlock();
}

void AsioEventLoop::stop() noexcept {
  context_.stop();
}

TimePoint AsioEventLoop::now() const noexcept {
  return monotonic_now();
}

// Only the post that finds the list empty queues a wake-up, and a wake-up empties the list: there
// is never more than one, and its slot is free again whenever the list is empty.
void AsioEventLoop::post(Task& task) noexcept {
  Task* head = posted_.load(std::memory_order_relaxed);
  do {
    task.next_posted = head;
  } while (!posted_.compare_exchange_weak(head, &task, std::memory_order_acq_rel,
                                          std::memory_order_relaxed));
  if (head == nullptr) asio::post(context_, Wake{this});
}

void AsioEventLoop::run_posted() noexcept {
  Task* newest = posted_.exchange(nullptr, std::memory_order_acq_rel);
  Task* oldest = nullptr;
  while (newest != nullptr) {
    Task* const older = newest->next_posted;
    newest->next_posted = oldest;
    oldest = newest;
    newest = older;
  }
  while (oldest != nullptr) {
    Task* const task = oldest;
    oldest = task->next_posted;  // run() may post or destroy the task
    task->run();
  }
}

std::unique_ptr<Timer> AsioEventLoop::make_timer(Task& on_expiry) {
  return std::make_unique<AsioTimer>(*this, on_expiry);
}

}  // namespace gcs::transport
