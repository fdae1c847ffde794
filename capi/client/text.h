// SPDX-License-Identifier: Apache-2.0
//
// Texts for people. Those that are made where nothing may throw are empty without memory.
//
// Threads: any; no state.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <system_error>

namespace gcs {

// The parts, one after the other.
std::string join(std::initializer_list<std::string_view> parts) noexcept;
// Whether it is UTF-8 without control characters, spaces and line ends excepted: what comes as
// bytes may be meant for programs.
bool is_text(std::string_view bytes) noexcept;
// Replaces what was there.
void assign(std::string& text, std::string_view other) noexcept;

// What failed and why, in the error's words, and what to do about it. Throws std::bad_alloc.
std::string explain(const std::system_error& error);

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
