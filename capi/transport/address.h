// SPDX-License-Identifier: Apache-2.0
//
// Where a server listens: "host:port", "1.2.3.4:6379", "[::1]:6379". Parsing is pure; nothing is
// looked up.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace gcs::transport {

struct Address {
  std::string host;  // without brackets
  std::uint16_t port = 0;

  // As a person writes it, and as the :authority of a call.
  std::string text() const;

  // nullopt, and the reason in *error, when `text` cannot be an address: no port, a port outside
  // 1..65535, an empty or malformed host, white space, a scheme, an IPv6 address without brackets.
  static std::optional<Address> parse(std::string_view text, std::string* error);
};

}  // namespace gcs::transport
