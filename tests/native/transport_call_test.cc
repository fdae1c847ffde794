// SPDX-License-Identifier: Apache-2.0
//
// Unary calls over a connection to a peer that behaves.
#include "transport_fixture.h"

namespace gcs::test {
namespace {

class CallTest : public TransportTest {};

void echo_all(PeerConnection& peer) {
  if (peer.greet()) peer.echo();
}

std::string patterned(std::size_t size) {
  std::string out(size, '\0');
  std::uint32_t state = 12345;
  for (char& c : out) {
    state = state * 1664525 + 1013904223;
    c = static_cast<char>(state >> 24);
  }
  return out;
}

TEST_F(CallTest, ACallBringsBackItsReply) {
  ScriptedPeer peer(echo_all);
  ASSERT_TRUE(connect_to(peer));
  TestCall& call = add_call("ping");
  start(call);
  ASSERT_TRUE(run_to_end(call));
  EXPECT_TRUE(call.ok()) << call.result.message;
  EXPECT_EQ(call.result.origin, Origin::kServer);
  EXPECT_EQ(call.reply(), "ping");
}

TEST_F(CallTest, AnEmptyMessageIsAMessage) {
  ScriptedPeer peer(echo_all);
  ASSERT_TRUE(connect_to(peer));
  TestCall& call = add_call("");
  start(call);
  ASSERT_TRUE(run_to_end(call));
  EXPECT_TRUE(call.ok()) << call.result.message;
  EXPECT_EQ(call.reply(), "");
}

TEST_F(CallTest, AThousandCallsShareOneConnection) {
  ScriptedPeer peer(echo_all);
  ASSERT_TRUE(connect_to(peer));
  for (int i = 0; i < 1000; ++i) start(add_call("call " + std::to_string(i)));
  connection->flush();
  ASSERT_TRUE(run_until([this] { return all_ended(); }));
  for (int i = 0; i < 1000; ++i) {
    EXPECT_TRUE(calls[static_cast<std::size_t>(i)].ok());
    EXPECT_EQ(calls[static_cast<std::size_t>(i)].reply(), "call " + std::to_string(i));
  }
  EXPECT_EQ(peer.connections(), 1);
}

TEST_F(CallTest, AFinishedCallCanBeStartedAgain) {
  ScriptedPeer peer([](PeerConnection& self) {
    if (!self.greet()) return;
    const auto first = self.next_request();
    if (first) self.reply(first->stream, "", {{"grpc-status", "14"}, {"grpc-message", "later"}});
    self.echo();
  });
  ASSERT_TRUE(connect_to(peer));
  TestCall& call = add_call("twice");
  start(call);
  ASSERT_TRUE(run_to_end(call));
  EXPECT_EQ(call.result.code, StatusCode::kUnavailable);
  call.ended = 0;
  start(call);
  ASSERT_TRUE(run_to_end(call));
  EXPECT_TRUE(call.ok()) << call.result.message;
  EXPECT_EQ(call.result.message, "");
  EXPECT_EQ(call.reply(), "twice");
}

TEST_F(CallTest, TheRequestCarriesTheHeadersThatGrpcDemands) {
  Request seen;
  std::atomic<bool> done{false};
  ScriptedPeer peer([&](PeerConnection& self) {
    if (!self.greet()) return;
    if (const auto request = self.next_request()) {
      seen = *request;
      done = true;
      self.reply(request->stream, "x");
    }
    self.wait_for_end();
  });
  options.user_agent = "tester/1";
  ASSERT_TRUE(connect_to(peer));
  TestCall& call = add_call("body");
  start(call);
  ASSERT_TRUE(run_to_end(call));
  ASSERT_TRUE(done);
  peer.end();
  const Fields expected{{":method", "POST"},
                        {":scheme", "http"},
                        {":path", "/test.Service/Echo"},
                        {":authority", "127.0.0.1:" + std::to_string(peer.port())},
                        {"te", "trailers"},
                        {"content-type", "application/grpc"},
                        {"user-agent", "tester/1"},
                        {"grpc-accept-encoding", "identity"}};
  EXPECT_EQ(seen.headers, expected);
  EXPECT_EQ(seen.body, grpc_message("body"));
}

TEST_F(CallTest, ADeadlineTravelsAsGrpcTimeout) {
  std::string timeout;
  ScriptedPeer peer([&](PeerConnection& self) {
    if (!self.greet()) return;
    if (const auto request = self.next_request()) {
      timeout = request->header("grpc-timeout");
      self.reply(request->stream, "x");
    }
    self.wait_for_end();
  });
  ASSERT_TRUE(connect_to(peer));
  TestCall& call = add_call();
  call.deadline = loop.now() + 30'000'000'000;
  start(call);
  ASSERT_TRUE(run_to_end(call));
  peer.end();
  ASSERT_EQ(timeout.size(), 9u) << timeout;
  EXPECT_EQ(timeout.back(), 'u');
  const int microseconds = std::stoi(timeout);
  EXPECT_LE(microseconds, 30'000'000);
  EXPECT_GT(microseconds, 25'000'000);
}

TEST_F(CallTest, MetadataTravelsWithCallsStartedAfterIt) {
  std::vector<Request> seen;
  ScriptedPeer peer([&](PeerConnection& self) {
    if (!self.greet()) return;
    while (const auto request = self.next_request()) {
      seen.push_back(*request);
      self.reply(request->stream, "x");
    }
  });
  ASSERT_TRUE(connect_to(peer));
  const auto value = [](int i) { return std::string(40, static_cast<char>('a' + i)); };
  // None of these is framed before the next metadata comes.
  start(add_call());
  for (int i = 0; i < 3; ++i) {
    connection->set_metadata(
        {{"ray_cluster_id", value(i)}, {"authorization", "Bearer " + value(i)}});
    start(add_call());
  }
  connection->set_metadata({});
  start(add_call());
  connection->flush();
  ASSERT_TRUE(run_until([this] { return all_ended(); }));
  peer.end();
  ASSERT_EQ(seen.size(), 5u);
  EXPECT_EQ(seen[0].header("ray_cluster_id"), "");
  for (int i = 0; i < 3; ++i) {
    const Request& request = seen[static_cast<std::size_t>(i + 1)];
    EXPECT_EQ(request.header("ray_cluster_id"), value(i));
    EXPECT_EQ(request.header("authorization"), "Bearer " + value(i));
  }
  EXPECT_EQ(seen[4].header("ray_cluster_id"), "");
}

TEST_F(CallTest, HeadersThatCannotBeFramedAreSaidToBeTooLarge) {
  ScriptedPeer peer(echo_all);
  ASSERT_TRUE(connect_to(peer));
  connection->set_metadata({{"authorization", "Bearer " + std::string(70'000, 'x')}});
  TestCall& call = add_call();
  start(call);
  ASSERT_TRUE(run_to_end(call));
  EXPECT_EQ(call.result.code, StatusCode::kResourceExhausted);
  EXPECT_EQ(call.result.origin, Origin::kLocal);
  EXPECT_EQ(call.result.fate, Fate::kNeverRan);
  EXPECT_NE(call.result.message.find("too large"), std::string::npos) << call.result.message;
}

TEST_F(CallTest, SixtyFourMebibytesTravelBothWaysByReference) {
  ScriptedPeer peer(echo_all);
  ASSERT_TRUE(connect_to(peer));
  TestCall& call = add_call(patterned(std::size_t{64} << 20));
  call.share();
  start(call);
  ASSERT_TRUE(run_to_end(call));
  ASSERT_TRUE(call.ok()) << call.result.message;
  EXPECT_TRUE(call.reply() == call.request);
}

TEST_F(CallTest, BodiesOfEverySizeArriveWhole) {
  ScriptedPeer peer(echo_all);
  ASSERT_TRUE(connect_to(peer));
  for (const std::size_t size :
       {1ul, 187ul, 192ul, 193ul, 16378ul, 16379ul, 16380ul, 16384ul, 65535ul, 65536ul, 131067ul,
        131072ul, 200000ul, 1048576ul, 3000001ul}) {
    start(add_call(patterned(size)));
    start(add_call(patterned(size)));
    calls.back().share();
  }
  connection->flush();
  ASSERT_TRUE(run_until([this] { return all_ended(); }));
  for (const TestCall& call : calls) {
    EXPECT_TRUE(call.ok()) << call.result.message;
    EXPECT_TRUE(call.reply() == call.request) << call.request.size();
  }
}

// Within the prefix, for instance; of a message that is copied, and of one that is not.
TEST_F(CallTest, AWindowMayEndAnywhere) {
  for (const std::uint32_t window : {2u, 4u, 5u, 6u}) {
    ScriptedPeer peer([&](PeerConnection& self) {
      if (self.greet({{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, window}})) self.echo();
    });
    notes = Notes();
    ASSERT_TRUE(connect_to(peer));
    for (const std::size_t size : {std::size_t{7}, std::size_t{16384}}) {
      TestCall& call = add_call(patterned(size));
      call.share();
      start(call);
      ASSERT_TRUE(run_to_end(call)) << window;
      EXPECT_TRUE(call.ok()) << call.result.message;
      EXPECT_TRUE(call.reply() == call.request);
    }
    connection.reset();
  }
}

TEST_F(CallTest, LargerFramesAreUsedWhenThePeerAllowsThem) {
  std::size_t largest = 0;
  ScriptedPeer peer([&](PeerConnection& self) {
    if (!self.greet({{NGHTTP2_SETTINGS_MAX_FRAME_SIZE, 1 << 20},
                     {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 8 << 20}}) ||
        !self.send(NGHTTP2_WINDOW_UPDATE, 0, 0, std::string("\0\x7f\0\0", 4))) {
      return;
    }
    std::uint32_t stream = 0;
    while (const auto frame = self.read_frame()) {
      largest = std::max(largest, frame->payload.size());
      stream = std::max(stream, frame->stream);
      if (frame->type == NGHTTP2_DATA && (frame->flags & NGHTTP2_FLAG_END_STREAM) != 0) break;
    }
    self.reply(stream, "done");
    self.wait_for_end();
  });
  ASSERT_TRUE(connect_to(peer));
  TestCall& call = add_call(patterned(2 << 20));
  call.share();
  start(call);
  ASSERT_TRUE(run_to_end(call));
  EXPECT_TRUE(call.ok()) << call.result.message;
  peer.end();
  EXPECT_EQ(largest, 128u << 10);
}

TEST_F(CallTest, AtAStreamLimitOfOneCallsGoOneByOne) {
  ScriptedPeer peer([](PeerConnection& self) {
    if (self.greet({{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 1}})) self.echo();
  });
  ASSERT_TRUE(connect_to(peer));
  for (int i = 0; i < 20; ++i) add_call(std::to_string(i));
  std::size_t next = 0;
  const auto start_more = [&] {
    while (next < calls.size() && connection->can_start()) connection->start(calls[next++]);
    connection->flush();
  };
  notes.when_capacity = start_more;
  start_more();
  EXPECT_EQ(next, 1u);
  EXPECT_FALSE(connection->can_start());
  ASSERT_TRUE(run_until([this] { return all_ended(); }));
  EXPECT_GE(notes.capacity, 19);
  for (const TestCall& call : calls) EXPECT_TRUE(call.ok()) << call.result.message;
}

TEST_F(CallTest, AStreamLimitThatIsRaisedGivesCapacity) {
  std::atomic<bool> raise{false};
  ScriptedPeer peer([&](PeerConnection& self) {
    if (!self.greet({{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 0}})) return;
    self.wait_for(raise);
    self.send(NGHTTP2_SETTINGS, 0, 0,
              settings_payload({{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 5}}));
    self.echo();
  });
  ASSERT_TRUE(connect_to(peer));
  EXPECT_FALSE(connection->can_start());
  raise = true;
  ASSERT_TRUE(run_until([this] { return notes.capacity == 1; }));
  start(add_call());
  ASSERT_TRUE(run_to_end(calls.back()));
  EXPECT_TRUE(calls.back().ok());
}

TEST_F(CallTest, OutputAboveTheCapEndsCapacityUntilThePeerReads) {
  std::atomic<bool> read{false};
  ScriptedPeer peer([&](PeerConnection& self) {
    if (!self.greet({{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0x7fffffff}}) ||
        !self.send(NGHTTP2_WINDOW_UPDATE, 0, 0, std::string("\x7f\0\0\0", 4))) {
      return;
    }
    self.wait_for(read);
    self.echo();
  });
  options.output_cap = 256 << 10;
  ASSERT_TRUE(connect_to(peer));
  run_for(50ms);  // the window update
  // More than loopback's buffers take.
  for (int i = 0; i < 3; ++i) {
    start(add_call(patterned(8 << 20)));
    calls.back().share();
  }
  connection->flush();
  run_for(200ms);
  EXPECT_FALSE(connection->can_start());
  EXPECT_LT(connection->bytes_sent(), 20u << 20);
  const int before = notes.capacity;
  read = true;
  ASSERT_TRUE(run_until([this] { return all_ended(); }));
  EXPECT_GT(notes.capacity, before);
  for (const TestCall& call : calls) {
    ASSERT_TRUE(call.ok()) << call.result.message;
    EXPECT_TRUE(call.reply() == call.request);
  }
}

TEST_F(CallTest, CallsEndInTheOrderInWhichTheirRepliesCame) {
  ScriptedPeer peer([](PeerConnection& self) {
    if (!self.greet()) return;
    std::vector<Request> requests;
    while (requests.size() < 3) {
      const auto request = self.next_request();
      if (!request) return;
      requests.push_back(*request);
    }
    for (const std::size_t i : {2u, 0u, 1u}) self.reply(requests[i].stream, "x");
    self.wait_for_end();
  });
  ASSERT_TRUE(connect_to(peer));
  for (int i = 0; i < 3; ++i) start(add_call());
  connection->flush();
  ASSERT_TRUE(run_until([this] { return all_ended(); }));
  const std::vector<UnaryCall*> expected{&calls[2], &calls[0], &calls[1]};
  EXPECT_EQ(notes.order, expected);
}

TEST_F(CallTest, NothingButThePrefaceIsSentBeforeThePeersSettings) {
  std::string before;
  std::atomic<bool> go{false};
  std::atomic<bool> have_preface{false};
  ScriptedPeer peer([&](PeerConnection& self) {
    while (before.size() < 24 + 9 + 18) before += self.read_some();
    have_preface = true;
    self.wait_for(go);
    self.send(NGHTTP2_SETTINGS, 0, 0, {});
    self.wait_for_end();
  });
  connect(peer.port());
  ASSERT_TRUE(run_until([&] { return have_preface.load(); }));
  run_for(100ms);
  EXPECT_FALSE(connection->can_start());
  const std::uint64_t preface = 24 + 9 + 18;  // magic, and SETTINGS with three entries
  EXPECT_EQ(connection->bytes_sent(), preface);
  EXPECT_EQ(before.size(), preface);
  EXPECT_EQ(before.substr(0, 24), "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
  EXPECT_EQ(before[24 + 3], NGHTTP2_SETTINGS);
  go = true;
  ASSERT_TRUE(run_until([this] { return notes.ready == 1; }));
}

TEST_F(CallTest, PingsAreAnswered) {
  std::string answer;
  ScriptedPeer peer([&](PeerConnection& self) {
    if (!self.greet()) return;
    self.send(NGHTTP2_PING, 0, 0, "12345678");
    while (const auto frame = self.read_frame()) {
      if (frame->type == NGHTTP2_PING) {
        answer = frame->payload + (frame->flags == NGHTTP2_FLAG_ACK ? " ack" : "");
        break;
      }
    }
    self.close();
  });
  ASSERT_TRUE(connect_to(peer));
  ASSERT_TRUE(run_until([this] { return notes.closed == 1; }));
  peer.end();
  EXPECT_EQ(answer, "12345678 ack");
}

TEST_F(CallTest, CountersAndTheTimeOfTheLastReceptionAreKept) {
  ScriptedPeer peer(echo_all);
  ASSERT_TRUE(connect_to(peer));
  const auto before = loop.now();
  const auto sent = connection->bytes_sent();
  start(add_call(std::string(1000, 'x')));
  ASSERT_TRUE(run_to_end(calls.back()));
  EXPECT_GE(connection->last_received(), before);
  EXPECT_LE(connection->last_received(), loop.now());
  EXPECT_GT(connection->bytes_sent(), sent + 1000);
  EXPECT_GT(connection->bytes_received(), 1000u);
}

TEST_F(CallTest, StreamIdsThatAreUsedUpDrainTheConnection) {
  ScriptedPeer peer(echo_all);
  options.first_stream_id = 0x7fffffe1;
  ASSERT_TRUE(connect_to(peer));
  while (connection->can_start()) {
    ASSERT_LT(calls.size(), 100u);
    start(add_call());
  }
  EXPECT_GE(calls.size(), 3u);
  connection->flush();
  ASSERT_TRUE(run_until([this] { return notes.closed == 1; }));
  EXPECT_TRUE(all_ended());
  for (const TestCall& call : calls) EXPECT_TRUE(call.ok()) << call.result.message;
  EXPECT_EQ(notes.draining, 1);
  EXPECT_EQ(notes.error.kind, ConnectionError::Kind::kGoAway);
  EXPECT_NE(notes.error.message.find("stream ids"), std::string::npos);
}

}  // namespace
}  // namespace gcs::test
