// SPDX-License-Identifier: Apache-2.0
//
// Reads wait for company when many calls are in flight, never long, and lose nothing.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "transport/receive_pacing.h"
#include "transport/socket_stream.h"
#include "transport_fixture.h"

namespace gcs::test {
namespace {

using transport::ByteStream;
using transport::ReceivePacing;
using transport::SocketStream;
using transport::TimePoint;

constexpr std::int64_t kMicrosecond = 1'000;
constexpr std::int64_t kMillisecond = 1'000'000;

class PacingTest : public ::testing::Test {
 protected:
  // Reads of `replies` replies each, `interval` apart; the longest wait of the last ten.
  std::int64_t longest_wait(int reads, int replies, std::int64_t interval, std::int64_t latency) {
    std::int64_t longest = 0;
    for (int read = 0; read < reads; ++read) {
      now += interval;
      for (int reply = 0; reply < replies; ++reply) pacing.replied(latency);
      const std::int64_t wait = pacing.wait_after(now);
      if (read >= reads - 10) longest = std::max(longest, wait);
    }
    return longest;
  }

  TimePoint now = 1000 * kMillisecond;
  ReceivePacing pacing;
};

TEST_F(PacingTest, WhoMakesOneCallAfterTheOtherNeverWaits) {
  for (const std::int64_t latency : {20 * kMicrosecond, 300 * kMicrosecond, 50 * kMillisecond}) {
    pacing = {};
    EXPECT_EQ(longest_wait(10, 1, latency, latency), 0);
    EXPECT_EQ(longest_wait(1000, 1, latency, latency), 0);
  }
}

TEST_F(PacingTest, AWaitIsAnEighthOfTheLatencyAtMost) {
  // 128 in flight.
  const std::int64_t wait = longest_wait(100, 2, 40 * kMicrosecond, 2560 * kMicrosecond);
  EXPECT_LE(wait, 320 * kMicrosecond);
  EXPECT_GE(wait, 319 * kMicrosecond);
}

TEST_F(PacingTest, AWaitIsAMillisecondAtMost) {
  EXPECT_EQ(longest_wait(100, 4, 200 * kMicrosecond, 400 * kMillisecond), kMillisecond);
}

TEST_F(PacingTest, SlowCallsInFlightDoNotMakeAQuickOneWait) {
  // Every tenth reply ends a call that was long on its way, as a long poll is.
  for (int call = 0; call < 1000; ++call) {
    now += 200 * kMicrosecond;
    pacing.replied(200 * kMicrosecond);
    if (call % 10 == 0) pacing.replied(30'000 * kMillisecond);
    EXPECT_EQ(pacing.wait_after(now), 0) << call;
  }
}

TEST_F(PacingTest, RepliesThatAreFarApartDoNotWait) {
  EXPECT_EQ(longest_wait(100, 1, 5 * kMillisecond, 10'000 * kMillisecond), 0);
}

TEST_F(PacingTest, AReadWithoutAReplyIsFollowedAtOnce) {
  ASSERT_GT(longest_wait(100, 4, 200 * kMicrosecond, 100 * kMillisecond), 0);
  EXPECT_EQ(pacing.wait_after(now + 1), 0);
}

TEST_F(PacingTest, TheFirstQuickCallAfterABusyTimeEndsTheWaits) {
  ASSERT_GT(longest_wait(100, 4, 200 * kMicrosecond, 100 * kMillisecond), 0);
  now += 300 * kMicrosecond;
  pacing.replied(300 * kMicrosecond);
  EXPECT_EQ(pacing.wait_after(now), 0);
}

// One end of a TCP connection, which the test's own thread serves, and the stream at the other.
class PausedStreamTest : public TransportTest, private ByteStream::Handler {
 protected:
  struct Chunk {
    std::string bytes;
    std::chrono::steady_clock::time_point at;
  };

  void SetUp() override {
    const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    ASSERT_EQ(::bind(listener, reinterpret_cast<sockaddr*>(&address), size), 0);
    ASSERT_EQ(::listen(listener, 1), 0);
    ASSERT_EQ(::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size), 0);
    stream = std::make_unique<SocketStream>(
        loop, transport::look_up_host, transport::Address{"127.0.0.1", ntohs(address.sin_port)},
        options);
    stream->open(*this);
    EXPECT_TRUE(run_until([this] { return open; }));
    peer = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    ::close(listener);
    ASSERT_GE(peer, 0);
  }
  void TearDown() override { hang_up(); }

  void send(std::string_view bytes) {
    ASSERT_EQ(::send(peer, bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
  }
  void hang_up() {
    if (peer >= 0) ::close(std::exchange(peer, -1));
  }
  // The first chunk is there, and a pause has begun.
  void pause_after_first(std::chrono::milliseconds time) {
    pause = time;
    send("first");
    ASSERT_TRUE(run_until([this] { return chunks.size() == 1; }));
    pause = 0ms;
  }

  std::unique_ptr<SocketStream> stream;
  std::vector<Chunk> chunks;
  std::optional<ConnectionError> failure;
  std::chrono::milliseconds pause{0};
  int peer = -1;

 private:
  void on_open() noexcept override { open = true; }
  void on_received(std::span<const std::uint8_t> bytes) noexcept override {
    chunks.push_back({std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()),
                      std::chrono::steady_clock::now()});
    if (pause > 0ms) stream->pause_reading(std::chrono::nanoseconds(pause).count());
  }
  void on_writable() noexcept override {}
  void on_failed(const ConnectionError& error) noexcept override { failure = error; }

  bool open = false;
};

TEST_F(PausedStreamTest, WhatComesInThePauseIsHandedOverTogetherAtItsEnd) {
  pause_after_first(100ms);
  send("second ");
  run_for(20ms);
  send("third");
  ASSERT_TRUE(run_until([this] { return chunks.size() == 2; }));
  EXPECT_EQ(chunks[1].bytes, "second third");
  EXPECT_GE(chunks[1].at - chunks[0].at, 100ms);
}

TEST_F(PausedStreamTest, WhatComesAfterThePauseIsHandedOverAtOnce) {
  pause_after_first(10ms);
  run_for(50ms);
  EXPECT_EQ(chunks.size(), 1u);
  send("second");
  ASSERT_TRUE(run_until([this] { return chunks.size() == 2; }, 5s));
}

TEST_F(PausedStreamTest, APauseMayFollowAnother) {
  pause = 10ms;
  for (std::size_t round = 1; round <= 20; ++round) {
    send("x");
    ASSERT_TRUE(run_until([&] { return chunks.size() == round; }, 5s)) << round;
  }
}

TEST_F(PausedStreamTest, AnEndInThePauseComesAfterTheBytesBeforeIt) {
  pause_after_first(50ms);
  send("last");
  hang_up();
  ASSERT_TRUE(run_until([this] { return failure.has_value(); }, 5s));
  ASSERT_EQ(chunks.size(), 2u);
  EXPECT_EQ(chunks[1].bytes, "last");
  EXPECT_EQ(failure->kind, ConnectionError::Kind::kEndOfFile);
}

TEST_F(PausedStreamTest, AnEndInThePauseAloneIsSeenToo) {
  pause_after_first(50ms);
  hang_up();
  ASSERT_TRUE(run_until([this] { return failure.has_value(); }, 5s));
  EXPECT_EQ(chunks.size(), 1u);
}

TEST_F(PausedStreamTest, MoreThanABufferMayComeInThePause) {
  pause_after_first(50ms);
  constexpr std::size_t kSize = 3 << 20;
  std::thread sender([this] {
    const std::string block(kSize, 'x');
    for (std::size_t sent = 0; sent < kSize;) {
      const ssize_t count = ::send(peer, block.data() + sent, kSize - sent, MSG_NOSIGNAL);
      if (count <= 0) return;
      sent += static_cast<std::size_t>(count);
    }
  });
  const auto received = [this] {
    std::size_t total = 0;
    for (const Chunk& chunk : chunks) total += chunk.bytes.size();
    return total;
  };
  EXPECT_TRUE(run_until([&] { return received() == kSize + 5; }));
  sender.join();
}

TEST_F(PausedStreamTest, AFloodAfterThePauseDoesNotKeepTheTurnFromTimers) {
  pause_after_first(20ms);
  std::atomic<bool> stop{false};
  std::thread flood([this, &stop] {
    const std::string block(1 << 20, 'x');
    while (!stop && ::send(peer, block.data(), block.size(), MSG_NOSIGNAL) > 0) {
    }
  });
  const auto begun = std::chrono::steady_clock::now();
  run_for(100ms);
  EXPECT_LT(std::chrono::steady_clock::now() - begun, 1s);
  EXPECT_TRUE(run_until([this] { return chunks.size() > 10; })) << "it goes on reading";
  stop = true;
  stream.reset();
  flood.join();
}

TEST_F(PausedStreamTest, AStreamMayGoInThePause) {
  pause_after_first(20ms);
  send("second");
  stream.reset();
  run_for(50ms);
  EXPECT_EQ(chunks.size(), 1u);
}

// The whole path: a peer that answers many calls one by one, at its own pace.
TEST_F(TransportTest, ManyCallsAtOnceAllEndAlthoughReadsPause) {
  ScriptedPeer peer([](PeerConnection& self) {
    if (self.greet()) self.echo();
  });
  ASSERT_TRUE(connect_to(peer));
  constexpr int kCalls = 4000;
  constexpr int kInFlight = 64;
  int started = 0;
  const auto start_more = [&] {
    while (started < kCalls && started - notes.calls_ended < kInFlight && connection->can_start()) {
      connection->start(add_call(std::to_string(started++)));
    }
  };
  notes.when_ended = start_more;
  notes.when_capacity = start_more;
  start_more();
  connection->flush();
  ASSERT_TRUE(run_until([&] { return notes.calls_ended == kCalls; }));
  EXPECT_TRUE(all_ended());
}

}  // namespace
}  // namespace gcs::test
