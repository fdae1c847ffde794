// SPDX-License-Identifier: Apache-2.0
//
// Observers that do what they like inside their functions, and peers that break the rules of
// HTTP/2.
#include "transport_fixture.h"

namespace gcs::test {
namespace {

class RulesTest : public TransportTest {
 protected:
  bool run_until_closed() {
    return run_until([this] { return notes.closed == 1; });
  }
};

void echo_all(PeerConnection& peer) {
  if (peer.greet()) peer.echo();
}

TEST_F(RulesTest, TheConnectionCanBeDestroyedInsideEachObserverFunction) {
  const auto script = [](PeerConnection& self) {
    if (!self.greet()) return;
    const auto request = self.next_request();
    if (!request) return;
    self.reply(request->stream, "x");
    self.send_goaway(request->stream, NGHTTP2_NO_ERROR);
    self.wait_for_end();
  };
  for (const auto hook :
       {&Notes::when_ready, &Notes::when_ended, &Notes::when_draining, &Notes::when_closed}) {
    ScriptedPeer peer(script);
    notes = Notes();
    calls.clear();
    bool destroyed = false;
    notes.when_ready = [this] {
      connection->start(add_call());
      connection->flush();
    };
    notes.*hook = [&] {
      connection.reset();
      destroyed = true;
    };
    connect(peer.port());
    EXPECT_TRUE(run_until([&] { return destroyed; }));
    run_for(20ms);
  }
}

TEST_F(RulesTest, TheConnectionCanBeDestroyedInsideOnCapacity) {
  ScriptedPeer peer([](PeerConnection& self) {
    if (self.greet({{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 1}})) self.echo();
  });
  ASSERT_TRUE(connect_to(peer));
  bool destroyed = false;
  notes.when_capacity = [&] {
    connection.reset();
    destroyed = true;
  };
  start(add_call());
  connection->flush();
  ASSERT_TRUE(run_until([&] { return destroyed; }));
  EXPECT_TRUE(calls[0].ok());
}

TEST_F(RulesTest, CallsStartedInsideObserverFunctionsAreSentWithoutAFlush) {
  ScriptedPeer peer(echo_all);
  notes.when_ready = [this] { connection->start(add_call("0")); };
  notes.when_ended = [this] {
    if (calls.size() < 50) connection->start(add_call(std::to_string(calls.size())));
  };
  connect(peer.port());
  ASSERT_TRUE(run_until([this] { return calls.size() == 50 && all_ended(); }));
  for (const TestCall& call : calls) EXPECT_TRUE(call.ok());
}

TEST_F(RulesTest, AProtocolErrorOfThePeerEndsTheConnectionAndIsNamed) {
  ScriptedPeer peer([](PeerConnection& self) {
    if (!self.greet()) return;
    self.next_request();
    self.send_data(99, "on a stream that was never opened", false);
    self.wait_for_end();
  });
  ASSERT_TRUE(connect_to(peer));
  start(add_call());
  connection->flush();
  ASSERT_TRUE(run_until_closed());
  EXPECT_EQ(notes.error.kind, ConnectionError::Kind::kLost);
  EXPECT_NE(notes.error.message.find("PROTOCOL_ERROR"), std::string::npos) << notes.error.message;
  EXPECT_NE(notes.error.message.find("idle"), std::string::npos) << notes.error.message;
  EXPECT_EQ(calls[0].ended, 1);
  EXPECT_EQ(calls[0].result.origin, Origin::kConnectionLost);
  EXPECT_EQ(calls[0].result.fate, Fate::kMayHaveRun);
}

TEST_F(RulesTest, AProtocolErrorEndsTheConnectionEvenWhereThePeerReadsNothing) {
  std::atomic<bool> go{false};
  ScriptedPeer peer([&](PeerConnection& self) {
    if (!self.greet({{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0x7fffffff}}) ||
        !self.send(NGHTTP2_WINDOW_UPDATE, 0, 0, std::string("\x7f\0\0\0", 4))) {
      return;
    }
    self.wait_for(go);
    self.send_data(99, "on a stream that was never opened", false);
    self.stand_still();
  });
  ASSERT_TRUE(connect_to(peer));
  run_for(50ms);
  start(add_call(std::string(std::size_t{64} << 20, 'x')));
  calls[0].share();
  connection->flush();
  run_for(200ms);
  EXPECT_FALSE(connection->can_start());
  go = true;
  EXPECT_TRUE(run_until_closed());
  EXPECT_EQ(calls[0].result.fate, Fate::kNeverRan);
  EXPECT_NE(notes.error.message.find("broke the rules"), std::string::npos) << notes.error.message;
}

TEST_F(RulesTest, AFrameOverTheSizeLimitEndsTheConnection) {
  ScriptedPeer peer([](PeerConnection& self) {
    if (!self.greet()) return;
    self.write(std::string_view("\xff\xff\xff\0\0\0\0\0\1", 9));
    self.wait_for_end();
  });
  connect(peer.port());
  ASSERT_TRUE(run_until_closed());
  EXPECT_NE(notes.error.message.find("FRAME_SIZE_ERROR"), std::string::npos) << notes.error.message;
}

TEST_F(RulesTest, AFloodOfPingsOrSettingsEndsTheConnection) {
  for (const std::uint8_t type : {NGHTTP2_PING, NGHTTP2_SETTINGS}) {
    ScriptedPeer peer([type](PeerConnection& self) {
      if (!self.greet()) return;
      std::string burst;
      for (int i = 0; i < 5000; ++i) {
        burst += frame_bytes(type, 0, 0, type == NGHTTP2_PING ? "12345678" : "");
      }
      // Never reads, so that the acknowledgements pile up at the other end.
      while (self.write(burst)) {
      }
    });
    notes = Notes();
    connect(peer.port());
    ASSERT_TRUE(run_until_closed());
    EXPECT_EQ(notes.error.kind, ConnectionError::Kind::kLost);
    EXPECT_NE(notes.error.message.find("looding"), std::string::npos) << notes.error.message;
    connection.reset();
  }
}

}  // namespace
}  // namespace gcs::test
