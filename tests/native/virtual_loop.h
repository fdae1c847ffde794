// SPDX-License-Identifier: Apache-2.0
//
// An event loop whose clock moves when it is told to: everything is deterministic, and hours pass
// in no time. A loop that never comes to rest ends the process with a message.
//
// Threads: post(), now() and make_timer() any; the rest one at a time, that of whoever drives the
// loop.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <vector>

#include "transport/event_loop.h"

namespace gcs::test {

inline constexpr std::int64_t kMillisecond = 1'000'000;
inline constexpr std::int64_t kSecond = 1'000'000'000;

class VirtualLoop final : public transport::EventLoop {
 public:
  VirtualLoop() = default;
  VirtualLoop(const VirtualLoop&) = delete;
  VirtualLoop& operator=(const VirtualLoop&) = delete;

  transport::TimePoint now() const noexcept override { return now_.load(); }
  void post(transport::Task& task) noexcept override;
  std::unique_ptr<transport::Timer> make_timer(transport::Task& on_expiry) override;

  // Runs what was posted and the timers that are due, until nothing is left to do at this moment.
  void run();
  // Lets time pass, stopping at every timer on the way.
  void advance(std::int64_t duration);
  // Lets time pass in which nothing runs: the thread had other things to do.
  void stall(std::int64_t duration) noexcept { now_ += duration; }
  // When the next timer is due; kNever if none is set.
  transport::TimePoint next_timer() const noexcept;
  std::uint64_t turns() const noexcept { return turns_; }

 private:
  class VirtualTimer;
  bool run_one();

  std::atomic<transport::TimePoint> now_{1'000 * kSecond};
  mutable std::mutex mutex_;  // guards the two lists
  std::deque<transport::Task*> posted_;
  std::vector<VirtualTimer*> timers_;
  std::uint64_t turns_ = 0;
};

// Ends the process unless `condition` holds: what the virtual transport is promised by its user.
void require(bool condition, const char* promise);

}  // namespace gcs::test
