// SPDX-License-Identifier: Apache-2.0
//
// A SETTINGS frame's header: three bytes of length, of which the first is 0 below 64 KiB; type 4;
// no ACK flag; stream 0. A TLS record begins with its type (0x15 alert, 0x16 handshake) and the
// version's major number 3.
#include "transport/first_bytes.h"

#include <algorithm>
#include <string_view>

namespace gcs::transport {
namespace {

constexpr std::string_view kHttp1 = "HTTP/";
constexpr std::uint8_t kTlsAlert = 0x15;
constexpr std::uint8_t kTlsHandshake = 0x16;
constexpr std::uint8_t kTlsMajor = 0x03;
constexpr std::uint8_t kSettings = 0x04;
constexpr std::uint8_t kAck = 0x01;

bool may_be_settings(std::span<const std::uint8_t> bytes) {
  const std::size_t size = bytes.size();
  if (size > 0 && bytes[0] != 0) return false;
  if (size > 3 && bytes[3] != kSettings) return false;
  if (size > 4 && (bytes[4] & kAck) != 0) return false;
  // The topmost bit of the stream id is reserved and ignored.
  if (size > 5 && (bytes[5] & 0x7f) != 0) return false;
  for (std::size_t i = 6; i < size; ++i) {
    if (bytes[i] != 0) return false;
  }
  return true;
}

bool may_be_http1(std::span<const std::uint8_t> bytes) {
  const std::size_t size = std::min(bytes.size(), kHttp1.size());
  return std::equal(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size),
                    kHttp1.begin());
}

bool may_be_tls(std::span<const std::uint8_t> bytes) {
  if (!bytes.empty() && bytes[0] != kTlsAlert && bytes[0] != kTlsHandshake) return false;
  return bytes.size() < 2 || bytes[1] == kTlsMajor;
}

}  // namespace

FirstBytes::Verdict FirstBytes::take(std::span<const std::uint8_t>& bytes) noexcept {
  Verdict now = verdict();
  while (now == Verdict::kUndecided && !bytes.empty()) {
    bytes_[size_++] = bytes.front();
    bytes = bytes.subspan(1);
    now = verdict();
  }
  return now;
}

FirstBytes::Verdict FirstBytes::verdict() const noexcept {
  if (may_be_settings(taken())) {
    return size_ == kFrameHeader ? Verdict::kHttp2 : Verdict::kUndecided;
  }
  if (may_be_http1(taken())) {
    return size_ >= kHttp1.size() ? Verdict::kOther : Verdict::kUndecided;
  }
  if (may_be_tls(taken())) return size_ >= 2 ? Verdict::kOther : Verdict::kUndecided;
  return Verdict::kOther;
}

std::string FirstBytes::description() const {
  if (size_ >= kHttp1.size() && may_be_http1(taken())) {
    return "the peer speaks HTTP/1.1, not HTTP/2 as gRPC does; is this the right port?";
  }
  if (size_ >= 2 && may_be_tls(taken())) {
    return "the peer speaks TLS, and this connection does not";
  }
  static constexpr char kHex[] = "0123456789abcdef";
  std::string seen;
  for (const std::uint8_t byte : taken()) {
    if (!seen.empty()) seen += ' ';
    seen += kHex[byte >> 4];
    seen += kHex[byte & 15];
  }
  return "the peer sent bytes that are not HTTP/2 (" + seen + "); is this the right port?";
}

}  // namespace gcs::transport
