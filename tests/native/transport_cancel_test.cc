// SPDX-License-Identifier: Apache-2.0
//
// Calls that are cancelled: nothing more is heard of them, and their bodies live as long as bytes
// of them are unsent.
#include "transport_fixture.h"

namespace gcs::test {
namespace {

class CancelTest : public TransportTest {};

void echo_all(PeerConnection& peer) {
  if (peer.greet()) peer.echo();
}

TEST_F(CancelTest, ACancelledCallIsResetAndNothingMoreIsHeardOfIt) {
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

TEST_F(CancelTest, ACallCancelledBeforeItWasFramedIsNeverSent) {
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

TEST_F(CancelTest, CancellingGivesTheStreamBackAtALimitOfOne) {
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

TEST_F(CancelTest, ACancelWithTheBodyUnsentFreesItAfterItWasSent) {
  std::atomic<bool> read{false};
  ScriptedPeer peer([&](PeerConnection& self) {
    if (!self.greet({{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0x7fffffff}}) ||
        !self.send(NGHTTP2_WINDOW_UPDATE, 0, 0, std::string("\x7f\0\0\0", 4))) {
      return;
    }
    self.wait_for(read);
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

TEST_F(CancelTest, DroppingTheConnectionReleasesBodiesOnce) {
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

TEST_F(CancelTest, ACallThatEndedButWasNotReportedYetCanBeCancelled) {
  ScriptedPeer peer(echo_all);
  ASSERT_TRUE(connect_to(peer));
  for (int i = 0; i < 3; ++i) start(add_call());
  connection->close();  // all three have ended, and nobody was told
  connection->cancel(calls[1]);
  ASSERT_TRUE(run_until([this] { return notes.closed == 1; }));
  EXPECT_EQ(calls[0].ended, 1);
  EXPECT_EQ(calls[1].ended, 0);
  EXPECT_EQ(calls[2].ended, 1);
}

TEST_F(CancelTest, DataOnACancelledStreamDoesNotUseUpTheConnectionsWindow) {
  options.connection_window = 1 << 20;
  ScriptedPeer peer([](PeerConnection& self) {
    if (!self.greet()) return;
    const auto request = self.next_request();
    if (!request) return;
    self.next_reset(request->stream);
    self.send_headers(request->stream, kOkHeaders, false);
    for (int i = 0; i < 4; ++i) self.send_data(request->stream, std::string(900'000, 'x'), false);
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
