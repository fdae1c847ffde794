// SPDX-License-Identifier: Apache-2.0
//
// The C library's own words, begun with a small letter.
#include "transport/system_error.h"

#include <array>
#include <cerrno>
#include <cstdio>
#include <system_error>

namespace gcs::transport {

std::string system_error_text(int error_number) {
  std::string text = std::error_code(error_number, std::generic_category()).message();
  const auto is_upper = [](char c) { return c >= 'A' && c <= 'Z'; };
  if (text.size() > 1 && is_upper(text[0]) && !is_upper(text[1])) {
    text[0] = static_cast<char>(text[0] - 'A' + 'a');
  }
  return text;
}

const char* system_error_advice(int error_number) noexcept {
  switch (error_number) {
    case EMFILE:
      return "; close some, or raise this process's limit (ulimit -n)";
    case ENFILE:
      return "; the limit is the whole system's (fs.file-max)";
    case EAGAIN:
      return "; end some threads, or raise their limit (ulimit -u, or that of the container)";
    default:
      return "";
  }
}

std::string seconds_text(std::int64_t nanoseconds) {
  std::array<char, 48> text{};
  std::snprintf(text.data(), text.size(), "%.4g s", static_cast<double>(nanoseconds) / 1e9);
  return text.data();
}

}  // namespace gcs::transport
