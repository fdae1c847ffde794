// SPDX-License-Identifier: Apache-2.0
//
// Deadlines: a call that has one ends at it, to the nanosecond, wherever it stands.
#include "client_fixture.h"

namespace gcs::test {
namespace {

using ClientDeadlines = ClientTest;
using Keys = std::vector<std::string>;

TEST_F(ClientDeadlines, ATimeoutOfZeroHasExpiredAtOnceAndNothingIsSent) {
  make_client();
  const std::uint64_t early = get("early", 0);
  loop().run();
  EXPECT_EQ(ended(early).status, Status::kDeadline);
  EXPECT_EQ(ended(early).flags, kFlagLocal | kFlagTimeout);
  EXPECT_EQ(attempts(), 0u);
  get("other");
  loop().run();
  accept();
  const std::uint64_t late = get("late", 0);
  loop().run();
  EXPECT_EQ(ended(late).status, Status::kDeadline);
  EXPECT_EQ(ended(late).address(), kAddress);
  EXPECT_EQ(ended(late).method(), "/ray.rpc.InternalKVGcsService/InternalKVGet");
  EXPECT_EQ(keys_in_flight(peer()), Keys{"other"});
}

TEST_F(ClientDeadlines, ACallInFlightExpiresAtItsDeadlineAndNotBefore) {
  make_ready();
  const std::uint64_t id = get("key", 3 * kSecond);
  loop().run();
  VirtualStream& stream = stream_of(peer(), "key");
  EXPECT_EQ(stream.deadline, loop().now() + 3 * kSecond);
  loop().advance(3 * kSecond - 1);
  EXPECT_FALSE(has_ended(id));
  loop().advance(1);
  EXPECT_EQ(ended(id).status, Status::kDeadline);
  EXPECT_EQ(ended(id).flags, kFlagLocal | kFlagTimeout | kFlagRetryable | kFlagMaybeExecuted);
  EXPECT_NE(ended(id).message().find("3 s"), std::string_view::npos) << ended(id).message();
  EXPECT_TRUE(stream.cancelled);
}

// The thread was busy with something else, and what makes room is looked at before the timers.
TEST_F(ClientDeadlines, NothingIsSentWhoseTimeIsOver) {
  make_client();
  connect();
  loop().run();
  accept(kClusterA, 1);
  const std::uint64_t first = get("first");
  const std::uint64_t late = put("late", kSecond);
  loop().run();
  loop().stall(2 * kSecond);
  peer().reply(stream_of(peer(), "first"), value_reply("v"));
  EXPECT_EQ(ended(first).status, Status::kOk);
  loop().run();
  EXPECT_EQ(ended(late).status, Status::kDeadline);
  EXPECT_EQ(ended(late).flags, kFlagLocal | kFlagTimeout | kFlagRetryable) << "it never ran";
  EXPECT_EQ(peer().streams().size(), 2u) << "the question for the cluster, and the first";
}

TEST_F(ClientDeadlines, AWaitingCallExpiresWithTheLastFailureToConnect) {
  make_client();
  const std::uint64_t id = get("key", kSecond);
  loop().run();
  connector().script = [](VirtualPeer& peer) {
    peer.lose(ConnectionError::Kind::kConnect, "connection refused");
  };
  peer().lose(ConnectionError::Kind::kConnect, "connection refused");
  loop().advance(kSecond - 1);
  EXPECT_FALSE(has_ended(id));
  loop().advance(1);
  EXPECT_EQ(ended(id).status, Status::kDeadline);
  EXPECT_EQ(ended(id).flags, kFlagLocal | kFlagTimeout | kFlagRetryable);
  EXPECT_NE(ended(id).message().find("connection refused"), std::string_view::npos)
      << ended(id).message();
  EXPECT_NE(ended(id).message().find(kAddress), std::string_view::npos) << ended(id).message();
}

TEST_F(ClientDeadlines, TheDeadlineRunsFromWhenTheCallWasMade) {
  make_ready();
  auto call = get_call("key");
  call->timeout = 5 * kSecond;
  call->started = loop().now() - 3 * kSecond;
  const std::uint64_t id = submit(std::move(call));
  loop().advance(2 * kSecond - 1);
  EXPECT_FALSE(has_ended(id));
  loop().advance(1);
  EXPECT_EQ(ended(id).status, Status::kDeadline);

  auto late = get_call("late");
  late->timeout = 5 * kSecond;
  late->started = loop().now() - 6 * kSecond;
  EXPECT_EQ(ended(submit(std::move(late))).status, Status::kDeadline);
}

TEST_F(ClientDeadlines, WithoutATimeoutOfItsOwnACallGetsTheClients) {
  options.timeout = 7 * kSecond;
  make_ready();
  const std::uint64_t id = get("key");
  loop().advance(7 * kSecond - 1);
  EXPECT_FALSE(has_ended(id));
  loop().advance(1);
  EXPECT_EQ(ended(id).status, Status::kDeadline);
}

TEST_F(ClientDeadlines, WithTimeoutNoneACallNeverExpires) {
  make_ready();
  const std::uint64_t id = get("key", kTimeoutNone);
  loop().advance(100'000 * kSecond);
  EXPECT_FALSE(has_ended(id));
  EXPECT_EQ(stream_of(peer(), "key").deadline, transport::kNever);
  peer().reply(stream_of(peer(), "key"), value_reply("v"));
  EXPECT_EQ(ended(id).status, Status::kOk);
}

TEST_F(ClientDeadlines, AVeryLongTimeoutDoesNotOverflow) {
  make_ready();
  const std::uint64_t id = get("key", INT64_MAX);
  loop().advance(1'000 * kSecond);
  EXPECT_FALSE(has_ended(id));
}

TEST_F(ClientDeadlines, ManyDeadlinesExpireEachAtItsOwnTime) {
  make_ready();
  std::vector<std::pair<std::uint64_t, std::int64_t>> calls;
  for (std::int64_t i = 0; i < 200; ++i) {
    const std::int64_t timeout = (i * 37 % 200 + 1) * 10 * kMillisecond;
    calls.emplace_back(get("key" + std::to_string(i), timeout), timeout);
  }
  loop().run();
  for (std::int64_t time = 10 * kMillisecond; time <= 2 * kSecond; time += 10 * kMillisecond) {
    loop().advance(10 * kMillisecond);
    for (const auto& [id, timeout] : calls) ASSERT_EQ(has_ended(id), timeout <= time) << id;
  }
}

}  // namespace
}  // namespace gcs::test
