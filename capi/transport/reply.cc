// SPDX-License-Identifier: Apache-2.0
//
// The reply is judged as late as it can be, so that a status that the peer did send wins over what
// looks odd around it; only what would cost memory or could not be read anyway ends the call
// before.
#include "transport/reply.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <new>
#include <string>

#include "transport/grpc_text.h"

namespace gcs::transport {
namespace {

constexpr std::size_t kHpackOverhead = 32;
constexpr std::string_view kGrpcContentType = "application/grpc";
constexpr std::int16_t kNoStatus = -1;

bool fail(UnaryCall& call, StatusCode code, Origin origin, std::string_view message) noexcept {
  call.response.clear();
  set_result(call, code, origin, message);
  return false;
}

// `make_text` may throw.
template <typename MakeText>
bool fail_with(UnaryCall& call, StatusCode code, Origin origin, MakeText make_text) noexcept {
  try {
    return fail(call, code, origin, make_text());
  } catch (const std::bad_alloc&) {
    return fail(call, code, origin, {});
  }
}

bool out_of_memory(UnaryCall& call) noexcept {
  return fail(call, StatusCode::kResourceExhausted, Origin::kNoMemory, "out of memory");
}

bool is_grpc_content_type(std::string_view value) {
  if (!value.starts_with(kGrpcContentType)) return false;
  value.remove_prefix(kGrpcContentType.size());
  return value.empty() || value.front() == '+' || value.front() == ';';
}

bool is_informational(std::int16_t http_status) {
  return http_status >= 100 && http_status < 200;
}

void forget_status(UnaryCall& call) noexcept {
  call.stream.grpc_status = kNoStatus;
  call.result.message.clear();
  call.result.details.clear();
}

void receive_grpc_status(UnaryCall& call, std::string_view value) {
  const auto status = parse_grpc_status(value);
  call.stream.grpc_status = static_cast<std::int16_t>(status ? *status : StatusCode::kUnknown);
  if (!status && call.result.message.empty()) {
    call.result.message = "the peer's grpc-status is no number: " + printable(value);
  }
}

std::string http_status_text(std::int16_t http_status) {
  return "the peer answered with HTTP status " + std::to_string(http_status) +
         " instead of a gRPC status";
}

}  // namespace

void set_result(UnaryCall& call, StatusCode code, Origin origin,
                std::string_view message) noexcept {
  call.result.code = code;
  call.result.origin = origin;
  call.result.details.clear();
  try {
    call.result.message = message;
  } catch (const std::bad_alloc&) {
    call.result.message.clear();
  }
}

bool receive_header(UnaryCall& call, std::string_view name, std::string_view value, bool last_block,
                    const ReplyLimits& limits) noexcept {
  StreamState& stream = call.stream;
  stream.header_bytes += name.size() + value.size() + kHpackOverhead;
  if (stream.header_bytes > limits.max_header_bytes) {
    return fail_with(call, StatusCode::kResourceExhausted, Origin::kLocal, [&] {
      return "the reply's headers take more than " + std::to_string(limits.max_header_bytes) +
             " bytes";
    });
  }
  try {
    if (name == ":status") {
      int status = 0;
      std::from_chars(value.data(), value.data() + value.size(), status);
      stream.http_status = static_cast<std::int16_t>(std::clamp(status, 0, 999));
    } else if (name == "grpc-status") {
      receive_grpc_status(call, value);
    } else if (name == "grpc-message") {
      call.result.message = percent_decode(value);
    } else if (name == "grpc-status-details-bin") {
      call.result.details = base64_decode(value).value_or(std::string());
    } else if (name == "content-type") {
      stream.grpc_content = is_grpc_content_type(value);
    } else if (name == "grpc-encoding" && value != "identity" && !last_block) {
      return fail_with(call, StatusCode::kInternal, Origin::kLocal, [&] {
        return "the reply is compressed with '" + printable(value, 40) +
               "', which was not offered and cannot be read";
      });
    }
  } catch (const std::bad_alloc&) {
    return out_of_memory(call);
  }
  return true;
}

bool receive_headers_end(UnaryCall& call, bool last_block) noexcept {
  StreamState& stream = call.stream;
  if (stream.headers_seen) return true;
  if (is_informational(stream.http_status)) {
    stream.http_status = 0;
    stream.grpc_content = false;
    forget_status(call);
    return true;
  }
  stream.headers_seen = true;
  if (last_block) return true;
  // A status here is none: only the last block of headers carries it.
  forget_status(call);
  if (stream.http_status != 200) {
    return fail_with(call, status_of_http(stream.http_status), Origin::kPeer,
                     [&] { return http_status_text(stream.http_status); });
  }
  if (!stream.grpc_content) {
    return fail(call, StatusCode::kUnknown, Origin::kPeer,
                "the peer's reply has another content-type than application/grpc; "
                "is this the right port?");
  }
  return true;
}

bool receive_data(UnaryCall& call, std::span<const std::uint8_t> bytes,
                  const ReplyLimits& limits) noexcept {
  StreamState& stream = call.stream;
  if (bytes.empty()) return true;
  if (stream.message_complete) {
    return fail(call, StatusCode::kInternal, Origin::kLocal,
                "the reply to a unary call has more than one message");
  }
  if (stream.prefix_received < sizeof stream.prefix) {
    const std::size_t part =
        std::min<std::size_t>(sizeof stream.prefix - stream.prefix_received, bytes.size());
    std::memcpy(stream.prefix + stream.prefix_received, bytes.data(), part);
    stream.prefix_received = static_cast<std::uint8_t>(stream.prefix_received + part);
    bytes = bytes.subspan(part);
    if (stream.prefix_received < sizeof stream.prefix) return true;
    if (stream.prefix[0] == 1) {
      return fail(call, StatusCode::kInternal, Origin::kLocal,
                  "the reply is marked as compressed, but names no grpc-encoding");
    }
    if (stream.prefix[0] != 0) {
      return fail_with(call, StatusCode::kInternal, Origin::kLocal, [&] {
        return "the reply's message begins with " + std::to_string(stream.prefix[0]) +
               " where gRPC has 0 or 1";
      });
    }
    stream.message_length = static_cast<std::uint32_t>(stream.prefix[1]) << 24 |
                            static_cast<std::uint32_t>(stream.prefix[2]) << 16 |
                            static_cast<std::uint32_t>(stream.prefix[3]) << 8 | stream.prefix[4];
    if (stream.message_length > limits.max_message) {
      return fail_with(call, StatusCode::kResourceExhausted, Origin::kLocal, [&] {
        return "the reply has " + std::to_string(stream.message_length) +
               " bytes, over the limit of " + std::to_string(limits.max_message);
      });
    }
  }
  const std::size_t missing = stream.message_length - call.response.size();
  const std::size_t part = std::min(missing, bytes.size());
  try {
    call.response.append(bytes.first(part), stream.message_length);
  } catch (const std::bad_alloc&) {
    return out_of_memory(call);
  }
  stream.message_complete = part == missing;
  return receive_data(call, bytes.subspan(part), limits);
}

void receive_end(UnaryCall& call) noexcept {
  StreamState& stream = call.stream;
  if (stream.grpc_status > 0) {
    call.response.clear();
    call.result.code = static_cast<StatusCode>(stream.grpc_status);
    call.result.origin = Origin::kServer;
    return;
  }
  if (stream.grpc_status == kNoStatus) {
    if (stream.http_status != 200) {
      fail_with(call, status_of_http(stream.http_status), Origin::kPeer,
                [&] { return http_status_text(stream.http_status); });
    } else {
      fail(call, StatusCode::kUnknown, Origin::kPeer,
           "the peer ended the reply without a grpc-status");
    }
    return;
  }
  if (!stream.message_complete) {
    if (stream.prefix_received == 0) {
      fail(call, StatusCode::kInternal, Origin::kLocal, "the peer said OK, but sent no message");
    } else {
      fail_with(call, StatusCode::kInternal, Origin::kLocal, [&] {
        return "the peer said OK after " + std::to_string(call.response.size()) +
               " bytes of a message of " + std::to_string(stream.message_length);
      });
    }
    return;
  }
  call.result.code = StatusCode::kOk;
  call.result.origin = Origin::kServer;
  call.result.message.clear();
  call.result.details.clear();
}

}  // namespace gcs::transport
