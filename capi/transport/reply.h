// SPDX-License-Identifier: Apache-2.0
//
// One call's reply: headers, the length-prefixed message and trailers become UnaryCall::response
// and ::result.
//
// Invariants:
// - Nothing here knows of connections or nghttp2; what arrives is fed in, in the order in which it
//   came.
// - A function that returns false has filled `result`: the call is over, and its stream is to be
//   reset.
// - Memory follows the bytes that arrived. Header bytes are counted as HPACK does (name, value and
//   32 for each), since a few bytes of input can stand for megabytes of headers.
// - Nothing throws: out of memory fails the call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "transport/call.h"

namespace gcs::transport {

struct ReplyLimits {
  std::size_t max_message;
  std::size_t max_header_bytes;
};

// Fills `result`. Out of memory loses the text, not the code.
void set_result(UnaryCall& call, StatusCode code, Origin origin, std::string_view message) noexcept;

// One header or trailer. `last_block`: nothing follows this block of headers.
bool receive_header(UnaryCall& call, std::string_view name, std::string_view value, bool last_block,
                    const ReplyLimits& limits) noexcept;
// The block of headers is complete.
bool receive_headers_end(UnaryCall& call, bool last_block) noexcept;
bool receive_data(UnaryCall& call, std::span<const std::uint8_t> bytes,
                  const ReplyLimits& limits) noexcept;
// The peer ended its half of the stream. Fills `result` in any case.
void receive_end(UnaryCall& call) noexcept;

}  // namespace gcs::transport
