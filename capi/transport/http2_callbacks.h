// SPDX-License-Identifier: Apache-2.0
//
// What nghttp2 calls: static functions whose user_data is the Http2Session. Private to the
// session's two source files.
//
// Invariant: nothing throws through nghttp2, and nobody outside the session is told anything from
// here.
#pragma once

#include <nghttp2/nghttp2.h>

#include <cstddef>
#include <cstdint>

#include "transport/http2_session.h"

namespace gcs::transport {

inline constexpr std::size_t kMessagePrefix =
    5;  // a flag for compression, and the length in four bytes

struct Http2Session::Callbacks {
  static void install(nghttp2_session_callbacks* callbacks) noexcept;

  // Sending.
  static ssize_t frame_limit(nghttp2_session* session, std::uint8_t frame_type,
                             std::int32_t stream_id, std::int32_t session_window,
                             std::int32_t stream_window, std::uint32_t max_frame_size,
                             void* self) noexcept;
  static ssize_t read_message(nghttp2_session* session, std::int32_t stream_id,
                              std::uint8_t* buffer, std::size_t length, std::uint32_t* flags,
                              nghttp2_data_source* source, void* self) noexcept;
  static int send_data(nghttp2_session* session, nghttp2_frame* frame,
                       const std::uint8_t* frame_header, std::size_t length,
                       nghttp2_data_source* source, void* self) noexcept;
  static int frame_sent(nghttp2_session* session, const nghttp2_frame* frame, void* self) noexcept;
  static int frame_not_sent(nghttp2_session* session, const nghttp2_frame* frame, int error,
                            void* self) noexcept;

  // Receiving.
  static int header(nghttp2_session* session, const nghttp2_frame* frame, const std::uint8_t* name,
                    std::size_t name_size, const std::uint8_t* value, std::size_t value_size,
                    std::uint8_t flags, void* self) noexcept;
  static int data_chunk(nghttp2_session* session, std::uint8_t flags, std::int32_t stream_id,
                        const std::uint8_t* data, std::size_t size, void* self) noexcept;
  static int frame_received(nghttp2_session* session, const nghttp2_frame* frame,
                            void* self) noexcept;
  static int stream_closed(nghttp2_session* session, std::int32_t stream_id,
                           std::uint32_t error_code, void* self) noexcept;
  static int error(nghttp2_session* session, int code, const char* text, std::size_t size,
                   void* self) noexcept;
};

}  // namespace gcs::transport
