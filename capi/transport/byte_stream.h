// SPDX-License-Identifier: Apache-2.0
//
// A connected stream of bytes, as HTTP/2 needs it. SocketStream is the one over TCP; a filter such
// as TLS takes another stream and is one itself.
//
// Invariants that every implementation keeps:
// - The handler is called from the loop only, never inside open() or write(), and not after the
//   stream is destroyed. It may destroy the stream.
// - on_open comes first and once, or never; on_failed is the last call and comes at most once.
//   Bytes that the peer sent before it closed are handed over before on_failed.
// - A write() that accepts less than it was offered is followed by on_writable or on_failed.
//
// Threads: the event loop's thread.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "transport/connection.h"

namespace gcs::transport {

class ByteStream {
 public:
  class Handler {
   public:
    virtual void on_open() noexcept = 0;
    virtual void on_received(std::span<const std::uint8_t> bytes) noexcept = 0;
    virtual void on_writable() noexcept = 0;
    virtual void on_failed(const ConnectionError& error) noexcept = 0;

   protected:
    ~Handler() = default;
  };

  virtual ~ByteStream() = default;
  // Begins to connect, once. Throws std::bad_alloc.
  virtual void open(Handler& handler) = 0;
  // Never blocks; returns the bytes accepted. They need not be kept afterwards.
  virtual std::size_t write(std::span<const iovec> pieces) noexcept = 0;
  // From within on_received: what the peer sends next may wait for `nanoseconds`, and be handed
  // over together then.
  virtual void pause_reading(std::int64_t nanoseconds) noexcept = 0;
  // How many of the accepted bytes the kernel has taken in a form that the peer could read: a
  // filter does not count those whose record is still incomplete. This is what "never ran" is
  // proven with.
  virtual std::uint64_t delivered() const noexcept = 0;
  // While opening: what is waited for, as the first half of "... within 5 s".
  virtual std::string waiting_for() const = 0;
  // Of the URLs that are spoken over it.
  virtual std::string_view scheme() const noexcept = 0;
};

}  // namespace gcs::transport
