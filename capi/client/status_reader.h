// SPDX-License-Identifier: Apache-2.0
//
// How serialized replies are opened with protozero, and a GcsStatus read. Throws
// protozero::exception on bytes that are no protobuf, and on a status that no Ray has: added to
// our own numbers it would be taken for another. Callers catch it at their own edge.
#pragma once

#include <cstdint>
#include <protozero/pbf_reader.hpp>
#include <span>

#include "client/reply.h"
#include "client/text.h"

namespace gcs {

inline protozero::pbf_reader reader_of(std::span<const std::uint8_t> bytes) {
  return protozero::pbf_reader{reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

inline GcsStatus read_gcs_status(protozero::data_view bytes) {
  constexpr std::uint32_t kCode = 1;
  constexpr std::uint32_t kMessage = 2;
  GcsStatus status;
  protozero::pbf_reader reader{bytes};
  while (reader.next()) {
    if (reader.tag() == kCode && reader.wire_type() == protozero::pbf_wire_type::varint) {
      status.code = reader.get_int32();
    } else if (reader.tag() == kMessage &&
               reader.wire_type() == protozero::pbf_wire_type::length_delimited) {
      const protozero::data_view text = reader.get_view();
      assign(status.message, {text.data(), text.size()});
    } else {
      reader.skip();
    }
  }
  constexpr std::int32_t kMost = 1'000'000;  // Ray has some forty
  if (status.code < 0 || status.code > kMost) throw protozero::exception();
  return status;
}

}  // namespace gcs
