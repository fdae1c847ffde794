// SPDX-License-Identifier: Apache-2.0
//
// Walks the fields of a serialized message as the server's parser does.
//
// Invariants:
// - What the server takes, this takes too, groups and reserved field numbers included: else the
//   server alone would read a field of a request that is behind them.
// - Nothing throws, nothing is read beyond the bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <protozero/exception.hpp>
#include <protozero/varint.hpp>
#include <span>

namespace gcs {

class MessageReader {
 public:
  enum class Wire : std::uint8_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

  explicit MessageReader(std::span<const std::uint8_t> bytes) noexcept
      : at_(reinterpret_cast<const char*>(bytes.data())), end_(at_ + bytes.size()) {}

  // Goes to the next field. False at the end, and where the bytes are no message any more.
  bool next() noexcept {
    std::uint32_t groups = 0;
    while (at_ != end_) {
      std::uint64_t tag = 0;
      if (!read(&tag, kLongestTag)) return fail();
      field_ = static_cast<std::uint32_t>(tag) >> 3;
      const auto wire = static_cast<std::uint8_t>(tag & 7);
      if (field_ == 0) return fail();
      if (wire == kStartGroup) {
        ++groups;
      } else if (wire == kEndGroup) {
        if (groups-- == 0) return fail();
      } else {
        if (!read_value(wire)) return fail();
        wire_ = static_cast<Wire>(wire);
        if (groups == 0) return true;
      }
    }
    return groups == 0 ? false : fail();
  }

  // Of the field that next() went to.
  std::uint32_t field() const noexcept { return field_; }
  Wire wire() const noexcept { return wire_; }
  std::span<const std::uint8_t> bytes() const noexcept { return bytes_; }
  std::int64_t number() const noexcept { return number_; }

  // What comes after it.
  std::span<const std::uint8_t> rest() const noexcept {
    return {reinterpret_cast<const std::uint8_t*>(at_), static_cast<std::size_t>(end_ - at_)};
  }

  // Whether all the bytes so far were a message.
  bool intact() const noexcept { return intact_; }

 private:
  static constexpr std::uint8_t kStartGroup = 3;
  static constexpr std::uint8_t kEndGroup = 4;
  static constexpr std::ptrdiff_t kLongestTag = 5;
  static constexpr std::ptrdiff_t kLongestVarint = 10;

  bool fail() noexcept { return intact_ = false; }

  bool read(std::uint64_t* into, std::ptrdiff_t longest) noexcept {
    const char* const start = at_;
    try {
      *into = protozero::decode_varint(&at_, end_);
    } catch (const protozero::exception&) {
      return false;
    }
    return at_ - start <= longest;
  }

  bool skip(std::uint64_t size) noexcept {
    if (size > static_cast<std::uint64_t>(end_ - at_)) return false;
    at_ += size;
    return true;
  }

  bool read_value(std::uint8_t wire) noexcept {
    std::uint64_t value = 0;
    switch (wire) {
      case static_cast<std::uint8_t>(Wire::kVarint):
        if (!read(&value, kLongestVarint)) return false;
        number_ = static_cast<std::int64_t>(value);
        return true;
      case static_cast<std::uint8_t>(Wire::kFixed64):
        return skip(8);
      case static_cast<std::uint8_t>(Wire::kFixed32):
        return skip(4);
      case static_cast<std::uint8_t>(Wire::kBytes): {
        if (!read(&value, kLongestTag)) return false;
        const char* const start = at_;
        if (!skip(value)) return false;
        bytes_ = {reinterpret_cast<const std::uint8_t*>(start), static_cast<std::size_t>(value)};
        return true;
      }
      default:
        return false;
    }
  }

  const char* at_;
  const char* end_;
  std::uint32_t field_ = 0;
  Wire wire_ = Wire::kVarint;
  bool intact_ = true;
  std::int64_t number_ = 0;
  std::span<const std::uint8_t> bytes_;
};

}  // namespace gcs
