// SPDX-License-Identifier: Apache-2.0
//
// How subscriptions end, and what does not end them. That each ends once, and that what its
// consumer wants dropped is dropped once and after that, the fixture looks at in every test.
#include "subscription_fixture.h"

namespace gcs::test {
namespace {

constexpr Status kAborted = static_cast<Status>(StatusCode::kAborted);

class ClientSubscriptionEnd : public SubscriptionTest {};

// ---- By its owner ---------------------------------------------------------------------------

TEST_F(ClientSubscriptionEnd, AtEveryMomentOfItsBeginningItMayBeGivenUp) {
  make_client();
  server.answers_commands = false;
  const std::uint64_t unsent = subscribe(shared(kErrors));
  EXPECT_EQ(story(unsent), Story{});
  unsubscribe(unsent);
  EXPECT_EQ(story(unsent), Story{"end GCS_CANCELLED"});
  refuse_from_now_on();
  peer().lose();
  const std::uint64_t unconnected = subscribe(waiting(kErrors, 1));
  unsubscribe(unconnected);
  EXPECT_EQ(story(unconnected), Story{"end GCS_CANCELLED"});
  unsubscribe(unconnected);
  EXPECT_EQ(story(unconnected), Story{"end GCS_CANCELLED"}) << "the second time nothing happens";
}

TEST_F(ClientSubscriptionEnd, WhatHasLeftComesBeforeTheEnd) {
  const std::uint64_t id = begin(waiting(kErrors, 2));
  publish({error(1, "a"), error(2, "b"), error(3, "held")});
  unsubscribe(id);
  grant(id, 10);
  EXPECT_EQ(story(id), (Story{"subscribed", "a", "b", "end GCS_CANCELLED"}));
}

TEST_F(ClientSubscriptionEnd, AConsumerMayGiveItUpAndSubscribeAgainAsItIsTold) {
  const std::uint64_t id = begin(shared(kErrors));
  std::uint64_t next = 0;
  told.on_event = [&](const Event& event) {
    if (event.kind != EventKind::kMessage || next != 0) return;
    next = 1;
    client->cancel(event.id);
    auto call = Call::make(EventKind::kSubscriptionEnd,
                           *find_method(method::kControlPlanePubSubGcsSubscriberPoll));
    call->subscription = std::make_unique<Subscription>(shared(kErrors));
    call->sink = SinkReference(&told);
    next = queue(std::move(call));
  };
  publish({error(1, "a")});
  EXPECT_EQ(story(id), (Story{"subscribed", "a", "end GCS_CANCELLED"}));
  EXPECT_EQ(story(next), Story{"subscribed"});
  publish({error(2, "b")});
  EXPECT_EQ(story(next), (Story{"subscribed", "b"}));
}

TEST_F(ClientSubscriptionEnd, AQueueThatClosesEndsThoseThatGoThere) {
  const std::uint64_t shared_one = begin(shared(kErrors));
  const std::uint64_t own = begin(waiting(kLogs, 1));
  client->cancel_calls_of(SinkReference(&told));
  loop().run();
  expect_end(shared_one, Status::kCancelled);
  expect_end(own, Status::kCancelled);
  EXPECT_EQ(polls().size(), 0u);
  EXPECT_EQ(commands(), (Story{"-6", "-7"}));
}

TEST_F(ClientSubscriptionEnd, AClientThatClosesEndsAllOfThem) {
  const std::uint64_t shared_one = begin(shared(kErrors));
  const std::uint64_t own = begin(waiting(kLogs, 1));
  server.answers_commands = false;
  const std::uint64_t beginning = subscribe(shared(kActors));
  client->close();
  loop().run();
  expect_end(shared_one, Status::kClosed);
  expect_end(own, Status::kClosed);
  expect_end(beginning, Status::kClosed);
}

// ---- Another cluster ------------------------------------------------------------------------

TEST_F(ClientSubscriptionEnd, AnotherClusterEndsAllOfThemUnlessItIsAdopted) {
  const std::uint64_t shared_one = begin(shared(kErrors));
  const std::uint64_t own = begin(waiting(kLogs, 1));
  server.cluster = kClusterB;
  restart_server();
  for (const std::uint64_t id : {shared_one, own}) {
    expect_end(id, Status::kClusterChanged, kClusterA);
    expect_end(id, Status::kClusterChanged, kClusterB);
  }
  EXPECT_EQ(commands(), Story{});
}

TEST_F(ClientSubscriptionEnd, AnAdoptedClusterIsARestart) {
  options.on_cluster_change = OnClusterChange::kAdopt;
  const std::uint64_t shared_one = begin(shared(kErrors));
  const std::uint64_t own = begin(waiting(kLogs, 0));
  server.cluster = kClusterB;
  restart_server();
  EXPECT_EQ(story(shared_one), (Story{"subscribed", "resync restarted"}));
  EXPECT_EQ(story(own), (Story{"subscribed"})) << "there is no credit for the resync";
  grant(own, 5);
  EXPECT_EQ(story(own), (Story{"subscribed", "resync restarted"}));
}

// ---- The server's own errors ----------------------------------------------------------------

TEST_F(ClientSubscriptionEnd, AServerThatRefusesAtTheBeginningEndsIt) {
  make_client();
  server.refuses_commands = StatusCode::kAborted;
  for (const auto& wanted : {shared(kErrors), waiting(kErrors, 1)})
    expect_end(subscribe(wanted), kAborted, "the server does not want to");
}

TEST_F(ClientSubscriptionEnd, AServerThatRefusesLaterEndsItAfterAMinute) {
  const std::uint64_t id = begin(shared(kErrors));
  server.refuses_commands = StatusCode::kAborted;
  reconnect();
  loop().advance(55 * kSecond);
  EXPECT_EQ(story(id), Story{"subscribed"});
  loop().advance(10 * kSecond);
  expect_end(id, kAborted, "the server does not want to");
}

TEST_F(ClientSubscriptionEnd, AMinuteThatIsInterruptedBeginsAnew) {
  const std::uint64_t id = begin(shared(kErrors));
  for (int i = 0; i < 5; ++i) {
    server.refuses_commands = StatusCode::kAborted;
    reconnect();
    loop().advance(40 * kSecond);
    server.refuses_commands = StatusCode::kOk;
    loop().advance(5 * kSecond);
  }
  EXPECT_EQ(story(id), Story{"subscribed"});
  publish({error(1, "a")});
  EXPECT_EQ(story(id), (Story{"subscribed", "a"}));
}

TEST_F(ClientSubscriptionEnd, AServerThatIsAwayIsWaitedForHoweverLong) {
  const std::uint64_t id = begin(shared(kErrors));
  server.refuses_commands = StatusCode::kUnavailable;
  reconnect();
  loop().advance(200 * kSecond);
  EXPECT_EQ(story(id), Story{"subscribed"});
  server.refuses_commands = StatusCode::kOk;
  loop().advance(3 * kSecond);
  publish({error(1, "a")});
  EXPECT_EQ(story(id), (Story{"subscribed", "a"}));
}

TEST_F(ClientSubscriptionEnd, OneThatBeginsHearsOfTheErrorTheOthersDoNot) {
  const std::uint64_t old = begin(shared(kErrors));
  server.refuses_commands = StatusCode::kAborted;
  const std::uint64_t late = subscribe(shared(kLogs));
  expect_end(late, kAborted);
  server.refuses_commands = StatusCode::kOk;
  loop().advance(3 * kSecond);
  publish({error(1, "a")});
  EXPECT_EQ(story(old), (Story{"subscribed", "a"}));
}

TEST_F(ClientSubscriptionEnd, RepliesThatAreNoneEndItAfterAMinute) {
  const std::uint64_t id = begin(shared(kErrors));
  const auto serve = peer().on_call;
  peer().on_call = [serve](VirtualPeer& at, VirtualStream& stream) {
    if (stream.path.ends_with("/GcsSubscriberPoll")) {
      at.reply(stream, "no protobuf at all");
    } else {
      serve(at, stream);
    }
  };
  const ServedPoll at = poll();
  at.peer->reply(*at.stream,
                 "\x12\x03"
                 "abc");
  loop().advance(50 * kSecond);
  EXPECT_EQ(story(id), Story{"subscribed"});
  loop().advance(20 * kSecond);
  expect_end(id, Status::kInternal, "not the protobuf message");
}

// ---- Time and patience ----------------------------------------------------------------------

TEST_F(ClientSubscriptionEnd, TheTimeoutIsForTheBeginning) {
  make_client();
  server.answers_commands = false;
  const std::uint64_t id = subscribe(shared(kErrors), 5 * kSecond);
  loop().advance(4 * kSecond);
  EXPECT_EQ(story(id), Story{});
  loop().advance(kSecond);
  expect_end(id, Status::kDeadline, "did not take the subscription within 5 s");
  EXPECT_EQ(last(id).flags & kFlagTimeout, kFlagTimeout);
}

TEST_F(ClientSubscriptionEnd, OneThatHasBegunHasNoTimeout) {
  make_client();
  const std::uint64_t id = subscribe(shared(kErrors), kSecond);
  loop().advance(1000 * kSecond);
  EXPECT_EQ(story(id), Story{"subscribed"});
}

TEST_F(ClientSubscriptionEnd, WithoutAConnectionTheTimeoutSaysWhy) {
  make_client();
  refuse_from_now_on();
  const std::uint64_t id = subscribe(shared(kErrors), 3 * kSecond);
  loop().advance(4 * kSecond);
  expect_end(id, Status::kDeadline, "connection refused");
}

TEST_F(ClientSubscriptionEnd, ATimeoutOfZeroHasExpiredAndNothingIsAsked) {
  make_client();
  const std::uint64_t id = subscribe(shared(kErrors), 0);
  expect_end(id, Status::kDeadline);
  EXPECT_EQ(attempts(), 0u);
}

TEST_F(ClientSubscriptionEnd, WhoDoesNotWaitFailsAtOnceWithoutAConnection) {
  begin(shared(kErrors));
  refuse_from_now_on();
  peer().lose();
  loop().advance(kSecond);
  const std::uint64_t impatient = subscribe(shared(kErrors), kTimeoutDefault, 0);
  expect_end(impatient, Status::kUnavailable);
  EXPECT_EQ(last(impatient).flags, kFlagLocal | kFlagRetryable);
}

TEST_F(ClientSubscriptionEnd, WhoDoesNotWaitIsNotEndedByALossLater) {
  make_client();
  const std::uint64_t id = subscribe(shared(kErrors), kTimeoutDefault, 0);
  EXPECT_EQ(story(id), Story{"subscribed"});
  refuse_from_now_on();
  peer().lose();
  loop().advance(100 * kSecond);
  EXPECT_EQ(story(id), Story{"subscribed"});
}

TEST_F(ClientSubscriptionEnd, WithNoHttp2ThereTheBeginningEndsAndALaterOneWaits) {
  const std::uint64_t old = begin(shared(kErrors));
  connector().script = [](VirtualPeer& at) {
    at.lose(ConnectionError::Kind::kNotHttp2, "this is no HTTP/2");
  };
  peer().lose();
  loop().advance(kSecond);
  const std::uint64_t late = subscribe(shared(kErrors));
  loop().advance(5 * kSecond);
  expect_end(late, Status::kUnavailable, "this is no HTTP/2");
  EXPECT_EQ(story(old), Story{"subscribed"});
}

// ---- The connection under a poll ------------------------------------------------------------

TEST_F(ClientSubscriptionEnd, APollThatIsOpenForLongMakesNoConnectionSuspect) {
  const std::uint64_t id = begin(shared(kErrors));
  for (int i = 0; i < 20; ++i) {
    loop().advance(30 * kSecond);
    const std::uint64_t unanswered = get("unanswered", kSecond);
    loop().advance(kSecond);
    EXPECT_EQ(ended(unanswered).status, Status::kDeadline);
    get("answered");
    loop().run();
    peer().reply(stream_of(peer(), "answered"), value_reply("value"));
  }
  EXPECT_EQ(attempts(), 1u);
  publish({error(1, "a")});
  EXPECT_EQ(story(id), (Story{"subscribed", "a"}));
}

TEST_F(ClientSubscriptionEnd, ASuspectConnectionIsLeftByThePollToo) {
  const std::uint64_t id = begin(shared(kErrors));
  loop().advance(kSecond);
  const std::uint64_t call = get("key", 12 * kSecond);
  loop().advance(13 * kSecond);
  EXPECT_EQ(ended(call).status, Status::kDeadline);
  ASSERT_EQ(attempts(), 2u);
  EXPECT_EQ(poll().peer, &peer());
  publish({error(1, "a")});
  EXPECT_EQ(story(id), (Story{"subscribed", "a"}));
}

}  // namespace
}  // namespace gcs::test
