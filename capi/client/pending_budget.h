// SPDX-License-Identifier: Apache-2.0
//
// How many calls of a client are pending, and how many bytes of requests: from before they are
// submitted until the application has taken the event, so that neither the client, nor what is on
// its way to it, nor a queue can grow without bound.
//
// Invariants:
// - A call is counted once, and so is its release. Each counts as a reference: events may be taken
//   when the client has long gone.
// - Requests that lie inside their call are not counted in bytes: the number of calls bounds them.
//
// Threads: any.
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

  // kAdmitted is followed by one release() of as many bytes. While others are being refused, a call
  // may be that would just have had room.
  Verdict admit(std::uint64_t bytes) noexcept {
    if (references_.fetch_add(1, std::memory_order_relaxed) > max_calls_)
      return refused(Verdict::kTooManyCalls);
    if (bytes == 0) return Verdict::kAdmitted;
    if (bytes > max_bytes_) return refused(Verdict::kTooManyBytes);
    if (bytes_.fetch_add(bytes, std::memory_order_relaxed) > max_bytes_ - bytes) {
      bytes_.fetch_sub(bytes, std::memory_order_relaxed);
      return refused(Verdict::kTooManyBytes);
    }
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
  std::uint64_t refused() const noexcept { return refused_.load(std::memory_order_relaxed); }
  std::uint64_t max_calls() const noexcept { return max_calls_; }
  std::uint64_t max_bytes() const noexcept { return max_bytes_; }

 private:
  Verdict refused(Verdict why) noexcept {
    references_.fetch_sub(1, std::memory_order_relaxed);  // the client's is left
    refused_.fetch_add(1, std::memory_order_relaxed);
    return why;
  }

  const std::uint64_t max_calls_;
  const std::uint64_t max_bytes_;
  std::atomic<std::uint64_t> references_{1};  // the client's, and one for each call
  std::atomic<std::uint64_t> bytes_{0};
  std::atomic<std::uint64_t> refused_{0};
};

}  // namespace gcs
