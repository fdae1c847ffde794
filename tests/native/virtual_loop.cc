// SPDX-License-Identifier: Apache-2.0
#include "virtual_loop.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <utility>

namespace gcs::test {

using transport::kNever;
using transport::TimePoint;

namespace {

// So many turns without the clock moving are a busy loop.
constexpr std::uint64_t kMostTurnsAtOnce = 10'000'000;

}  // namespace

void require(bool condition, const char* promise) {
  if (condition) return;
  std::fprintf(stderr, "virtual transport: broken promise: %s\n", promise);
  std::abort();
}

class VirtualLoop::VirtualTimer final : public transport::Timer {
 public:
  VirtualTimer(VirtualLoop& loop, transport::Task& on_expiry) : loop_(loop), on_expiry_(on_expiry) {
    const std::lock_guard lock(loop_.mutex_);
    loop_.timers_.push_back(this);
  }
  VirtualTimer(const VirtualTimer&) = delete;
  VirtualTimer& operator=(const VirtualTimer&) = delete;
  ~VirtualTimer() override {
    const std::lock_guard lock(loop_.mutex_);
    std::erase(loop_.timers_, this);
  }

  void set(TimePoint when) noexcept override { when_ = when; }
  TimePoint when() const noexcept { return when_; }
  void fire() {
    when_ = kNever;
    on_expiry_.run();
  }

 private:
  VirtualLoop& loop_;
  transport::Task& on_expiry_;
  TimePoint when_ = kNever;
};

void VirtualLoop::post(transport::Task& task) noexcept {
  const std::lock_guard lock(mutex_);
  posted_.push_back(&task);
}

std::unique_ptr<transport::Timer> VirtualLoop::make_timer(transport::Task& on_expiry) {
  return std::make_unique<VirtualTimer>(*this, on_expiry);
}

bool VirtualLoop::run_one() {
  transport::Task* task = nullptr;
  {
    const std::lock_guard lock(mutex_);
    if (!posted_.empty()) {
      task = posted_.front();
      posted_.pop_front();
    }
  }
  if (task != nullptr) {
    task->run();
    return true;
  }
  VirtualTimer* due = nullptr;
  std::unique_lock lock(mutex_);
  for (VirtualTimer* timer : timers_) {
    if (timer->when() <= now() && (due == nullptr || timer->when() < due->when())) due = timer;
  }
  lock.unlock();
  if (due != nullptr) due->fire();
  return due != nullptr;
}

void VirtualLoop::run() {
  for (std::uint64_t turns = 0; run_one(); ++turns) {
    ++turns_;
    require(turns < kMostTurnsAtOnce, "the loop comes to rest");
  }
}

void VirtualLoop::advance(std::int64_t duration) {
  const TimePoint end = now() + duration;
  run();
  for (TimePoint next = next_timer(); next <= end; next = next_timer()) {
    if (next > now()) now_.store(next);
    run();
  }
  now_.store(end);
  run();
}

TimePoint VirtualLoop::next_timer() const noexcept {
  TimePoint next = kNever;
  const std::lock_guard lock(mutex_);
  for (const VirtualTimer* timer : timers_) next = std::min(next, timer->when());
  return next;
}

}  // namespace gcs::test
