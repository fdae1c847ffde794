// SPDX-License-Identifier: Apache-2.0
//
// HTTP/2 over a stream that the test plays by hand: how often it writes, what it does with a stream
// that takes little or much, and what "delivered" proves.
#include "hand_stream.h"
#include "transport/http2_connection.h"
#include "transport_fixture.h"

namespace gcs::test {
namespace {

class StreamTest : public TransportTest {
 protected:
  void make_connection() {
    connection = std::make_unique<transport::Http2Connection>(
        loop, std::make_unique<HandStream>(ends, "https"), transport::Address{"host.example", 6379},
        options, notes);
  }
  // With windows that never fill.
  void make_ready() {
    make_connection();
    ends.handler->on_open();
    receive(frame_bytes(NGHTTP2_SETTINGS, 0, 0,
                        settings_payload({{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0x7fffffff}})) +
            frame_bytes(NGHTTP2_WINDOW_UPDATE, 0, 0, std::string("\x7f\0\0\0", 4)));
    ASSERT_EQ(notes.ready, 1);
    ends.writes = 0;
    ends.written.clear();
    ends.held_back = 0;
  }
  void receive(const std::string& bytes) { ends.handler->on_received(as_bytes(bytes)); }
  void receive_a_reply_that_starts_a_call() {
    make_ready();
    start(add_call());
    connection->flush();
    notes.when_ended = [this] { connection->start(add_call()); };
    ends.writes = 0;
    receive(reply_frames(1));
  }
  static std::string reply_frames(std::uint32_t stream) {
    return frame_bytes(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, stream,
                       header_block(kOkHeaders)) +
           frame_bytes(NGHTTP2_DATA, 0, stream, grpc_message("reply")) +
           frame_bytes(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS | NGHTTP2_FLAG_END_STREAM, stream,
                       header_block({{"grpc-status", "0"}}));
  }

  HandStream::Ends ends;
};

TEST_F(StreamTest, AHundredCallsAreOneWrite) {
  make_ready();
  for (int i = 0; i < 100; ++i) start(add_call(std::string(100, 'x')));
  EXPECT_EQ(ends.writes, 0);
  connection->flush();
  EXPECT_EQ(ends.writes, 1);
  connection->flush();
  EXPECT_EQ(ends.writes, 1);
}

TEST_F(StreamTest, WhatCompletionsStartIsOneWriteTooWhenTheyHaveBeenHandedOver) {
  make_ready();
  for (int i = 0; i < 100; ++i) start(add_call());
  connection->flush();
  std::string replies;
  for (std::uint32_t i = 0; i < 100; ++i) replies += reply_frames(1 + 2 * i);
  notes.when_ended = [this] {
    for (int i = 0; i < 100; ++i) {
      connection->start(add_call());
      connection->flush();
    }
  };
  ends.writes = 0;
  receive(replies);
  EXPECT_EQ(notes.calls_ended, 100);
  EXPECT_EQ(ends.writes, 0);
  EXPECT_TRUE(run_until([this] { return ends.writes > 0; }));
  EXPECT_EQ(ends.writes, 1);
  run_for(20ms);
  EXPECT_EQ(ends.writes, 1);
}

TEST_F(StreamTest, AWriteThatIsDueGoesOutWithOneThatIsAskedFor) {
  receive_a_reply_that_starts_a_call();
  start(add_call());
  connection->flush();
  EXPECT_EQ(ends.writes, 1);
  run_for(20ms);
  EXPECT_EQ(ends.writes, 1);
}

TEST_F(StreamTest, AWriteThatIsDueIsNothingToAConnectionThatIsGone) {
  receive_a_reply_that_starts_a_call();
  connection.reset();
  run_for(20ms);
  EXPECT_EQ(ends.writes, 0);
}

TEST_F(StreamTest, ReadsPauseWhileManyRepliesComeOneByOne) {
  make_ready();
  for (int i = 0; i < 100; ++i) start(add_call());
  connection->flush();
  std::this_thread::sleep_for(20ms);
  for (std::uint32_t i = 0; i < 100; ++i) receive(reply_frames(1 + 2 * i));
  EXPECT_EQ(notes.calls_ended, 100);
  EXPECT_GT(ends.longest_pause, 0);
  EXPECT_LE(ends.longest_pause, 1'000'000);
}

TEST_F(StreamTest, ReadsDoNotPauseForOneCallAfterTheOther) {
  make_ready();
  for (std::uint32_t i = 0; i < 100; ++i) {
    start(add_call());
    connection->flush();
    receive(reply_frames(1 + 2 * i));
  }
  EXPECT_EQ(notes.calls_ended, 100);
  EXPECT_EQ(ends.longest_pause, 0);
}

TEST_F(StreamTest, AStreamThatTakesEverythingDoesNotKeepTheLoop) {
  make_ready();
  start(add_call(std::string(std::size_t{40} << 20, 'x')));
  calls[0].share();
  connection->flush();
  EXPECT_GE(ends.written.size(), 8u << 20);
  EXPECT_LE(ends.written.size(), 10u << 20);
  ASSERT_TRUE(run_until([this] { return ends.written.size() > (40u << 20); }, 5s));
  receive(reply_frames(1));
  EXPECT_TRUE(calls[0].ok()) << calls[0].result.message;
}

TEST_F(StreamTest, AStreamThatTakesLittleIsWaitedFor) {
  make_ready();
  ends.room = 10;
  start(add_call());
  connection->flush();
  EXPECT_EQ(ends.written.size(), 10u);
  EXPECT_FALSE(connection->can_start());
  connection->flush();
  EXPECT_EQ(ends.writes, 1);
  while (notes.calls_ended == 0) {
    ends.room = 7;
    const std::size_t before = ends.written.size();
    ends.handler->on_writable();
    if (ends.written.size() == before) receive(reply_frames(1));
  }
  EXPECT_TRUE(calls[0].ok());
  EXPECT_GE(notes.capacity, 1);
}

TEST_F(StreamTest, AcceptedButUndeliveredBytesProveNothingAndUndeliveredOnesNeverRan) {
  for (const std::uint64_t held_back : {0u, 1u}) {
    notes = Notes();
    calls.clear();
    ends = HandStream::Ends();
    make_ready();
    start(add_call());
    connection->flush();
    ends.held_back = held_back;
    ends.handler->on_failed({ConnectionError::Kind::kLost, "cut"});
    EXPECT_EQ(calls[0].ended, 1);
    EXPECT_EQ(calls[0].result.fate, held_back == 0 ? Fate::kMayHaveRun : Fate::kNeverRan);
    EXPECT_EQ(calls[0].result.message, "cut");
  }
}

TEST_F(StreamTest, TheStreamIsDroppedBeforeTheObserverIsTold) {
  make_ready();
  notes.when_closed = [this] { EXPECT_EQ(ends.handler, nullptr); };
  ends.handler->on_failed({ConnectionError::Kind::kEndOfFile, "over"});
  EXPECT_EQ(notes.closed, 1);
  EXPECT_EQ(notes.error.message, "over");
}

TEST_F(StreamTest, TheConnectTimeoutSaysWhatTheStreamWaitedFor) {
  options.connect_timeout = 30'000'000;
  make_connection();
  ASSERT_TRUE(run_until([this] { return notes.closed == 1; }, 5s));
  EXPECT_EQ(notes.error.message, "the hand did not move within 0.03 s");
}

TEST_F(StreamTest, AFailureBeforeTheStreamIsOpenIsPassedOn) {
  make_connection();
  ends.handler->on_failed({ConnectionError::Kind::kTls, "certificate expired"});
  EXPECT_EQ(notes.closed, 1);
  EXPECT_EQ(notes.error.kind, ConnectionError::Kind::kTls);
  EXPECT_EQ(notes.error.message, "certificate expired");
  EXPECT_TRUE(notes.error.is_misconfiguration());
}

}  // namespace
}  // namespace gcs::test
