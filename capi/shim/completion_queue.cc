// SPDX-License-Identifier: Apache-2.0
#include "shim/completion_queue.h"

#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <new>
#include <optional>
#include <system_error>

#include "client/cancellation.h"
#include "client/runtime.h"
#include "client/subscription.h"
#include "shim/callback.h"
#include "shim/clock.h"
#include "shim/futex.h"
#include "shim/lent_body.h"
#include "shim/objects.h"

namespace gcs::shim {

void Gate::open() {
  const std::lock_guard lock(mutex_);
  open_ = true;
  opened_.notify_all();
}

bool Gate::wait(std::int64_t timeout) {
  std::unique_lock lock(mutex_);
  const auto is_open = [this] { return open_; };
  if (timeout < 0) {
    opened_.wait(lock, is_open);
    return true;
  }
  const std::chrono::steady_clock::time_point until{
      std::chrono::nanoseconds(deadline_after(timeout))};
  return opened_.wait_until(lock, until, is_open);
}

CompletionQueue::Owner CompletionQueue::create(gcs_wake_fn wake, void* wake_user) {
  return Owner(std::make_unique<CompletionQueue>(wake, wake_user).release());
}

CompletionQueue::CompletionQueue(gcs_wake_fn wake, void* wake_user)
    : wake_(wake), wake_user_(wake_user) {}

CompletionQueue::~CompletionQueue() {
  const CancellationDisabled uncancelled;
  if (descriptor_ >= 0) ::close(descriptor_);
}

void CompletionQueue::dispose() noexcept {
  const std::shared_ptr<Gate> gate = gate_;
  std::unique_ptr<CompletionQueue>(this).reset();
  gate->open();
}

void CompletionQueue::deliver(EventList events) {
  if (events.empty()) return;
  bool wake = false;
  bool waited_for = false;
  EventList refused;
  {
    const std::lock_guard lock(mutex_);
    if (closed_) {
      refused = std::move(events);
    } else {
      events_.splice_back(std::move(events));
      if (!signalled_) {
        waited_for = signal();
        wake = wake_ != nullptr;
      }
    }
  }
  if (waited_for) wake_waiting();
  if (wake) {
    const CallbackScope scope;
    wake_(wake_user_);
  }
  discard(std::move(refused));
}

void CompletionQueue::deliver_one(std::unique_ptr<Event> event) {
  EventList one;
  one.push_back(std::move(event));
  deliver(std::move(one));
}

std::size_t CompletionQueue::take(std::span<gcs_event*> out, EventList* due) {
  const auto drain = begin_drain();
  const std::lock_guard lock(mutex_);
  std::size_t count = 0;
  try {
    while (!events_.empty()) {
      if (events_.front()->kind == EventKind::kRelease) {
        due->push_back(events_.pop_front());
      } else if (count < out.size()) {
        out[count] = event_to_c(take_one());
        ++count;
      } else {
        break;
      }
    }
  } catch (const std::bad_alloc&) {
    if (count == 0) throw;
  }
  unsignal_if_empty();
  return count;
}

// Of a run the first.
std::unique_ptr<Event> CompletionQueue::take_one() {
  if (events_.front()->kind == EventKind::kMessage) {
    auto& run = static_cast<SubscriptionEvent&>(*events_.front());
    if (run.count() > 1) return run.take_first();
  }
  return events_.pop_front();
}

EventList CompletionQueue::take_all() {
  const std::lock_guard lock(mutex_);
  return std::move(events_);
}

bool CompletionQueue::give_back(EventList unused, EventList* discarded) {
  bool waited_for = false;
  bool holds_events = false;
  {
    const std::lock_guard lock(mutex_);
    if (closed_) {
      *discarded = std::move(unused);
      return false;
    }
    if (!unused.empty()) {
      unused.splice_back(std::move(events_));
      events_ = std::move(unused);
      // Another thread may have found the queue empty meanwhile.
      if (!signalled_) waited_for = signal();
    }
    unsignal_if_empty();
    holds_events = !events_.empty();
  }
  if (waited_for) wake_waiting();
  return holds_events;
}

namespace {

// Whose thread may be cancelled meanwhile.
class Counted {
 public:
  explicit Counted(std::atomic<std::uint32_t>& count) noexcept : count_(count) { ++count_; }
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;
  ~Counted() { --count_; }

 private:
  std::atomic<std::uint32_t>& count_;
};

}  // namespace

Status CompletionQueue::wait(std::int64_t timeout) {
  const std::int64_t until = timeout < 0 ? kForever : deadline_after(timeout);
  for (;;) {
    std::optional<Counted> waiting;
    std::uint32_t seen = 0;
    {
      // What another one has taken, and may give back, is neither here nor gone.
      const auto drain = begin_drain();
      const std::lock_guard lock(mutex_);
      if (closed_) return Status::kClosed;
      if (!events_.empty()) return Status::kOk;
      waiting.emplace(waiting_);
      seen = signals_.load(std::memory_order_relaxed);
    }
    const std::int64_t left = until == kForever ? kForever : until - monotonic_now();
    if (left <= 0) return Status::kDeadline;
    const int error = futex_wait(signals_, seen, left);
    if (error == EINTR) return Status::kInterrupted;
    if (error != 0 && error != EAGAIN && error != ETIMEDOUT) {
      throw std::system_error(error, std::system_category(), "waiting for a completion queue");
    }
  }
}

void CompletionQueue::close() {
  EventList discarded;
  bool waited_for = false;
  {
    const std::lock_guard lock(mutex_);
    if (closed_) return;
    closed_ = true;
    discarded = std::move(events_);
    if (!signalled_) waited_for = signal();
  }
  if (waited_for) wake_waiting();
  Runtime::cancel_calls_of(*this);
  discard(std::move(discarded));
}

// The client's inbox has a lock: if the close has asked it before the submission, it is seen here
// that the queue is closed; if later, what was submitted is there to be cancelled.
void CompletionQueue::cancel_if_closed() noexcept {
  if (closed_.load(std::memory_order_relaxed)) Runtime::cancel_calls_of(*this);
}

int CompletionQueue::descriptor() {
  const std::lock_guard lock(mutex_);
  if (descriptor_ < 0) {
    descriptor_ = ::eventfd(signalled_ ? 1 : 0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (descriptor_ < 0) {
      throw std::system_error(errno, std::system_category(), "making a completion queue's eventfd");
    }
  }
  return descriptor_;
}

// Through syscall(), since write() and read() are cancellation points: a thread that is cancelled
// must not leave behind a queue whose descriptor says something else than its flag.
bool CompletionQueue::signal() noexcept {
  signalled_ = true;
  if (descriptor_ >= 0) {
    const std::uint64_t one = 1;
    static_cast<void>(::syscall(SYS_write, descriptor_, &one, sizeof(one)));
  }
  if (waiting_.load(std::memory_order_relaxed) == 0) return false;
  signals_.fetch_add(1, std::memory_order_relaxed);
  return true;
}

void CompletionQueue::wake_waiting() noexcept {
  futex_wake_all(signals_);
}

void CompletionQueue::unsignal_if_empty() noexcept {
  if (!signalled_ || closed_ || !events_.empty()) return;
  signalled_ = false;
  if (descriptor_ < 0) return;
  std::uint64_t count = 0;
  static_cast<void>(::syscall(SYS_read, descriptor_, &count, sizeof(count)));
}

}  // namespace gcs::shim
