// SPDX-License-Identifier: Apache-2.0
//
// Refuses, before it is sent, a request that is known to end the GCS's process.
//
// Invariants:
// - Judged are the serialized bytes, whoever wrote them. A field that is given twice is judged both
//   times; a field of another wire type is none, as for the server.
// - Bytes that are no message are let through: the server answers them with an error and lives.
// - A method without rules costs one look-up.
//
// Threads: any; no state.
#pragma once

#include <cstdint>
#include <span>

#include "client/call.h"
#include "client/status.h"

namespace gcs {

// OK, or INVALID_ARGUMENT with a text that names the field, what is wrong, and what is right.
// A call that names no release of the server (ray_version is 0) is judged by the rules of all.
Refusal guard_request(const Call& call) noexcept;

// The same for the channels and sequence numbers of a pub/sub request; OK for any other.
Refusal guard_pubsub(std::uint32_t method, std::span<const std::uint8_t> request,
                     std::uint32_t ray_version) noexcept;

}  // namespace gcs
