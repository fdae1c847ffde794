// SPDX-License-Identifier: Apache-2.0
//
// A ByteStream over TCP: looks the host up, tries its addresses in turn, then sends and receives.
//
// Invariants:
// - Nothing blocks. Sends use MSG_NOSIGNAL; descriptors are close-on-exec.
// - Each address gets an equal share of the time that is left; the last one gets all of it. The
//   time as a whole is watched by the stream's owner, which destroys it.
// - A send that fails shuts the socket down and leaves it to the reader to report that, after what
//   the peer had sent.
// - In a pause nothing is read, and the kernel keeps quiet about what arrives (SO_RCVLOWAT); after
//   it everything that is there is.
// - The socket is shut down before it is closed, since a forked child may hold a copy.
//
// Threads: the event loop's thread.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "transport/byte_stream.h"
#include "transport/resolver.h"

namespace gcs::transport {

class SocketStream final : public ByteStream {
 public:
  // Throws std::bad_alloc.
  SocketStream(AsioEventLoop& loop, LookupFunction look_up, Address address,
               const ConnectionOptions& options);
  ~SocketStream() override;
  SocketStream(const SocketStream&) = delete;
  SocketStream& operator=(const SocketStream&) = delete;

  void open(Handler& handler) override;
  std::size_t write(std::span<const iovec> pieces) noexcept override;
  void pause_reading(std::int64_t nanoseconds) noexcept override;
  std::uint64_t delivered() const noexcept override;
  std::string waiting_for() const override;
  std::string_view scheme() const noexcept override { return "http"; }

 private:
  class Engine;
  std::shared_ptr<Engine> engine_;
};

}  // namespace gcs::transport
