// SPDX-License-Identifier: Apache-2.0
//
// The peer's timer stands for everything that a real connection does by itself a little later: it
// runs the scripts, tells the observer what start(), cancel() and flush() have led to, and ends an
// attempt that takes too long.
#include "virtual_transport.h"

#include <algorithm>
#include <new>
#include <span>
#include <utility>

namespace gcs::test {

using transport::CallResult;
using transport::Connection;
using transport::ConnectionError;
using transport::Fate;
using transport::kNever;
using transport::Origin;
using transport::StatusCode;
using transport::TimePoint;
using transport::UnaryCall;

std::string VirtualStream::header(std::string_view name) const {
  for (const transport::Header& header : metadata) {
    if (header.name == name) return header.value;
  }
  return {};
}

// The client's end: all that it knows is in the peer.
class VirtualConnection final : public Connection {
 public:
  explicit VirtualConnection(std::shared_ptr<VirtualPeer> peer) : peer_(std::move(peer)) {}
  VirtualConnection(const VirtualConnection&) = delete;
  VirtualConnection& operator=(const VirtualConnection&) = delete;
  ~VirtualConnection() override {
    peer_->held_ = false;
    for (auto& [call, stream] : peer_->open_) {
      stream->call = nullptr;
      stream->cancelled = true;
    }
    peer_->open_.clear();
    peer_->ended_.clear();
    // What the observer was lent goes with the connection.
    peer_->error_.reset();
    peer_->drain_reason_.reset();
    peer_->timer_->set(kNever);
  }

  bool can_start() const noexcept override { return peer_->can_start(); }
  void start(UnaryCall& call) noexcept override { peer_->start(call); }
  void cancel(UnaryCall& call) noexcept override { peer_->cancel(call); }
  void flush() noexcept override { peer_->flush(); }
  void set_metadata(std::vector<transport::Header> metadata) override {
    peer_->metadata_ = std::move(metadata);
  }
  void close() noexcept override { peer_->close(); }
  TimePoint last_received() const noexcept override { return peer_->last_received_; }
  std::uint64_t bytes_sent() const noexcept override { return peer_->bytes_sent_; }
  std::uint64_t bytes_received() const noexcept override { return peer_->bytes_received_; }

 private:
  const std::shared_ptr<VirtualPeer> peer_;
};

VirtualPeer::VirtualPeer(VirtualLoop& loop, const transport::Address& address,
                         const transport::ConnectionOptions& options,
                         Connection::Observer& observer)
    : loop_(loop),
      address_(address.text()),
      options_(options),
      observer_(observer),
      begun_(loop.now()),
      timer_(loop.make_timer(*this)),
      last_received_(loop.now()) {
  timer_->set(loop.now());
}

void VirtualPeer::send_settings(std::size_t stream_limit) {
  last_received_ = loop_.now();
  ready_ = true;
  stream_limit_ = stream_limit;
  tell();
}

void VirtualPeer::set_stream_limit(std::size_t limit) {
  stream_limit_ = limit;
  if (ready_ && !can_start()) starved_ = true;
  tell();
}

void VirtualPeer::set_writable(bool writable) {
  writable_ = writable;
  if (writable) flush();
  if (ready_ && !can_start()) starved_ = true;
  tell();
}

void VirtualPeer::reply(VirtualStream& stream, std::string_view message) {
  finish(stream, {}, message);
  tell();
}

void VirtualPeer::refuse(VirtualStream& stream, StatusCode code, std::string message,
                         std::string details) {
  finish(stream,
         {code, Origin::kServer, Fate::kMayHaveRun, std::move(message), std::move(details)});
  tell();
}

void VirtualPeer::reset(VirtualStream& stream, StatusCode code, Fate fate, std::string message) {
  finish(stream, {code, Origin::kPeer, fate, std::move(message), {}});
  tell();
}

void VirtualPeer::go_away(std::string reason, std::size_t taken) {
  last_received_ = loop_.now();
  draining_ = true;
  drain_reason_ = std::make_unique<std::string>(std::move(reason));
  for (VirtualStream& stream : streams_) {
    if (!stream.is_open() || !open_.contains(stream.call)) continue;
    if (taken > 0) {
      --taken;
    } else {
      end(stream, {StatusCode::kUnavailable,
                   Origin::kPeer,
                   Fate::kNeverRan,
                   "the peer did not take the call: " + *drain_reason_,
                   {}});
    }
  }
  tell();
}

void VirtualPeer::lose(ConnectionError::Kind kind, std::string message) {
  if (lost_) return;
  lost_ = true;
  set_error(kind, message);
  for (VirtualStream& stream : streams_) {
    if (!stream.is_open() || !open_.contains(stream.call)) continue;
    end(stream, {StatusCode::kUnavailable,
                 Origin::kConnectionLost,
                 stream.sent ? Fate::kMayHaveRun : Fate::kNeverRan,
                 message,
                 {}});
  }
  tell();
}

void VirtualPeer::finish(VirtualStream& stream, CallResult result, std::string_view message) {
  require(stream.is_open(), "only an open stream ends");
  last_received_ = loop_.now();
  bytes_received_ += message.size() + 5;
  stream.call->response.append(
      std::span(reinterpret_cast<const std::uint8_t*>(message.data()), message.size()),
      message.size());
  end(stream, std::move(result));
}

void VirtualPeer::set_error(ConnectionError::Kind kind, std::string message) {
  error_ = std::make_unique<ConnectionError>();
  error_->kind = kind;
  error_->message = std::move(message);
}

void VirtualPeer::end(VirtualStream& stream, CallResult result) {
  UnaryCall& call = *stream.call;
  open_.erase(&call);
  stream.call = nullptr;
  stream.ended = true;
  stream.result = result;
  call.result = std::move(result);
  call.stream.ended = true;
  ended_.push_back(&call);
}

void VirtualPeer::tell() {
  const auto self = shared_from_this();
  while (held_ && tell_one()) {
  }
}

bool VirtualPeer::tell_one() {
  if (told_lost_) return false;
  if (ready_ && !told_ready_ && !lost_) {
    told_ready_ = true;
    starved_ = !can_start();
    observer_.on_ready();
    return true;
  }
  if (!ended_.empty()) {
    UnaryCall* first = nullptr;
    for (auto call = ended_.rbegin(); call != ended_.rend(); ++call) {
      (*call)->next = first;
      (*call)->stream.ended = false;
      first = *call;
    }
    ended_.clear();
    observer_.on_calls_ended(first);
    return true;
  }
  if (draining_ && !told_draining_ && !lost_) {
    told_draining_ = true;
    observer_.on_draining(*drain_reason_);
    return true;
  }
  if (told_draining_ && !lost_ && open_.empty()) {
    lost_ = true;
    set_error(ConnectionError::Kind::kGoAway, *drain_reason_);
  }
  if (lost_) {
    told_lost_ = true;
    observer_.on_closed(*error_);
    return true;
  }
  if (starved_ && can_start()) {
    starved_ = false;
    observer_.on_capacity();
    return true;
  }
  return false;
}

void VirtualPeer::start(UnaryCall& call) noexcept {
  require(can_start(), "start() only when can_start()");
  require(!open_.contains(&call), "a call is started once");
  require(call.next == nullptr, "a call that is started is in no chain");
  require(call.response.size() == 0, "a call starts with an empty reply");
  VirtualStream& stream = streams_.emplace_back();
  stream.call = &call;
  stream.path = call.path;
  stream.message.assign(reinterpret_cast<const char*>(call.message.data()), call.message.size());
  stream.metadata = metadata_;
  stream.deadline = call.deadline;
  stream.started = loop_.now();
  call.stream = {};
  call.stream.stream_id = static_cast<std::int32_t>(2 * streams_.size() - 1);
  call.result = {};
  open_.emplace(&call, &stream);
  if (!can_start()) starved_ = true;
}

void VirtualPeer::cancel(UnaryCall& call) noexcept {
  if (call.stream.ended) {
    call.stream.ended = false;
    require(std::erase(ended_, &call) == 1, "cancel() only for a call that has not ended");
  } else {
    const auto found = open_.find(&call);
    require(found != open_.end(), "cancel() only for a call that has not ended");
    found->second->call = nullptr;
    found->second->cancelled = true;
    open_.erase(found);
  }
  wake_soon();
}

void VirtualPeer::flush() noexcept {
  ++flushes_;
  wake_soon();
  if (!writable_) return;
  for (; first_unsent_ < streams_.size(); ++first_unsent_) {
    VirtualStream& stream = streams_[first_unsent_];
    if (!stream.is_open()) continue;
    stream.sent = true;
    bytes_sent_ += stream.message.size() + 5;
  }
}

void VirtualPeer::close() noexcept {
  if (lost_) return;
  lost_ = true;
  set_error(ConnectionError::Kind::kClosed, "the connection was closed on this side");
  for (VirtualStream& stream : streams_) {
    if (!stream.is_open()) continue;
    end(stream, {StatusCode::kUnavailable,
                 Origin::kConnectionLost,
                 Fate::kMayHaveRun,
                 error_->message,
                 {}});
  }
  wake_soon();
}

void VirtualPeer::wake_soon() {
  if (held_) timer_->set(loop_.now());
}

void VirtualPeer::run() noexcept {
  const auto self = shared_from_this();
  if (!std::exchange(scripted_, true) && script) script(*this);
  while (held_ && on_call && first_unseen_ < streams_.size()) {
    VirtualStream& stream = streams_[first_unseen_];
    if (stream.is_open() && !stream.sent) break;
    ++first_unseen_;
    if (stream.is_open()) on_call(*this, stream);
  }
  if (!held_) return;
  const TimePoint latest = begun_ + options_.connect_timeout;
  if (!ready_ && !lost_ && loop_.now() >= latest) {
    lose(ConnectionError::Kind::kTimeout,
         "the peer accepted the connection but sent no HTTP/2 SETTINGS");
    return;
  }
  if (!ready_ && !lost_) timer_->set(latest);
  tell();
}

std::vector<VirtualStream*> VirtualPeer::open_streams() {
  std::vector<VirtualStream*> open;
  for (VirtualStream& stream : streams_) {
    if (stream.is_open() && stream.sent) open.push_back(&stream);
  }
  return open;
}

std::unique_ptr<Connection> VirtualConnector::connect(const transport::Address& address,
                                                      const transport::ConnectionOptions& options,
                                                      Connection::Observer& observer) {
  if (failing_attempts > 0) {
    --failing_attempts;
    throw std::bad_alloc();
  }
  auto peer = std::make_shared<VirtualPeer>(loop_, address, options, observer);
  peer->script = script;
  peer->on_call = on_call;
  peers_.push_back(peer);
  return std::make_unique<VirtualConnection>(std::move(peer));
}

}  // namespace gcs::test
