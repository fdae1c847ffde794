// SPDX-License-Identifier: Apache-2.0
//
// How many calls of a client are pending, and how many bytes of requests: from acceptance until the
// application has taken the event, so that neither the client nor a queue can grow without bound.
//
// Invariants:
// - A call is counted once, and so is its release. Each counts as a reference: events may be taken
//   when the client has long gone.
// - Requests that lie inside their call are not counted in bytes: the number of calls bounds them.
//
// Threads: admit() in the loop's turn; release() and the readers on any.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

namespace gcs {

class PendingBudget {
 public:
  struct DropReference {
    void operator()(PendingBudget* budget) const noexcept { budget->release(0); }
  };
  using Owner = std::unique_ptr<PendingBudget, DropReference>;

  enum class Verdict : std::uint8_t { kAdmitted, kTooManyCalls, kTooManyBytes };

  // Throws std::bad_alloc.
  static Owner create(std::uint64_t max_calls, std::uint64_t max_bytes) {
    return Owner(std::make_unique<PendingBudget>(max_calls, max_bytes).release());
  }
  PendingBudget(std::uint64_t max_calls, std::uint64_t max_bytes) noexcept
      : max_calls_(max_calls), max_bytes_(max_bytes) {}
  PendingBudget(const PendingBudget&) = delete;
  PendingBudget& operator=(const PendingBudget&) = delete;

  // kAdmitted is followed by one release() of as many bytes.
  Verdict admit(std::uint64_t bytes) noexcept {
    if (calls() >= max_calls_) return Verdict::kTooManyCalls;
    if (bytes > 0) {
      if (bytes > max_bytes_ || this->bytes() > max_bytes_ - bytes) return Verdict::kTooManyBytes;
      bytes_.fetch_add(bytes, std::memory_order_relaxed);
    }
    references_.fetch_add(1, std::memory_order_relaxed);
    return Verdict::kAdmitted;
  }
  void release(std::uint64_t bytes) noexcept {
    if (bytes > 0) bytes_.fetch_sub(bytes, std::memory_order_relaxed);
    if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1)
      std::unique_ptr<PendingBudget>(this).reset();
  }

  // While the client has it.
  std::uint64_t calls() const noexcept { return references_.load(std::memory_order_relaxed) - 1; }
  std::uint64_t bytes() const noexcept { return bytes_.load(std::memory_order_relaxed); }
  std::uint64_t max_calls() const noexcept { return max_calls_; }
  std::uint64_t max_bytes() const noexcept { return max_bytes_; }

 private:
  const std::uint64_t max_calls_;
  const std::uint64_t max_bytes_;
  std::atomic<std::uint64_t> references_{1};  // the client's, and one for each call
  std::atomic<std::uint64_t> bytes_{0};
};

}  // namespace gcs
