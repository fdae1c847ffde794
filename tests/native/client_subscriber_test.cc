// SPDX-License-Identifier: Apache-2.0
//
// One subscriber and what the server sees of it: commands, the polls that follow them, what is
// acknowledged when, and to whom a message goes.
#include <set>

#include "client/log.h"
#include "client/pubsub_layout.h"
#include "request_bytes.h"
#include "subscription_fixture.h"

namespace gcs::test {
namespace {

class ClientSubscriber : public SubscriptionTest {
 protected:
  static std::vector<Published> errors(std::int64_t first, std::int64_t last) {
    std::vector<Published> messages;
    for (std::int64_t i = first; i <= last; ++i) messages.push_back(error(i, std::to_string(i)));
    return messages;
  }
};

// ---- The beginning --------------------------------------------------------------------------

TEST_F(ClientSubscriber, SubscribesByOneCommandAndThenPollsTwice) {
  make_client();
  server.answers_commands = false;
  const std::uint64_t id = subscribe(shared(kErrors, "a key"));
  EXPECT_EQ(commands(), Story{"+6 a key"});
  EXPECT_EQ(served_commands.front().path,
            "/ray.rpc.ObservabilityPubSubService/GcsSubscriberCommandBatch");
  EXPECT_EQ(served_commands.front().subscriber.size(), 28u);
  EXPECT_TRUE(polls().empty()) << "the server would not know what to poll for";
  EXPECT_EQ(story(id), Story{});
  answer_commands();
  EXPECT_EQ(story(id), Story{"subscribed"});
  EXPECT_EQ(questions("ObservabilityPubSubService/GcsSubscriberPoll"), 2u);
  EXPECT_EQ(poll().subscriber, served_commands.front().subscriber);
  EXPECT_EQ(poll().publisher, "") << "it was sent before the first was answered";
}

TEST_F(ClientSubscriber, TheFirstPollsReplyTellsThePublisher) {
  begin(shared(kErrors));
  publish({error(3, "a")});
  EXPECT_EQ(poll().publisher, kPublisher);
  EXPECT_EQ(poll().acknowledged, 3);
}

TEST_F(ClientSubscriber, AMessageMayComeBeforeTheCommandsAnswerAndIsAnnouncedThen) {
  begin(shared(kErrors));
  server.answers_commands = false;
  const std::uint64_t early = subscribe(shared(kLogs));
  EXPECT_EQ(story(early), Story{});
  publish({{1, kLogs, "k", "early", false}});
  EXPECT_EQ(story(early), (Story{"subscribed", "early"}));
  answer_commands();
  EXPECT_EQ(story(early), (Story{"subscribed", "early"}));
}

TEST_F(ClientSubscriber, AsksWhatTheServerIsOncePerConnectionWhateverIsSubscribedTo) {
  begin(shared(kErrors));
  begin(shared(kLogs));
  begin(shared(kActors));
  EXPECT_EQ(questions("/ServerReflectionInfo"), 2u);
  EXPECT_EQ(questions("/GetInternalConfig"), 1u);
  EXPECT_LE(questions("/CheckAlive"), 2u) << "one for subscriptions, one for calls of a release";
}

TEST_F(ClientSubscriber, ReleasesThatHaveOneServiceAreAskedThere) {
  server.ray_version = "2.9.3";
  const std::uint64_t id = begin(shared(kErrors));
  EXPECT_EQ(served_commands.front().text(), "+7");
  EXPECT_EQ(served_commands.front().path,
            "/ray.rpc.InternalPubSubGcsService/GcsSubscriberCommandBatch");
  EXPECT_EQ(questions("NodeInfoGcsService/GetInternalConfig"), 1u);
  publish(errors(1, 2));
  EXPECT_EQ(story(id), (Story{"subscribed", "1", "2"}));
}

// ---- Sharing --------------------------------------------------------------------------------

TEST_F(ClientSubscriber, ThoseThatMayDropShareASubscriberPerServiceAndAPollEach) {
  begin(shared(kErrors));
  begin(shared(kLogs));
  begin(shared(kErrors, "k"));
  EXPECT_EQ(polls().size(), 1u);
  begin(shared(kActors));
  begin(shared(kNodes));
  EXPECT_EQ(polls().size(), 2u);
  std::set<std::string> subscribers;
  for (const ServedCommand& command : served_commands) subscribers.insert(command.subscriber);
  EXPECT_EQ(subscribers.size(), 2u);
}

TEST_F(ClientSubscriber, OneThatWaitsHasASubscriberOfItsOwn) {
  begin(waiting(kErrors, 10));
  begin(waiting(kErrors, 10));
  begin(shared(kErrors));
  std::set<std::string> subscribers;
  for (const ServedPoll& each : polls()) subscribers.insert(each.subscriber);
  EXPECT_EQ(subscribers.size(), 3u);
}

TEST_F(ClientSubscriber, AMessageGoesToThoseOfItsKeyAndOfAllOfItsChannel) {
  const std::uint64_t all = begin(shared(kErrors));
  const std::uint64_t one = begin(shared(kErrors, "one"));
  const std::uint64_t same = begin(shared(kErrors, "one"));
  const std::uint64_t two = begin(shared(kErrors, "two"));
  const std::uint64_t logs = begin(shared(kLogs));
  publish({error(1, "a", "one"),
           error(2, "b", "two"),
           error(3, "c", "three"),
           error(4, "d", ""),
           {5, kLogs, "one", "log", false}});
  EXPECT_EQ(story(all), (Story{"subscribed", "a", "b", "c", "d"}));
  EXPECT_EQ(story(one), (Story{"subscribed", "a"}));
  EXPECT_EQ(story(same), (Story{"subscribed", "a"}));
  EXPECT_EQ(story(two), (Story{"subscribed", "b"}));
  EXPECT_EQ(story(logs), (Story{"subscribed", "log"}));
}

TEST_F(ClientSubscriber, ATopicThatIsSubscribedToAlreadyNeedsNoCommand) {
  begin(shared(kErrors));
  server.answers_commands = false;
  const std::uint64_t again = subscribe(shared(kErrors));
  EXPECT_EQ(story(again), Story{"subscribed"});
  EXPECT_EQ(commands(), Story{});
}

TEST_F(ClientSubscriber, ASecondSubscriptionMayComeWhileTheFirstsCommandIsOpen) {
  make_client();
  server.answers_commands = false;
  const std::uint64_t first = subscribe(shared(kErrors));
  const std::uint64_t second = subscribe(shared(kErrors));
  answer_commands();
  EXPECT_EQ(story(first), Story{"subscribed"});
  EXPECT_EQ(story(second), Story{"subscribed"});
  EXPECT_EQ(commands(), Story{"+6"});
  ASSERT_EQ(polls().size(), 1u) << "nothing polls for them";
  publish({error(1, "a")});
  EXPECT_EQ(story(first), (Story{"subscribed", "a"}));
  EXPECT_EQ(story(second), (Story{"subscribed", "a"}));
}

// ---- Giving up ------------------------------------------------------------------------------

TEST_F(ClientSubscriber, ATopicThatNobodyWantsAnyMoreIsGivenUpAtOnce) {
  begin(shared(kErrors));
  const std::uint64_t logs = begin(shared(kLogs));
  unsubscribe(logs);
  EXPECT_EQ(commands(), Story{"-7"});
  EXPECT_EQ(polls().size(), 1u);
}

TEST_F(ClientSubscriber, ATopicThatAnotherWantsIsKept) {
  const std::uint64_t first = begin(shared(kErrors));
  const std::uint64_t second = begin(shared(kErrors));
  unsubscribe(first);
  EXPECT_EQ(commands(), Story{});
  publish({error(1, "a")});
  EXPECT_EQ(story(first), (Story{"subscribed", "end GCS_CANCELLED"}));
  EXPECT_EQ(story(second), (Story{"subscribed", "a"}));
}

TEST_F(ClientSubscriber, ASubscriberThatHasNobodyGoesWithItsTopicsAndItsPoll) {
  const std::uint64_t errors = begin(shared(kErrors));
  const std::uint64_t own = begin(waiting(kLogs, 10));
  unsubscribe(errors);
  EXPECT_EQ(commands(), Story{"-6"});
  EXPECT_EQ(polls().size(), 1u);
  unsubscribe(own);
  EXPECT_EQ(commands(), Story{"-7"});
  EXPECT_EQ(polls().size(), 0u);
  loop().advance(600 * kSecond);
  EXPECT_EQ(commands(), Story{});
}

TEST_F(ClientSubscriber, CommandsOfATopicAreInOrderAndNeverTwoAtATime) {
  begin(shared(kErrors));
  server.answers_commands = false;
  const std::uint64_t first = subscribe(shared(kLogs));
  EXPECT_EQ(commands(), Story{"+7"});
  unsubscribe(first);
  EXPECT_EQ(commands(), Story{}) << "the first is not answered yet";
  answer_commands();
  EXPECT_EQ(commands(), Story{"-7"});
  const std::uint64_t second = subscribe(shared(kLogs));
  EXPECT_EQ(commands(), Story{});
  answer_commands();
  EXPECT_EQ(commands(), Story{"+7"});
  EXPECT_EQ(story(second), Story{});
  answer_commands();
  EXPECT_EQ(story(second), Story{"subscribed"});
  EXPECT_EQ(story(first), Story{"end GCS_CANCELLED"});
}

TEST_F(ClientSubscriber, ATopicMayBeGivenUpAndWantedAgainWhileItsCommandIsOpen) {
  make_client();
  server.answers_commands = false;
  subscribe(shared(kLogs));
  const std::uint64_t first = subscribe(shared(kErrors));
  answer_commands();
  unsubscribe(first);
  const std::uint64_t second = subscribe(shared(kErrors));
  for (int i = 0; i < 4; ++i) answer_commands();
  EXPECT_EQ(story(second), Story{"subscribed"});
  ASSERT_EQ(polls().size(), 1u);
  publish({error(1, "a")});
  EXPECT_EQ(story(second), (Story{"subscribed", "a"}));
}

TEST_F(ClientSubscriber, MoreTopicsThanABatchTakesAreSubscribedToInSeveral) {
  make_client();
  subscribe(shared(kActors));
  server.answers_commands = false;
  for (int i = 0; i < 2500; ++i) {
    std::string key = std::to_string(i);
    key.resize(16, 'k');
    subscribe(shared(kActors, key));
  }
  server.answers_commands = true;
  answer_commands();
  EXPECT_EQ(served_commands.size(), 2501u);
  reconnect();
  EXPECT_EQ(served_commands.size(), 5002u);
  EXPECT_EQ(story(subscriptions.back()), (Story{"subscribed", "resync reconnected"}));
}

// ---- Once, and acknowledged -------------------------------------------------------------------

TEST_F(ClientSubscriber, WhatWasReceivedIsAcknowledgedByTheNextPoll) {
  const std::uint64_t id = begin(shared(kErrors));
  publish(errors(1, 3));
  EXPECT_EQ(poll().acknowledged, 3);
  publish(errors(10, 12));
  EXPECT_EQ(poll().acknowledged, 12);
  EXPECT_EQ(story(id), (Story{"subscribed", "1", "2", "3", "10", "11", "12"}));
}

// A poll costs both sides as much as many messages.
TEST_F(ClientSubscriber, AfterManyMessagesTheNextPollComesSomeMillisecondsAfterTheLast) {
  for (const bool waits : {false, true}) {
    SCOPED_TRACE(waits ? "waits" : "may drop");
    const std::uint64_t id = begin(waits ? waiting(kErrors, 2000) : shared(kErrors));
    std::int64_t last = 0;
    const auto more = [&](std::int64_t count) {
      std::vector<Published> many;
      for (std::int64_t i = 0; i < count; ++i) many.push_back(error(++last, "m"));
      publish(many);
    };
    for (const auto& [count, period] : {std::pair{16, 2}, {255, 2}, {256, 4}}) {
      SCOPED_TRACE(count);
      more(count);
      EXPECT_EQ(story(id).size(), static_cast<std::size_t>(last) + 1);
      EXPECT_TRUE(polls().empty());
      loop().advance(period * kMillisecond - 1);
      EXPECT_TRUE(polls().empty());
      loop().advance(1);
      EXPECT_EQ(poll().acknowledged, last);
    }
    more(15);
    EXPECT_EQ(poll().acknowledged, last) << "after few it does not wait";
    loop().advance(2 * kMillisecond);
    more(255);
    EXPECT_EQ(poll().acknowledged, last) << "the last one took longer than that";
    unsubscribe(id);
  }
}

TEST_F(ClientSubscriber, WhatTheServerSendsAgainIsDeliveredOnce) {
  for (const bool waits : {false, true}) {
    const std::uint64_t id = begin(waits ? waiting(kErrors, 100) : shared(kErrors));
    const std::string subscriber = served_commands.back().subscriber;
    answer(poll_of(subscriber), errors(1, 3));
    answer(poll_of(subscriber), errors(1, 3));
    answer(poll_of(subscriber), errors(2, 5));
    EXPECT_EQ(poll_of(subscriber).acknowledged, 5);
    EXPECT_EQ(story(id), (Story{"subscribed", "1", "2", "3", "4", "5"}));
  }
}

TEST_F(ClientSubscriber, AMessageThatIsNoneIsToldAsAResyncAndTheOthersArrive) {
  const std::uint64_t id = begin(shared(kErrors));
  const ServedPoll at = poll();
  const auto layout = PubsubLayout::of_release(2'060'000);
  const std::string good =
      "\x08\x06\x12\x01k\x52\x01"
      "a\x70\x02";
  ASSERT_EQ(layout->sequence_id(), 14u);
  const std::string broken = "\x12\x7f";
  const auto field = [](std::uint8_t number, const std::string& value) {
    return std::string{static_cast<char>(number << 3 | 2), static_cast<char>(value.size())} + value;
  };
  at.peer->reply(*at.stream, field(1, broken) + field(1, good) + field(2, kPublisher));
  loop().run();
  EXPECT_EQ(story(id), (Story{"subscribed", "resync dropped 1", "a"}));
}

// The server would send it again and again: it can be acknowledged by nothing.
TEST_F(ClientSubscriber, AReplyOfWhichNothingCanBeReadLeadsToAnotherSubscriber) {
  for (const bool waits : {false, true}) {
    SCOPED_TRACE(waits ? "waits" : "may drop");
    const std::uint64_t id = begin(waits ? waiting(kErrors, 10) : shared(kErrors));
    publish({error(1, "a")});
    const ServedPoll at = poll();
    const std::string broken = "\x12\x7f";
    const std::string good = reply_to_poll({error(2, "b")});
    at.peer->reply(*at.stream, good + bytes(1, broken));
    loop().run();
    EXPECT_EQ(story(id), (Story{"subscribed", "a", "b", "resync dropped 1"}));
    const ServedPoll next = poll();
    EXPECT_EQ(next.subscriber, at.subscriber);
    EXPECT_EQ(next.acknowledged, 2);
    commands();
    next.peer->reply(*next.stream, bytes(1, broken) + bytes(2, kPublisher));
    loop().run();
    EXPECT_EQ(commands(), (Story{"-6", "+6"}));
    EXPECT_NE(poll().subscriber, at.subscriber);
    publish({error(3, "c")});
    EXPECT_EQ(story(id), (Story{"subscribed", "a", "b", "resync dropped 1", "resync dropped 1",
                                "resync dropped", "c"}));
    unsubscribe(id);
  }
}

TEST_F(ClientSubscriber, AKeyThatThePublisherHasGivenUpIsAResync) {
  const std::uint64_t id = begin(shared(kActors));
  publish({{1, kActors, "k", "", true}});
  EXPECT_EQ(story(id), (Story{"subscribed", "resync reconnected"}));
}

// ---- Waiting --------------------------------------------------------------------------------

TEST_F(ClientSubscriber, UnderWaitOnlyWhatFitsIsTakenAndTheRestWhenThereIsCredit) {
  const std::uint64_t id = begin(waiting(kErrors, 2));
  publish(errors(1, 5));
  EXPECT_EQ(story(id), (Story{"subscribed", "1", "2"}));
  EXPECT_TRUE(polls().empty()) << "the next poll is withheld";
  grant(id, 2);
  EXPECT_EQ(story(id), (Story{"subscribed", "1", "2", "3", "4"}));
  EXPECT_TRUE(polls().empty());
  grant(id, 2);
  EXPECT_EQ(story(id), (Story{"subscribed", "1", "2", "3", "4", "5"}));
  EXPECT_EQ(poll().acknowledged, 5);
}

TEST_F(ClientSubscriber, UnderWaitNothingIsPolledForWithoutCredit) {
  const std::uint64_t id = begin(waiting(kErrors, 2));
  publish(errors(1, 2));
  EXPECT_TRUE(polls().empty());
  loop().advance(30 * kSecond);
  EXPECT_TRUE(polls().empty());
  grant(id, 1);
  EXPECT_EQ(poll().acknowledged, 2);
}

TEST_F(ClientSubscriber, AConsumerThatWaitsStopsNobodyElse) {
  const std::uint64_t slow = begin(waiting(kErrors, 1));
  const std::string slow_subscriber = served_commands.back().subscriber;
  const std::uint64_t quick = begin(shared(kErrors));
  const std::string quick_subscriber = served_commands.back().subscriber;
  answer(poll_of(slow_subscriber), errors(1, 3));
  answer(poll_of(quick_subscriber), errors(1, 3));
  answer(poll_of(quick_subscriber), errors(4, 4));
  EXPECT_EQ(story(slow), (Story{"subscribed", "1"}));
  EXPECT_EQ(story(quick), (Story{"subscribed", "1", "2", "3", "4"}));
}

TEST_F(ClientSubscriber, WhileWithheldItStaysSubscribedAndDropsWhatComesUnacknowledged) {
  const std::uint64_t id = begin(waiting(kErrors, 2));
  publish(errors(1, 4));
  keep(served_commands.back().subscriber, errors(5, 8));
  loop().advance(61 * kSecond);
  EXPECT_EQ(commands(), Story{"+6"});
  EXPECT_EQ(story(id), (Story{"subscribed", "1", "2"}));
  EXPECT_TRUE(polls().empty());
  grant(id, 100);
  EXPECT_EQ(story(id), (Story{"subscribed", "1", "2", "3", "4", "5", "6", "7", "8"}));
  EXPECT_EQ(poll().acknowledged, 8);
}

TEST_F(ClientSubscriber, AServerThatDoesNotSendTheUnacknowledgedAgainHasForgottenTheSubscriber) {
  const std::uint64_t id = begin(waiting(kErrors, 2));
  publish(errors(1, 4));
  forget_subscribers();
  loop().advance(2 * kSecond);
  EXPECT_TRUE(polls().empty());
  grant(id, 100);
  EXPECT_EQ(commands(), Story{"+6"});
  EXPECT_EQ(story(id), (Story{"subscribed", "1", "2", "3", "4", "resync expired"}));
  publish(errors(9, 9));
  EXPECT_EQ(story(id).back(), "9");
  loop().advance(61 * kSecond);
  EXPECT_EQ(story(id).back(), "9") << "it is told once";
}

// ---- Counting -------------------------------------------------------------------------------

TEST_F(ClientSubscriber, OnlyThePollOfASubscriptionIsACallInFlight) {
  const std::uint64_t id = begin(shared(kErrors));
  EXPECT_EQ(client->stats().pending, 1u);
  EXPECT_EQ(client->status().in_flight.get(), 1u);
  unsubscribe(id);
  EXPECT_EQ(client->stats().pending, 0u);
  const ClientStats stats = client->stats();
  EXPECT_EQ(stats.started, stats.completed + stats.failed);
}

}  // namespace
}  // namespace gcs::test
