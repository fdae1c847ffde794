// SPDX-License-Identifier: Apache-2.0
//
// A peer that is silent while calls are in flight is asked whether it is there, and no other one.
#include "transport_fixture.h"

namespace gcs::test {
namespace {

class KeepaliveTest : public TransportTest {
 protected:
  KeepaliveTest() {
    options.ping_interval = std::chrono::nanoseconds(100ms).count();
    options.ping_timeout = std::chrono::nanoseconds(200ms).count();
  }
};

// Reads frames until there is a request; its stream.
std::uint32_t request_stream(PeerConnection& self) {
  const auto request = self.next_request();
  return request ? request->stream : 0;
}

TEST_F(KeepaliveTest, ASilentPeerIsPingedAndItsAnswerKeepsTheConnection) {
  std::atomic<int> pings{0};
  ScriptedPeer peer([&](PeerConnection& self) {
    if (!self.greet()) return;
    const std::uint32_t stream = request_stream(self);
    while (pings < 3) {
      const auto frame = self.read_frame();
      if (!frame) return;
      if (frame->type == NGHTTP2_PING && (frame->flags & NGHTTP2_FLAG_ACK) == 0) {
        ++pings;
        self.send(NGHTTP2_PING, NGHTTP2_FLAG_ACK, 0, frame->payload);
      }
    }
    self.reply(stream, "late");
    self.echo();
  });
  ASSERT_TRUE(connect_to(peer));
  TestCall& call = add_call();
  start(call);
  ASSERT_TRUE(run_to_end(call));
  EXPECT_EQ(call.reply(), "late") << call.result.message;
  EXPECT_EQ(pings, 3);
  EXPECT_EQ(notes.closed, 0);
}

TEST_F(KeepaliveTest, APeerThatAnswersNoPingIsLost) {
  ScriptedPeer peer([](PeerConnection& self) {
    if (self.greet()) self.wait_for_end();
  });
  ASSERT_TRUE(connect_to(peer));
  TestCall& call = add_call();
  start(call);
  ASSERT_TRUE(run_to_end(call));
  EXPECT_EQ(call.result.origin, Origin::kConnectionLost);
  EXPECT_EQ(call.result.fate, Fate::kMayHaveRun);
  ASSERT_TRUE(run_until([this] { return notes.closed == 1; }));
  EXPECT_EQ(notes.error.kind, ConnectionError::Kind::kLost);
  EXPECT_EQ(notes.error.message, "the peer did not answer a PING within 0.2 s");
}

TEST_F(KeepaliveTest, AnythingThatThePeerSendsIsAnAnswer) {
  ScriptedPeer peer([](PeerConnection& self) {
    if (!self.greet()) return;
    const std::uint32_t stream = request_stream(self);
    while (true) {
      const auto frame = self.read_frame();
      if (!frame) return;
      if (frame->type == NGHTTP2_PING) break;
    }
    self.send_headers(stream, kOkHeaders, false);
    self.wait_for_end();
  });
  ASSERT_TRUE(connect_to(peer));
  start(add_call());
  connection->flush();
  run_for(380ms);  // the PING at 100 ms would be lost at 300 ms
  EXPECT_EQ(notes.closed, 0) << notes.error.message;
}

TEST_F(KeepaliveTest, AConnectionWithoutCallsIsNeverPinged) {
  std::atomic<int> pings{0};
  ScriptedPeer peer([&](PeerConnection& self) {
    if (!self.greet()) return;
    const std::uint32_t stream = request_stream(self);
    self.reply(stream, "done");
    while (const auto frame = self.read_frame()) {
      if (frame->type == NGHTTP2_PING) ++pings;
    }
  });
  ASSERT_TRUE(connect_to(peer));
  TestCall& call = add_call();
  start(call);
  ASSERT_TRUE(run_to_end(call));
  run_for(500ms);
  EXPECT_EQ(pings, 0);
  EXPECT_EQ(notes.closed, 0);
}

TEST_F(KeepaliveTest, APeerThatTalksIsNotPinged) {
  std::atomic<int> pings{0};
  std::atomic<bool> stop{false};
  ScriptedPeer peer([&](PeerConnection& self) {
    if (!self.greet()) return;
    const std::uint32_t held = request_stream(self);
    while (!stop) {
      const auto frame = self.read_frame();
      if (!frame) return;
      if (frame->type == NGHTTP2_PING) ++pings;
      // Replies to each call but the first, which stays in flight.
      if ((frame->flags & NGHTTP2_FLAG_END_STREAM) != 0 && frame->stream != held) {
        self.reply(frame->stream, "again");
      }
    }
  });
  ASSERT_TRUE(connect_to(peer));
  start(add_call());
  for (int i = 0; i < 12; ++i) {
    TestCall& call = add_call();
    start(call);
    ASSERT_TRUE(run_to_end(call));
    run_for(40ms);
  }
  EXPECT_EQ(pings, 0);
  EXPECT_EQ(notes.closed, 0);
  stop = true;
}

}  // namespace
}  // namespace gcs::test
