// SPDX-License-Identifier: Apache-2.0
//
// An HTTP/2 server for tests that does what its script says, well-behaved or not: frames are read
// and written one by one, and raw bytes can go in between.
//
// Threads: the listener and each connection's script run on threads of their own. Destroying the
// peer shuts every socket down, which ends every read and write of the scripts, and waits for them.
#pragma once

#include <nghttp2/nghttp2.h>

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "tls_peer.h"

namespace gcs::test {

using Fields = std::vector<std::pair<std::string, std::string>>;

struct Frame {
  std::uint8_t type = 0;
  std::uint8_t flags = 0;
  std::uint32_t stream = 0;
  std::string payload;
};

struct Request {
  std::uint32_t stream = 0;
  Fields headers;
  std::string body;    // as it came: length prefix and message
  bool ended = false;  // END_STREAM was seen
  bool reset = false;  // RST_STREAM was seen
  std::uint32_t reset_code = 0;

  std::string header(std::string_view name) const;  // empty when absent
  std::string message() const;                      // without the length prefix
};

// Bytes of a frame; of a header block whose fields are neither indexed nor Huffman-coded; of a gRPC
// message.
std::string frame_bytes(std::uint8_t type, std::uint8_t flags, std::uint32_t stream,
                        std::string_view payload);
std::string header_block(const Fields& fields);
std::string grpc_message(std::string_view message, std::uint8_t compressed = 0);
std::string settings_payload(const std::vector<std::pair<std::uint16_t, std::uint32_t>>& settings);

// The connection as its script sees it. Reads return nullopt, and writes false, when the connection
// is over.
class PeerConnection {
 public:
  explicit PeerConnection(int fd);
  ~PeerConnection();
  PeerConnection(const PeerConnection&) = delete;
  PeerConnection& operator=(const PeerConnection&) = delete;

  // Speaks TLS from now on; false when the handshake fails, and the alert has been sent.
  bool serve_tls(const ServerTls::Options& options);
  ServerTls* tls() const { return tls_.get(); }
  void flush_tls();
  void end_tls() { tls_.reset(); }

  // Raw, or through TLS.
  std::string read_some();  // empty: over
  bool write(std::string_view bytes);
  void reset();  // RST instead of FIN
  void close();
  void wait_for_end();  // reads and drops until the client closes
  // Reads nothing until `flag` is set or the peer is destroyed.
  void wait_for(const std::atomic<bool>& flag) const;
  void stand_still() const;  // reads nothing until the peer is destroyed
  std::uint64_t bytes_read() const { return bytes_read_; }

  // Frames.
  std::optional<Frame> read_frame();
  // Reads magic and SETTINGS, sends SETTINGS.
  bool greet(const std::vector<std::pair<std::uint16_t, std::uint32_t>>& settings = {});
  bool send(std::uint8_t type, std::uint8_t flags, std::uint32_t stream, std::string_view payload);
  bool send_headers(std::uint32_t stream, const Fields& fields, bool end_stream);
  bool send_reset(std::uint32_t stream, std::uint32_t code);
  bool send_goaway(std::uint32_t last_stream, std::uint32_t code, std::string_view debug = {});

  // Calls. DATA is credited as it comes; PING and SETTINGS are answered.
  std::optional<Request> next_request();  // one whose END_STREAM has arrived
  std::optional<Request>
  next_headers();  // one whose HEADERS have arrived; its body is not waited for
  std::optional<std::uint32_t> next_reset(std::uint32_t stream);  // waits for RST_STREAM; its code
  // Sends a whole reply, within the client's windows.
  bool reply(std::uint32_t stream, std::string_view message,
             const Fields& trailers = {{"grpc-status", "0"}});
  bool send_data(std::uint32_t stream, std::string_view bytes, bool end_stream);
  // Replies to each request with its own message, until the connection is over.
  void echo();
  bool credit_data = true;  // false: no WINDOW_UPDATE is sent for what is read

 private:
  std::string receive();
  bool transmit(std::string_view bytes);
  bool fill(std::size_t size);
  bool handle(const Frame& frame);
  bool step();
  void parse_headers(const Frame& frame);

  const int fd_;
  std::unique_ptr<ServerTls> tls_;
  std::string input_;
  std::size_t input_at_ = 0;
  std::uint64_t bytes_read_ = 0;
  nghttp2_hd_inflater* inflater_ = nullptr;
  std::map<std::uint32_t, Request> requests_;
  std::deque<std::uint32_t> arrived_;   // HEADERS, in order
  std::deque<std::uint32_t> complete_;  // END_STREAM, in order
  std::int64_t connection_window_ = 65535;
  std::int64_t initial_window_ = 65535;
  std::map<std::uint32_t, std::int64_t> stream_windows_;  // what WINDOW_UPDATE added
  std::mutex closing_;
  bool closed_ = false;
  std::atomic<bool> shut_down_{false};
  friend class ScriptedPeer;
  void shut_down();
};

class ScriptedPeer {
 public:
  using Script = std::function<void(PeerConnection&)>;

  // The n-th connection runs the n-th script, later ones the last.
  explicit ScriptedPeer(Script script) : ScriptedPeer(std::vector<Script>{std::move(script)}) {}
  explicit ScriptedPeer(std::vector<Script> scripts);
  ~ScriptedPeer();
  ScriptedPeer(const ScriptedPeer&) = delete;
  ScriptedPeer& operator=(const ScriptedPeer&) = delete;

  // Shuts down and waits, as the destructor does: from then on what the scripts wrote can be read.
  void end();
  std::uint16_t port() const { return port_; }
  int connections() const { return connections_; }

 private:
  void accept_all();

  const std::vector<Script> scripts_;
  int listener_ = -1;
  std::uint16_t port_ = 0;
  std::atomic<int> connections_{0};
  std::mutex mutex_;
  bool stopping_ = false;
  std::vector<std::shared_ptr<PeerConnection>> open_;
  std::vector<std::thread> scripts_running_;
  std::thread acceptor_;
};

// A loopback port on which nothing listens (it was free a moment ago).
std::uint16_t free_port();

}  // namespace gcs::test
