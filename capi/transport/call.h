// SPDX-License-Identifier: Apache-2.0
//
// One unary gRPC call as the transport sees it: what to send, and what came back.
//
// Ownership: the owner derives from UnaryCall and keeps it alive from Connection::start() until the
// call has ended (Connection::Observer::on_calls_ended) or Connection::cancel() has returned.
// Nothing here is locked: between these two moments the call belongs to the loop's thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "transport/event_loop.h"
#include "transport/message_buffer.h"
#include "transport/shared_bytes.h"

namespace gcs::transport {

// The status codes of gRPC.
enum class StatusCode : std::int32_t {
  kOk = 0,
  kCancelled = 1,
  kUnknown = 2,
  kInvalidArgument = 3,
  kDeadlineExceeded = 4,
  kNotFound = 5,
  kAlreadyExists = 6,
  kPermissionDenied = 7,
  kResourceExhausted = 8,
  kFailedPrecondition = 9,
  kAborted = 10,
  kOutOfRange = 11,
  kUnimplemented = 12,
  kInternal = 13,
  kUnavailable = 14,
  kDataLoss = 15,
  kUnauthenticated = 16,
};

// Who says that the call ended the way it did.
enum class Origin : std::uint8_t {
  kServer,          // a grpc-status was received
  kPeer,            // the peer ended the stream without one: RST_STREAM, or an HTTP status
  kConnectionLost,  // the connection went away under the call
  kLocal,           // refused here: a limit, a malformed or compressed reply
  kNoMemory,        // there was none here, for the request or for the reply
};

// What is known of the request's effect when the call did not end with a reply.
enum class Fate : std::uint8_t {
  kMayHaveRun,
  // Proven: part of the message was never accepted by send(), or the peer said that it did not
  // look.
  kNeverRan,
};

struct CallResult {
  StatusCode code = StatusCode::kOk;
  Origin origin = Origin::kServer;
  Fate fate = Fate::kMayHaveRun;
  std::string message;  // grpc-message, percent-decoded, or a local text; empty when code is kOk
  std::string details;  // grpc-status-details-bin, base64-decoded
};

class UnaryCall;

// The transport's own notes on a call in flight. The owner only provides the room.
struct StreamState {
  // Its neighbours among the connection's calls in flight, or among those just ended.
  UnaryCall* previous = nullptr;
  UnaryCall* following = nullptr;
  std::int32_t stream_id = 0;  // 0: not started
  TimePoint started = 0;
  std::size_t sent = 0;  // bytes of prefix and message that were framed
  // Offset in the connection's output just after the message; 0: not all framed yet.
  std::uint64_t message_end = 0;
  std::size_t header_bytes = 0;      // header and trailer bytes received, counted as HPACK does
  std::uint32_t message_length = 0;  // from the length prefix
  std::uint8_t prefix_received = 0;  // bytes of the five-byte length prefix
  std::uint8_t prefix[5] = {};
  std::int16_t http_status = 0;
  std::int16_t grpc_status = -1;
  bool headers_seen = false;
  bool grpc_content = false;  // content-type is application/grpc
  bool message_complete = false;
  bool finished = false;       // the peer has ended its half, and result holds what it said
  bool reset_by_peer = false;  // RST_STREAM was received
  bool oversized = false;      // its headers are larger than what is ever framed
  bool ended = false;          // on the list of those just ended
};

class UnaryCall {
 public:
  UnaryCall() = default;
  UnaryCall(const UnaryCall&) = delete;
  UnaryCall& operator=(const UnaryCall&) = delete;

  // The request. `path` ("/package.Service/Method") and `message` must stay readable while the call
  // is in flight.
  std::string_view path;
  std::span<const std::uint8_t> message;
  // Set when `message` lies in a shared block: then it may be sent without copying, and stays alive
  // in the output queue after the call is gone. Otherwise the transport copies what it frames.
  SharedBytes message_owner;
  TimePoint deadline = kNever;  // sent as grpc-timeout; expiry itself is the owner's business

  // The reply.
  MessageBuffer response;
  CallResult result;

  // Links calls that ended together, and is free for the owner's use at any other time.
  UnaryCall* next = nullptr;

  StreamState stream;

 protected:
  ~UnaryCall() = default;
};

}  // namespace gcs::transport
