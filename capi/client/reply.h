// SPDX-License-Identifier: Apache-2.0
//
// What the client reads of a reply that it does not otherwise look into: Ray's own status in its
// two encodings, the cluster's id, and the release of Ray. Pure functions over untrusted bytes;
// whatever cannot be read gives nullopt.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "transport/call.h"

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

// The release of a CheckAlive reply, such as "2.60.0"; empty if it names none. Throws
// std::bad_alloc.
std::optional<std::string> read_ray_version(std::span<const std::uint8_t> reply);

// What a handler of the GCS gives up with is sent as ABORTED, with the name of Ray's own status
// code as the message, and what it says in the details. nullopt: it is no such refusal. Without a
// text that people can read the message is that name; without memory it is empty.
std::optional<GcsStatus> read_aborted(const transport::CallResult& result) noexcept;

// The server compares the id that comes with each call with its own. Older ones say so only in the
// details.
bool is_wrong_cluster(const transport::CallResult& result) noexcept;

// What the server said, with its details where they are text.
std::string describe(const transport::CallResult& result) noexcept;

}  // namespace gcs
