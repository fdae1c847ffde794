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

bool is_text(std::string_view bytes) noexcept {
  std::size_t following = 0;  // bytes of the same character
  std::uint32_t character = 0;
  std::uint32_t least = 0;  // that needs so many bytes
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    if (following != 0) {
      if ((byte & 0xc0) != 0x80) return false;
      character = character << 6 | (byte & 0x3f);
      if (--following != 0) continue;
      const bool surrogate = character >= 0xd800 && character <= 0xdfff;
      if (character < least || character > 0x10ffff || surrogate) return false;
    } else if (byte < 0x80) {
      const bool control = byte < 0x20 || byte == 0x7f;
      if (control && byte != '\t' && byte != '\n' && byte != '\r') return false;
    } else if ((byte & 0xe0) == 0xc0) {
      following = 1, least = 0x80, character = byte & 0x1f;
    } else if ((byte & 0xf0) == 0xe0) {
      following = 2, least = 0x800, character = byte & 0x0f;
    } else if ((byte & 0xf8) == 0xf0) {
      following = 3, least = 0x10000, character = byte & 0x07;
    } else {
      return false;
    }
  }
  return following == 0;
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
