// SPDX-License-Identifier: Apache-2.0
//
// What the client reads of a reply that it does not otherwise look into: Ray's own status, and the
// cluster's id. Pure functions over untrusted bytes; whatever cannot be read gives nullopt.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

namespace gcs {

struct GcsStatus {
  std::int32_t code = 0;
  std::string message;
};

// The GcsStatus in field `field` of a serialized reply; code 0 if it is absent. Without memory it
// has no message.
std::optional<GcsStatus> read_status(std::span<const std::uint8_t> reply,
                                     std::uint32_t field) noexcept;

// The cluster id of a GetClusterId reply as 56 hex digits; empty if the server has none. Throws
// std::bad_alloc, which says nothing about the reply.
std::optional<std::string> read_cluster_id(std::span<const std::uint8_t> reply);

}  // namespace gcs
