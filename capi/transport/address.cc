// SPDX-License-Identifier: Apache-2.0
//
// Parsing of addresses. A reason never repeats the text it refuses: whoever calls knows it, and it
// may hold a secret.
#include "transport/address.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>

namespace gcs::transport {
namespace {

constexpr std::size_t kMaxHost = 253;
constexpr std::size_t kMaxLabel = 63;

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

bool is_name_character(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_';
}

bool is_host_name(std::string_view host) {
  if (!host.empty() && host.back() == '.') host.remove_suffix(1);
  if (host.empty() || host.size() > kMaxHost) return false;
  std::size_t label = 0;
  for (const char c : host) {
    if (c == '.') {
      if (label == 0) return false;
      label = 0;
    } else if (!is_name_character(c) || ++label > kMaxLabel) {
      return false;
    }
  }
  return label != 0;
}

// Digits and dots alone are an IPv4 address or a mistake, never a name.
bool looks_like_ipv4(std::string_view host) {
  return std::all_of(host.begin(), host.end(), [](char c) { return is_digit(c) || c == '.'; });
}

bool is_ipv6(const std::string& host) {
  const std::size_t zone = host.find('%');
  if (zone != std::string::npos) {
    if (zone + 1 == host.size()) return false;
    for (const char c : std::string_view(host).substr(zone + 1)) {
      if (!is_name_character(c) && c != '.') return false;
    }
  }
  in6_addr address{};
  return inet_pton(AF_INET6, host.substr(0, zone).c_str(), &address) == 1;
}

std::optional<std::uint16_t> parse_port(std::string_view text) {
  if (text.empty() || text.size() > 5) return std::nullopt;
  if (!std::all_of(text.begin(), text.end(), is_digit)) return std::nullopt;
  unsigned value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  if (value < 1 || value > 65535) return std::nullopt;
  return static_cast<std::uint16_t>(value);
}

}  // namespace

std::string Address::text() const {
  const bool bracketed = host.find(':') != std::string::npos;
  std::string out;
  if (bracketed) out += '[';
  out += host;
  if (bracketed) out += ']';
  out += ':';
  out += std::to_string(port);
  return out;
}

std::optional<Address> Address::parse(std::string_view text, std::string* error) {
  const auto refuse = [error](const char* reason) {
    if (error != nullptr) *error = reason;
    return std::nullopt;
  };
  if (text.empty()) return refuse("it is empty; write host:port");
  const auto is_blank = [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte <= 0x20 || byte == 0x7f;
  };
  if (std::any_of(text.begin(), text.end(), is_blank)) {
    return refuse("it holds white space or a control character; write host:port");
  }
  if (text.find("://") != std::string_view::npos) {
    return refuse("it starts with a scheme; write host:port alone");
  }

  Address address;
  std::string_view rest;
  if (text.front() == '[') {
    const std::size_t end = text.find(']');
    if (end == std::string_view::npos)
      return refuse("the bracket is not closed; write [IPv6]:port");
    address.host = text.substr(1, end - 1);
    rest = text.substr(end + 1);
    if (!is_ipv6(address.host)) return refuse("what stands in brackets is no IPv6 address");
    if (rest.empty() || rest.front() != ':') return refuse("it has no port; write [IPv6]:port");
    rest.remove_prefix(1);
  } else {
    const std::size_t colon = text.find(':');
    if (colon == std::string_view::npos) return refuse("it has no port; write host:port");
    if (text.find(':', colon + 1) != std::string_view::npos) {
      return refuse("an IPv6 address needs brackets; write [IPv6]:port");
    }
    address.host = text.substr(0, colon);
    rest = text.substr(colon + 1);
    if (address.host.empty()) return refuse("it has no host; write host:port");
    if (looks_like_ipv4(address.host)) {
      in_addr parsed{};
      if (inet_pton(AF_INET, address.host.c_str(), &parsed) != 1) {
        return refuse("the host is no IPv4 address and no name");
      }
    } else if (!is_host_name(address.host)) {
      return refuse("the host is no name: letters, digits, '-', '_' and '.' are allowed");
    }
  }
  const std::optional<std::uint16_t> port = parse_port(rest);
  if (!port) return refuse("the port is not a number from 1 to 65535");
  address.port = *port;
  return address;
}

}  // namespace gcs::transport
