// SPDX-License-Identifier: Apache-2.0
#include "client/ray_version.h"

#include <algorithm>

#include "client/text.h"

namespace gcs {
namespace {

constexpr std::uint32_t kMost = 999;

bool is_digit(char c) noexcept {
  return c >= '0' && c <= '9';
}

}  // namespace

std::uint32_t ray_version_number(std::string_view text) noexcept {
  if (text.empty() || !is_digit(text.front())) return 0;
  std::uint32_t number = 0;
  for (int part = 0; part < 3; ++part) {
    std::uint32_t value = 0;
    const std::size_t dot = std::min(text.find('.'), text.size());
    for (const char c : text.substr(0, dot)) {
      if (!is_digit(c)) break;
      value = std::min(kMost, value * 10 + static_cast<std::uint32_t>(c - '0'));
    }
    number = number * (kMost + 1) + value;
    text.remove_prefix(std::min(dot + 1, text.size()));
  }
  return number;
}

std::string ray_version_text(std::uint32_t number) noexcept {
  constexpr std::uint32_t kParts = kMost + 1;
  return join({Digits(number / kParts / kParts), ".", Digits(number / kParts % kParts), ".",
               Digits(number % kParts)});
}

}  // namespace gcs
