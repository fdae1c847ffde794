// SPDX-License-Identifier: Apache-2.0
//
// What a subscription takes the server for: the numbers of its own descriptors, or those of its
// release; and nothing is ever sent in the numbers of a server that has gone.
#include "request_bytes.h"
#include "subscription_fixture.h"

namespace gcs::test {
namespace {

constexpr char kLiveness[] = "GCS_NODE_ADDRESS_AND_LIVENESS_CHANNEL";

class ClientSubscriptionServer : public SubscriptionTest {
 protected:
  struct Channel {
    std::string name;
    std::uint64_t number;
  };

  // The server says itself that it has these.
  void describe(const std::vector<Channel>& channels, std::uint64_t failure_message = 5,
                std::uint64_t sequence_id = 14) {
    std::string list;
    for (const char* service :
         {"ray.rpc.ControlPlanePubSubGcsService", "ray.rpc.ObservabilityPubSubService"})
      list += bytes(1, bytes(1, service));
    server.services = bytes(6, list);
    const auto field = [](const std::string& name, std::uint64_t its_number, std::uint64_t type) {
      return bytes(2, bytes(1, name) + number(3, its_number) + number(4, 1) + number(5, type));
    };
    const std::string message =
        bytes(1, "PubMessage") + field("channel_type", 1, 14) + field("key_id", 2, 12) +
        field("failure_message", failure_message, 11) + field("sequence_id", sequence_id, 3);
    std::string type = bytes(1, "ChannelType");
    for (const Channel& channel : channels)
      type += bytes(2, bytes(1, channel.name) + number(2, channel.number));
    server.files = bytes(4, bytes(1, bytes(1, "pubsub.proto") + bytes(2, "ray.rpc") +
                                         bytes(4, message) + bytes(5, type)));
  }
  std::vector<std::string> paths_since(std::size_t first) const {
    std::vector<std::string> paths;
    for (; first < served_commands.size(); ++first) paths.push_back(served_commands[first].path);
    return paths;
  }
};

// ---- Which server it is ---------------------------------------------------------------------

TEST_F(ClientSubscriptionServer, ItsOwnDescriptorsCountMoreThanItsRelease) {
  describe({{kErrors, 41}, {kActors, 42}});
  make_client();
  subscribe(shared(kErrors));
  subscribe(shared(kActors));
  EXPECT_EQ(commands(), (Story{"+41", "+42"}));
}

TEST_F(ClientSubscriptionServer, ANewerReleaseThanAnyThatIsKnownIsUnderstoodByItsDescriptors) {
  server.ray_version = "9.1.0";
  describe({{"RAY_NEW_CHANNEL", 77}});
  make_client();
  const std::uint64_t id = subscribe(shared("RAY_NEW_CHANNEL"));
  EXPECT_EQ(commands(), Story{"+77"});
  EXPECT_EQ(story(id), Story{"subscribed"});
}

TEST_F(ClientSubscriptionServer, WithoutDescriptorsItsReleaseCounts) {
  const std::pair<std::string, std::string> releases[] = {
      {"2.9.3", "+7"},  {"2.40.0", "+7"}, {"2.50.1", "+7"}, {"2.55.1", "+7"},
      {"2.56.0", "+7"}, {"2.57.0", "+6"}, {"2.99.0", "+6"}};
  make_client();
  bool first = true;
  for (const auto& [release, command] : releases) {
    server.ray_version = release;
    if (!first) reconnect();
    first = false;
    const std::uint64_t id = subscribe(shared(kErrors));
    EXPECT_EQ(commands(), Story{command}) << release;
    EXPECT_EQ(story(id), Story{"subscribed"}) << release;
    unsubscribe(id);
    commands();
  }
}

TEST_F(ClientSubscriptionServer, DescriptorsThatAreNoneLeaveTheRelease) {
  server.services = server.files = "no descriptors";
  make_client();
  const std::uint64_t id = subscribe(shared(kErrors));
  EXPECT_EQ(commands(), Story{"+6"});
  EXPECT_EQ(story(id), Story{"subscribed"});
}

TEST_F(ClientSubscriptionServer, AServerThatSaysNothingOfItselfIsNotAskedForMore) {
  server.ray_version = "";
  make_client();
  expect_end(subscribe(shared(kErrors)), Status::kUnsupported, "does not say how it lays out");
  EXPECT_EQ(commands(), Story{});
  server.ray_version = "2.60.0";
  loop().advance(3 * kSecond);
  EXPECT_EQ(story(subscribe(shared(kErrors))), Story{"subscribed"});
}

TEST_F(ClientSubscriptionServer, AServerThatDoesNotAnswerIsAskedAgain) {
  make_client();
  server.answers_version = false;
  const std::uint64_t id = subscribe(shared(kErrors));
  loop().advance(15 * kSecond);
  EXPECT_EQ(story(id), Story{});
  server.answers_version = true;
  loop().advance(30 * kSecond);
  EXPECT_EQ(story(id), Story{"subscribed"});
}

// ---- What it does not have ------------------------------------------------------------------

TEST_F(ClientSubscriptionServer, AChannelThatNoServerHasIsRefusedWithoutACommand) {
  make_client();
  for (const char* name : {"NO_SUCH_CHANNEL", "WORKER_REF_REMOVED_CHANNEL", "ray_log_channel"}) {
    const std::uint64_t id = subscribe(shared(name));
    expect_end(id, Status::kInvalidArgument, name);
    expect_end(id, Status::kInvalidArgument, "RAY_LOG_CHANNEL");
    EXPECT_EQ(story(id), Story{"end GCS_INVALID_ARGUMENT"});
  }
  EXPECT_EQ(commands(), Story{});
  EXPECT_EQ(polls().size(), 0u);
}

TEST_F(ClientSubscriptionServer, AChannelThatThisReleaseLacksIsRefusedWithoutACommand) {
  server.ray_version = "2.40.0";
  make_client();
  expect_end(subscribe(waiting(kLiveness, 1)), Status::kUnsupported, "2.51");
  EXPECT_EQ(commands(), Story{});
  EXPECT_EQ(polls().size(), 0u);
}

TEST_F(ClientSubscriptionServer, WhatAnOlderServerLacksEndsAndTheOthersGoOn) {
  const std::uint64_t liveness = begin(shared(kLiveness));
  const std::uint64_t errors = begin(shared(kErrors));
  const std::uint64_t actors = begin(waiting(kActors, 10));
  server.ray_version = "2.40.0";
  restart_server();
  expect_end(liveness, Status::kUnsupported, "2.40.0");
  EXPECT_EQ(story(errors), (Story{"subscribed", "resync restarted"}));
  EXPECT_EQ(story(actors), (Story{"subscribed", "resync restarted"}));
}

// ---- Another release behind the same address --------------------------------------------------

TEST_F(ClientSubscriptionServer, AfterAnUpgradeTheNewNumbersAndServicesAreUsed) {
  server.ray_version = "2.55.1";
  const std::uint64_t errors = begin(shared(kErrors));
  const std::uint64_t actors = begin(shared(kActors));
  EXPECT_EQ(polls().size(), 1u) << "it has one service";
  const std::size_t before = served_commands.size();
  server.ray_version = "2.60.0";
  restart_server();
  EXPECT_EQ(polls().size(), 2u) << "it has two";
  for (std::size_t i = before; i < served_commands.size(); ++i) {
    const ServedCommand& command = served_commands[i];
    EXPECT_EQ(command.path,
              command.channel == 6
                  ? "/ray.rpc.ObservabilityPubSubService/GcsSubscriberCommandBatch"
                  : "/ray.rpc.ControlPlanePubSubGcsService/GcsSubscriberCommandBatch");
    EXPECT_TRUE(command.channel == 6 || command.channel == 2) << command.channel;
  }
  EXPECT_EQ(story(errors).back(), "resync restarted");
  EXPECT_EQ(story(actors).back(), "resync restarted");
  for (const ServedPoll& each : polls())
    answer(each, {error(1, "e"), {2, kActors, "k", "a", false}});
  EXPECT_EQ(story(errors).back(), "e");
  EXPECT_EQ(story(actors).back(), "a");
}

TEST_F(ClientSubscriptionServer, NothingIsSentInTheNumbersOfAServerThatHasGone) {
  for (const int moment : {0, 1, 2, 3}) {
    SCOPED_TRACE(moment);
    server.ray_version = "2.60.0";
    server.answers_commands = true;
    server.answers_version = true;
    if (moment == 0) {
      make_client();
    } else {
      restart_server(std::string(28, static_cast<char>('a' + moment)));
    }
    const std::uint64_t id = subscribe(shared(kErrors));
    EXPECT_EQ(story(id), Story{"subscribed"});
    // A command is open, or waits, or the polls do.
    server.answers_commands = moment == 1;
    if (moment >= 2) peer().set_writable(false);
    subscribe(shared(kLogs));
    subscribe(waiting(kActors, 1));
    server.answers_version = moment != 3;
    const std::size_t before = served_commands.size();
    server.ray_version = "2.40.0";
    server.answers_commands = true;
    restart_server(std::string(28, static_cast<char>('A' + moment)));
    if (moment == 3) {
      EXPECT_EQ(served_commands.size(), before) << "it is not known which release it is";
      server.answers_version = true;
      loop().advance(45 * kSecond);
    }
    ASSERT_GT(served_commands.size(), before);
    for (const std::string& path : paths_since(before))
      EXPECT_EQ(path, "/ray.rpc.InternalPubSubGcsService/GcsSubscriberCommandBatch");
    for (std::size_t i = before; i < served_commands.size(); ++i) {
      const std::uint32_t channel = served_commands[i].channel;
      EXPECT_TRUE(channel == 7 || channel == 8 || channel == 3) << channel;
    }
    EXPECT_EQ(story(id), (Story{"subscribed", "resync restarted"}));
    for (const std::uint64_t each : subscriptions) unsubscribe(each);
  }
}

// Behind a proxy that keeps the connection when the server is replaced.
TEST_F(ClientSubscriptionServer,
       AnotherReleaseOnTheSameConnectionIsAskedWhatItIsBeforeAnythingElse) {
  for (const bool publishes : {false, true}) {
    SCOPED_TRACE(publishes ? "another publisher" : "a failed poll");
    server.ray_version = "2.60.0";
    server.publisher = kPublisher;
    if (client) reconnect();
    const std::uint64_t id = begin(shared(kErrors));
    publish({error(1, "old")});
    server.ray_version = "2.40.0";
    const ServedPoll at = poll();
    server.publisher = kOtherPublisher;
    if (publishes) {
      publish({error(1, "of numbers that are not known yet")});
    } else {
      at.peer->refuse(*at.stream, StatusCode::kUnavailable, "the backend has gone");
    }
    loop().advance(3 * kSecond);
    EXPECT_EQ(commands(), Story{"+7"});
    publish({error(2, "new")});
    EXPECT_EQ(story(id), (Story{"subscribed", "old", "resync restarted", "new"}));
    unsubscribe(id);
    commands();
  }
  EXPECT_EQ(attempts(), 2u);
}

TEST_F(ClientSubscriptionServer, TwoServersThatAnswerInTurnsAreNotAskedInASpin) {
  const std::uint64_t id = begin(shared(kErrors));
  const auto serve_call = peer().on_call;
  std::size_t polled = 0;
  peer().on_call = [&](VirtualPeer& at, VirtualStream& stream) {
    if (stream.path.ends_with("/GcsSubscriberPoll")) {
      ++polled;
      server.publisher = polled % 2 == 0 ? kPublisher : kOtherPublisher;
      at.reply(stream, reply_to_poll({}));
    } else {
      serve_call(at, stream);
    }
  };
  publish({});
  loop().advance(60 * kSecond);
  EXPECT_LT(polled, 200u);
  EXPECT_EQ(story(id).front(), "subscribed");
}

TEST_F(ClientSubscriptionServer, AServerThatSaysAnotherReleaseTheNextTimeIsTakenAtItsLastWord) {
  const std::uint64_t id = begin(shared(kErrors));
  const auto serve_call = peer().on_call;
  for (const std::size_t lies : {1u, 2u, 3u, 4u, 1'000'000u}) {
    SCOPED_TRACE(lies);
    std::size_t asked = 0;
    connector().on_call = [&](VirtualPeer& at, VirtualStream& stream) {
      if (stream.path == kCheckAlivePath) {
        const bool lie = asked < lies && asked % 2 == 0;
        ++asked;
        at.reply(stream, alive_reply(lie ? "2.40.0" : "2.60.0"));
      } else {
        serve_call(at, stream);
      }
    };
    reconnect();
    loop().advance(60 * kSecond);
    EXPECT_LT(asked, 200u) << "it is not asked in a spin";
    if (lies > 4) break;
    EXPECT_EQ(commands().back(), "+6");
    publish({error(static_cast<std::int64_t>(lies), "a")});
    EXPECT_EQ(story(id).back(), "a");
  }
  connector().on_call = serve_call;
  reconnect();
  loop().advance(60 * kSecond);
  EXPECT_EQ(commands().back(), "+6");
  publish({error(9, "b")});
  EXPECT_EQ(story(id).back(), "b");
}

}  // namespace
}  // namespace gcs::test
