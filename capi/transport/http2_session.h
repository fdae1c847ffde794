// SPDX-License-Identifier: Apache-2.0
//
// HTTP/2 for unary calls, without a socket: nghttp2 between the calls, the bytes received and the
// queue of bytes to send.
//
// Invariants:
// - A started call is in flight (nghttp2's stream points at it) until it ends or is cancelled; from
//   then on no stream points at it. Ended calls wait on a list until take_ended(); cancel() takes
//   one off that list, too.
// - A call ends with Fate::kNeverRan only if its message's last byte was not delivered, or the peer
//   said so.
// - Nothing but the preface (magic and SETTINGS) is framed before the peer's SETTINGS.
// - What nghttp2 holds is bounded: streams by the peer's limit, unframed requests by a share of the
//   output cap, acknowledgements by nghttp2.
// - No function throws but the constructor and set_metadata(), and no observer is known here:
//   nghttp2 is never on the stack when somebody is told something.
//
// Threads: the event loop's thread.
#pragma once

#include <nghttp2/nghttp2.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "transport/call_list.h"
#include "transport/connection.h"
#include "transport/output_queue.h"
#include "transport/receive_pacing.h"
#include "transport/reply.h"
#include "transport/request_headers.h"

namespace gcs::transport {

class Http2Session {
 public:
  // Throws std::bad_alloc. `output` outlives the session.
  Http2Session(const EventLoop& loop, const Address& address, std::string_view scheme,
               const ConnectionOptions& options, OutputQueue& output);
  ~Http2Session();
  Http2Session(const Http2Session&) = delete;
  Http2Session& operator=(const Http2Session&) = delete;

  bool ready() const noexcept { return ready_; }
  bool can_start() const noexcept;
  bool draining() const noexcept { return draining_; }
  const std::string& drain_reason() const noexcept { return drain_reason_; }
  bool has_calls() const noexcept { return !in_flight_.empty(); }

  void start(UnaryCall& call) noexcept;
  void cancel(UnaryCall& call) noexcept;
  void set_metadata(std::vector<Header> metadata);

  // Bytes from the peer, at `now`. False: the connection is over; failure() says why.
  bool receive(std::span<const std::uint8_t> bytes, TimePoint now) noexcept;
  // Frames what is to be sent, until the output cap is reached or nothing is left. False as above.
  bool frame_output() noexcept;
  // Whether that would frame anything.
  bool has_output() const noexcept { return nghttp2_session_want_write(session_.get()) != 0; }
  const std::string& failure() const noexcept { return failure_; }
  // It was for want of memory, and not the peer's doing.
  bool lacked_memory() const noexcept { return lacked_memory_; }

  // nghttp2 has found the peer to break the protocol. It says so with the next frame that it sends,
  // which may be never.
  bool is_broken() noexcept;

  // How many bytes of the output the peer may have got.
  void set_delivered(std::uint64_t bytes) noexcept { delivered_ = bytes; }

  // What was received is dealt with: how long the next read may wait.
  std::int64_t read_pause() noexcept { return pacing_.wait_after(now_); }

  bool has_ended() const noexcept { return !ended_.empty(); }
  UnaryCall* take_ended() noexcept;
  // Ends every call in flight: the connection is lost.
  void end_all(std::string_view reason) noexcept;
  // Queues a PING. False: out of memory.
  bool ping() noexcept;
  // Queues GOAWAY(NO_ERROR); requests that are not framed stay so. end_all() comes next.
  void say_goodbye() noexcept;

 private:
  struct Callbacks;
  struct Delete {
    void operator()(nghttp2_session* session) const noexcept { nghttp2_session_del(session); }
  };

  UnaryCall* find(std::int32_t stream_id) noexcept;
  void forget(const UnaryCall& call) noexcept;
  void finish(UnaryCall& call) noexcept;
  void reset(UnaryCall& call) noexcept;
  void end(UnaryCall& call) noexcept;
  Fate fate_of(const UnaryCall& call) const noexcept;
  void detach(UnaryCall& call, std::uint32_t reset_code) noexcept;
  void stream_closed(std::int32_t stream_id, std::uint32_t error_code) noexcept;
  void settings_received() noexcept;
  void drain(std::uint32_t error_code, std::string_view debug) noexcept;
  void drain(std::string_view reason) noexcept;
  void fail(std::string_view reason) noexcept;
  bool check(ssize_t code) noexcept;

  const EventLoop& loop_;
  OutputQueue& output_;
  const ConnectionOptions options_;
  const ReplyLimits limits_;
  RequestHeaders headers_;
  std::unique_ptr<nghttp2_session, Delete> session_;
  CallList in_flight_;
  CallList ended_;
  ReceivePacing pacing_;
  TimePoint now_ = 0;          // of the bytes that are being received
  std::int32_t found_id_ = 0;  // the stream that find() last found
  UnaryCall* found_ = nullptr;
  std::uint32_t open_streams_ = 0;  // as nghttp2 counts them, and those that it has not framed
  std::uint32_t stream_limit_ = 0;
  std::size_t unframed_ = 0;  // requests started since nghttp2 last had nothing to send
  std::uint64_t delivered_ = 0;
  std::string drain_reason_;
  std::string last_error_;          // nghttp2's words on what it met
  std::uint32_t goaway_error_ = 0;  // nghttp2 has said GOAWAY with this code, and reads no more
  std::string failure_;
  bool ready_ = false;
  bool draining_ = false;
  bool closing_ = false;
  bool failed_ = false;
  bool lacked_memory_ = false;
};

}  // namespace gcs::transport
