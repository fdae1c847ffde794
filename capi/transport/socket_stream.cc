// SPDX-License-Identifier: Apache-2.0
//
// The Engine is shared with the operations in flight: Asio runs their handlers after the stream is
// gone, and they find no handler of ours then.
#include "transport/socket_stream.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>
#include <memory>
#include <new>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "transport/system_error.h"

namespace gcs::transport {
namespace {

constexpr std::size_t kReadBuffer = std::size_t{256} << 10;
// While reading is paused, the kernel wakes nobody for fewer bytes.
constexpr int kWakingBytes = 64 << 10;
constexpr std::size_t kReadsPerTurn = 4;  // of that buffer

// For TCP_USER_TIMEOUT, where 0 is none.
int milliseconds(std::int64_t nanoseconds) noexcept {
  if (nanoseconds <= 0) return 0;
  constexpr std::int64_t kMost = std::numeric_limits<int>::max();
  return static_cast<int>(std::clamp<std::int64_t>(nanoseconds / 1'000'000, 1, kMost));
}

void set_option(int fd, int level, int name, int value) noexcept {
  // Best effort: a socket without one of these options still carries calls.
  ::setsockopt(fd, level, name, &value, sizeof value);
}

ConnectionError lost_error(int error_number, std::int64_t tcp_user_timeout) {
  switch (error_number) {
    case ECONNRESET:
    case EPIPE:
      return {ConnectionError::Kind::kLost, "the peer reset the connection"};
    case ETIMEDOUT:
      return {ConnectionError::Kind::kLost,
              "the peer acknowledged nothing for " + seconds_text(tcp_user_timeout)};
    default:
      return {ConnectionError::Kind::kLost,
              "the connection broke: " + system_error_text(error_number)};
  }
}

}  // namespace

class SocketStream::Engine final : public std::enable_shared_from_this<Engine>,
                                   public Lookup::Handler,
                                   public Task {
 public:
  Engine(AsioEventLoop& loop, LookupFunction look_up, Address address,
         const ConnectionOptions& options)
      : loop_(loop),
        look_up_(look_up),
        address_(std::move(address)),
        connect_timeout_(options.connect_timeout),
        tcp_user_timeout_(options.tcp_user_timeout),
        socket_(loop.context()),
        timer_(loop.make_timer(*this)) {}

  void open(ByteStream::Handler& handler) {
    handler_ = &handler;
    deadline_ = loop_.now() + connect_timeout_;
    asio::post(loop_.context(), loop_.in_turn([self = shared_from_this()] {
      if (self->handler_ != nullptr) self->begin();
    }));
  }

  void abandon() noexcept {
    handler_ = nullptr;
    lookup_.reset();
    timer_.reset();
    close_socket();
  }

  std::size_t write(std::span<const iovec> pieces) noexcept {
    if (!open_ || broken_) return 0;
    std::size_t offered = 0;
    for (const iovec& piece : pieces) offered += piece.iov_len;
    msghdr message{};
    message.msg_iov = const_cast<iovec*>(pieces.data());
    message.msg_iovlen = pieces.size();
    ssize_t sent = 0;
    do {
      sent = ::sendmsg(socket_.native_handle(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (sent < 0 && errno == EINTR);
    if (sent < 0 && errno != EAGAIN && errno != EWOULDBLOCK) {
      break_connection(errno);
      return 0;
    }
    const std::size_t accepted = sent < 0 ? 0 : static_cast<std::size_t>(sent);
    delivered_ += accepted;
    if (accepted < offered) wait_writable();
    return accepted;
  }

  void pause_reading(std::int64_t nanoseconds) noexcept { pause_ = nanoseconds; }

  std::uint64_t delivered() const noexcept { return delivered_; }

  std::string waiting_for() const {
    if (lookup_ != nullptr) return "the look-up of '" + address_.host + "' did not end";
    if (!open_ && next_ > 0) {
      return "nothing answered the connection attempt to " + endpoints_[next_ - 1].text();
    }
    return "the connection was not made";
  }

 private:
  void begin() noexcept {
    try {
      if (const std::optional<Endpoint> endpoint = numeric_endpoint(address_.host, address_.port)) {
        endpoints_.push_back(*endpoint);
        try_next();
      } else {
        lookup_ = std::make_unique<Lookup>(loop_, look_up_, address_.host, address_.port, *this);
      }
    } catch (const std::bad_alloc&) {
      fail(ConnectionError::Kind::kConnect, "out of memory");
    }
  }

  void on_resolved(LookupResult result) noexcept override {
    const std::shared_ptr<Engine> keep = shared_from_this();
    lookup_.reset();
    if (result.endpoints.empty()) {
      fail(ConnectionError::Kind::kResolve, result.error);
      return;
    }
    endpoints_ = std::move(result.endpoints);
    try_next();
  }

  // Starts the next attempt; with none left, reports how the last one failed.
  void try_next() noexcept {
    try {
      while (next_ < endpoints_.size()) {
        const Endpoint& endpoint = endpoints_[next_++];
        ++attempt_;
        const int error = start_attempt(endpoint);
        if (error == 0) return;
        note_attempt_failure(error);
      }
      fail(ConnectionError::Kind::kConnect, last_failure_);
    } catch (const std::bad_alloc&) {
      fail(ConnectionError::Kind::kConnect, "out of memory");
    }
  }

  // An errno, or 0 when the attempt is under way.
  int start_attempt(const Endpoint& endpoint) {
    close_socket();
    const int family = endpoint.storage.ss_family;
    const int fd = ::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
    if (fd < 0) return errno;
    if (const int error = adopt(fd, family); error != 0) return error;
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, milliseconds(tcp_user_timeout_));
    if (::connect(fd, reinterpret_cast<const sockaddr*>(&endpoint.storage), endpoint.length) != 0 &&
        errno != EINPROGRESS && errno != EINTR) {
      return errno;
    }
    const std::uint64_t mine = attempt_;
    socket_.async_wait(
        AsioSocket::wait_write,
        loop_.in_turn([self = shared_from_this(), mine](const asio::error_code& failed) {
          if (self->handler_ != nullptr && self->attempt_ == mine) {
            self->attempt_ended(failed);
          }
        }));
    const std::size_t left = endpoints_.size() - next_;
    if (left > 0) {
      const std::int64_t remaining = std::max<std::int64_t>(deadline_ - loop_.now(), 0);
      timer_->set(loop_.now() + remaining / static_cast<std::int64_t>(left + 1));
    } else {
      timer_->set(kNever);
    }
    return 0;
  }

  void attempt_ended(const asio::error_code& failed) noexcept {
    int error = failed.value();
    if (!failed) {
      socklen_t size = sizeof error;
      if (::getsockopt(socket_.native_handle(), SOL_SOCKET, SO_ERROR, &error, &size) != 0) {
        error = errno;
      }
    }
    if (error == 0 && connected_to_itself()) error = ECONNREFUSED;
    if (error == 0) error = watch_for_input_only();
    if (error != 0) {
      note_attempt_failure(error);
      try_next();
      return;
    }
    timer_->set(kNever);
    try {
      buffer_ = std::make_unique_for_overwrite<std::uint8_t[]>(kReadBuffer);
    } catch (const std::bad_alloc&) {
      fail(ConnectionError::Kind::kConnect, "out of memory");
      return;
    }
    open_ = true;
    const std::shared_ptr<Engine> keep = shared_from_this();
    handler_->on_open();
    if (handler_ != nullptr) read();
  }

  // Asio goes on watching for output what it has once: each input that was read at once would wake
  // the loop all the same, since the socket can be written to.
  int watch_for_input_only() {
    asio::error_code error;
    const int fd = socket_.release(error);
    return error ? error.value() : adopt(fd, endpoints_[next_ - 1].storage.ss_family);
  }

  // Hands the descriptor to Asio. An errno, and the descriptor is closed; or 0.
  int adopt(int fd, int family) noexcept {
    asio::error_code error;
    try {
      socket_.assign(asio::generic::stream_protocol(family, IPPROTO_TCP), fd, error);
    } catch (const std::bad_alloc&) {
      error = asio::error::no_memory;
    }
    if (error) ::close(fd);
    return error.value();
  }

  // Where nothing listens on a port of the range from which the kernel picks ours, TCP can join the
  // socket to itself, and then keep the server from its port.
  bool connected_to_itself() noexcept {
    sockaddr_storage here{};
    sockaddr_storage there{};
    socklen_t here_size = sizeof here;
    socklen_t there_size = sizeof there;
    const int fd = socket_.native_handle();
    return ::getsockname(fd, reinterpret_cast<sockaddr*>(&here), &here_size) == 0 &&
           ::getpeername(fd, reinterpret_cast<sockaddr*>(&there), &there_size) == 0 &&
           here_size == there_size && std::memcmp(&here, &there, here_size) == 0;
  }

  // The attempt's share of the time is used up; on an open stream, the pause is over.
  void run() noexcept override {
    const std::shared_ptr<Engine> keep = shared_from_this();
    if (open_) {
      resume_reading();
      return;
    }
    note_attempt_failure(ETIMEDOUT);
    try_next();
  }

  void note_attempt_failure(int error) noexcept {
    try {
      last_failure_ = system_error_text(error);
      if (error == EMFILE || error == ENFILE) last_failure_ += system_error_advice(error);
      if (endpoints_.size() > 1) {
        last_failure_ += " (" + endpoints_[next_ - 1].text() + ", the last of " +
                         std::to_string(endpoints_.size()) + " addresses)";
      }
    } catch (const std::bad_alloc&) {
      last_failure_.clear();
    }
  }

  void read() noexcept {
    try {
      socket_.async_read_some(asio::buffer(buffer_.get(), kReadBuffer),
                              loop_.in_turn([self = shared_from_this()](
                                                const asio::error_code& error, std::size_t size) {
                                if (self->handler_ != nullptr) self->received(error, size);
                              }));
    } catch (...) {
      fail(ConnectionError::Kind::kLost, "out of memory");
    }
  }

  void received(const asio::error_code& error, std::size_t size) noexcept {
    if (size > 0 && !hand_over(size)) return;
    if (!error) {
      if (size == kReadBuffer || !paused()) read();
      return;
    }
    const int number = broken_ ? broken_ : (error == asio::error::eof ? 0 : error.value());
    if (number == 0) {
      fail(ConnectionError::Kind::kEndOfFile, "the peer closed the connection");
      return;
    }
    try {
      fail(lost_error(number, tcp_user_timeout_));
    } catch (const std::bad_alloc&) {
      fail(ConnectionError::Kind::kLost, {});
    }
  }

  // False if the stream is gone.
  bool hand_over(std::size_t size) noexcept {
    pause_ = 0;
    handler_->on_received({buffer_.get(), size});
    return handler_ != nullptr;
  }

  // Whether there is a pause now, from which resume_reading() goes on.
  bool paused() noexcept {
    if (pause_ == 0) return false;
    timer_->set(loop_.now() + pause_);
    set_option(socket_.native_handle(), SOL_SOCKET, SO_RCVLOWAT, kWakingBytes);
    return true;
  }

  // What arrived in the pause may have been news to nobody, and old kernels do not make up for it:
  // it is read without waiting to be told. But a peer that never stops must not keep the turn,
  // since others have timers and sockets, too: read() goes on.
  void resume_reading() noexcept {
    const int fd = socket_.native_handle();
    set_option(fd, SOL_SOCKET, SO_RCVLOWAT, 1);
    for (std::size_t reads = 0; reads < kReadsPerTurn; ++reads) {
      const ssize_t size = ::recv(fd, buffer_.get(), kReadBuffer, MSG_DONTWAIT);
      if (size < 0 && errno == EINTR) continue;
      if (size <= 0) break;
      if (!hand_over(static_cast<std::size_t>(size)) || paused()) return;
    }
    read();
  }

  void wait_writable() noexcept {
    try {
      socket_.async_wait(AsioSocket::wait_write,
                         loop_.in_turn([self = shared_from_this()](const asio::error_code& error) {
                           if (self->handler_ == nullptr || error) return;
                           if (!self->broken_) self->handler_->on_writable();
                         }));
    } catch (...) {
      break_connection(ENOMEM);
    }
  }

  void break_connection(int error) noexcept {
    broken_ = error;
    ::shutdown(socket_.native_handle(), SHUT_RDWR);
  }

  void fail(ConnectionError::Kind kind, std::string_view message) noexcept {
    ConnectionError error{kind, {}};
    try {
      error.message = message;
    } catch (const std::bad_alloc&) {
      // The kind says what is most important.
    }
    fail(error);
  }
  void fail(const ConnectionError& error) noexcept {
    ByteStream::Handler* const handler = std::exchange(handler_, nullptr);
    if (handler == nullptr) return;
    ++attempt_;
    if (timer_ != nullptr) timer_->set(kNever);
    handler->on_failed(error);
  }

  void close_socket() noexcept {
    if (!socket_.is_open()) return;
    ::shutdown(socket_.native_handle(), SHUT_RDWR);
    asio::error_code ignored;
    socket_.close(ignored);
  }

  AsioEventLoop& loop_;
  const LookupFunction look_up_;
  const Address address_;
  const std::int64_t connect_timeout_;
  const std::int64_t tcp_user_timeout_;
  AsioSocket socket_;
  std::unique_ptr<Timer> timer_;
  std::unique_ptr<Lookup> lookup_;
  std::unique_ptr<std::uint8_t[]> buffer_;
  std::vector<Endpoint> endpoints_;
  std::string last_failure_;
  ByteStream::Handler* handler_ = nullptr;  // nullptr: nobody is told anything any more
  TimePoint deadline_ = kNever;
  std::size_t next_ = 0;       // the endpoint after the one being tried
  std::uint64_t attempt_ = 0;  // tells the wait of this attempt from those of earlier ones
  std::uint64_t delivered_ = 0;
  std::int64_t pause_ = 0;  // what the handler has asked for since the last read
  int broken_ = 0;          // errno of the send that failed
  bool open_ = false;
};

SocketStream::SocketStream(AsioEventLoop& loop, LookupFunction look_up, Address address,
                           const ConnectionOptions& options)
    : engine_(std::make_shared<Engine>(loop, look_up, std::move(address), options)) {}

SocketStream::~SocketStream() {
  engine_->abandon();
}

void SocketStream::open(Handler& handler) {
  engine_->open(handler);
}

std::size_t SocketStream::write(std::span<const iovec> pieces) noexcept {
  return engine_->write(pieces);
}

void SocketStream::pause_reading(std::int64_t nanoseconds) noexcept {
  engine_->pause_reading(nanoseconds);
}

std::uint64_t SocketStream::delivered() const noexcept {
  return engine_->delivered();
}

std::string SocketStream::waiting_for() const {
  return engine_->waiting_for();
}

}  // namespace gcs::transport
