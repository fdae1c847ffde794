// SPDX-License-Identifier: Apache-2.0
//
// HTTP/2 by hand, as far as a peer of unary calls needs it. Only the decoding of header blocks is
// nghttp2's.
#include "scripted_peer.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <utility>

namespace gcs::test {
namespace {

constexpr std::string_view kMagic = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
constexpr std::size_t kFrameHeader = 9;
constexpr std::size_t kMaxFrame = 16384;

std::uint32_t read_u32(std::string_view bytes) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<std::uint8_t>(bytes[i]);
  return value;
}

std::string u32(std::uint32_t value) {
  std::string out(4, '\0');
  for (std::size_t i = 0; i < 4; ++i) out[i] = static_cast<char>(value >> (24 - 8 * i) & 0xff);
  return out;
}

// An HPACK integer with a prefix of seven bits.
void append_length(std::string& out, std::size_t length) {
  if (length < 127) {
    out += static_cast<char>(length);
    return;
  }
  out += static_cast<char>(127);
  for (length -= 127; length >= 128; length /= 128) out += static_cast<char>(length % 128 + 128);
  out += static_cast<char>(length);
}

int listen_on_loopback(std::uint16_t* port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (fd < 0 || ::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(fd, 64) != 0 ||
      ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    std::perror("a listening socket on loopback");
    std::abort();
  }
  *port = ntohs(address.sin_port);
  return fd;
}

}  // namespace

std::string Request::header(std::string_view name) const {
  for (const auto& [key, value] : headers) {
    if (key == name) return value;
  }
  return {};
}

std::string Request::message() const {
  return body.size() < 5 ? std::string() : body.substr(5);
}

std::string frame_bytes(std::uint8_t type, std::uint8_t flags, std::uint32_t stream,
                        std::string_view payload) {
  std::string out = u32(static_cast<std::uint32_t>(payload.size())).substr(1);
  out += static_cast<char>(type);
  out += static_cast<char>(flags);
  out += u32(stream);
  out += payload;
  return out;
}

std::string header_block(const Fields& fields) {
  std::string out;
  for (const auto& [name, value] : fields) {
    out += '\0';
    append_length(out, name.size());
    out += name;
    append_length(out, value.size());
    out += value;
  }
  return out;
}

std::string grpc_message(std::string_view message, std::uint8_t compressed) {
  std::string out(1, static_cast<char>(compressed));
  out += u32(static_cast<std::uint32_t>(message.size()));
  out += message;
  return out;
}

std::string settings_payload(const std::vector<std::pair<std::uint16_t, std::uint32_t>>& settings) {
  std::string out;
  for (const auto& [id, value] : settings) {
    out += static_cast<char>(id >> 8);
    out += static_cast<char>(id & 0xff);
    out += u32(value);
  }
  return out;
}

PeerConnection::PeerConnection(int fd) : fd_(fd) {
  nghttp2_hd_inflate_new(&inflater_);
}

PeerConnection::~PeerConnection() {
  nghttp2_hd_inflate_del(inflater_);
  close();
}

bool PeerConnection::serve_tls(const ServerTls::Options& options) {
  auto tls = std::make_unique<ServerTls>(options);
  while (!tls->shaken()) {
    const std::string bytes = receive();
    const bool healthy = !bytes.empty() && tls->take(bytes);
    if (!transmit(tls->output()) || !healthy) return false;
  }
  tls_ = std::move(tls);
  return true;
}

void PeerConnection::flush_tls() {
  transmit(tls_->output());
}

std::string PeerConnection::read_some() {
  if (tls_ == nullptr) return receive();
  while (tls_->plaintext.empty()) {
    const std::string bytes = receive();
    if (bytes.empty() || !tls_->take(bytes)) return {};
    flush_tls();
  }
  return std::exchange(tls_->plaintext, {});
}

bool PeerConnection::write(std::string_view bytes) {
  if (tls_ == nullptr) return transmit(bytes);
  return tls_->write(bytes) && transmit(tls_->output());
}

std::string PeerConnection::receive() {
  std::array<char, 65536> buffer;
  const ssize_t size = ::recv(fd_, buffer.data(), buffer.size(), 0);
  if (size <= 0) return {};
  bytes_read_ += static_cast<std::uint64_t>(size);
  return std::string(buffer.data(), static_cast<std::size_t>(size));
}

bool PeerConnection::transmit(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

void PeerConnection::reset() {
  const linger at_once{1, 0};
  ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  close();
}

void PeerConnection::close() {
  const std::lock_guard lock(closing_);
  if (!closed_) ::close(fd_);
  closed_ = true;
}

void PeerConnection::shut_down() {
  shut_down_ = true;
  const std::lock_guard lock(closing_);
  if (!closed_) ::shutdown(fd_, SHUT_RDWR);
}

void PeerConnection::wait_for_end() {
  while (!read_some().empty()) {
  }
}

void PeerConnection::wait_for(const std::atomic<bool>& flag) const {
  while (!flag && !shut_down_) std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

void PeerConnection::stand_still() const {
  wait_for(std::atomic<bool>{false});
}

bool PeerConnection::fill(std::size_t size) {
  while (input_.size() - input_at_ < size) {
    if (input_at_ > (std::size_t{1} << 20)) {
      input_.erase(0, input_at_);
      input_at_ = 0;
    }
    const std::string more = read_some();
    if (more.empty()) return false;
    input_ += more;
  }
  return true;
}

std::optional<Frame> PeerConnection::read_frame() {
  if (!fill(kFrameHeader)) return std::nullopt;
  const auto byte = [this](std::size_t i) {
    return static_cast<std::uint8_t>(input_[input_at_ + i]);
  };
  const std::size_t length = std::size_t{byte(0)} << 16 | std::size_t{byte(1)} << 8 | byte(2);
  if (!fill(kFrameHeader + length)) return std::nullopt;
  Frame frame;
  frame.type = byte(3);
  frame.flags = byte(4);
  frame.stream = read_u32(std::string_view(input_).substr(input_at_ + 5)) & 0x7fffffff;
  frame.payload = input_.substr(input_at_ + kFrameHeader, length);
  input_at_ += kFrameHeader + length;
  if (input_at_ == input_.size()) {
    input_.clear();
    input_at_ = 0;
  }
  return frame;
}

bool PeerConnection::greet(const std::vector<std::pair<std::uint16_t, std::uint32_t>>& settings) {
  if (!fill(kMagic.size()) || input_.substr(0, kMagic.size()) != kMagic) return false;
  input_at_ += kMagic.size();
  const std::optional<Frame> first = read_frame();
  if (!first || first->type != NGHTTP2_SETTINGS) return false;
  return send(NGHTTP2_SETTINGS, 0, 0, settings_payload(settings)) && handle(*first);
}

bool PeerConnection::send(std::uint8_t type, std::uint8_t flags, std::uint32_t stream,
                          std::string_view payload) {
  return write(frame_bytes(type, flags, stream, payload));
}

bool PeerConnection::send_headers(std::uint32_t stream, const Fields& fields, bool end_stream) {
  const int flags = NGHTTP2_FLAG_END_HEADERS | (end_stream ? NGHTTP2_FLAG_END_STREAM : 0);
  return send(NGHTTP2_HEADERS, static_cast<std::uint8_t>(flags), stream, header_block(fields));
}

bool PeerConnection::send_reset(std::uint32_t stream, std::uint32_t code) {
  return send(NGHTTP2_RST_STREAM, 0, stream, u32(code));
}

bool PeerConnection::send_goaway(std::uint32_t last_stream, std::uint32_t code,
                                 std::string_view debug) {
  return send(NGHTTP2_GOAWAY, 0, 0, u32(last_stream) + u32(code) + std::string(debug));
}

void PeerConnection::parse_headers(const Frame& frame) {
  Request& request = requests_[frame.stream];
  request.stream = frame.stream;
  auto* at = reinterpret_cast<std::uint8_t*>(const_cast<char*>(frame.payload.data()));
  std::size_t left = frame.payload.size();
  for (;;) {
    nghttp2_nv field{};
    int flags = 0;
    const ssize_t taken = nghttp2_hd_inflate_hd2(inflater_, &field, &flags, at, left, 1);
    if (taken < 0) break;
    at += taken;
    left -= static_cast<std::size_t>(taken);
    if ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0) {
      request.headers.emplace_back(
          std::string(reinterpret_cast<char*>(field.name), field.namelen),
          std::string(reinterpret_cast<char*>(field.value), field.valuelen));
    }
    if ((flags & NGHTTP2_HD_INFLATE_FINAL) != 0) break;
    if ((flags & NGHTTP2_HD_INFLATE_EMIT) == 0 && left == 0) break;
  }
  nghttp2_hd_inflate_end_headers(inflater_);
  arrived_.push_back(frame.stream);
}

bool PeerConnection::handle(const Frame& frame) {
  const bool ends = (frame.flags & NGHTTP2_FLAG_END_STREAM) != 0;
  switch (frame.type) {
    case NGHTTP2_SETTINGS:
      if ((frame.flags & NGHTTP2_FLAG_ACK) != 0) return true;
      for (std::size_t at = 0; at + 6 <= frame.payload.size(); at += 6) {
        if (frame.payload[at] == 0 &&
            frame.payload[at + 1] == NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE) {
          initial_window_ = read_u32(std::string_view(frame.payload).substr(at + 2));
        }
      }
      return send(NGHTTP2_SETTINGS, NGHTTP2_FLAG_ACK, 0, {});
    case NGHTTP2_PING:
      if ((frame.flags & NGHTTP2_FLAG_ACK) != 0) return true;
      return send(NGHTTP2_PING, NGHTTP2_FLAG_ACK, 0, frame.payload);
    case NGHTTP2_WINDOW_UPDATE:
      (frame.stream == 0 ? connection_window_ : stream_windows_[frame.stream]) +=
          read_u32(frame.payload);
      return true;
    case NGHTTP2_HEADERS:
      parse_headers(frame);
      if (ends) {
        requests_[frame.stream].ended = true;
        complete_.push_back(frame.stream);
      }
      return true;
    case NGHTTP2_DATA: {
      Request& request = requests_[frame.stream];
      request.body += frame.payload;
      if (ends) {
        request.ended = true;
        complete_.push_back(frame.stream);
      }
      if (!credit_data || frame.payload.empty()) return true;
      const std::string credit = u32(static_cast<std::uint32_t>(frame.payload.size()));
      return send(NGHTTP2_WINDOW_UPDATE, 0, 0, credit) &&
             (ends || send(NGHTTP2_WINDOW_UPDATE, 0, frame.stream, credit));
    }
    case NGHTTP2_RST_STREAM: {
      Request& request = requests_[frame.stream];
      request.reset = true;
      request.reset_code = read_u32(frame.payload);
      return true;
    }
    default:
      return true;
  }
}

bool PeerConnection::step() {
  const std::optional<Frame> frame = read_frame();
  return frame && handle(*frame);
}

std::optional<Request> PeerConnection::next_request() {
  while (complete_.empty()) {
    if (!step()) return std::nullopt;
  }
  Request request = std::move(requests_[complete_.front()]);
  requests_.erase(complete_.front());
  complete_.pop_front();
  return request;
}

std::optional<Request> PeerConnection::next_headers() {
  while (arrived_.empty()) {
    if (!step()) return std::nullopt;
  }
  Request request = requests_[arrived_.front()];
  arrived_.pop_front();
  return request;
}

std::optional<std::uint32_t> PeerConnection::next_reset(std::uint32_t stream) {
  while (!requests_[stream].reset) {
    if (!step()) return std::nullopt;
  }
  return requests_[stream].reset_code;
}

bool PeerConnection::send_data(std::uint32_t stream, std::string_view bytes, bool end_stream) {
  do {
    while (connection_window_ <= 0 || initial_window_ + stream_windows_[stream] <= 0) {
      if (!step()) return false;
    }
    const std::int64_t window =
        std::min(connection_window_, initial_window_ + stream_windows_[stream]);
    const std::size_t size = std::min({bytes.size(), kMaxFrame, static_cast<std::size_t>(window)});
    const bool last = end_stream && size == bytes.size();
    if (!send(NGHTTP2_DATA, last ? NGHTTP2_FLAG_END_STREAM : 0, stream, bytes.substr(0, size))) {
      return false;
    }
    connection_window_ -= static_cast<std::int64_t>(size);
    stream_windows_[stream] -= static_cast<std::int64_t>(size);
    bytes.remove_prefix(size);
  } while (!bytes.empty());
  return true;
}

bool PeerConnection::reply(std::uint32_t stream, std::string_view message, const Fields& trailers) {
  return send_headers(stream, {{":status", "200"}, {"content-type", "application/grpc"}}, false) &&
         send_data(stream, grpc_message(message), false) && send_headers(stream, trailers, true);
}

void PeerConnection::echo() {
  while (const std::optional<Request> request = next_request()) {
    if (!reply(request->stream, request->message())) return;
  }
}

ScriptedPeer::ScriptedPeer(std::vector<Script> scripts) : scripts_(std::move(scripts)) {
  listener_ = listen_on_loopback(&port_);
  acceptor_ = std::thread([this] { accept_all(); });
}

ScriptedPeer::~ScriptedPeer() {
  end();
  ::close(listener_);
}

void ScriptedPeer::end() {
  if (!acceptor_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    for (const auto& connection : open_) connection->shut_down();
  }
  ::shutdown(listener_, SHUT_RDWR);
  acceptor_.join();
  for (std::thread& thread : scripts_running_) thread.join();
}

void ScriptedPeer::accept_all() {
  for (;;) {
    const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) return;
    const int one = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    auto connection = std::make_shared<PeerConnection>(fd);
    const std::lock_guard lock(mutex_);
    if (stopping_) return;
    const auto index = static_cast<std::size_t>(connections_++);
    const Script& script = scripts_[std::min(index, scripts_.size() - 1)];
    open_.push_back(connection);
    scripts_running_.emplace_back([connection, &script] {
      script(*connection);
      connection->close();
    });
  }
}

std::uint16_t free_port() {
  std::uint16_t port = 0;
  ::close(listen_on_loopback(&port));
  return port;
}

}  // namespace gcs::test
