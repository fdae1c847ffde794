// SPDX-License-Identifier: Apache-2.0
#include "client/text.h"

#include <new>

#include "transport/system_error.h"

namespace gcs {

std::string join(std::initializer_list<std::string_view> parts) noexcept {
  std::string text;
  try {
    std::size_t size = 0;
    for (const std::string_view part : parts) size += part.size();
    text.reserve(size);
    for (const std::string_view part : parts) text += part;
  } catch (const std::bad_alloc&) {
    text.clear();
  }
  return text;
}

void assign(std::string& text, std::string_view other) noexcept {
  try {
    text.assign(other);
  } catch (const std::bad_alloc&) {
    text.clear();
  }
}

std::string explain(const std::system_error& error) {
  return error.what() + std::string(transport::system_error_advice(error.code().value()));
}

Digits::Digits(std::uint64_t number) noexcept : first_(digits_ + sizeof digits_) {
  do {
    *--first_ = static_cast<char>('0' + number % 10);
    number /= 10;
  } while (number != 0);
}

}  // namespace gcs
