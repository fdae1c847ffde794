// SPDX-License-Identifier: Apache-2.0
//
// A Connection over a ByteStream: HTTP/2 in a session, bytes in an output queue, and the one place
// from which the observer is told things.
//
// Invariants:
// - The observer is called from settle() alone, which runs on the loop: at the end of what the
//   stream reports, or from a timer or a task when something happened before. It checks after each
//   call whether the connection still exists.
// - One event from the stream makes one write at most: completions run first, and what they start
//   goes out together. When there are any, that is in the loop's next turn, so that what has ended
//   reaches whoever waits for it before the peer is woken, which competes with them for the
//   processors.
// - A PING is only ever sent while calls are in flight and the peer is silent; any byte answers it.
// - Once the connection has failed nothing more is sent, and calls end before on_closed.
//
// Threads: the event loop's thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "transport/byte_stream.h"
#include "transport/connection.h"
#include "transport/first_bytes.h"
#include "transport/http2_session.h"
#include "transport/output_queue.h"

namespace gcs::transport {

class Http2Connection final : public Connection, private ByteStream::Handler, private Task {
 public:
  // Opens the stream. Throws std::bad_alloc.
  Http2Connection(EventLoop& loop, std::unique_ptr<ByteStream> stream, const Address& address,
                  const ConnectionOptions& options, Observer& observer);
  ~Http2Connection() override;
  Http2Connection(const Http2Connection&) = delete;
  Http2Connection& operator=(const Http2Connection&) = delete;

  bool can_start() const noexcept override;
  void start(UnaryCall& call) noexcept override;
  void cancel(UnaryCall& call) noexcept override;
  void flush() noexcept override;
  void set_metadata(std::vector<Header> metadata) override;
  void close() noexcept override;
  TimePoint last_received() const noexcept override { return last_received_; }
  std::uint64_t bytes_sent() const noexcept override { return bytes_sent_; }
  std::uint64_t bytes_received() const noexcept override { return bytes_received_; }

 private:
  class Keepalive final : public Task {
   public:
    explicit Keepalive(Http2Connection& connection) noexcept : connection_(connection) {}
    void run() noexcept override { connection_.check_peer(); }

   private:
    Http2Connection& connection_;
  };

  // Stays alive while it is posted, without the connection if need be.
  class LaterWrite final : public Task, public std::enable_shared_from_this<LaterWrite> {
   public:
    explicit LaterWrite(Http2Connection& connection) noexcept : connection_(&connection) {}
    void post() noexcept {
      if (posted_) return;
      posted_ = shared_from_this();
      connection_->loop_.post(*this);
    }
    void forget_connection() noexcept { connection_ = nullptr; }
    void run() noexcept override {
      const std::shared_ptr<LaterWrite> self = std::move(posted_);
      if (connection_ != nullptr) connection_->settle(Write::kNow);
    }
    void drop() noexcept override { const std::shared_ptr<LaterWrite> self = std::move(posted_); }

   private:
    Http2Connection* connection_;
    std::shared_ptr<LaterWrite> posted_;  // itself
  };
  enum class Write : std::uint8_t { kNow, kAfterHandOver };

  void on_open() noexcept override;
  void on_received(std::span<const std::uint8_t> bytes) noexcept override;
  void on_writable() noexcept override;
  void on_failed(const ConnectionError& error) noexcept override;
  void run() noexcept override;  // a timer has fired

  bool receive(std::span<const std::uint8_t> bytes) noexcept;
  void write_output() noexcept;
  void send_queued() noexcept;
  void fail(ConnectionError::Kind kind, std::string_view message) noexcept;
  void fail_session() noexcept;
  void time_out() noexcept;
  void settle(Write write = Write::kNow) noexcept;
  bool tell_one() noexcept;
  void settle_soon() noexcept;
  void wake_at(TimePoint when) noexcept;
  void note_starvation() noexcept;
  void check_peer() noexcept;
  void check_peer_at(TimePoint when) noexcept;

  EventLoop& loop_;
  Observer& observer_;
  const std::int64_t connect_timeout_;
  const std::int64_t ping_interval_;
  const std::int64_t ping_timeout_;
  OutputQueue output_;
  std::unique_ptr<ByteStream> stream_;  // nullptr once failed
  Http2Session session_;
  std::unique_ptr<Timer> timer_;  // the connect timeout, or a settle that is due
  Keepalive keepalive_{*this};
  std::unique_ptr<Timer> keepalive_timer_;
  const std::shared_ptr<LaterWrite> later_write_;
  FirstBytes first_bytes_;
  std::optional<ConnectionError> error_;
  const TimePoint connect_deadline_;
  TimePoint last_received_ = 0;
  TimePoint last_ping_ = 0;
  std::uint64_t bytes_sent_ = 0;
  std::uint64_t bytes_received_ = 0;
  bool* destroyed_ = nullptr;  // set while the observer may be on the stack
  bool open_ = false;
  bool recognised_ = false;  // the peer's first bytes are HTTP/2's
  bool blocked_ = false;     // the stream accepts nothing until on_writable
  bool starved_ = false;     // can_start() was false, and on_capacity is owed
  bool watched_ = false;     // the keepalive timer runs
  bool ping_open_ = false;   // nothing has come since the last PING
  bool told_ready_ = false;
  bool told_draining_ = false;
  bool told_closed_ = false;
};

}  // namespace gcs::transport
