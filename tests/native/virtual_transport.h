// SPDX-License-Identifier: Apache-2.0
//
// Connections without sockets, whose peer does what a script says.
//
// They keep the invariants of the transport's interface, and end the process with a message when
// their user breaks one of the user's (a call started without room, or cancelled twice): so they
// serve tests and fuzzing alike.
//
// Threads: one at a time, that of whoever drives the loop.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "transport/connection.h"
#include "virtual_loop.h"

namespace gcs::test {

// One call as the peer sees it.
struct VirtualStream {
  transport::UnaryCall* call = nullptr;  // null once it has ended
  std::string path;
  std::string message;
  std::vector<transport::Header> metadata;
  transport::TimePoint deadline = transport::kNever;
  transport::TimePoint started = 0;
  bool sent = false;  // flush() came after it
  bool cancelled = false;
  bool ended = false;  // with `result`
  transport::CallResult result;

  bool is_open() const noexcept { return call != nullptr; }
  // The value of a metadata header; empty if there is none.
  std::string header(std::string_view name) const;
};

// The other end of one connection, and all that happens on the way to it. Stays after the
// connection has gone.
class VirtualPeer final : public std::enable_shared_from_this<VirtualPeer>,
                          private transport::Task {
 public:
  VirtualPeer(VirtualLoop& loop, const transport::Address& address,
              const transport::ConnectionOptions& options,
              transport::Connection::Observer& observer);
  VirtualPeer(const VirtualPeer&) = delete;
  VirtualPeer& operator=(const VirtualPeer&) = delete;

  // What it does. Each tells the observer at once, which may destroy the connection.
  void send_settings(std::size_t stream_limit = 100);
  void set_stream_limit(std::size_t limit);
  // False: as if the socket took nothing and the output cap were reached. What is flushed meanwhile
  // is not sent.
  void set_writable(bool writable);
  void reply(VirtualStream& stream, std::string_view message);
  // A gRPC status out of the trailers.
  void refuse(VirtualStream& stream, transport::StatusCode code, std::string message,
              std::string details = {});
  // RST_STREAM.
  void reset(VirtualStream& stream, transport::StatusCode code, transport::Fate fate,
             std::string message = "the peer ended the stream");
  // GOAWAY: the first `taken` of the streams that are open may finish, the others never ran.
  void go_away(std::string reason, std::size_t taken = SIZE_MAX);
  // The connection goes, or never comes. Calls that were not flushed never ran; the others may
  // have.
  void lose(transport::ConnectionError::Kind kind = transport::ConnectionError::Kind::kLost,
            std::string message = "connection reset by peer");

  // The same in two steps, for several streams at once.
  void finish(VirtualStream& stream, transport::CallResult result, std::string_view message = {});
  void tell();

  // What it saw.
  bool is_held() const noexcept { return held_; }  // the client still has its end
  bool is_lost() const noexcept { return lost_; }
  bool is_draining() const noexcept { return draining_; }
  transport::TimePoint begun() const noexcept { return begun_; }
  const transport::ConnectionOptions& options() const noexcept { return options_; }
  const std::string& address() const noexcept { return address_; }
  std::deque<VirtualStream>& streams() noexcept { return streams_; }
  // In flight and sent.
  std::vector<VirtualStream*> open_streams();
  std::uint64_t flushes() const noexcept { return flushes_; }

  // Run on the loop: once when the connection begins, and for every stream that was sent.
  std::function<void(VirtualPeer&)> script;
  std::function<void(VirtualPeer&, VirtualStream&)> on_call;

 private:
  friend class VirtualConnection;

  bool can_start() const noexcept {
    return ready_ && !draining_ && !lost_ && writable_ && open_.size() < stream_limit_;
  }
  void start(transport::UnaryCall& call) noexcept;
  void cancel(transport::UnaryCall& call) noexcept;
  void flush() noexcept;
  void close() noexcept;
  void run() noexcept override;
  void wake_soon();
  bool tell_one();
  void set_error(transport::ConnectionError::Kind kind, std::string message);
  void end(VirtualStream& stream, transport::CallResult result);

  VirtualLoop& loop_;
  const std::string address_;
  const transport::ConnectionOptions options_;
  transport::Connection::Observer& observer_;
  const transport::TimePoint begun_;
  const std::unique_ptr<transport::Timer> timer_;

  bool held_ = true;
  bool ready_ = false;
  bool told_ready_ = false;
  bool starved_ = false;
  bool writable_ = true;
  bool draining_ = false;
  bool told_draining_ = false;
  bool lost_ = false;
  bool told_lost_ = false;
  bool scripted_ = false;
  std::size_t stream_limit_ = 0;
  std::unique_ptr<std::string> drain_reason_;
  std::unique_ptr<transport::ConnectionError> error_;
  std::vector<transport::Header> metadata_;
  std::deque<VirtualStream> streams_;
  std::size_t first_unsent_ = 0;
  std::size_t first_unseen_ = 0;
  std::unordered_map<transport::UnaryCall*, VirtualStream*> open_;
  std::vector<transport::UnaryCall*> ended_;
  transport::TimePoint last_received_;
  std::uint64_t bytes_sent_ = 0;
  std::uint64_t bytes_received_ = 0;
  std::uint64_t flushes_ = 0;
};

class VirtualConnector final : public transport::Connector {
 public:
  explicit VirtualConnector(VirtualLoop& loop) : loop_(loop) {}

  std::unique_ptr<transport::Connection> connect(
      const transport::Address& address, const transport::ConnectionOptions& options,
      transport::Connection::Observer& observer) override;

  // Every attempt so far.
  const std::vector<std::shared_ptr<VirtualPeer>>& peers() const noexcept { return peers_; }
  // Given to every peer from now on.
  std::function<void(VirtualPeer&)> script;
  std::function<void(VirtualPeer&, VirtualStream&)> on_call;
  // So many of the next attempts throw std::bad_alloc.
  int failing_attempts = 0;

 private:
  VirtualLoop& loop_;
  std::vector<std::shared_ptr<VirtualPeer>> peers_;
};

}  // namespace gcs::test
