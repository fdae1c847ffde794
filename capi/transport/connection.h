// SPDX-License-Identifier: Apache-2.0
//
// The transport's interface: connections that carry unary gRPC calls. The client knows this and
// nothing of sockets or HTTP/2, so that a scripted or in-memory connection can stand in for the
// real one.
//
// Invariants that every implementation keeps:
// - Every started call ends exactly once: by on_calls_ended, or by cancel() or the connection's
//   destruction, which report nothing. It is never touched again after that.
// - on_closed comes at most once, after all calls have ended, and nothing follows it.
// - Observer functions are never called from inside start(), cancel(), flush(), close() or
//   connect(), and run when the protocol library is not on the stack. They may call anything, and
//   may destroy the connection.
// - Nothing but the connection preface is written before the peer's SETTINGS have arrived.
//
// Threads: everything on the event loop's thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "transport/address.h"
#include "transport/call.h"
#include "transport/event_loop.h"

namespace gcs::transport {

class TlsContext;

struct Header {
  std::string name;  // lower case
  std::string value;
};

struct ConnectionOptions {
  std::string user_agent = "gcs-capi";
  // Look-up, connect() and the peer's SETTINGS together. Times are in nanoseconds.
  std::int64_t connect_timeout = 5'000'000'000;
  std::int64_t tcp_user_timeout = 20'000'000'000;
  // While calls are in flight, a peer that is silent for so long is sent a PING; servers hang up on
  // clients that do so more often than once a minute. It is lost if nothing comes for the second.
  std::int64_t ping_interval = 65'000'000'000;
  std::int64_t ping_timeout = 20'000'000'000;
  std::size_t max_send_message = std::size_t{512} << 20;  // checked by the owner before start()
  // A reply over it ends with RESOURCE_EXHAUSTED, Origin::kLocal.
  std::size_t max_receive_message = std::size_t{512} << 20;
  std::uint32_t stream_window = 4u << 20;
  std::uint32_t connection_window = 16u << 20;
  std::size_t max_header_bytes = std::size_t{64} << 10;  // per stream
  std::int32_t first_stream_id = 1;  // odd; tests of their exhaustion begin near the end
  // Bytes framed and not yet accepted by send(), from which can_start() is false.
  std::size_t output_cap = std::size_t{1} << 20;
  std::shared_ptr<TlsContext> tls;  // null: without TLS
};

struct ConnectionError {
  enum class Kind : std::uint8_t {
    kResolve,    // no such host, or the look-up failed
    kConnect,    // refused, unreachable, out of descriptors
    kTimeout,    // not ready within connect_timeout
    kNotHttp2,   // the peer's first bytes are something else: HTTP/1.1, TLS, noise
    kTls,        // certificate or handshake
    kLost,       // reset, broken, protocol error
    kEndOfFile,  // the peer closed
    kGoAway,     // the peer said GOAWAY, and the streams it left have ended
    kClosed,     // close() was called
  };
  Kind kind = Kind::kLost;
  std::string message;  // what was seen, without the address

  // Trying again will not help soon: whoever waits for this connection should be told at once.
  bool is_misconfiguration() const noexcept {
    return kind == Kind::kNotHttp2 || kind == Kind::kTls;
  }
};

class Connection {
 public:
  class Observer {
   public:
    // The peer's SETTINGS are there: can_start() may be true from now on.
    virtual void on_ready() noexcept = 0;
    // can_start() has become true again after it was false.
    virtual void on_capacity() noexcept = 0;
    // A chain of ended calls, linked by `next`, in the order in which they ended.
    virtual void on_calls_ended(UnaryCall* first) noexcept = 0;
    // GOAWAY: no new calls from now on; those that the peer took finish here, the others end as
    // kNeverRan.
    virtual void on_draining(const std::string& reason) noexcept = 0;
    virtual void on_closed(const ConnectionError& error) noexcept = 0;

   protected:
    ~Observer() = default;
  };

  // Drops the socket and forgets the calls. No observer function runs afterwards.
  virtual ~Connection() = default;

  // Ready, not draining, below the peer's stream limit and below the output cap, and the socket
  // takes more.
  virtual bool can_start() const noexcept = 0;
  // Precondition: can_start(). Out of memory ends the call through on_calls_ended, too.
  virtual void start(UnaryCall& call) noexcept = 0;
  // The call was started and has not ended: RST_STREAM, and nothing more is heard of it.
  virtual void cancel(UnaryCall& call) noexcept = 0;
  // Hands to the socket what start() and cancel() have queued: one write for many frames.
  virtual void flush() noexcept = 0;
  // Sent with every call started from now on. Calls started before keep theirs.
  virtual void set_metadata(std::vector<Header> metadata) = 0;
  // GOAWAY and close; calls in flight end as kConnectionLost, then on_closed(kClosed).
  virtual void close() noexcept = 0;
  virtual TimePoint last_received() const noexcept = 0;
  virtual std::uint64_t bytes_sent() const noexcept = 0;
  virtual std::uint64_t bytes_received() const noexcept = 0;
};

class Connector {
 public:
  virtual ~Connector() = default;
  // Begins to connect; the outcome arrives at the observer, which outlives the connection. Throws
  // std::bad_alloc.
  virtual std::unique_ptr<Connection> connect(const Address& address,
                                              const ConnectionOptions& options,
                                              Connection::Observer& observer) = 0;
};

}  // namespace gcs::transport
