// SPDX-License-Identifier: Apache-2.0
//
// Calls over TLS: bodies of every size, cancelling, and connections that go away under them.
#include <csignal>

#include "tls_fixture.h"

namespace gcs::test {
namespace {

class TlsCallTest : public TlsTest {
 protected:
  void SetUp() override { load(); }
};

TEST_F(TlsCallTest, ACallAndItsReplyGoThrough) {
  std::string scheme;
  ScriptedPeer peer([&](PeerConnection& self) {
    if (!self.serve_tls(server) || !self.greet()) return;
    const auto request = self.next_request();
    if (!request) return;
    scheme = request->header(":scheme");
    self.reply(request->stream, request->message());
  });
  ASSERT_TRUE(connect_to(peer));
  start(add_call());
  ASSERT_TRUE(run_to_end(calls[0]));
  EXPECT_TRUE(calls[0].ok()) << calls[0].result.message;
  EXPECT_EQ(calls[0].reply(), "hello");
  peer.end();
  EXPECT_EQ(scheme, "https");
}

TEST_F(TlsCallTest, Tls12WorksToo) {
  server.newest_version = TLS1_2_VERSION;
  ScriptedPeer peer(echoing());
  ASSERT_TRUE(connect_to(peer));
  start(add_call());
  ASSERT_TRUE(run_to_end(calls[0]));
  EXPECT_TRUE(calls[0].ok()) << calls[0].result.message;
}

TEST_F(TlsCallTest, LargeBodiesGoBothWays) {
  ScriptedPeer peer(echoing());
  ASSERT_TRUE(connect_to(peer));
  std::string body(std::size_t{24} << 20, '\0');
  for (std::size_t i = 0; i < body.size(); ++i) body[i] = static_cast<char>(i * 2654435761u >> 24);
  start(add_call(body));
  start(add_call(body));
  calls[1].share();
  ASSERT_TRUE(run_to_end(calls[0]));
  ASSERT_TRUE(run_to_end(calls[1]));
  for (const TestCall& call : calls) {
    EXPECT_TRUE(call.ok()) << call.result.message;
    EXPECT_TRUE(call.reply() == body);
  }
}

TEST_F(TlsCallTest, ManySmallCallsAtOnceEndOnceEach) {
  ScriptedPeer peer(echoing());
  ASSERT_TRUE(connect_to(peer));
  for (int round = 0; round < 5; ++round) {
    for (int i = 0; i < 200; ++i) start(add_call("call " + std::to_string(i)));
    connection->flush();
    ASSERT_TRUE(run_until([this] { return all_ended(); }));
  }
  for (const TestCall& call : calls) EXPECT_EQ(call.reply(), call.request);
}

struct Lent {
  static void release(void* user, const std::uint8_t*, std::size_t) noexcept {
    ++static_cast<Lent*>(user)->released;
  }
  std::string body = std::string(std::size_t{32} << 20, 'x');
  int released = 0;
};

TEST_F(TlsCallTest, ACancelledCallGivesItsUnsentBodyBack) {
  std::atomic<bool> go_on{false};
  ScriptedPeer peer([&](PeerConnection& self) {
    if (!self.serve_tls(server)) return;
    if (!self.greet({{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0x7fffffff}})) return;
    self.send(NGHTTP2_WINDOW_UPDATE, 0, 0, std::string("\x7f\0\0\0", 4));
    self.wait_for(go_on);
    self.echo();
  });
  ASSERT_TRUE(connect_to(peer));
  run_for(50ms);  // until the windows are there
  Lent lent;
  {
    auto call = std::make_unique<TestCall>();
    call->message_owner = SharedBytes::adopt(as_bytes(lent.body), &Lent::release, &lent);
    call->message = call->message_owner.bytes();
    connection->start(*call);
    connection->flush();
    run_for(100ms);
    EXPECT_FALSE(connection->can_start()) << "the socket is full";
    connection->cancel(*call);
    connection->flush();
  }
  go_on = true;
  ASSERT_TRUE(run_until([this] { return connection->can_start(); }));
  EXPECT_EQ(lent.released, 1);
  start(add_call("next"));
  ASSERT_TRUE(run_to_end(calls[0]));
  EXPECT_EQ(calls[0].reply(), "next");
  EXPECT_EQ(notes.closed, 0);
}

TEST_F(TlsCallTest, APeerThatClosesInOrderIsAtItsEnd) {
  for (const bool with_notice : {true, false}) {
    notes = Notes();
    ScriptedPeer peer([&](PeerConnection& self) {
      if (!self.serve_tls(server) || !self.greet()) return;
      self.next_request();
      if (with_notice) self.tls()->send_close_notify();
      self.flush_tls();
    });
    ASSERT_TRUE(connect_to(peer));
    start(add_call());
    ASSERT_TRUE(run_to_end(calls.back()));
    ASSERT_TRUE(run_until([this] { return notes.closed == 1; }));
    EXPECT_EQ(notes.error.kind, ConnectionError::Kind::kEndOfFile);
    EXPECT_EQ(notes.error.message, "the peer closed the connection");
    EXPECT_EQ(calls.back().result.fate, Fate::kMayHaveRun);
  }
}

TEST_F(TlsCallTest, AReplyBeforeTheEndIsHandedOver) {
  ScriptedPeer peer([&](PeerConnection& self) {
    if (!self.serve_tls(server) || !self.greet()) return;
    const auto request = self.next_request();
    if (!request) return;
    self.reply(request->stream, request->message());
    self.tls()->send_close_notify();
    self.flush_tls();
  });
  ASSERT_TRUE(connect_to(peer));
  start(add_call());
  ASSERT_TRUE(run_to_end(calls[0]));
  EXPECT_TRUE(calls[0].ok()) << calls[0].result.message;
}

TEST_F(TlsCallTest, ABrokenRecordEndsTheConnectionAndNothingElse) {
  ScriptedPeer peer([&](PeerConnection& self) {
    if (!self.serve_tls(server) || !self.greet()) return;
    self.next_request();
    self.tls()->write("a record that is changed on its way");
    std::string record = self.tls()->output();
    record.back() = static_cast<char>(record.back() ^ 1);
    self.end_tls();
    self.write(record);
    self.wait_for_end();
  });
  ASSERT_TRUE(connect_to(peer));
  start(add_call());
  ASSERT_TRUE(run_to_end(calls[0]));
  ASSERT_TRUE(run_until([this] { return notes.closed == 1; }));
  EXPECT_EQ(notes.error.kind, ConnectionError::Kind::kLost);
  EXPECT_TRUE(says(notes.error, "break the rules of TLS")) << notes.error.message;
  EXPECT_EQ(calls[0].result.fate, Fate::kMayHaveRun);
}

TEST_F(TlsCallTest, APeerThatIsGoneRaisesNoSignal) {
  // gtest leaves SIGPIPE as it is, which ends the process.
  ASSERT_EQ(std::signal(SIGPIPE, SIG_DFL), SIG_DFL);
  ScriptedPeer peer([&](PeerConnection& self) {
    if (self.serve_tls(server) && self.greet()) self.reset();
  });
  ASSERT_TRUE(connect_to(peer));
  for (int i = 0; i < 50 && notes.closed == 0; ++i) {
    if (connection->can_start()) connection->start(add_call(std::string(100000, 'x')));
    connection->flush();
    run_for(2ms);
  }
  ASSERT_TRUE(run_until([this] { return notes.closed == 1; }));
  EXPECT_TRUE(all_ended());
}

TEST_F(TlsCallTest, TheConnectionMayBeDestroyedInsideWhatItTells) {
  ScriptedPeer peer(echoing());
  notes.when_ready = [this] { connection.reset(); };
  connect(peer.port());
  ASSERT_TRUE(run_until([this] { return notes.ready == 1; }));
  notes.when_ready = nullptr;
  notes = Notes();
  ASSERT_TRUE(connect_to(peer));
  notes.when_ended = [this] { connection.reset(); };
  start(add_call());
  connection->flush();
  ASSERT_TRUE(run_until([this] { return connection == nullptr; }));
  EXPECT_TRUE(calls[0].ok());
}

TEST_F(TlsCallTest, NothingIsLeftInTheThreadsQueueOfErrors) {
  ScriptedPeer peer(echoing());
  ERR_raise(ERR_LIB_USER, 1);  // what somebody else has left there
  ASSERT_TRUE(connect_to(peer));
  start(add_call());
  ASSERT_TRUE(run_to_end(calls[0]));
  EXPECT_TRUE(calls[0].ok());
  EXPECT_EQ(ERR_peek_error(), 0u);
}

}  // namespace
}  // namespace gcs::test
