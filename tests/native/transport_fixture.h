// SPDX-License-Identifier: Apache-2.0
//
// A client's end of a connection for tests: calls, an observer that takes notes, and a loop that
// the test's own thread drives until something has happened.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "scripted_peer.h"
#include "transport/asio_event_loop.h"
#include "transport/socket_connector.h"

namespace gcs::test {

using namespace std::chrono_literals;
using transport::AsioEventLoop;
using transport::Connection;
using transport::ConnectionError;
using transport::ConnectionOptions;
using transport::Fate;
using transport::Origin;
using transport::SharedBytes;
using transport::StatusCode;
using transport::UnaryCall;

inline std::span<const std::uint8_t> as_bytes(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

struct TestCall final : UnaryCall {
  explicit TestCall(std::string message = "hello", std::string_view method = "/test.Service/Echo")
      : request(std::move(message)) {
    path = method;
    this->message = as_bytes(request);
  }
  // Puts the request into a shared block, as large bodies are.
  void share() {
    message_owner = SharedBytes::copy(message);
    message = message_owner.bytes();
  }
  std::string reply() const {
    const auto bytes = response.bytes();
    return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  bool ok() const { return ended == 1 && result.code == StatusCode::kOk; }

  std::string request;
  int ended = 0;
};

// Takes notes. `on_...` hooks run inside the observer function.
struct Notes final : Connection::Observer {
  int ready = 0;
  int capacity = 0;
  int draining = 0;
  int closed = 0;
  int calls_ended = 0;
  std::string drain_reason;
  ConnectionError error;
  std::vector<UnaryCall*> order;
  std::function<void()> when_ready, when_capacity, when_ended, when_draining, when_closed;

  void on_ready() noexcept override {
    ++ready;
    if (when_ready) when_ready();
  }
  void on_capacity() noexcept override {
    ++capacity;
    if (when_capacity) when_capacity();
  }
  void on_calls_ended(UnaryCall* first) noexcept override {
    while (first != nullptr) {
      auto* const call = static_cast<TestCall*>(first);
      first = first->next;
      ++call->ended;
      ++calls_ended;
      order.push_back(call);
    }
    if (when_ended) when_ended();
  }
  void on_draining(const std::string& reason) noexcept override {
    ++draining;
    drain_reason = reason;
    if (when_draining) when_draining();
  }
  void on_closed(const ConnectionError& reason) noexcept override {
    ++closed;
    error = reason;
    if (when_closed) when_closed();
  }
};

class TransportTest : public ::testing::Test {
 protected:
  // False when `done` did not become true in time.
  bool run_until(const std::function<bool()>& done, std::chrono::milliseconds limit = 20s) {
    const auto end = std::chrono::steady_clock::now() + limit;
    while (!done()) {
      if (std::chrono::steady_clock::now() > end) return false;
      loop.context().run_one_for(20ms);
    }
    return true;
  }
  void run_for(std::chrono::milliseconds time) {
    loop.context().run_for(time);
    loop.context().restart();
  }

  void connect(std::uint16_t port, const std::string& host = "127.0.0.1") {
    connection = transport::SocketConnector(loop).connect({host, port}, options, notes);
  }
  // Connects and waits until calls can be started.
  ::testing::AssertionResult connect_to(const ScriptedPeer& peer) {
    connect(peer.port());
    if (!run_until([this] { return notes.ready == 1 || notes.closed == 1; })) {
      return ::testing::AssertionFailure() << "the connection became neither ready nor closed";
    }
    if (notes.closed != 0) return ::testing::AssertionFailure() << notes.error.message;
    return ::testing::AssertionSuccess();
  }
  // Connects to a peer that runs `script`, and expects the connection to fail.
  ConnectionError failure_of(ScriptedPeer::Script script) {
    ScriptedPeer peer(std::move(script));
    connect(peer.port());
    EXPECT_TRUE(run_until([this] { return notes.closed == 1; }));
    EXPECT_EQ(notes.ready, 0);
    connection.reset();
    return notes.error;
  }

  TestCall& add_call(std::string message = "hello") {
    return calls.emplace_back(std::move(message));
  }
  void start(TestCall& call) {
    ASSERT_TRUE(connection->can_start());
    connection->start(call);
  }
  bool run_to_end(const TestCall& call) {
    connection->flush();
    return run_until([&] { return call.ended > 0; });
  }
  bool all_ended() const {
    for (const TestCall& call : calls) {
      if (call.ended != 1) return false;
    }
    return true;
  }

  AsioEventLoop loop;
  ConnectionOptions options;
  Notes notes;
  std::deque<TestCall> calls;
  std::unique_ptr<Connection> connection;
};

inline const Fields kOkHeaders{{":status", "200"}, {"content-type", "application/grpc"}};

// Calls to a peer that answers the first in a way of its own, and echoes the next on the same
// connection.
class ReplyTest : public TransportTest {
 protected:
  using Answer = std::function<void(PeerConnection&, std::uint32_t stream)>;

  // One call that `answer` answers, then one that is echoed.
  TestCall& call_answered_by(Answer answer, std::string message = "hello") {
    peer_ = std::make_unique<ScriptedPeer>([answer = std::move(answer)](PeerConnection& self) {
      if (!self.greet()) return;
      const auto request = self.next_request();
      if (!request) return;
      answer(self, request->stream);
      self.echo();
    });
    EXPECT_TRUE(connect_to(*peer_));
    TestCall& call = add_call(std::move(message));
    connection->start(call);
    EXPECT_TRUE(run_to_end(call));
    EXPECT_EQ(call.ended, 1);
    TestCall& next = add_call("next");
    if (notes.closed == 0) {
      connection->start(next);
      EXPECT_TRUE(run_to_end(next));
    }
    EXPECT_TRUE(next.ok()) << next.result.message << notes.error.message;
    EXPECT_EQ(next.reply(), "next");
    EXPECT_EQ(call.ended, 1);
    return call;
  }
  static void expect(const TestCall& call, StatusCode code, Origin origin, std::string_view text) {
    EXPECT_EQ(call.result.code, code) << call.result.message;
    EXPECT_EQ(call.result.origin, origin);
    EXPECT_NE(call.result.message.find(text), std::string::npos) << call.result.message;
    EXPECT_EQ(call.response.size(), 0u);
    EXPECT_EQ(call.result.fate, Fate::kMayHaveRun);
  }

 private:
  std::unique_ptr<ScriptedPeer> peer_;
};

}  // namespace gcs::test
