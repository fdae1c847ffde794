// SPDX-License-Identifier: Apache-2.0
//
// What a peer speaks, told from its first bytes: HTTP/2 must begin with a SETTINGS frame, and what
// else is commonly met deserves its name in the error.
//
// Invariant: the verdict comes as soon as the bytes allow it; it depends on the bytes alone, not on
// how they were cut.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace gcs::transport {

class FirstBytes {
 public:
  enum class Verdict : std::uint8_t { kUndecided, kHttp2, kOther };
  static constexpr std::size_t kFrameHeader = 9;

  // Takes bytes off the front of `bytes` until the verdict is there. Allocates nothing.
  Verdict take(std::span<const std::uint8_t>& bytes) noexcept;
  // The bytes taken, to be handed on when they are HTTP/2.
  std::span<const std::uint8_t> taken() const noexcept { return {bytes_.data(), size_}; }
  // After kOther: "the peer speaks ...".
  std::string description() const;

 private:
  Verdict verdict() const noexcept;

  std::array<std::uint8_t, kFrameHeader> bytes_{};
  std::size_t size_ = 0;
};

}  // namespace gcs::transport
