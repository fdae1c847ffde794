// SPDX-License-Identifier: Apache-2.0
#include "transport/receive_pacing.h"

#include <algorithm>
#include <utility>

namespace gcs::transport {
namespace {

constexpr std::int64_t kLongestWait = 1'000'000;
constexpr std::int64_t kShareOfLatency = 8;
constexpr std::int64_t kWorthwhileReplies = 3;
constexpr std::int64_t kWeight = 4;                   // of the past, against one read
constexpr std::int64_t kLongestSpacing = 10'000'000;  // so that a pause is forgotten soon

}  // namespace

void ReceivePacing::replied(std::int64_t latency) noexcept {
  fastest_in_read_ = std::min(fastest_in_read_, latency);
  ++replies_in_read_;
}

std::int64_t ReceivePacing::wait_after(TimePoint now) noexcept {
  const std::int64_t fastest = std::exchange(fastest_in_read_, kNever);
  const std::int64_t replies = std::exchange(replies_in_read_, 0);
  if (replies == 0) return 0;
  const std::int64_t spacing = std::min((now - last_reply_) / replies, kLongestSpacing);
  last_reply_ = now;
  spacing_ += (spacing - spacing_) / kWeight;
  latency_ = fastest < latency_ ? fastest : latency_ + (fastest - latency_) / kWeight;
  const std::int64_t wait = std::min(latency_ / kShareOfLatency, kLongestWait);
  return wait >= kWorthwhileReplies * spacing_ ? wait : 0;
}

}  // namespace gcs::transport
