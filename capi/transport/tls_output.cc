// SPDX-License-Identifier: Apache-2.0
#include "transport/tls_output.h"

#include <algorithm>
#include <cstring>

namespace gcs::transport {
namespace {

constexpr std::size_t kKept = std::size_t{512} << 10;

}  // namespace

void TlsOutput::append(std::span<const std::uint8_t> ciphertext) {
  bytes_.insert(bytes_.end(), ciphertext.begin(), ciphertext.end());
  appended_ += ciphertext.size();
}

void TlsOutput::reserve_record() {
  if (records_.size() == records_.capacity()) {
    records_.reserve(std::max<std::size_t>(16, records_.size() * 2));
  }
}

void TlsOutput::add_record(std::size_t plaintext) noexcept {
  plaintext_ += plaintext;
  records_.push_back({appended_, plaintext_});
}

void TlsOutput::flush() noexcept {
  if (blocked_) return;
  if (size() > 0) {
    const iovec piece{bytes_.data() + begin_, size()};
    begin_ += below_.write({&piece, 1});
    blocked_ = size() > 0;
  }
  if (!blocked_) {
    begin_ = 0;
    bytes_.clear();
    if (bytes_.capacity() > kKept) std::vector<std::uint8_t>().swap(bytes_);
  }
  delivered_ = delivered();
  std::erase_if(records_, [this](const Record& record) { return record.end <= delivered_; });
}

std::uint64_t TlsOutput::delivered() const noexcept {
  const std::uint64_t delivered_below = below_.delivered();
  std::uint64_t delivered = delivered_;
  for (const Record& record : records_) {
    if (record.end_below <= delivered_below) delivered = record.end;
  }
  return delivered;
}

std::span<const std::uint8_t> TlsPieces::take(std::span<std::uint8_t> room) noexcept {
  const std::size_t size = std::min(left_, room.size());
  skip_empty();
  if (pieces_.front().iov_len - at_ >= size) return take_here(size);
  for (std::size_t filled = 0; filled < size;) {
    skip_empty();
    const auto part = take_here(std::min(size - filled, pieces_.front().iov_len - at_));
    std::memcpy(room.data() + filled, part.data(), part.size());
    filled += part.size();
  }
  return room.first(size);
}

void TlsPieces::skip_empty() noexcept {
  while (pieces_.front().iov_len == at_) {
    pieces_ = pieces_.subspan(1);
    at_ = 0;
  }
}

std::span<const std::uint8_t> TlsPieces::take_here(std::size_t size) noexcept {
  const auto* const data = static_cast<const std::uint8_t*>(pieces_.front().iov_base) + at_;
  at_ += size;
  left_ -= size;
  return {data, size};
}

}  // namespace gcs::transport
