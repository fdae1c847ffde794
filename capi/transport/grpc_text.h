// SPDX-License-Identifier: Apache-2.0
//
// gRPC's text forms in HTTP/2 headers, and its tables from HTTP and HTTP/2 codes to status codes.
// Pure functions; bad input has a defined outcome everywhere.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "transport/call.h"

namespace gcs::transport {

// grpc-message: %XX becomes a byte; what is no such escape stays as it is.
std::string percent_decode(std::string_view text);

// Standard alphabet, with or without padding. nullopt when malformed.
std::optional<std::string> base64_decode(std::string_view text);

// grpc-status: nullopt when it is no decimal number; numbers that gRPC does not know are kUnknown.
std::optional<StatusCode> parse_grpc_status(std::string_view text);

// grpc-timeout: at most eight digits and a unit, rounded up; 1n when `nanoseconds` is not positive.
class TimeoutText {
 public:
  explicit TimeoutText(std::int64_t nanoseconds) noexcept;
  std::string_view view() const noexcept { return {text_.data(), size_}; }

 private:
  std::array<char, 12> text_{};
  std::size_t size_ = 0;
};

// For a reply without a grpc-status.
StatusCode status_of_http(int http_status) noexcept;
// For a stream that RST_STREAM ended.
StatusCode status_of_http2_error(std::uint32_t error_code) noexcept;
// "PROTOCOL_ERROR", or the number.
std::string http2_error_name(std::uint32_t error_code);

// A peer's text inside a message of ours: cut to a bearable length, control characters replaced.
std::string printable(std::string_view text, std::size_t limit = 200);

}  // namespace gcs::transport
