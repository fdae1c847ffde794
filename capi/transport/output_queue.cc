// SPDX-License-Identifier: Apache-2.0
//
// Memory of the queue follows what is unsent: it is bounded by the cap that its owner keeps, and
// what a burst left behind is given back once all of it was sent.
#include "transport/output_queue.h"

#include <algorithm>

namespace gcs::transport {
namespace {

constexpr std::size_t kKeptStaging = std::size_t{256} << 10;
constexpr std::size_t kKeptSegments = 256;

}  // namespace

void OutputQueue::append(std::span<const std::uint8_t> bytes) {
  if (bytes.empty()) return;
  const bool opens_segment = first_segment_ == segments_.size() || segments_.back().owner;
  if (opens_segment) segments_.emplace_back();
  try {
    staging_.insert(staging_.end(), bytes.begin(), bytes.end());
  } catch (...) {
    if (opens_segment) segments_.pop_back();
    throw;
  }
  segments_.back().size += bytes.size();
  size_ += bytes.size();
  appended_ += bytes.size();
}

void OutputQueue::append_shared(const SharedBytes& owner, std::span<const std::uint8_t> bytes) {
  if (bytes.empty()) return;
  segments_.push_back({owner, bytes.data(), bytes.size()});
  size_ += bytes.size();
  appended_ += bytes.size();
}

std::size_t OutputQueue::gather(std::span<iovec> pieces) const noexcept {
  const std::uint8_t* staged = staging_.data() + staging_begin_;
  std::size_t filled = 0;
  for (std::size_t i = first_segment_; i < segments_.size() && filled < pieces.size(); ++i) {
    const Segment& segment = segments_[i];
    const std::uint8_t* const data = segment.owner ? segment.data : staged;
    if (!segment.owner) staged += segment.size;
    pieces[filled++] = {const_cast<std::uint8_t*>(data), segment.size};
  }
  return filled;
}

void OutputQueue::consume(std::size_t count) noexcept {
  size_ -= count;
  while (count > 0) {
    Segment& segment = segments_[first_segment_];
    const std::size_t part = std::min(count, segment.size);
    if (segment.owner) {
      segment.data += part;
    } else {
      staging_begin_ += part;
    }
    segment.size -= part;
    count -= part;
    if (segment.size == 0) {
      segment.owner.reset();
      ++first_segment_;
    }
  }
  if (size_ == 0) {
    clear();
    return;
  }
  // Where the peer reads slowly the queue may never be empty: what was sent must go all the same.
  if (staging_begin_ > staging_.size() / 2 && staging_begin_ >= kKeptStaging) {
    staging_.erase(staging_.begin(),
                   staging_.begin() + static_cast<std::ptrdiff_t>(staging_begin_));
    staging_begin_ = 0;
  }
  if (first_segment_ > segments_.size() / 2 && first_segment_ >= kKeptSegments) {
    segments_.erase(segments_.begin(),
                    segments_.begin() + static_cast<std::ptrdiff_t>(first_segment_));
    first_segment_ = 0;
  }
}

void OutputQueue::clear() noexcept {
  segments_.clear();
  first_segment_ = 0;
  staging_.clear();
  staging_begin_ = 0;
  size_ = 0;
  if (staging_.capacity() > kKeptStaging) std::vector<std::uint8_t>().swap(staging_);
  if (segments_.capacity() > kKeptSegments) std::vector<Segment>().swap(segments_);
}

}  // namespace gcs::transport
