// SPDX-License-Identifier: Apache-2.0
#include "client/reply.h"

#include <protozero/pbf_reader.hpp>

#include "client/status_reader.h"

namespace gcs {

std::optional<GcsStatus> read_status(std::span<const std::uint8_t> reply,
                                     std::uint32_t field) noexcept {
  try {
    GcsStatus status;
    protozero::pbf_reader reader = reader_of(reply);
    while (reader.next()) {
      if (reader.tag() == field &&
          reader.wire_type() == protozero::pbf_wire_type::length_delimited) {
        status = read_gcs_status(reader.get_view());
      } else {
        reader.skip();
      }
    }
    return status;
  } catch (const std::exception&) {
    return std::nullopt;
  }
}

std::optional<std::string> read_cluster_id(std::span<const std::uint8_t> reply) {
  constexpr std::uint32_t kClusterId = 2;
  constexpr char kDigits[] = "0123456789abcdef";
  try {
    std::string hex;
    protozero::pbf_reader reader = reader_of(reply);
    while (reader.next()) {
      if (reader.tag() == kClusterId &&
          reader.wire_type() == protozero::pbf_wire_type::length_delimited) {
        const protozero::data_view id = reader.get_view();
        hex.clear();
        for (std::size_t i = 0; i < id.size(); ++i) {
          const auto byte = static_cast<unsigned char>(id.data()[i]);
          hex.push_back(kDigits[byte >> 4]);
          hex.push_back(kDigits[byte & 15]);
        }
      } else {
        reader.skip();
      }
    }
    constexpr std::size_t kHexDigits = 56;
    if (!hex.empty() && hex.size() != kHexDigits) return std::nullopt;
    return hex;
  } catch (const protozero::exception&) {
    return std::nullopt;
  }
}

}  // namespace gcs
