// SPDX-License-Identifier: Apache-2.0
//
// Connections that go away under their calls: what is known of each call's effect must be exact.
#include <signal.h>

#include "transport_fixture.h"

namespace gcs::test {
namespace {

class LossTest : public TransportTest {
 protected:
  static void expect_lost(const TestCall& call, Fate fate, std::string_view text) {
    EXPECT_EQ(call.ended, 1);
    EXPECT_EQ(call.result.code, StatusCode::kUnavailable);
    EXPECT_EQ(call.result.origin, Origin::kConnectionLost);
    EXPECT_EQ(call.result.fate, fate) << call.result.message;
    EXPECT_NE(call.result.message.find(text), std::string::npos) << call.result.message;
  }
  bool run_until_closed() {
    return run_until([this] { return notes.closed == 1; });
  }
};

void echo_all(PeerConnection& peer) {
  if (peer.greet()) peer.echo();
}

TEST_F(LossTest, ACallWhoseMessageWasSentMayHaveRun) {
  ScriptedPeer peer([](PeerConnection& self) {
    if (!self.greet()) return;
    self.next_request();
    self.close();
  });
  ASSERT_TRUE(connect_to(peer));
  start(add_call());
  connection->flush();
  ASSERT_TRUE(run_until_closed());
  EXPECT_EQ(notes.error.kind, ConnectionError::Kind::kEndOfFile);
  expect_lost(calls[0], Fate::kMayHaveRun, "the peer closed the connection");
}

TEST_F(LossTest, AResetIsToldFromAClose) {
  ScriptedPeer peer([](PeerConnection& self) {
    if (!self.greet()) return;
    self.next_request();
    self.reset();
  });
  ASSERT_TRUE(connect_to(peer));
  start(add_call());
  connection->flush();
  ASSERT_TRUE(run_until_closed());
  EXPECT_EQ(notes.error.kind, ConnectionError::Kind::kLost);
  expect_lost(calls[0], Fate::kMayHaveRun, "the peer reset the connection");
}

TEST_F(LossTest, ACallThatWasNotFlushedNeverRan) {
  ScriptedPeer peer(echo_all);
  ASSERT_TRUE(connect_to(peer));
  start(add_call());
  // What close() sends for politeness is GOAWAY alone.
  const std::uint64_t before = connection->bytes_sent();
  connection->close();
  EXPECT_LT(connection->bytes_sent(), before + 100);
  ASSERT_TRUE(run_until_closed());
  expect_lost(calls[0], Fate::kNeverRan, "closed on this side");
}

TEST_F(LossTest, AMessageThatFlowControlHeldBackNeverRan) {
  ScriptedPeer peer([](PeerConnection& self) {
    self.credit_data = false;
    if (!self.greet({{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1000}})) return;
    self.next_request();  // the small one
    while (self.bytes_read() < 1000 + 50 && self.read_frame()) {
    }
    self.close();
  });
  ASSERT_TRUE(connect_to(peer));
  TestCall& large = add_call(std::string(996, 'x'));  // with its prefix one byte over the window
  start(large);
  TestCall& small = add_call("small");
  start(small);
  connection->flush();
  ASSERT_TRUE(run_until_closed());
  expect_lost(large, Fate::kNeverRan, "closed");
  expect_lost(small, Fate::kMayHaveRun, "closed");
}

TEST_F(LossTest, AMessageThatJustFitsTheWindowMayHaveRun) {
  ScriptedPeer peer([](PeerConnection& self) {
    self.credit_data = false;
    if (!self.greet({{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1000}})) return;
    self.next_request();
    self.close();
  });
  ASSERT_TRUE(connect_to(peer));
  start(add_call(std::string(995, 'x')));
  connection->flush();
  ASSERT_TRUE(run_until_closed());
  expect_lost(calls[0], Fate::kMayHaveRun, "closed");
}

TEST_F(LossTest, OfMessagesToAPeerThatStoppedReadingThoseNotSentNeverRan) {
  std::atomic<bool> end{false};
  ScriptedPeer peer([&](PeerConnection& self) {
    if (!self.greet({{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0x7fffffff}}) ||
        !self.send(NGHTTP2_WINDOW_UPDATE, 0, 0, std::string("\x7f\0\0\0", 4))) {
      return;
    }
    self.wait_for(end);
    self.reset();
  });
  ASSERT_TRUE(connect_to(peer));
  run_for(50ms);
  TestCall& small = add_call("small");
  start(small);
  connection->flush();
  TestCall& large = add_call(std::string(std::size_t{64} << 20, 'x'));
  large.share();
  start(large);
  connection->flush();
  run_for(300ms);
  EXPECT_FALSE(connection->can_start());
  EXPECT_LT(connection->bytes_sent(), 64u << 20);
  end = true;
  ASSERT_TRUE(run_until_closed());
  expect_lost(small, Fate::kMayHaveRun, "reset");
  expect_lost(large, Fate::kNeverRan, "reset");
}

TEST_F(LossTest, RepliesThatArrivedBeforeTheLossCount) {
  ScriptedPeer peer([](PeerConnection& self) {
    if (!self.greet()) return;
    const auto first = self.next_request();
    const auto second = self.next_request();
    if (first && second) self.reply(first->stream, "in time");
    self.close();
  });
  ASSERT_TRUE(connect_to(peer));
  start(add_call());
  start(add_call());
  connection->flush();
  ASSERT_TRUE(run_until_closed());
  EXPECT_TRUE(calls[0].ok()) << calls[0].result.message;
  expect_lost(calls[1], Fate::kMayHaveRun, "closed");
}

TEST_F(LossTest, RepliesBeforeAFailedSendCount) {
  // The peer replies and resets while this side does not look; then this side sends first.
  std::atomic<bool> closed{false};
  ScriptedPeer peer([&](PeerConnection& self) {
    if (!self.greet()) return;
    const auto first = self.next_request();
    if (first) self.reply(first->stream, "in time");
    self.reset();
    closed = true;
  });
  ASSERT_TRUE(connect_to(peer));
  start(add_call());
  connection->flush();
  while (!closed) std::this_thread::sleep_for(1ms);
  std::this_thread::sleep_for(20ms);
  start(add_call());
  connection->flush();
  EXPECT_EQ(notes.calls_ended, 0);
  ASSERT_TRUE(run_until_closed());
  EXPECT_EQ(notes.calls_ended, 2);
  EXPECT_EQ(calls[1].result.origin, Origin::kConnectionLost);
  // A reset may throw away what the kernel had received; where it did not, the reply counts.
  if (calls[0].result.code != StatusCode::kOk) expect_lost(calls[0], Fate::kMayHaveRun, "reset");
}

TEST_F(LossTest, ASendToAClosedSocketRaisesNoSignal) {
  struct sigaction before {};
  struct sigaction standard {};
  standard.sa_handler = SIG_DFL;
  ASSERT_EQ(sigaction(SIGPIPE, &standard, &before), 0);
  std::atomic<bool> closed{false};
  ScriptedPeer peer([&](PeerConnection& self) {
    if (!self.greet()) return;
    self.next_request();
    self.reset();
    closed = true;
  });
  ASSERT_TRUE(connect_to(peer));
  start(add_call());
  connection->flush();
  while (!closed) std::this_thread::sleep_for(1ms);
  for (int i = 0; i < 5; ++i) {
    connection->start(add_call(std::string(100'000, 'x')));
    connection->flush();
  }
  ASSERT_TRUE(run_until_closed());
  EXPECT_TRUE(all_ended());
  EXPECT_EQ(sigaction(SIGPIPE, &before, nullptr), 0);
}

TEST_F(LossTest, GoAwayEndsStreamsAboveItsLastIdAndLetsTheOthersFinish) {
  std::atomic<bool> finish{false};
  ScriptedPeer peer([&](PeerConnection& self) {
    if (!self.greet()) return;
    std::vector<Request> requests;
    while (requests.size() < 4) {
      const auto request = self.next_request();
      if (!request) return;
      requests.push_back(*request);
    }
    self.send_goaway(requests[1].stream, NGHTTP2_ENHANCE_YOUR_CALM, "too_many_pings");
    self.wait_for(finish);
    self.reply(requests[0].stream, "zero");
    self.reply(requests[1].stream, "one");
    self.wait_for_end();
  });
  ASSERT_TRUE(connect_to(peer));
  for (int i = 0; i < 4; ++i) start(add_call());
  connection->flush();
  ASSERT_TRUE(run_until([this] { return notes.draining == 1; }));
  EXPECT_EQ(notes.drain_reason, "the peer said GOAWAY (ENHANCE_YOUR_CALM): too_many_pings");
  EXPECT_FALSE(connection->can_start());
  EXPECT_EQ(notes.calls_ended, 2);
  for (const std::size_t i : {2u, 3u}) {
    EXPECT_EQ(calls[i].ended, 1);
    EXPECT_EQ(calls[i].result.code, StatusCode::kUnavailable);
    EXPECT_EQ(calls[i].result.origin, Origin::kPeer);
    EXPECT_EQ(calls[i].result.fate, Fate::kNeverRan);
    EXPECT_NE(calls[i].result.message.find("too_many_pings"), std::string::npos);
  }
  EXPECT_EQ(notes.closed, 0);
  finish = true;
  ASSERT_TRUE(run_until_closed());
  EXPECT_EQ(notes.error.kind, ConnectionError::Kind::kGoAway);
  EXPECT_EQ(calls[0].reply(), "zero");
  EXPECT_EQ(calls[1].reply(), "one");
}

TEST_F(LossTest, GoAwayOnAnIdleConnectionClosesIt) {
  ScriptedPeer peer([](PeerConnection& self) {
    if (!self.greet()) return;
    self.send_goaway(0, NGHTTP2_NO_ERROR);
    self.wait_for_end();
  });
  connect(peer.port());
  ASSERT_TRUE(run_until_closed());
  EXPECT_EQ(notes.ready, 1);
  EXPECT_EQ(notes.draining, 1);
  EXPECT_EQ(notes.error.kind, ConnectionError::Kind::kGoAway);
  EXPECT_EQ(notes.error.message, "the peer said GOAWAY (NO_ERROR)");
}

TEST_F(LossTest, AGracefulGoAwayInTwoStepsDrainsOnce) {
  ScriptedPeer peer([](PeerConnection& self) {
    if (!self.greet()) return;
    const auto first = self.next_request();
    const auto second = self.next_request();
    if (!first || !second) return;
    self.send_goaway(0x7fffffff, NGHTTP2_NO_ERROR);
    self.send_goaway(first->stream, NGHTTP2_NO_ERROR);
    self.reply(first->stream, "kept");
    self.wait_for_end();
  });
  ASSERT_TRUE(connect_to(peer));
  start(add_call());
  start(add_call());
  connection->flush();
  ASSERT_TRUE(run_until_closed());
  EXPECT_EQ(notes.draining, 1);
  EXPECT_TRUE(calls[0].ok());
  EXPECT_EQ(calls[1].result.fate, Fate::kNeverRan);
}

TEST_F(LossTest, CallsThatWereNotFramedAtGoAwayNeverRan) {
  std::atomic<bool> go{false};
  std::atomic<bool> sent{false};
  ScriptedPeer peer([&](PeerConnection& self) {
    if (!self.greet()) return;
    self.wait_for(go);
    self.send_goaway(0, NGHTTP2_NO_ERROR);
    sent = true;
    self.wait_for_end();
  });
  ASSERT_TRUE(connect_to(peer));
  go = true;
  while (!sent) std::this_thread::sleep_for(1ms);
  for (int i = 0; i < 10; ++i) start(add_call());
  ASSERT_TRUE(run_until_closed());
  EXPECT_EQ(notes.error.kind, ConnectionError::Kind::kGoAway);
  for (const TestCall& call : calls) {
    EXPECT_EQ(call.ended, 1);
    EXPECT_EQ(call.result.fate, Fate::kNeverRan);
    EXPECT_EQ(call.result.code, StatusCode::kUnavailable);
    EXPECT_EQ(call.result.origin, Origin::kPeer);
  }
}

TEST_F(LossTest, ClosingEndsEveryCallAndSaysGoAway) {
  std::atomic<int> goaways{0};
  ScriptedPeer peer([&](PeerConnection& self) {
    if (!self.greet()) return;
    while (const auto frame = self.read_frame()) goaways += frame->type == NGHTTP2_GOAWAY ? 1 : 0;
  });
  ASSERT_TRUE(connect_to(peer));
  for (int i = 0; i < 100; ++i) start(add_call());
  connection->flush();
  connection->close();
  EXPECT_EQ(notes.calls_ended, 0);
  EXPECT_FALSE(connection->can_start());
  connection->close();
  ASSERT_TRUE(run_until_closed());
  EXPECT_TRUE(all_ended());
  expect_lost(calls[0], Fate::kMayHaveRun, "closed on this side");
  EXPECT_EQ(notes.error.kind, ConnectionError::Kind::kClosed);
  EXPECT_TRUE(run_until([&] { return goaways == 1; }));
  run_for(20ms);
  EXPECT_EQ(notes.closed, 1);
}

}  // namespace
}  // namespace gcs::test
