// SPDX-License-Identifier: Apache-2.0
//
// Which calls are sent again, and how often: what never ran always, what may have run only if that
// does no harm and at most twice, and all within the one deadline.
#include "client_fixture.h"

namespace gcs::test {
namespace {

using Keys = std::vector<std::string>;

class ClientRetry : public ClientTest {
 protected:
  // A connection that was lost comes back.
  void lose_and_reconnect() {
    peer().lose();
    reconnect();
  }
  void reconnect() {
    for (int i = 0; i < 100 && (attempts() == 0 || !peer().is_held()); ++i)
      loop().advance(100 * kMillisecond);
    accept();
  }
  VirtualStream& only() {
    const auto open = peer().open_streams();
    EXPECT_EQ(open.size(), 1u);
    return *open.at(0);
  }
};

TEST_F(ClientRetry, AStreamThatThePeerRefusedIsSentAgainAtOnceWhateverTheMethod) {
  make_ready();
  const std::uint64_t id = put("key");
  loop().run();
  peer().reset(only(), StatusCode::kUnavailable, Fate::kNeverRan);
  EXPECT_FALSE(has_ended(id));
  EXPECT_EQ(keys_in_flight(peer()), Keys{"key"});
  peer().reply(only(), number_reply(1));
  EXPECT_EQ(ended(id).status, Status::kOk);
  EXPECT_EQ(ended(id).number, 1);
}

TEST_F(ClientRetry, APeerThatKeepsRefusingStreamsIsLeftAloneForAWhile) {
  make_ready();
  const std::uint64_t id = put("key");
  std::size_t refusals = 0;
  const transport::TimePoint begun = loop().now();
  const auto refuse = [&](VirtualPeer& at, VirtualStream& stream) {
    ++refusals;
    at.reset(stream, StatusCode::kUnavailable, Fate::kNeverRan);
  };
  peer().on_call = refuse;
  loop().advance(30 * kSecond);
  EXPECT_FALSE(has_ended(id));
  EXPECT_GT(refusals, 15u);
  EXPECT_LT(refusals, 300u) << "in " << (loop().now() - begun) / kSecond << " s";
  peer().on_call = [](VirtualPeer& at, VirtualStream& stream) {
    at.reply(stream, number_reply(1));
  };
  loop().advance(3 * kSecond);
  EXPECT_EQ(ended(id).status, Status::kOk);
}

TEST_F(ClientRetry, ABurstOfRefusedStreamsIsOneFailureNotMany) {
  make_ready();
  for (int i = 0; i < 60; ++i) put("key" + std::to_string(i));
  loop().run();
  for (int round = 0; round < 2; ++round) {
    loop().advance(50 * kMillisecond);
    const auto open = peer().open_streams();
    ASSERT_EQ(open.size(), 60u) << "round " << round;
    for (VirtualStream* stream : open) {
      peer().finish(
          *stream,
          {StatusCode::kUnavailable, transport::Origin::kPeer, Fate::kNeverRan, "refused", {}});
    }
    peer().tell();
  }
  loop().advance(50 * kMillisecond);
  EXPECT_EQ(peer().open_streams().size(), 60u) << "the first back-off is 50 ms at most";
}

TEST_F(ClientRetry, WhatNeverRanDoesNotUseUpTheAttemptsOfAReadOnlyCall) {
  make_ready();
  const std::uint64_t id = get("key", kTimeoutNone);
  loop().run();
  for (int i = 0; i < 600; ++i) {
    ASSERT_EQ(peer().open_streams().size(), 1u) << "refusal " << i;
    peer().reset(only(), StatusCode::kUnavailable, Fate::kNeverRan);
    loop().advance(3 * kSecond);
  }
  for (int lost = 0; lost < 2; ++lost) {
    lose_and_reconnect();
    EXPECT_FALSE(has_ended(id)) << "loss " << lost;
  }
  peer().lose();
  EXPECT_EQ(ended(id).status, Status::kConnectionLost) << "it may have run three times";
}

TEST_F(ClientRetry, AReadOnlyCallOnALostConnectionIsSentAtMostTwiceMore) {
  make_ready();
  const std::uint64_t id = get("key");
  loop().run();
  lose_and_reconnect();
  EXPECT_EQ(keys_in_flight(peer()), Keys{"key"});
  lose_and_reconnect();
  EXPECT_EQ(keys_in_flight(peer()), Keys{"key"});
  EXPECT_FALSE(has_ended(id));
  peer().lose(ConnectionError::Kind::kLost, "connection reset by peer");
  EXPECT_EQ(ended(id).status, Status::kConnectionLost);
  EXPECT_EQ(ended(id).flags, kFlagLocal | kFlagRetryable | kFlagMaybeExecuted);
  EXPECT_NE(ended(id).message().find("connection reset by peer"), std::string_view::npos);
  EXPECT_EQ(ended(id).address(), kAddress);
}

TEST_F(ClientRetry, AMutatingCallThatMayHaveRunIsNeverSentAgain) {
  make_ready();
  const std::uint64_t id = put("key");
  loop().run();
  peer().lose();
  EXPECT_EQ(ended(id).status, Status::kConnectionLost);
  EXPECT_EQ(ended(id).flags, kFlagLocal | kFlagRetryable | kFlagMaybeExecuted);
  reconnect();
  EXPECT_TRUE(keys_in_flight(peer()).empty());
}

TEST_F(ClientRetry, AMethodThatNobodyKnowsCountsAsMutating) {
  make_ready();
  const std::uint64_t id = submit(Call::make_by_path("/ray.rpc.Later/GetSomething"));
  peer().lose();
  EXPECT_EQ(ended(id).status, Status::kConnectionLost);
}

TEST_F(ClientRetry, AMutatingCallThatWasNotSentYetIsSentOnTheNextConnection) {
  make_ready();
  put("sent");
  const std::uint64_t kept = put("kept");
  loop().run();
  // Its last byte never left the socket.
  VirtualPeer& first = peer();
  VirtualStream& stream = stream_of(first, "kept");
  first.finish(
      stream,
      {StatusCode::kUnavailable, transport::Origin::kConnectionLost, Fate::kNeverRan, "reset", {}});
  first.lose();
  EXPECT_FALSE(has_ended(kept));
  reconnect();
  EXPECT_EQ(keys_in_flight(peer()), Keys{"kept"});
  peer().reply(only(), number_reply(1));
  EXPECT_EQ(ended(kept).status, Status::kOk);
}

TEST_F(ClientRetry, RetryNeverIsObeyed) {
  make_ready();
  auto call = get_call("key");
  call->retry = Retry::kNever;
  const std::uint64_t id = submit(std::move(call));
  peer().lose();
  EXPECT_EQ(ended(id).status, Status::kConnectionLost);
}

TEST_F(ClientRetry, RetryAlwaysSendsAMutatingCallAtMostTwiceMore) {
  make_ready();
  auto call = put_call("key");
  call->retry = Retry::kAlways;
  const std::uint64_t id = submit(std::move(call));
  lose_and_reconnect();
  lose_and_reconnect();
  EXPECT_FALSE(has_ended(id));
  EXPECT_EQ(keys_in_flight(peer()), Keys{"key"});
  peer().lose();
  EXPECT_EQ(ended(id).status, Status::kConnectionLost);
}

// A server that is asked to end answers what is under way with either.
TEST_F(ClientRetry, UnavailableAndCancelledFromTheServerFollowTheSameRules) {
  make_ready();
  for (const StatusCode code : {StatusCode::kUnavailable, StatusCode::kCancelled}) {
    const std::uint64_t read = get("read");
    loop().run();
    for (int attempt = 0; attempt < 3; ++attempt) {
      ASSERT_FALSE(has_ended(read));
      peer().refuse(only(), code, "come back later");
      loop().advance(3 * kSecond);
    }
    EXPECT_EQ(ended(read).status, grpc_status(static_cast<std::int32_t>(code)));
    EXPECT_EQ(ended(read).flags, kFlagRetryable | kFlagMaybeExecuted);
    EXPECT_NE(ended(read).message().find("come back later"), std::string_view::npos);
    const std::uint64_t write = put("write");
    loop().run();
    peer().refuse(only(), code, "come back later");
    EXPECT_EQ(ended(write).status, grpc_status(static_cast<std::int32_t>(code)));
    EXPECT_EQ(ended(write).flags, kFlagRetryable | kFlagMaybeExecuted);
  }
}

TEST_F(ClientRetry, OtherStatusesOfTheServerAreFinal) {
  make_ready();
  struct {
    StatusCode code;
    std::uint32_t flags;
  } const cases[] = {
      {StatusCode::kInternal, kFlagMaybeExecuted},
      {StatusCode::kUnknown, kFlagMaybeExecuted},
      {StatusCode::kAborted, kFlagMaybeExecuted},
      {StatusCode::kResourceExhausted, kFlagMaybeExecuted},
      {StatusCode::kDeadlineExceeded, kFlagTimeout | kFlagRetryable | kFlagMaybeExecuted},
      {StatusCode::kUnimplemented, 0},
  };
  for (const auto& [code, flags] : cases) {
    const std::uint64_t id = get("key");
    loop().run();
    peer().refuse(only(), code, "because");
    EXPECT_EQ(ended(id).status, grpc_status(static_cast<std::int32_t>(code)));
    EXPECT_EQ(ended(id).flags, flags) << status_name(ended(id).status);
    EXPECT_TRUE(ended(id).message().starts_with("because"));
    EXPECT_EQ(ended(id).method(), "/ray.rpc.InternalKVGcsService/InternalKVGet");
  }
}

TEST_F(ClientRetry, TheDetailsOfARefusalBelongToIt) {
  make_ready();
  const std::uint64_t id = get("key");
  loop().run();
  peer().refuse(only(), StatusCode::kAborted, "not this one", "the key is not to my liking");
  EXPECT_EQ(ended(id).status, grpc_status(10));
  EXPECT_EQ(ended(id).details(), "the key is not to my liking");
  EXPECT_EQ(ended(id).message(), "not this one: the key is not to my liking");
}

TEST_F(ClientRetry, BinaryDetailsAreNoText) {
  make_ready();
  for (const std::string& details : {std::string("\x08\x05\x00x", 4), std::string("\x08\x05x"),
                                     std::string("caf\xe9"), std::string("\xed\xa0\x80")}) {
    const std::uint64_t id = get("key");
    loop().run();
    peer().refuse(only(), StatusCode::kAborted, "no", details);
    EXPECT_EQ(ended(id).details(), details);
    EXPECT_EQ(ended(id).message(), "no");
  }
}

TEST_F(ClientRetry, AStreamThatThePeerResetAfterItMayHaveRunIsFinal) {
  make_ready();
  const std::uint64_t id = get("key");
  loop().run();
  peer().reset(only(), StatusCode::kInternal, Fate::kMayHaveRun,
               "the peer ended the stream with INTERNAL_ERROR");
  EXPECT_EQ(ended(id).status, grpc_status(13));
  EXPECT_EQ(ended(id).flags, kFlagLocal | kFlagMaybeExecuted);
}

TEST_F(ClientRetry, WhatTheTransportRefusesIsLocalAndFinal) {
  make_ready();
  const std::uint64_t big = get("big");
  loop().run();
  peer().finish(only(), {StatusCode::kResourceExhausted,
                         transport::Origin::kLocal,
                         Fate::kMayHaveRun,
                         "too large",
                         {}});
  peer().tell();
  EXPECT_EQ(ended(big).status, Status::kLimit);
  EXPECT_EQ(ended(big).flags, kFlagLocal | kFlagMaybeExecuted);
  const std::uint64_t odd = get("odd");
  loop().run();
  peer().finish(
      only(),
      {StatusCode::kInternal, transport::Origin::kLocal, Fate::kMayHaveRun, "compressed", {}});
  peer().tell();
  EXPECT_EQ(ended(odd).status, Status::kInternal);
  EXPECT_EQ(ended(odd).message(), "compressed");
}

TEST_F(ClientRetry, ACallThatProvablyNeverRanIsNotSaidToHaveMaybeRun) {
  make_ready();
  const std::uint64_t local = put("local");
  loop().run();
  peer().finish(only(), {StatusCode::kResourceExhausted,
                         transport::Origin::kLocal,
                         Fate::kNeverRan,
                         "no memory",
                         {}});
  peer().tell();
  EXPECT_EQ(ended(local).flags, kFlagLocal);
  const std::uint64_t refused = put("refused");
  loop().run();
  peer().finish(only(), {StatusCode::kResourceExhausted,
                         transport::Origin::kServer,
                         Fate::kNeverRan,
                         "too large",
                         {}});
  peer().tell();
  EXPECT_EQ(ended(refused).status, grpc_status(8));
  EXPECT_EQ(ended(refused).flags, 0u);
}

TEST_F(ClientRetry, TheDeadlineNeverRestarts) {
  make_ready();
  const std::uint64_t id = get("key", 10 * kSecond);
  loop().run();
  const transport::TimePoint deadline = loop().now() + 10 * kSecond;
  loop().advance(4 * kSecond);
  lose_and_reconnect();
  EXPECT_EQ(only().deadline, deadline);
  loop().advance(2 * kSecond);
  peer().refuse(only(), StatusCode::kUnavailable, "later");
  loop().run();
  EXPECT_EQ(only().deadline, deadline);
  loop().advance(deadline - loop().now() - 1);
  EXPECT_FALSE(has_ended(id));
  loop().advance(1);
  EXPECT_EQ(ended(id).status, Status::kDeadline);
}

TEST_F(ClientRetry, CallsThatAreSentAgainGoBeforeThoseThatWaitInTheirOldOrder) {
  make_client();
  for (const char* key : {"a", "b", "c", "d", "e"}) get(key);
  loop().run();
  accept(kClusterA, 3);
  EXPECT_EQ(keys_in_flight(peer()), (Keys{"a", "b", "c"}));
  lose_and_reconnect();
  EXPECT_EQ(keys_in_flight(peer()), (Keys{"a", "b", "c", "d", "e"}));
}

TEST_F(ClientRetry, ACallThatMayHaveRunAndThenWaitsStillSaysSoHoweverItEnds) {
  make_ready();
  const auto always = [this](std::string_view key, std::int64_t timeout) {
    auto call = put_call(key);
    call->retry = Retry::kAlways;
    call->timeout = timeout;
    return queue(std::move(call));
  };
  const std::uint64_t expires = always("expires", kSecond);
  const std::uint64_t cancelled = always("cancelled", kTimeoutNone);
  const std::uint64_t closed = always("closed", kTimeoutNone);
  auto impatient_call = put_call("impatient");
  impatient_call->retry = Retry::kAlways;
  impatient_call->wait_for_ready = 0;
  const std::uint64_t impatient = queue(std::move(impatient_call));
  loop().run();
  connector().script = [](VirtualPeer& at) { at.lose(ConnectionError::Kind::kConnect, "refused"); };
  peer().lose();
  const std::uint64_t untried = always("untried", kSecond);
  loop().advance(kSecond);
  client->cancel(cancelled);
  loop().run();
  client->close();
  loop().run();
  EXPECT_EQ(ended(expires).status, Status::kDeadline);
  EXPECT_EQ(ended(expires).message().find("was not sent"), std::string_view::npos)
      << ended(expires).message();
  EXPECT_EQ(ended(cancelled).status, Status::kCancelled);
  EXPECT_EQ(ended(closed).status, Status::kClosed);
  EXPECT_EQ(ended(impatient).status, Status::kConnectionLost);
  for (const std::uint64_t id : {expires, cancelled, closed, impatient}) {
    EXPECT_TRUE(ended(id).flags & kFlagMaybeExecuted) << status_name(ended(id).status);
  }
  EXPECT_EQ(ended(untried).status, Status::kDeadline);
  EXPECT_FALSE(ended(untried).flags & kFlagMaybeExecuted);
}

TEST_F(ClientRetry, ACallThatDoesNotWaitIsNotSentAgainOnceTheConnectionIsGone) {
  make_ready();
  auto call = get_call("key");
  call->wait_for_ready = 0;
  const std::uint64_t id = submit(std::move(call));
  peer().lose();
  EXPECT_EQ(ended(id).status, Status::kConnectionLost);
  EXPECT_EQ(ended(id).flags, kFlagLocal | kFlagRetryable | kFlagMaybeExecuted);
}

TEST_F(ClientRetry, ARefusedCallHoldsUpNeitherOthersNorTheNextConnection) {
  make_ready();
  put("refused");
  const auto refuse = [](VirtualPeer& at, VirtualStream& stream) {
    if (stream.message.find("refused") != std::string::npos) {
      at.reset(stream, StatusCode::kUnavailable, Fate::kNeverRan);
    } else {
      at.reply(stream, value_reply("v"));
    }
  };
  peer().on_call = refuse;
  loop().advance(20 * kSecond);
  for (int i = 0; i < 20; ++i) {
    const std::uint64_t id = get("other");
    loop().run();
    EXPECT_TRUE(has_ended(id)) << "at once, in round " << i;
    loop().advance(kSecond / 2);
  }
  const transport::TimePoint lost = loop().now();
  peer().lose();
  loop().run();
  EXPECT_EQ(peer().begun(), lost) << "others were answered: the next attempt comes at once";
}

TEST_F(ClientRetry, ACallThatIsRefusedAgainAndAgainSaysSoWhenItsTimeIsOver) {
  make_ready();
  const std::uint64_t id = put("key", 5 * kSecond);
  int sendings = 0;
  peer().on_call = [&sendings](VirtualPeer& at, VirtualStream& stream) {
    ++sendings;
    if (stream.path.ends_with("Put")) {
      at.reset(stream, StatusCode::kUnavailable, Fate::kNeverRan);
    } else {
      at.reply(stream, value_reply("v"));
    }
  };
  for (int i = 0; i < 100; ++i) {
    get("other");  // answered: that is no sign that the refused one would be
    loop().advance(kSecond / 20);
  }
  EXPECT_EQ(ended(id).status, Status::kDeadline);
  EXPECT_EQ(ended(id).flags, kFlagLocal | kFlagTimeout | kFlagRetryable);
  EXPECT_NE(ended(id).message().find("refused the call's stream"), std::string::npos)
      << ended(id).message();
  EXPECT_LT(sendings, 100 + 30);
}

TEST_F(ClientRetry, ACallThatDoesNotWaitIsNotRefusedMoreThanTwice) {
  make_ready();
  auto call = put_call("key");
  call->wait_for_ready = 0;
  peer().on_call = [](VirtualPeer& at, VirtualStream& stream) {
    at.reset(stream, StatusCode::kUnavailable, Fate::kNeverRan);
  };
  const std::uint64_t id = submit(std::move(call));
  EXPECT_EQ(ended(id).status, Status::kUnavailable);
  EXPECT_EQ(ended(id).flags, kFlagLocal | kFlagRetryable);
  EXPECT_EQ(peer().streams().size(), 3u) << "the question for the cluster, and two sendings";
}

}  // namespace
}  // namespace gcs::test
