// SPDX-License-Identifier: Apache-2.0
//
// Every event of the stream follows one path: feed the session, then settle(). The owner's calls
// change the session and leave the telling to a settle() that is due soon.
#include "transport/http2_connection.h"

#include <algorithm>
#include <array>
#include <new>
#include <utility>

#include "transport/system_error.h"

namespace gcs::transport {
namespace {

constexpr std::size_t kPiecesPerWrite = 64;
// A peer that takes everything at once must not keep the loop to itself.
constexpr std::size_t kBytesPerTurn = std::size_t{8} << 20;

// The observer may destroy the connection, and what it was told must outlive that.
std::string copy_of(const std::string& text) noexcept {
  try {
    return text;
  } catch (const std::bad_alloc&) {
    return {};
  }
}

}  // namespace

Http2Connection::Http2Connection(EventLoop& loop, std::unique_ptr<ByteStream> stream,
                                 const Address& address, const ConnectionOptions& options,
                                 Observer& observer)
    : loop_(loop),
      observer_(observer),
      connect_timeout_(options.connect_timeout),
      ping_interval_(options.ping_interval),
      ping_timeout_(options.ping_timeout),
      stream_(std::move(stream)),
      session_(loop, address, stream_->scheme(), options, output_),
      timer_(loop.make_timer(*this)),
      keepalive_timer_(loop.make_timer(keepalive_)),
      later_write_(std::make_shared<LaterWrite>(*this)),
      connect_deadline_(loop.now() + options.connect_timeout),
      last_received_(loop.now()) {
  timer_->set(connect_deadline_);
  stream_->open(*this);
}

Http2Connection::~Http2Connection() {
  if (destroyed_ != nullptr) *destroyed_ = true;
  later_write_->forget_connection();
}

bool Http2Connection::can_start() const noexcept {
  return !error_ && !blocked_ && session_.can_start();
}

void Http2Connection::start(UnaryCall& call) noexcept {
  session_.start(call);
  if (!watched_) check_peer_at(loop_.now() + ping_interval_);
  note_starvation();
  if (session_.has_ended() || session_.draining() != told_draining_) settle_soon();
}

void Http2Connection::cancel(UnaryCall& call) noexcept {
  session_.cancel(call);
  if (session_.draining() && !session_.has_calls()) settle_soon();
}

void Http2Connection::flush() noexcept {
  // Inside the observer this waits for settle(), so that all of an event's output is one write.
  if (destroyed_ != nullptr) return;
  write_output();
  note_starvation();
  if (error_ || session_.has_ended() || (starved_ && can_start())) settle_soon();
}

void Http2Connection::set_metadata(std::vector<Header> metadata) {
  session_.set_metadata(std::move(metadata));
}

void Http2Connection::close() noexcept {
  if (error_) return;
  if (session_.ready()) {
    session_.say_goodbye();
    write_output();
  }
  fail(ConnectionError::Kind::kClosed, "the connection was closed on this side");
  settle_soon();
}

void Http2Connection::on_open() noexcept {
  open_ = true;
  settle();
}

void Http2Connection::on_received(std::span<const std::uint8_t> bytes) noexcept {
  last_received_ = loop_.now();
  bytes_received_ += bytes.size();
  if (!error_ && (!receive(bytes) || (blocked_ && session_.is_broken()))) fail_session();
  const std::int64_t pause = session_.read_pause();
  if (pause > 0 && stream_ != nullptr) stream_->pause_reading(pause);
  settle(Write::kAfterHandOver);
}

bool Http2Connection::receive(std::span<const std::uint8_t> bytes) noexcept {
  if (!recognised_) {
    switch (first_bytes_.take(bytes)) {
      case FirstBytes::Verdict::kUndecided:
        return true;
      case FirstBytes::Verdict::kOther:
        try {
          fail(ConnectionError::Kind::kNotHttp2, first_bytes_.description());
        } catch (const std::bad_alloc&) {
          fail(ConnectionError::Kind::kNotHttp2, {});
        }
        return true;
      case FirstBytes::Verdict::kHttp2:
        break;
    }
    recognised_ = true;
    if (!session_.receive(first_bytes_.taken(), last_received_)) return false;
  }
  return session_.receive(bytes, last_received_);
}

void Http2Connection::on_writable() noexcept {
  blocked_ = false;
  settle();
}

void Http2Connection::on_failed(const ConnectionError& error) noexcept {
  try {
    std::string message = error.message;
    if (open_ && !session_.ready() && error.kind == ConnectionError::Kind::kEndOfFile) {
      message += " before it sent HTTP/2 SETTINGS";
      if (stream_->scheme() == "http") message += "; does it want TLS?";
    } else if (open_ && !session_.ready() && error.kind == ConnectionError::Kind::kLost) {
      message += " before the peer sent HTTP/2 SETTINGS";
    }
    fail(error.kind, message);
  } catch (const std::bad_alloc&) {
    fail(error.kind, {});
  }
  settle();
}

void Http2Connection::run() noexcept {
  if (!session_.ready() && !error_) {
    if (loop_.now() >= connect_deadline_) {
      time_out();
    } else {
      wake_at(connect_deadline_);
    }
  }
  settle();
}

void Http2Connection::time_out() noexcept {
  try {
    std::string message = open_ ? "the peer accepted the connection but sent no HTTP/2 SETTINGS"
                                : stream_->waiting_for();
    message += " within " + seconds_text(connect_timeout_);
    fail(ConnectionError::Kind::kTimeout, message);
  } catch (const std::bad_alloc&) {
    fail(ConnectionError::Kind::kTimeout, {});
  }
}

// Frames and sends until the stream is full, or nothing is left.
void Http2Connection::write_output() noexcept {
  if (!open_ || blocked_ || error_) return;
  for (std::size_t written = 0; written < kBytesPerTurn;) {
    const bool healthy = session_.frame_output();
    const std::uint64_t before = bytes_sent_;
    send_queued();
    if (!healthy) {
      fail_session();
      return;
    }
    if (blocked_ || bytes_sent_ == before) return;
    written += bytes_sent_ - before;
  }
  wake_at(loop_.now());
}

void Http2Connection::send_queued() noexcept {
  while (!output_.empty()) {
    std::array<iovec, kPiecesPerWrite> pieces;
    const std::size_t count = output_.gather(pieces);
    std::size_t offered = 0;
    for (std::size_t i = 0; i < count; ++i) offered += pieces[i].iov_len;
    const std::size_t accepted = stream_->write(std::span(pieces).first(count));
    output_.consume(accepted);
    bytes_sent_ += accepted;
    session_.set_delivered(stream_->delivered());
    if (accepted < offered) {
      blocked_ = true;
      return;
    }
  }
}

void Http2Connection::fail(ConnectionError::Kind kind, std::string_view message) noexcept {
  if (error_) return;
  error_.emplace();
  error_->kind = kind;
  try {
    error_->message = message;
  } catch (const std::bad_alloc&) {
    // The kind says what is most important.
  }
  session_.set_delivered(stream_->delivered());
  session_.end_all(error_->message);
  output_.clear();
  stream_.reset();
}

void Http2Connection::fail_session() noexcept {
  if (error_) return;
  try {
    if (session_.ready() || session_.lacked_memory()) {
      fail(ConnectionError::Kind::kLost, session_.failure());
    } else {
      fail(ConnectionError::Kind::kNotHttp2,
           "the peer sent bytes that are not HTTP/2: " + session_.failure());
    }
  } catch (const std::bad_alloc&) {
    fail(ConnectionError::Kind::kLost, {});
  }
}

void Http2Connection::note_starvation() noexcept {
  if (!can_start()) starved_ = true;
}

void Http2Connection::wake_at(TimePoint when) noexcept {
  timer_->set(when);
}

void Http2Connection::check_peer_at(TimePoint when) noexcept {
  keepalive_timer_->set(when);
  watched_ = true;
}

void Http2Connection::check_peer() noexcept {
  watched_ = false;
  if (error_) return;
  const TimePoint now = loop_.now();
  const TimePoint answer_due = last_ping_ + ping_timeout_;
  if (ping_open_ && last_received_ < last_ping_ && now < answer_due) {
    check_peer_at(answer_due);
    return;
  }
  if (std::exchange(ping_open_, false) && last_received_ < last_ping_) {
    try {
      fail(ConnectionError::Kind::kLost,
           "the peer did not answer a PING within " + seconds_text(ping_timeout_));
    } catch (const std::bad_alloc&) {
      fail(ConnectionError::Kind::kLost, {});
    }
    settle();
    return;
  }
  if (!session_.has_calls()) return;
  const TimePoint due = std::max(last_received_, last_ping_) + ping_interval_;
  if (now < due) {
    check_peer_at(due);
    return;
  }
  ping_open_ = session_.ping();
  last_ping_ = now;
  check_peer_at(now + (ping_open_ ? ping_timeout_ : ping_interval_));
  settle();
}

void Http2Connection::settle_soon() noexcept {
  const bool settling = destroyed_ != nullptr;
  if (!settling && !told_closed_) wake_at(loop_.now());
}

// Tells the observer and sends, or has it sent soon, in turn, until neither leads to more.
void Http2Connection::settle(Write write) noexcept {
  bool destroyed = false;
  destroyed_ = &destroyed;
  bool told_any = false;
  for (bool written = false;;) {
    const bool told = tell_one();
    if (destroyed) return;
    if (told) {
      told_any = true;
      written = false;
    } else if (!written) {
      if (told_any && write == Write::kAfterHandOver && session_.has_output()) {
        later_write_->post();
      } else {
        write_output();
      }
      written = true;
    } else {
      break;
    }
  }
  destroyed_ = nullptr;
  note_starvation();
}

bool Http2Connection::tell_one() noexcept {
  if (told_closed_) return false;
  if (session_.ready() && !told_ready_ && !error_) {
    told_ready_ = true;
    starved_ = !can_start();
    observer_.on_ready();
    return true;
  }
  if (session_.has_ended()) {
    observer_.on_calls_ended(session_.take_ended());
    return true;
  }
  if (session_.draining() && !told_draining_ && !error_) {
    told_draining_ = true;
    observer_.on_draining(copy_of(session_.drain_reason()));
    return true;
  }
  if (told_draining_ && !error_ && !session_.has_calls()) {
    fail(ConnectionError::Kind::kGoAway, copy_of(session_.drain_reason()));
  }
  if (error_) {
    told_closed_ = true;
    const ConnectionError error = std::move(*error_);
    observer_.on_closed(error);
    return true;
  }
  if (starved_ && can_start()) {
    starved_ = false;
    observer_.on_capacity();
    return true;
  }
  return false;
}

}  // namespace gcs::transport
