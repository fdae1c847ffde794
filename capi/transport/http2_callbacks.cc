// SPDX-License-Identifier: Apache-2.0
//
// A request's message goes out in one of two ways: copied into nghttp2's frame buffer, or, when it
// is large and lies in a shared block, as a frame header followed by a reference to the block.
#include "transport/http2_callbacks.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <new>
#include <string_view>

namespace gcs::transport {
namespace {

constexpr std::size_t kByReference = std::size_t{16} << 10;  // from this size on
constexpr std::size_t kLargestFrame = std::size_t{128} << 10;
constexpr std::size_t kFrameHeader = 9;

Http2Session* session_of(void* user_data) noexcept {
  return static_cast<Http2Session*>(user_data);
}

std::string_view text_of(const std::uint8_t* data, std::size_t size) noexcept {
  return {reinterpret_cast<const char*>(data), size};
}

std::array<std::uint8_t, kMessagePrefix> prefix_of(const UnaryCall& call) noexcept {
  const auto size = static_cast<std::uint32_t>(call.message.size());
  return {0, static_cast<std::uint8_t>(size >> 24), static_cast<std::uint8_t>(size >> 16),
          static_cast<std::uint8_t>(size >> 8), static_cast<std::uint8_t>(size)};
}

bool goes_by_reference(const UnaryCall& call) noexcept {
  return call.message_owner && call.message.size() >= kByReference;
}

bool ends_stream(const nghttp2_frame_hd& header) noexcept {
  return (header.flags & NGHTTP2_FLAG_END_STREAM) != 0;
}

}  // namespace

void Http2Session::Callbacks::install(nghttp2_session_callbacks* callbacks) noexcept {
  nghttp2_session_callbacks_set_data_source_read_length_callback(callbacks, frame_limit);
  nghttp2_session_callbacks_set_send_data_callback(callbacks, send_data);
  nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, frame_sent);
  nghttp2_session_callbacks_set_on_frame_not_send_callback(callbacks, frame_not_sent);
  nghttp2_session_callbacks_set_on_header_callback(callbacks, header);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, data_chunk);
  nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, frame_received);
  nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, stream_closed);
  nghttp2_session_callbacks_set_error_callback2(callbacks, error);
}

ssize_t Http2Session::Callbacks::frame_limit(nghttp2_session*, std::uint8_t, std::int32_t,
                                             std::int32_t, std::int32_t,
                                             std::uint32_t max_frame_size, void*) noexcept {
  return static_cast<ssize_t>(std::min<std::size_t>(max_frame_size, kLargestFrame));
}

ssize_t Http2Session::Callbacks::read_message(nghttp2_session*, std::int32_t stream_id,
                                              std::uint8_t* buffer, std::size_t length,
                                              std::uint32_t* flags, nghttp2_data_source*,
                                              void* self) noexcept {
  Http2Session& session = *session_of(self);
  UnaryCall* const call = session.find(stream_id);
  if (call == nullptr) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  StreamState& stream = call->stream;
  const std::size_t total = kMessagePrefix + call->message.size();
  const std::size_t count = std::min(length, total - stream.sent);
  if (goes_by_reference(*call)) {
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
  } else {
    std::size_t copied = 0;
    if (stream.sent < kMessagePrefix) {
      const auto prefix = prefix_of(*call);
      copied = std::min(count, kMessagePrefix - stream.sent);
      std::memcpy(buffer, prefix.data() + stream.sent, copied);
    }
    if (copied < count) {
      const std::size_t offset = stream.sent + copied - kMessagePrefix;
      std::memcpy(buffer + copied, call->message.data() + offset, count - copied);
    }
  }
  stream.sent += count;
  if (stream.sent == total) {
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    // Everything framed before is in the queue already, and this frame comes next.
    stream.message_end = session.output_.appended() + kFrameHeader + count;
  }
  return static_cast<ssize_t>(count);
}

int Http2Session::Callbacks::send_data(nghttp2_session*, nghttp2_frame* frame,
                                       const std::uint8_t* frame_header, std::size_t length,
                                       nghttp2_data_source*, void* self) noexcept {
  Http2Session& session = *session_of(self);
  const UnaryCall* const call = session.find(frame->hd.stream_id);
  if (call == nullptr) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  std::size_t begin = call->stream.sent - length;
  try {
    session.output_.append({frame_header, kFrameHeader});
    if (begin < kMessagePrefix) {
      const auto prefix = prefix_of(*call);
      const std::size_t part = std::min(length, kMessagePrefix - begin);
      session.output_.append({prefix.data() + begin, part});
      begin += part;
      length -= part;
    }
    // A window may end within the prefix.
    if (length > 0) {
      session.output_.append_shared(call->message_owner,
                                    call->message.subspan(begin - kMessagePrefix, length));
    }
  } catch (const std::bad_alloc&) {
    return NGHTTP2_ERR_CALLBACK_FAILURE;  // the frame is torn: the connection ends
  }
  return session.output_.size() >= session.options_.output_cap ? NGHTTP2_ERR_PAUSE : 0;
}

int Http2Session::Callbacks::frame_sent(nghttp2_session*, const nghttp2_frame* frame,
                                        void* self) noexcept {
  // nghttp2 says GOAWAY by itself when the peer broke the protocol. Our own carries NO_ERROR.
  if (frame->hd.type != NGHTTP2_GOAWAY || frame->goaway.error_code == NGHTTP2_NO_ERROR) return 0;
  Http2Session& session = *session_of(self);
  session.goaway_error_ = frame->goaway.error_code;
  if (frame->goaway.opaque_data_len > 0) {
    error(nullptr, 0, reinterpret_cast<const char*>(frame->goaway.opaque_data),
          frame->goaway.opaque_data_len, self);
  }
  return 0;
}

int Http2Session::Callbacks::frame_not_sent(nghttp2_session*, const nghttp2_frame* frame,
                                            int reason, void* self) noexcept {
  if (frame->hd.type != NGHTTP2_HEADERS || reason != NGHTTP2_ERR_FRAME_SIZE_ERROR) return 0;
  if (UnaryCall* const call = session_of(self)->find(frame->hd.stream_id))
    call->stream.oversized = true;
  return 0;
}

int Http2Session::Callbacks::header(nghttp2_session*, const nghttp2_frame* frame,
                                    const std::uint8_t* name, std::size_t name_size,
                                    const std::uint8_t* value, std::size_t value_size, std::uint8_t,
                                    void* self) noexcept {
  Http2Session& session = *session_of(self);
  UnaryCall* const call = session.find(frame->hd.stream_id);
  // Either way the rest of the block is decoded without being told to us.
  if (call == nullptr) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  if (receive_header(*call, text_of(name, name_size), text_of(value, value_size),
                     ends_stream(frame->hd), session.limits_)) {
    return 0;
  }
  session.reset(*call);
  return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

int Http2Session::Callbacks::data_chunk(nghttp2_session*, std::uint8_t, std::int32_t stream_id,
                                        const std::uint8_t* data, std::size_t size,
                                        void* self) noexcept {
  Http2Session& session = *session_of(self);
  UnaryCall* const call = session.find(stream_id);
  if (call != nullptr && !receive_data(*call, {data, size}, session.limits_)) session.reset(*call);
  return 0;
}

int Http2Session::Callbacks::frame_received(nghttp2_session*, const nghttp2_frame* frame,
                                            void* self) noexcept {
  Http2Session& session = *session_of(self);
  switch (frame->hd.type) {
    case NGHTTP2_HEADERS: {
      UnaryCall* const call = session.find(frame->hd.stream_id);
      if (call == nullptr) break;
      if (!receive_headers_end(*call, ends_stream(frame->hd))) {
        session.reset(*call);
      } else if (ends_stream(frame->hd)) {
        session.finish(*call);
      }
      break;
    }
    case NGHTTP2_DATA:
      if (ends_stream(frame->hd)) {
        if (UnaryCall* const call = session.find(frame->hd.stream_id)) session.finish(*call);
      }
      break;
    case NGHTTP2_RST_STREAM:
      if (UnaryCall* const call = session.find(frame->hd.stream_id)) {
        call->stream.reset_by_peer = true;
      }
      break;
    case NGHTTP2_SETTINGS:
      if ((frame->hd.flags & NGHTTP2_FLAG_ACK) == 0) session.settings_received();
      break;
    case NGHTTP2_GOAWAY:
      session.drain(frame->goaway.error_code,
                    text_of(frame->goaway.opaque_data, frame->goaway.opaque_data_len));
      break;
    default:
      break;
  }
  return 0;
}

int Http2Session::Callbacks::stream_closed(nghttp2_session*, std::int32_t stream_id,
                                           std::uint32_t error_code, void* self) noexcept {
  session_of(self)->stream_closed(stream_id, error_code);
  return 0;
}

int Http2Session::Callbacks::error(nghttp2_session*, int, const char* text, std::size_t size,
                                   void* self) noexcept {
  try {
    session_of(self)->last_error_.assign(text, std::min<std::size_t>(size, 400));
  } catch (const std::bad_alloc&) {
    session_of(self)->last_error_.clear();
  }
  return 0;
}

}  // namespace gcs::transport
