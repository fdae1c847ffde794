// SPDX-License-Identifier: Apache-2.0
//
// The tables follow gRPC's published mappings; what they leave open is INTERNAL for HTTP/2 and
// UNKNOWN for HTTP.
#include "transport/grpc_text.h"

#include <nghttp2/nghttp2.h>

#include <charconv>

namespace gcs::transport {
namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

int base64_digit(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  if (c == '+') return 62;
  if (c == '/') return 63;
  return -1;
}

}  // namespace

std::string percent_decode(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size()) {
      const int high = hex_digit(text[i + 1]);
      const int low = hex_digit(text[i + 2]);
      if (high >= 0 && low >= 0) {
        out += static_cast<char>(high * 16 + low);
        i += 2;
        continue;
      }
    }
    out += text[i];
  }
  return out;
}

std::optional<std::string> base64_decode(std::string_view text) {
  std::size_t padding = 0;
  while (padding < 2 && !text.empty() && text.back() == '=') {
    text.remove_suffix(1);
    ++padding;
  }
  if (text.size() % 4 == 1) return std::nullopt;
  if (padding != 0 && (text.size() + padding) % 4 != 0) return std::nullopt;
  std::string out;
  out.reserve(text.size() * 3 / 4);
  unsigned bits = 0;
  unsigned count = 0;
  for (const char c : text) {
    const int digit = base64_digit(c);
    if (digit < 0) return std::nullopt;
    bits = (bits << 6 | static_cast<unsigned>(digit)) & 0xffff;
    count += 6;
    if (count >= 8) {
      count -= 8;
      out += static_cast<char>(bits >> count & 0xff);
    }
  }
  return out;
}

std::optional<StatusCode> parse_grpc_status(std::string_view text) {
  unsigned value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || end != text.data() + text.size()) return std::nullopt;
  if (error == std::errc::result_out_of_range || value > 16) return StatusCode::kUnknown;
  if (error != std::errc()) return std::nullopt;
  return static_cast<StatusCode>(value);
}

TimeoutText::TimeoutText(std::int64_t nanoseconds) noexcept {
  struct Unit {
    std::int64_t nanoseconds;
    char letter;
  };
  static constexpr std::array<Unit, 6> kUnits{{{1, 'n'},
                                               {1'000, 'u'},
                                               {1'000'000, 'm'},
                                               {1'000'000'000, 'S'},
                                               {60'000'000'000, 'M'},
                                               {3'600'000'000'000, 'H'}}};
  if (nanoseconds < 1) nanoseconds = 1;
  for (const Unit& unit : kUnits) {
    const std::int64_t count =
        nanoseconds / unit.nanoseconds + (nanoseconds % unit.nanoseconds != 0 ? 1 : 0);
    // The largest time there is takes 2 562 048 hours, so that the last unit always fits.
    if (count > 99'999'999) continue;
    char* const end = std::to_chars(text_.data(), text_.data() + text_.size() - 1, count).ptr;
    *end = unit.letter;
    size_ = static_cast<std::size_t>(end - text_.data()) + 1;
    return;
  }
}

StatusCode status_of_http(int http_status) noexcept {
  switch (http_status) {
    case 400:
      return StatusCode::kInternal;
    case 401:
      return StatusCode::kUnauthenticated;
    case 403:
      return StatusCode::kPermissionDenied;
    case 404:
      return StatusCode::kUnimplemented;
    case 429:
    case 502:
    case 503:
    case 504:
      return StatusCode::kUnavailable;
    default:
      return StatusCode::kUnknown;
  }
}

StatusCode status_of_http2_error(std::uint32_t error_code) noexcept {
  switch (error_code) {
    case NGHTTP2_REFUSED_STREAM:
      return StatusCode::kUnavailable;
    case NGHTTP2_CANCEL:
      return StatusCode::kCancelled;
    case NGHTTP2_ENHANCE_YOUR_CALM:
      return StatusCode::kResourceExhausted;
    case NGHTTP2_INADEQUATE_SECURITY:
      return StatusCode::kPermissionDenied;
    default:
      return StatusCode::kInternal;
  }
}

std::string http2_error_name(std::uint32_t error_code) {
  if (error_code > NGHTTP2_HTTP_1_1_REQUIRED) return "error " + std::to_string(error_code);
  return nghttp2_http2_strerror(error_code);
}

std::string printable(std::string_view text, std::size_t limit) {
  const bool cut = text.size() > limit;
  std::string out(text.substr(0, limit));
  for (char& c : out) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  }
  if (cut) out += "...";
  return out;
}

}  // namespace gcs::transport
