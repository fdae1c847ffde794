// SPDX-License-Identifier: Apache-2.0
//
// Connections that go away under their calls, calls that are cancelled, and peers that break the rules: what is known of
// each call's effect must be exact, and nothing is touched after its end.
#include <signal.h>

#include "transport_fixture.h"

namespace gcs::test {
namespace {

const Fields kOkHeaders{{":status", "200"}, {"content-type", "application/grpc"}};

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

TEST_F(LossTest, ACallThatWasNeverFlushedNeverRan) {
  std::atomic<bool> go{false};
  ScriptedPeer peer([&](PeerConnection& self) {
    if (!self.greet()) return;
    self.next_request();
    while (!go) std::this_thread::sleep_for(1ms);
  });
  ASSERT_TRUE(connect_to(peer));
  start(add_call());
  connection->flush();
  run_for(20ms);
  // Closing comes first, so that nothing flushes the second call.
  start(add_call());
  connection.reset();
  EXPECT_EQ(calls[1].ended, 0);

  notes = Notes();
  ASSERT_TRUE(connect_to(peer));
  go = true;
}

TEST_F(LossTest, AMessageThatFlowControlHeldBackNeverRan) {
  ScriptedPeer peer([](PeerConnection& self) {
    self.credit_data = false;
    if (!self.greet({{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1000}})) return;
    self.next_request();  // the small one
    while (self.bytes_read() < 1000 + 50) self.read_frame();
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
    while (!end) std::this_thread::sleep_for(1ms);
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
    while (!finish) std::this_thread::sleep_for(1ms);
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
  std::atomic<bool> sent{false};
  ScriptedPeer peer([&](PeerConnection& self) {
    if (!self.greet()) return;
    self.send_goaway(0, NGHTTP2_NO_ERROR);
    sent = true;
    self.wait_for_end();
  });
  ASSERT_TRUE(connect_to(peer));
  while (!sent) std::this_thread::sleep_for(1ms);
  std::this_thread::sleep_for(20ms);
  if (connection->can_start()) {
    for (int i = 0; i < 10; ++i) connection->start(add_call());
  }
  ASSERT_TRUE(run_until_closed());
  for (const TestCall& call : calls) {
    EXPECT_EQ(call.ended, 1);
    EXPECT_EQ(call.result.fate, Fate::kNeverRan);
    EXPECT_EQ(call.result.code, StatusCode::kUnavailable);
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

TEST_F(LossTest, ACancelledCallIsResetAndNothingMoreIsHeardOfIt) {
  std::atomic<std::uint32_t> code{0};
  ScriptedPeer peer([&](PeerConnection& self) {
    if (!self.greet()) return;
    const auto request = self.next_request();
    if (!request) return;
    if (const auto reset = self.next_reset(request->stream)) code = *reset;
    self.reply(request->stream, "too late");
    self.echo();
  });
  ASSERT_TRUE(connect_to(peer));
  auto call = std::make_unique<TestCall>();
  connection->start(*call);
  connection->flush();
  run_for(20ms);
  connection->cancel(*call);
  call.reset();
  connection->flush();
  start(add_call("next"));
  ASSERT_TRUE(run_to_end(calls.back()));
  EXPECT_EQ(calls.back().reply(), "next");
  EXPECT_EQ(code, static_cast<std::uint32_t>(NGHTTP2_CANCEL));
  EXPECT_EQ(notes.calls_ended, 1);
}

TEST_F(LossTest, ACallCancelledBeforeItWasFramedIsNeverSent) {
  ScriptedPeer peer(echo_all);
  ASSERT_TRUE(connect_to(peer));
  std::vector<std::unique_ptr<TestCall>> cancelled;
  for (int i = 0; i < 100; ++i) {
    cancelled.push_back(std::make_unique<TestCall>());
    connection->start(*cancelled.back());
    if (i % 10 == 0) start(add_call("kept " + std::to_string(i)));
  }
  const std::uint64_t before = connection->bytes_sent();
  for (auto& call : cancelled) connection->cancel(*call);
  cancelled.clear();
  connection->flush();
  ASSERT_TRUE(run_until([this] { return all_ended(); }));
  for (const TestCall& call : calls) EXPECT_TRUE(call.ok());
  EXPECT_LT(connection->bytes_sent() - before, 10u * 200);
}

TEST_F(LossTest, CancellingGivesTheStreamBackAtALimitOfOne) {
  ScriptedPeer peer([](PeerConnection& self) {
    if (!self.greet({{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 1}})) return;
    self.next_request();  // never answered
    self.echo();
  });
  ASSERT_TRUE(connect_to(peer));
  auto call = std::make_unique<TestCall>();
  connection->start(*call);
  connection->flush();
  EXPECT_FALSE(connection->can_start());
  connection->cancel(*call);
  call.reset();
  connection->flush();
  EXPECT_EQ(notes.capacity, 0);
  ASSERT_TRUE(run_until([this] { return notes.capacity == 1; }));
  start(add_call("next"));
  ASSERT_TRUE(run_to_end(calls.back()));
  EXPECT_TRUE(calls.back().ok());
}

struct Lent {
  std::string bytes;
  std::atomic<int> released{0};

  SharedBytes lend() {
    return SharedBytes::adopt(
        as_bytes(bytes),
        [](void* user, const std::uint8_t* data, std::size_t size) noexcept {
          auto* const self = static_cast<Lent*>(user);
          EXPECT_EQ(reinterpret_cast<const char*>(data), self->bytes.data());
          EXPECT_EQ(size, self->bytes.size());
          ++self->released;
        },
        this);
  }
};

TEST_F(LossTest, ACancelWithTheBodyUnsentFreesItAfterItWasSent) {
  std::atomic<bool> read{false};
  ScriptedPeer peer([&](PeerConnection& self) {
    if (!self.greet({{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0x7fffffff}}) ||
        !self.send(NGHTTP2_WINDOW_UPDATE, 0, 0, std::string("\x7f\0\0\0", 4))) {
      return;
    }
    while (!read) std::this_thread::sleep_for(1ms);
    self.echo();
  });
  Lent lent{std::string(std::size_t{64} << 20, 'x')};
  ASSERT_TRUE(connect_to(peer));
  run_for(50ms);
  auto call = std::make_unique<TestCall>("");
  call->message_owner = lent.lend();
  call->message = call->message_owner.bytes();
  connection->start(*call);
  connection->flush();
  run_for(200ms);
  ASSERT_LT(connection->bytes_sent(), 64u << 20);
  connection->cancel(*call);
  call.reset();
  connection->flush();
  EXPECT_EQ(lent.released, 0);  // frames that refer to it are still queued
  read = true;
  ASSERT_TRUE(run_until([&] { return lent.released == 1; }));
  EXPECT_LT(connection->bytes_sent(), 64u << 20);
  start(add_call("next"));
  ASSERT_TRUE(run_to_end(calls.back()));
  EXPECT_TRUE(calls.back().ok()) << calls.back().result.message;
  EXPECT_EQ(lent.released, 1);
}

TEST_F(LossTest, DroppingTheConnectionReleasesBodiesOnce) {
  ScriptedPeer peer([](PeerConnection& self) {
    if (self.greet({{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0x7fffffff}})) self.wait_for_end();
  });
  Lent lent{std::string(std::size_t{1} << 20, 'x')};
  ASSERT_TRUE(connect_to(peer));
  TestCall& call = add_call("");
  call.message_owner = lent.lend();
  call.message = call.message_owner.bytes();
  start(call);
  connection->flush();
  connection.reset();
  EXPECT_EQ(lent.released, 0);
  call.message_owner.reset();
  EXPECT_EQ(lent.released, 1);
  run_for(20ms);
  EXPECT_EQ(call.ended, 0);
}

TEST_F(LossTest, ACallThatEndedButWasNotReportedYetCanBeCancelled) {
  ScriptedPeer peer(echo_all);
  ASSERT_TRUE(connect_to(peer));
  for (int i = 0; i < 3; ++i) start(add_call());
  connection->close();  // all three have ended, and nobody was told
  connection->cancel(calls[1]);
  ASSERT_TRUE(run_until_closed());
  EXPECT_EQ(calls[0].ended, 1);
  EXPECT_EQ(calls[1].ended, 0);
  EXPECT_EQ(calls[2].ended, 1);
}

TEST_F(LossTest, TheConnectionCanBeDestroyedInsideEachObserverFunction) {
  const auto script = [](PeerConnection& self) {
    if (!self.greet({{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 1}})) return;
    const auto request = self.next_request();
    if (!request) return;
    self.reply(request->stream, "x");
    self.send_goaway(request->stream, NGHTTP2_NO_ERROR);
    self.wait_for_end();
  };
  const std::vector<std::function<void()> Notes::*> hooks{
      &Notes::when_ready, &Notes::when_ended, &Notes::when_capacity, &Notes::when_draining,
      &Notes::when_closed};
  for (std::size_t i = 0; i < hooks.size(); ++i) {
    SCOPED_TRACE(i);
    ScriptedPeer peer(script);
    notes = Notes();
    calls.clear();
    bool destroyed = false;
    notes.when_ready = [this] {
      connection->start(add_call());
      connection->flush();
    };
    notes.*hooks[i] = [&] {
      connection.reset();
      destroyed = true;
    };
    connect(peer.port());
    EXPECT_TRUE(run_until([&] { return destroyed; }, i == 2 ? 500ms : 20s) || i == 2);
    connection.reset();
    run_for(20ms);
  }
}

TEST_F(LossTest, TheConnectionCanBeDestroyedInsideOnCapacity) {
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

TEST_F(LossTest, CallsStartedInsideObserverFunctionsAreSentWithoutAFlush) {
  ScriptedPeer peer(echo_all);
  notes.when_ready = [this] { connection->start(add_call("0")); };
  notes.when_ended = [this] {
    if (calls.size() < 50) connection->start(add_call(std::to_string(calls.size())));
  };
  connect(peer.port());
  ASSERT_TRUE(run_until([this] { return calls.size() == 50 && all_ended(); }));
  for (const TestCall& call : calls) EXPECT_TRUE(call.ok());
}

TEST_F(LossTest, AProtocolErrorOfThePeerEndsTheConnectionAndIsNamed) {
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
  expect_lost(calls[0], Fate::kMayHaveRun, "PROTOCOL_ERROR");
}

TEST_F(LossTest, AFrameOverTheSizeLimitEndsTheConnection) {
  ScriptedPeer peer([](PeerConnection& self) {
    if (!self.greet()) return;
    self.write(std::string_view("\xff\xff\xff\0\0\0\0\0\1", 9));
    self.wait_for_end();
  });
  connect(peer.port());
  ASSERT_TRUE(run_until_closed());
  EXPECT_NE(notes.error.message.find("FRAME_SIZE_ERROR"), std::string::npos) << notes.error.message;
}

TEST_F(LossTest, AFloodOfPingsOrSettingsEndsTheConnection) {
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

TEST_F(LossTest, DataOnACancelledStreamDoesNotUseUpTheConnectionsWindow) {
  options.connection_window = 1 << 20;
  ScriptedPeer peer([](PeerConnection& self) {
    if (!self.greet()) return;
    const auto request = self.next_request();
    if (!request) return;
    self.next_reset(request->stream);
    self.send_headers(request->stream, kOkHeaders, false);
    for (int i = 0; i < 5; ++i) self.send_data(request->stream, std::string(900'000, 'x'), false);
    self.echo();
  });
  ASSERT_TRUE(connect_to(peer));
  auto call = std::make_unique<TestCall>();
  connection->start(*call);
  connection->flush();
  run_for(20ms);
  connection->cancel(*call);
  call.reset();
  connection->flush();
  start(add_call(std::string(3 << 20, 'y')));
  ASSERT_TRUE(run_to_end(calls.back()));
  EXPECT_TRUE(calls.back().ok()) << calls.back().result.message;
}

}  // namespace
}  // namespace gcs::test
