// SPDX-License-Identifier: Apache-2.0
//
// The parts of standalone Asio that the transport uses, with the executor spelled out: the
// type-erased default costs an allocation or a virtual call per operation.
#pragma once

#ifndef ASIO_STANDALONE
#define ASIO_STANDALONE
#endif
#ifndef ASIO_NO_DEPRECATED
#define ASIO_NO_DEPRECATED
#endif

#include <asio/basic_stream_socket.hpp>
#include <asio/basic_waitable_timer.hpp>
#include <asio/buffer.hpp>
#include <asio/error.hpp>
#include <asio/executor_work_guard.hpp>
#include <asio/generic/stream_protocol.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/address.hpp>
#include <asio/post.hpp>
#include <chrono>

namespace gcs::transport {

using AsioSocket =
    asio::basic_stream_socket<asio::generic::stream_protocol, asio::io_context::executor_type>;
using AsioTimerBase = asio::basic_waitable_timer<std::chrono::steady_clock,
                                                 asio::wait_traits<std::chrono::steady_clock>,
                                                 asio::io_context::executor_type>;

}  // namespace gcs::transport
