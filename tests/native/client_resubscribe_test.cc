// SPDX-License-Identifier: Apache-2.0
//
// A subscription never goes deaf: when the server is told again what is wanted, and which resync
// follows where something may have been missed.
#include "subscription_fixture.h"

namespace gcs::test {
namespace {

class ClientResubscribe : public SubscriptionTest {
 protected:
  static constexpr std::int64_t kPeriod = 60 * kSecond;

  // Nothing but the period makes it do anything.
  void let_pass(std::int64_t time) { loop().advance(time); }
  // Messages flow, and `more` is all that was told since.
  void expect_flow(std::uint64_t id, Story more) {
    Story expected = before_;
    expected.insert(expected.end(), more.begin(), more.end());
    ASSERT_FALSE(polls().empty()) << "it is deaf";
    answer(polls().back(), {error(++sequence_id_, "flows")});
    expected.push_back("flows");
    EXPECT_EQ(story(id), expected);
    before_ = story(id);
  }
  // Its first message has come.
  std::uint64_t begin_with_flow(SubscriptionOptions wanted) {
    const std::uint64_t id = begin(std::move(wanted));
    before_ = {"subscribed"};
    expect_flow(id, {});
    return id;
  }
  static transport::CallResult over_limit() {
    return {StatusCode::kResourceExhausted,
            transport::Origin::kLocal,
            Fate::kMayHaveRun,
            "the reply is over the limit",
            {}};
  }
  void exceed_limit() {
    const ServedPoll at = poll();
    at.peer->finish(*at.stream, over_limit());
    at.peer->tell();
    loop().run();
  }
  void start_again_at(std::int64_t sequence_id) { sequence_id_ = sequence_id; }

 private:
  Story before_;
  std::int64_t sequence_id_ = 0;
};

// ---- When -----------------------------------------------------------------------------------

TEST_F(ClientResubscribe, AfterALostConnection) {
  const std::uint64_t id = begin_with_flow(shared(kErrors));
  reconnect();
  EXPECT_EQ(commands(), Story{"+6"});
  EXPECT_EQ(polls().size(), 1u);
  expect_flow(id, {});
}

TEST_F(ClientResubscribe, AfterAGoAway) {
  const std::uint64_t id = begin_with_flow(shared(kErrors));
  peer().go_away("the server wants to rest");
  loop().advance(kSecond);
  ASSERT_EQ(attempts(), 2u);
  EXPECT_EQ(commands(), Story{"+6"});
  EXPECT_EQ(polls().size(), 1u);
  expect_flow(id, {});
}

TEST_F(ClientResubscribe, OnAPeriodOfAMinute) {
  const std::uint64_t id = begin_with_flow(shared(kErrors));
  let_pass(kPeriod - kSecond);
  EXPECT_EQ(commands(), Story{});
  let_pass(kSecond);
  EXPECT_EQ(commands(), Story{"+6"});
  expect_flow(id, {});
  for (int i = 0; i < 100; ++i) let_pass(kPeriod);
  EXPECT_EQ(commands().size(), 100u);
  expect_flow(id, {});
}

TEST_F(ClientResubscribe, ThreeTimesWithinTheServersPatience) {
  server.config = R"({"subscriber_timeout_ms": 6000})";
  const std::uint64_t id = begin_with_flow(shared(kErrors));
  for (int i = 0; i < 30; ++i) let_pass(2 * kSecond);
  EXPECT_EQ(commands().size(), 30u);
  expect_flow(id, {});
}

TEST_F(ClientResubscribe, AnEmptyPollHasItDoneAgainWithoutAResync) {
  const std::uint64_t id = begin_with_flow(shared(kErrors));
  let_pass(10 * kSecond);
  publish({});
  EXPECT_EQ(commands(), Story{"+6"});
  expect_flow(id, {});
}

TEST_F(ClientResubscribe, AnEmptyPollShortensThePeriodToASixthOfItsTime) {
  const std::uint64_t id = begin_with_flow(shared(kErrors));
  let_pass(15 * kSecond);
  publish({});
  EXPECT_EQ(commands(), Story{"+6"});
  let_pass(3 * kSecond);
  EXPECT_EQ(commands(), Story{"+6"});
  expect_flow(id, {});
}

TEST_F(ClientResubscribe, AServerWhosePollsAreEmptyAtOnceIsNotAskedInASpin) {
  const std::uint64_t id = begin_with_flow(shared(kErrors));
  for (int i = 0; i < 5; ++i) {
    publish({});
    EXPECT_EQ(polls().size(), 0u);
    let_pass(kSecond);
    EXPECT_EQ(commands(), Story{"+6"});
    ASSERT_EQ(polls().size(), 1u);
  }
  expect_flow(id, {});
}

TEST_F(ClientResubscribe, AnotherPublisherHasItDoneAgainAndStartsItsNumbersAnew) {
  const std::uint64_t id = begin_with_flow(shared(kErrors));
  publish({error(100, "late")});
  server.publisher = kOtherPublisher;
  publish({error(1, "first")});
  let_pass(kSecond);
  EXPECT_EQ(commands(), Story{"+6"});
  EXPECT_EQ(story(id), (Story{"subscribed", "flows", "late", "resync restarted", "first"}));
  EXPECT_EQ(poll().acknowledged, 1);
}

TEST_F(ClientResubscribe, AFailedPollHasItDoneAgainAndNothingIsMissed) {
  const std::uint64_t id = begin_with_flow(shared(kErrors));
  const ServedPoll at = poll();
  at.peer->refuse(*at.stream, StatusCode::kUnavailable, "not now");
  let_pass(3 * kSecond);
  EXPECT_EQ(commands(), Story{"+6"});
  EXPECT_EQ(poll().acknowledged, 1);
  expect_flow(id, {});
}

TEST_F(ClientResubscribe, ACommandThatIsNotAnsweredIsGivenUpAndSentAgain) {
  const std::uint64_t id = begin_with_flow(shared(kErrors));
  server.answers_commands = false;
  reconnect();
  EXPECT_EQ(commands(), Story{"+6"});
  server.answers_commands = true;
  let_pass(25 * kSecond);
  EXPECT_EQ(commands(), Story{"+6"});
  expect_flow(id, {});
}

TEST_F(ClientResubscribe, ItGoesOnWhenTheIdentityWasAskedForMeanwhile) {
  const std::uint64_t id = begin_with_flow(waiting(kErrors, 10));
  peer().on_call = connector().on_call = nullptr;
  const std::uint64_t doubted = get("key");
  loop().run();
  peer().refuse(stream_of(peer(), "key"), StatusCode::kUnauthenticated, "WrongClusterID: x");
  loop().run();
  ASSERT_NE(question(), nullptr);
  publish({error(2, "a")});  // its answer comes while no call may be started
  EXPECT_TRUE(polls().empty());
  answer_identity(kClusterA);
  EXPECT_EQ(polls().size(), 1u);
  EXPECT_EQ(story(id), (Story{"subscribed", "flows", "a"}));
  client->cancel(doubted);
  loop().run();
}

// ---- What is told ---------------------------------------------------------------------------

TEST_F(ClientResubscribe, ATableIsToldAResyncAfterALostConnectionTheOthersAreNot) {
  const std::uint64_t actors = begin(shared(kActors));
  const std::uint64_t errors = begin(shared(kErrors));
  const std::uint64_t nodes = begin(waiting(kNodes, 10));
  reconnect();
  EXPECT_EQ(story(actors), (Story{"subscribed", "resync reconnected"}));
  EXPECT_EQ(story(nodes), (Story{"subscribed", "resync reconnected"}));
  EXPECT_EQ(story(errors), (Story{"subscribed"}));
}

TEST_F(ClientResubscribe, ThePeriodAloneIsNoReasonForAResync) {
  const std::uint64_t actors = begin(shared(kActors));
  for (int i = 0; i < 10; ++i) let_pass(kPeriod);
  EXPECT_EQ(story(actors), Story{"subscribed"});
}

TEST_F(ClientResubscribe, EveryoneIsToldThatTheServerHasRestarted) {
  const std::uint64_t actors = begin(shared(kActors));
  const std::uint64_t errors = begin(shared(kErrors));
  const std::uint64_t own = begin(waiting(kErrors, 10));
  restart_server();
  for (const std::uint64_t id : {actors, errors, own})
    EXPECT_EQ(story(id), (Story{"subscribed", "resync restarted"}));
}

// The flushing poll is what tells: nothing is published.
TEST_F(ClientResubscribe, ARestartBehindTheSameConnectionIsFoundOutOnThePeriod) {
  const std::uint64_t id = begin_with_flow(shared(kErrors));
  server.publisher = kOtherPublisher;
  let_pass(kPeriod);
  start_again_at(0);
  expect_flow(id, {"resync restarted"});
}

TEST_F(ClientResubscribe, AGapThatIsLongerThanTheServersPatienceIsToldAsExpired) {
  const std::uint64_t id = begin_with_flow(shared(kErrors));
  refuse_from_now_on();
  peer().lose();
  let_pass(301 * kSecond);
  connector().script = [](VirtualPeer& at) { at.send_settings(); };
  let_pass(5 * kSecond);
  expect_flow(id, {"resync expired"});
}

TEST_F(ClientResubscribe, AGapThatIsShorterIsNot) {
  const std::uint64_t id = begin_with_flow(shared(kErrors));
  refuse_from_now_on();
  peer().lose();
  let_pass(200 * kSecond);
  connector().script = [](VirtualPeer& at) { at.send_settings(); };
  let_pass(5 * kSecond);
  expect_flow(id, {});
}

TEST_F(ClientResubscribe, AProcessThatWasStoppedForLongIsToldAsExpired) {
  const std::uint64_t id = begin_with_flow(shared(kErrors));
  loop().stall(1000 * kSecond);
  let_pass(kSecond);
  expect_flow(id, {"resync expired"});
}

TEST_F(ClientResubscribe, ThePatienceIsThatOfTheServersSettings) {
  server.config = R"({"subscriber_timeout_ms": 2000})";
  const std::uint64_t id = begin_with_flow(shared(kErrors));
  loop().stall(3 * kSecond);
  let_pass(kSecond);
  expect_flow(id, {"resync expired"});
}

TEST_F(ClientResubscribe, AReplyOverTheLimitLeadsToAnotherSubscriberAndAResync) {
  const std::uint64_t id = begin_with_flow(shared(kErrors));
  const std::string before = poll().subscriber;
  exceed_limit();
  ASSERT_EQ(commands(), (Story{"-6", "+6"}));
  EXPECT_EQ(served_commands.end()[-2].subscriber, before);
  EXPECT_NE(poll().subscriber, before) << "it would get the same reply again";
  expect_flow(id, {"resync too large"});
}

TEST_F(ClientResubscribe, RepliesThatAreOverTheLimitAgainAndAgainAreNotAskedForInASpin) {
  const std::uint64_t id = begin(shared(kErrors));
  connector().on_call = nullptr;
  peer().on_call = [this, serve = peer().on_call](VirtualPeer& at, VirtualStream& stream) {
    if (stream.path.ends_with("/GcsSubscriberPoll")) {
      at.finish(stream, over_limit());
      at.tell();
    } else {
      serve(at, stream);
    }
  };
  const std::size_t before = served_commands.size();
  exceed_limit();
  let_pass(20 * kSecond);
  EXPECT_LT(served_commands.size() - before, 200u);
  EXPECT_EQ(story(id), Story{"subscribed"});
}

TEST_F(ClientResubscribe, WhoComesAsTheServerIsToldAgainHasMissedNothing) {
  const std::uint64_t old = begin(shared(kActors));
  server.answers_commands = false;
  reconnect();
  const std::uint64_t late = subscribe(shared(kNodes));
  server.publisher = kOtherPublisher;
  server.answers_commands = true;
  for (int i = 0; i < 3; ++i) answer_commands();
  EXPECT_EQ(story(old), (Story{"subscribed", "resync restarted"}));
  EXPECT_EQ(story(late), Story{"subscribed"});
}

TEST_F(ClientResubscribe, UnderWaitAResyncFollowsWhatWasReceivedBeforeIt) {
  const std::uint64_t id = begin(waiting(kErrors, 1));
  publish({error(1, "a"), error(2, "b"), error(3, "c")});
  restart_server();
  EXPECT_EQ(story(id), (Story{"subscribed", "a"}));
  grant(id, 1);
  EXPECT_EQ(story(id), (Story{"subscribed", "a", "b"}));
  grant(id, 10);
  EXPECT_EQ(story(id), (Story{"subscribed", "a", "b", "c", "resync restarted"}));
  publish({error(1, "new")});
  EXPECT_EQ(story(id), (Story{"subscribed", "a", "b", "c", "resync restarted", "new"}));
}

TEST_F(ClientResubscribe, SeveralReasonsAtOnceAreTheLargestOnce) {
  const std::uint64_t id = begin(shared(kActors));
  server.publisher = kOtherPublisher;
  loop().stall(1000 * kSecond);
  reconnect();
  EXPECT_EQ(story(id), (Story{"subscribed", "resync restarted"}));
}

TEST_F(ClientResubscribe, LossesInTheMiddleOfResubscribingAreOneResync) {
  const std::uint64_t id = begin(shared(kActors));
  server.answers_commands = false;
  reconnect();
  reconnect();
  server.answers_commands = true;
  reconnect();
  EXPECT_EQ(story(id), (Story{"subscribed", "resync reconnected"}));
}

TEST_F(ClientResubscribe, WhatIsOpenOnADrainingConnectionIsNotWaitedFor) {
  begin(shared(kErrors));
  peer().go_away("the server wants to rest");
  loop().advance(kSecond);
  EXPECT_TRUE(peer(0).open_streams().empty());
  EXPECT_FALSE(peer(0).is_held());
}

}  // namespace
}  // namespace gcs::test
