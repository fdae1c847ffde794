// SPDX-License-Identifier: Apache-2.0
//
// The life of calls and of the session. What nghttp2 calls back into is in http2_callbacks.cc.
#include "transport/http2_session.h"

#include <algorithm>
#include <array>
#include <limits>
#include <new>
#include <utility>

#include "transport/grpc_text.h"
#include "transport/http2_callbacks.h"

namespace gcs::transport {
namespace {

// What a request that nghttp2 has not framed yet counts for against the output cap.
constexpr std::size_t kUnframedRequest = 128;
// The last stream ids of a connection are never used: 2^31 - 1 is the highest there is.
constexpr std::uint32_t kLastUsableStream = 0x7fff'fff0;

struct OptionDelete {
  void operator()(nghttp2_option* option) const noexcept { nghttp2_option_del(option); }
};
struct CallbacksDelete {
  void operator()(nghttp2_session_callbacks* callbacks) const noexcept {
    nghttp2_session_callbacks_del(callbacks);
  }
};

}  // namespace

Http2Session::Http2Session(const EventLoop& loop, const Address& address, std::string_view scheme,
                           const ConnectionOptions& options, OutputQueue& output)
    : loop_(loop),
      output_(output),
      options_(options),
      limits_{options.max_receive_message, options.max_header_bytes},
      headers_(address, scheme, options.user_agent) {
  nghttp2_option* raw_option = nullptr;
  if (nghttp2_option_new(&raw_option) != 0) throw std::bad_alloc();
  const std::unique_ptr<nghttp2_option, OptionDelete> option(raw_option);
  // Streams that have ended are not kept for the sake of priorities.
  nghttp2_option_set_no_closed_streams(option.get(), 1);

  nghttp2_session_callbacks* raw_callbacks = nullptr;
  if (nghttp2_session_callbacks_new(&raw_callbacks) != 0) throw std::bad_alloc();
  const std::unique_ptr<nghttp2_session_callbacks, CallbacksDelete> callbacks(raw_callbacks);
  Callbacks::install(callbacks.get());

  nghttp2_session* raw_session = nullptr;
  if (nghttp2_session_client_new2(&raw_session, callbacks.get(), this, option.get()) != 0) {
    throw std::bad_alloc();
  }
  session_.reset(raw_session);
  if (options.first_stream_id > 1) {
    nghttp2_session_set_next_stream_id(raw_session, options.first_stream_id);
  }
  const std::uint32_t header_list = static_cast<std::uint32_t>(
      std::min<std::size_t>(options.max_header_bytes, std::numeric_limits<std::uint32_t>::max()));
  const std::array<nghttp2_settings_entry, 3> settings{
      {{NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
       {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, options.stream_window},
       {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, header_list}}};
  if (nghttp2_submit_settings(raw_session, NGHTTP2_FLAG_NONE, settings.data(), settings.size()) !=
      0) {
    throw std::bad_alloc();
  }
}

Http2Session::~Http2Session() = default;

bool Http2Session::can_start() const noexcept {
  return ready_ && !draining_ && !closing_ && !failed_ && open_streams_ < stream_limit_ &&
         output_.size() + unframed_ * kUnframedRequest < options_.output_cap;
}

void Http2Session::start(UnaryCall& call) noexcept {
  call.stream = StreamState{};
  call.response.clear();
  call.result.code = StatusCode::kOk;
  call.result.origin = Origin::kLocal;
  call.result.fate = Fate::kNeverRan;
  call.result.message.clear();
  call.result.details.clear();
  in_flight_.push_back(call);
  if (failed_ || closing_ || draining_ || !ready_) {
    set_result(call, StatusCode::kUnavailable, Origin::kLocal, "the connection takes no new calls");
    end(call);
    return;
  }
  if (call.message.size() > std::numeric_limits<std::uint32_t>::max()) {
    set_result(call, StatusCode::kResourceExhausted, Origin::kLocal,
               "gRPC has no messages of 4 GiB and more");
    end(call);
    return;
  }
  const TimePoint now = loop_.now();
  nghttp2_data_provider provider{};
  provider.read_callback = Callbacks::read_message;
  int id = 0;
  if (call.deadline == kNever) {
    const auto fields = headers_.for_call(call.path, nullptr);
    id = nghttp2_submit_request(session_.get(), nullptr, fields.data(), fields.size(), &provider,
                                &call);
  } else {
    const TimeoutText timeout(call.deadline - now);
    const auto fields = headers_.for_call(call.path, &timeout);
    id = nghttp2_submit_request(session_.get(), nullptr, fields.data(), fields.size(), &provider,
                                &call);
  }
  if (id < 0) {
    const bool memory = id == NGHTTP2_ERR_NOMEM;
    set_result(call, StatusCode::kResourceExhausted, memory ? Origin::kNoMemory : Origin::kLocal,
               memory ? "out of memory" : nghttp2_strerror(id));
    end(call);
    return;
  }
  call.stream.stream_id = id;
  call.stream.started = now;
  call.result.fate = Fate::kMayHaveRun;
  ++open_streams_;
  ++unframed_;
  if (nghttp2_session_get_next_stream_id(session_.get()) > kLastUsableStream) {
    drain("the connection has used up its stream ids");
  }
}

void Http2Session::cancel(UnaryCall& call) noexcept {
  if (call.stream.ended) {
    ended_.remove(call);
    call.stream.ended = false;
    return;
  }
  detach(call, NGHTTP2_CANCEL);
  in_flight_.remove(call);
}

void Http2Session::set_metadata(std::vector<Header> metadata) {
  headers_.set_metadata(std::move(metadata));
}

bool Http2Session::receive(std::span<const std::uint8_t> bytes, TimePoint now) noexcept {
  if (failed_) return false;
  now_ = now;
  last_error_.clear();
  return check(nghttp2_session_mem_recv(session_.get(), bytes.data(), bytes.size()));
}

bool Http2Session::frame_output() noexcept {
  while (!failed_ && output_.size() < options_.output_cap) {
    const std::uint8_t* data = nullptr;
    const ssize_t size = nghttp2_session_mem_send(session_.get(), &data);
    if (size < 0) return check(size);
    if (size == 0) {
      // Either nothing is left, or a body has filled the queue.
      if (output_.size() >= options_.output_cap) break;
      unframed_ = 0;
      if (headers_.has_replaced() && nghttp2_session_get_outbound_queue_size(session_.get()) == 0) {
        headers_.release_replaced();
      }
      break;
    }
    try {
      output_.append({data, static_cast<std::size_t>(size)});
    } catch (const std::bad_alloc&) {
      return check(NGHTTP2_ERR_NOMEM);
    }
  }
  return check(0);
}

bool Http2Session::check(ssize_t code) noexcept {
  if (failed_) return false;
  if (code < 0) {
    lacked_memory_ = code == NGHTTP2_ERR_NOMEM || code == NGHTTP2_ERR_CALLBACK_FAILURE;
    fail(lacked_memory_ ? "out of memory" : nghttp2_strerror(static_cast<int>(code)));
  } else if (goaway_error_ != NGHTTP2_NO_ERROR) {
    fail(nghttp2_http2_strerror(goaway_error_));
  }
  return !failed_;
}

bool Http2Session::is_broken() noexcept {
  if (!failed_ && !draining_ && !closing_ &&
      nghttp2_session_check_request_allowed(session_.get()) == 0) {
    fail("the peer broke the rules");
  }
  return failed_;
}

void Http2Session::fail(std::string_view reason) noexcept {
  if (std::exchange(failed_, true)) return;
  try {
    failure_ = "HTTP/2 failed: ";
    failure_ += reason;
    if (!last_error_.empty()) failure_ += ": " + last_error_;
  } catch (const std::bad_alloc&) {
    failure_.clear();
  }
}

UnaryCall* Http2Session::take_ended() noexcept {
  for (UnaryCall* call = ended_.first(); call != nullptr; call = call->stream.following) {
    call->stream.ended = false;
  }
  return ended_.take_chain();
}

void Http2Session::end_all(std::string_view reason) noexcept {
  while (UnaryCall* const call = in_flight_.first()) {
    call->response.clear();
    set_result(*call, StatusCode::kUnavailable, Origin::kConnectionLost, reason);
    call->result.fate = fate_of(*call);
    end(*call);
  }
  // nghttp2 may still hold pointers to the calls, and is not asked again.
  failed_ = true;
  found_id_ = 0;
}

bool Http2Session::ping() noexcept {
  return nghttp2_submit_ping(session_.get(), NGHTTP2_FLAG_NONE, nullptr) == 0;
}

void Http2Session::say_goodbye() noexcept {
  closing_ = true;
  nghttp2_session_terminate_session(session_.get(), NGHTTP2_NO_ERROR);
}

UnaryCall* Http2Session::find(std::int32_t stream_id) noexcept {
  if (stream_id == found_id_ && stream_id != 0) return found_;
  auto* const call =
      static_cast<UnaryCall*>(nghttp2_session_get_stream_user_data(session_.get(), stream_id));
  if (call != nullptr) {
    found_id_ = stream_id;
    found_ = call;
  }
  return call;
}

void Http2Session::forget(const UnaryCall& call) noexcept {
  if (call.stream.stream_id == found_id_) found_id_ = 0;
}

// The peer has ended its half, and said how the call went.
void Http2Session::finish(UnaryCall& call) noexcept {
  receive_end(call);
  call.stream.finished = true;
  pacing_.replied(now_ - call.stream.started);
  // With both halves ended nghttp2 closes the stream right after this. A request that is not all
  // sent is of no use any more.
  if (call.stream.sent < kMessagePrefix + call.message.size()) reset(call);
}

// The call ends here; its result is filled.
void Http2Session::reset(UnaryCall& call) noexcept {
  detach(call, NGHTTP2_CANCEL);
  end(call);
}

void Http2Session::detach(UnaryCall& call, std::uint32_t reset_code) noexcept {
  forget(call);
  if (failed_) return;
  const std::int32_t id = call.stream.stream_id;
  nghttp2_session_set_stream_user_data(session_.get(), id, nullptr);
  // Fails for lack of memory alone; the stream is then closed by the peer's end of it.
  nghttp2_submit_rst_stream(session_.get(), NGHTTP2_FLAG_NONE, id, reset_code);
}

// From in flight to ended. Nothing of nghttp2's points at the call any more.
void Http2Session::end(UnaryCall& call) noexcept {
  in_flight_.remove(call);
  call.stream.ended = true;
  ended_.push_back(call);
}

// For calls that end without any reply.
Fate Http2Session::fate_of(const UnaryCall& call) const noexcept {
  const std::uint64_t message_end = call.stream.message_end;
  return message_end == 0 || message_end > delivered_ ? Fate::kNeverRan : Fate::kMayHaveRun;
}

void Http2Session::stream_closed(std::int32_t stream_id, std::uint32_t error_code) noexcept {
  if (open_streams_ > 0) --open_streams_;
  UnaryCall* const call = find(stream_id);
  if (call == nullptr) return;
  forget(*call);
  // A request that nghttp2 will not frame any more: end_all() says why it ended.
  if (closing_) return;
  if (!call->stream.finished) {
    call->response.clear();
    try {
      const std::string name = http2_error_name(error_code);
      if (call->stream.reset_by_peer) {
        set_result(*call, status_of_http2_error(error_code), Origin::kPeer,
                   "the peer ended the stream with RST_STREAM " + name);
      } else if (error_code == NGHTTP2_REFUSED_STREAM && !call->stream.oversized) {
        set_result(*call, StatusCode::kUnavailable, Origin::kPeer,
                   "the peer did not take the call: " + drain_reason_);
      } else if (error_code == NGHTTP2_REFUSED_STREAM) {
        set_result(*call, StatusCode::kResourceExhausted, Origin::kLocal,
                   "the call was not sent: its headers are too large");
      } else {
        set_result(*call, StatusCode::kInternal, Origin::kLocal,
                   "the reply breaks the rules of HTTP/2 (" + name + ")" +
                       (last_error_.empty() ? "" : ": " + last_error_));
      }
    } catch (const std::bad_alloc&) {
      set_result(*call, status_of_http2_error(error_code), Origin::kPeer, {});
    }
    call->result.fate = error_code == NGHTTP2_REFUSED_STREAM ? Fate::kNeverRan : fate_of(*call);
  }
  end(*call);
}

void Http2Session::settings_received() noexcept {
  stream_limit_ =
      nghttp2_session_get_remote_settings(session_.get(), NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
  if (std::exchange(ready_, true)) return;
  if (nghttp2_session_set_local_window_size(
          session_.get(), NGHTTP2_FLAG_NONE, 0,
          static_cast<std::int32_t>(options_.connection_window)) != 0) {
    lacked_memory_ = true;
    fail("out of memory");
  }
}

void Http2Session::drain(std::uint32_t error_code, std::string_view debug) noexcept {
  std::string reason;
  try {
    reason = "the peer said GOAWAY (" + http2_error_name(error_code) + ")";
    if (!debug.empty()) reason += ": " + printable(debug);
  } catch (const std::bad_alloc&) {
    reason.clear();
  }
  drain(std::string_view(reason));
}

void Http2Session::drain(std::string_view reason) noexcept {
  if (std::exchange(draining_, true)) return;
  try {
    drain_reason_ = reason;
  } catch (const std::bad_alloc&) {
    drain_reason_.clear();
  }
}

}  // namespace gcs::transport
