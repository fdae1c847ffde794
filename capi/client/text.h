// SPDX-License-Identifier: Apache-2.0
//
// Texts for people, made where nothing may throw: without memory they are empty.
//
// Threads: any; no state.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

namespace gcs {

// The parts, one after the other.
std::string join(std::initializer_list<std::string_view> parts) noexcept;
// Replaces what was there.
void assign(std::string& text, std::string_view other) noexcept;

// A number as text, in place.
class Digits {
 public:
  explicit Digits(std::uint64_t number) noexcept;
  operator std::string_view() const noexcept {  // NOLINT(google-explicit-constructor): a part
    return {first_, static_cast<std::size_t>(digits_ + sizeof digits_ - first_)};
  }

 private:
  char digits_[20];
  char* first_;
};

}  // namespace gcs
