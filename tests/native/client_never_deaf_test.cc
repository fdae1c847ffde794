// SPDX-License-Identifier: Apache-2.0
//
// Subscriptions never go deaf: when they are made anew, what is said of it, and what is asked of
// the server meanwhile.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "client/subscription.h"
#include "client_fixture.h"
#include "request_bytes.h"

namespace gcs::test {
namespace {

using Words = std::vector<std::string>;

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::string_view kCommands = "GcsSubscriberCommandBatch";
constexpr std::string_view kPolls = "GcsSubscriberPoll";
constexpr std::uint32_t kErrors = 6;  // at the newest Ray
constexpr char kWrongCluster[] =
    "WrongClusterID: Perhaps the client is accessing GCS after it has restarted.";

// A GCS of the newest release, which answers everything but polls; of two polls that are open the
// earlier is answered with nothing.
class ClientNeverDeaf : public ClientTest {
 protected:
  void SetUp() override {
    connector().on_call = [this](VirtualPeer& at, VirtualStream& stream) { serve(at, stream); };
    connector().script = [](VirtualPeer& at) { at.send_settings(); };
    options.on_cluster_change = OnClusterChange::kAdopt;
    make_client();
    connect();
    loop().run();
  }

  void serve(VirtualPeer& at, VirtualStream& stream) {
    const std::string_view path = stream.path;
    if (path == kGetClusterIdPath) {
      if (answers_identity_) at.reply(stream, identity_reply(kClusterA));
    } else if (path == kCheckAlivePath) {
      at.reply(stream, alive_reply("2.60.0"));
    } else if (path.ends_with("ServerReflectionInfo")) {
      at.refuse(stream, StatusCode::kUnimplemented, {});
    } else if (path.ends_with("GetInternalConfig")) {
      at.reply(stream, bytes(2, config_));
    } else if (path.ends_with(kCommands)) {
      ++commands_;
      if (refusal_.empty()) {
        at.reply(stream, {});
      } else {
        at.refuse(stream, StatusCode::kAborted, refusal_);
      }
    } else if (path.ends_with(kPolls)) {
      for (VirtualStream* const earlier : open_polls()) {
        if (earlier == &stream || subscriber_of(*earlier) != subscriber_of(stream)) continue;
        at.reply(*earlier, bytes(2, publisher_));
        break;
      }
    } else {
      at.reply(stream, value_reply("v"));
    }
  }

  static std::string subscriber_of(const VirtualStream& poll) { return poll.message.substr(0, 30); }

  std::vector<VirtualStream*> open_polls() {
    std::vector<VirtualStream*> polls;
    for (VirtualStream* stream : peer().open_streams()) {
      if (stream->path.ends_with(kPolls)) polls.push_back(stream);
    }
    return polls;
  }

  std::uint64_t subscribe(std::string channel, Policy policy, std::uint64_t credit = 100,
                          std::string key = {}) {
    auto call = Call::make(EventKind::kSubscriptionEnd,
                           *find_method(method::kControlPlanePubSubGcsSubscriberPoll));
    call->subscription = std::make_unique<Subscription>(SubscriptionOptions{
        std::move(channel), std::move(key), policy, credit, kUnlimitedCredit, 10, 1000});
    call->sink = SinkReference(&heard_);
    return submit(std::move(call));
  }
  std::uint64_t errors(Policy policy, std::uint64_t credit = 100, std::string key = {}) {
    return subscribe("RAY_ERROR_INFO_CHANNEL", policy, credit, std::move(key));
  }

  std::string message(const std::string& text, std::uint64_t sequence_id,
                      std::uint32_t channel = kErrors, const std::string& key = {}) {
    return bytes(1, number(1, channel) + (key.empty() ? "" : bytes(2, key)) + bytes(10, text) +
                        number(14, sequence_id));
  }
  // Answers the open poll, of which there is one.
  void publish(const std::string& messages) {
    const auto polls = open_polls();
    ASSERT_EQ(polls.size(), 1u);
    peer().reply(*polls.front(), messages + bytes(2, publisher_));
    loop().run();
  }

  // What a subscription has been told, in short.
  Words told(std::uint64_t id) const {
    Words words;
    for (const auto& event : heard_.events()) {
      if (event->id != id) continue;
      switch (event->kind) {
        case EventKind::kSubscribed:
          words.push_back("subscribed");
          break;
        case EventKind::kMessage:
          words.push_back(text_of(event->body()));
          break;
        case EventKind::kResync:
          words.push_back("resync " + std::to_string(event->flags) + " lost " +
                          std::to_string(event->number));
          break;
        default:
          words.push_back(std::string("end ") + status_name(event->status));
      }
    }
    return words;
  }
  std::string resync(ResyncReason reason) {
    return "resync " + std::to_string(static_cast<std::uint32_t>(reason)) + " lost 0";
  }
  void reconnect() {
    peer().lose();
    loop().advance(3 * kSecond);
  }

  RecordingSink heard_;
  std::string publisher_ = std::string(28, 'p');
  std::string config_ = "{}";
  std::string refusal_;
  bool answers_identity_ = true;
  std::size_t commands_ = 0;
};

TEST_F(ClientNeverDeaf, OneIsToldThatTheServerHasItAndThenWhatIsPublishedInOrder) {
  for (const Policy policy : {Policy::kWait, Policy::kDropOldest, Policy::kDropNewest}) {
    heard_.clear();
    const std::uint64_t id = errors(policy);
    EXPECT_EQ(told(id), Words{"subscribed"});
    publish(message("a", 1) + message("b", 2));
    publish(message("b", 2) + message("c", 7));
    EXPECT_EQ(told(id), (Words{"subscribed", "a", "b", "c"}));
    client->cancel(id);
    loop().run();
    EXPECT_EQ(told(id).back(), "end GCS_CANCELLED");
    EXPECT_TRUE(open_polls().empty());
  }
}

TEST_F(ClientNeverDeaf, ThoseThatMayDropShareAPollAndOneThatWaitsHasItsOwn) {
  const std::uint64_t all = errors(Policy::kDropOldest);
  const std::uint64_t of_key = errors(Policy::kDropNewest, 100, "key");
  EXPECT_EQ(open_polls().size(), 1u);
  publish(message("a", 1, kErrors, "key") + message("b", 2, kErrors, "other") + message("c", 3));
  EXPECT_EQ(told(all), (Words{"subscribed", "a", "b", "c"}));
  EXPECT_EQ(told(of_key), (Words{"subscribed", "a"}));
  errors(Policy::kWait);
  EXPECT_EQ(open_polls().size(), 2u);
}

TEST_F(ClientNeverDeaf, WithoutCreditOneThatWaitsIsNotPolledForAndTakesTheRestLater) {
  const std::uint64_t id = errors(Policy::kWait, 2);
  publish(message("a", 1) + message("b", 2) + message("c", 3) + message("d", 4));
  EXPECT_EQ(told(id), (Words{"subscribed", "a", "b"}));
  EXPECT_TRUE(open_polls().empty());
  client->grant(id, 1, 0);
  loop().run();
  EXPECT_EQ(told(id).back(), "c");
  EXPECT_TRUE(open_polls().empty());
  client->grant(id, 2, 0);
  loop().run();
  EXPECT_EQ(told(id).back(), "d");
  ASSERT_EQ(open_polls().size(), 1u);
  EXPECT_NE(open_polls().front()->message.find(number(2, 4)), std::string::npos) << "acknowledged";
}

TEST_F(ClientNeverDeaf, ALostConnectionIsToldToTablesAndAnotherPublisherToAll) {
  const std::uint64_t stream = errors(Policy::kDropOldest);
  const std::uint64_t table = subscribe("GCS_NODE_INFO_CHANNEL", Policy::kWait);
  reconnect();
  EXPECT_EQ(told(stream), Words{"subscribed"});
  EXPECT_EQ(told(table), (Words{"subscribed", resync(ResyncReason::kReconnected)}));
  publisher_ = std::string(28, 'q');
  reconnect();
  EXPECT_EQ(told(stream), (Words{"subscribed", resync(ResyncReason::kRestarted)}));
  EXPECT_EQ(told(table).back(), resync(ResyncReason::kRestarted));
}

TEST_F(ClientNeverDeaf, AnotherPublisherCountsAnew) {
  const std::uint64_t id = errors(Policy::kWait);
  publish(message("a", 10));
  publisher_ = std::string(28, 'q');
  publish(message("b", 1));  // behind a proxy that kept the connection
  EXPECT_EQ(told(id), (Words{"subscribed", "a", resync(ResyncReason::kRestarted), "b"}));
}

TEST_F(ClientNeverDeaf, ItIsMadeAnewAfterAnEmptyPollAndOnAPeriod) {
  errors(Policy::kWait);
  EXPECT_EQ(commands_, 1u);
  loop().advance(30 * kSecond);
  publish({});
  EXPECT_EQ(commands_, 2u);
  // The server's time is not longer than those 30 s: a third of it.
  loop().advance(10 * kSecond);
  EXPECT_EQ(commands_, 3u);
  EXPECT_EQ(open_polls().size(), 1u);
}

TEST_F(ClientNeverDeaf, ThePeriodIsAThirdOfTheTimeInTheServersConfiguration) {
  config_ = R"({"subscriber_timeout_ms": 6000})";
  errors(Policy::kDropOldest);
  loop().advance(60 * kSecond);  // what was known before
  const std::size_t before = commands_;
  loop().advance(20 * kSecond);
  EXPECT_EQ(commands_, before + 10);
}

TEST_F(ClientNeverDeaf, AGapThatIsLongerThanTheServersPatienceIsTold) {
  config_ = R"({"subscriber_timeout_ms": 6000})";
  const std::uint64_t id = errors(Policy::kWait);
  connector().script = [](VirtualPeer& at) {
    at.lose(ConnectionError::Kind::kConnect, "connection refused");
  };
  peer().lose();
  loop().advance(10 * kSecond);
  connector().script = [](VirtualPeer& at) { at.send_settings(); };
  loop().advance(5 * kSecond);
  EXPECT_EQ(told(id), (Words{"subscribed", resync(ResyncReason::kExpired)}));
}

TEST_F(ClientNeverDeaf, ItGoesOnWhenTheIdentityWasAskedForMeanwhile) {
  const std::uint64_t id = errors(Policy::kWait);
  answers_identity_ = false;
  const std::uint64_t doubted = get("key");
  connector().on_call = [](VirtualPeer&, VirtualStream&) {};
  peer().on_call = [](VirtualPeer&, VirtualStream&) {};
  loop().run();
  peer().refuse(stream_of(peer(), "key"), StatusCode::kUnauthenticated, kWrongCluster);
  loop().run();
  ASSERT_NE(question(), nullptr);
  publish(message("a", 1));  // its answer comes while no call may be started
  EXPECT_TRUE(open_polls().empty());
  answer_identity(kClusterA);
  EXPECT_EQ(open_polls().size(), 1u);
  EXPECT_EQ(told(id), (Words{"subscribed", "a"}));
  client->cancel(doubted);
  loop().run();
}

TEST_F(ClientNeverDeaf, ALongPollDoesNotMakeAConnectionSuspect) {
  errors(Policy::kWait);
  loop().advance(20 * kSecond);
  peer().on_call = [](VirtualPeer&, VirtualStream&) {};
  get("key", kSecond);
  loop().advance(2 * kSecond);
  EXPECT_EQ(attempts(), 1u);
}

TEST_F(ClientNeverDeaf, WhatTheServerRefusesEndsAtOnceAndLaterOnlyWhenItGoesOn) {
  const std::uint64_t had = errors(Policy::kDropOldest);
  refusal_ = "InvalidArgument";
  const std::uint64_t late = errors(Policy::kWait);
  EXPECT_EQ(told(late), Words{"end RAY_INVALID_ARGUMENT"});
  reconnect();
  loop().advance(30 * kSecond);
  EXPECT_EQ(told(had), Words{"subscribed"});
  const std::size_t asked = commands_;
  loop().advance(60 * kSecond);
  EXPECT_GT(commands_, asked + 10);
  EXPECT_EQ(told(had), (Words{"subscribed", "end RAY_INVALID_ARGUMENT"}));
}

TEST_F(ClientNeverDeaf, AChannelThatTheServerLacksIsNotAskedFor) {
  const std::uint64_t gone = subscribe("RAY_PYTHON_FUNCTION_CHANNEL", Policy::kWait);
  const std::uint64_t unknown = subscribe("WORKER_REF_REMOVED_CHANNEL", Policy::kDropOldest);
  EXPECT_EQ(told(gone), Words{"end GCS_UNSUPPORTED"});
  EXPECT_EQ(told(unknown), Words{"end GCS_INVALID_ARGUMENT"});
  EXPECT_EQ(commands_, 0u);
}

TEST_F(ClientNeverDeaf, TheClientEndsItsSubscriptions) {
  const std::uint64_t waits = errors(Policy::kWait);
  const std::uint64_t drops = errors(Policy::kDropOldest);
  client->close();
  loop().run();
  EXPECT_EQ(told(waits), (Words{"subscribed", "end GCS_CLOSED"}));
  EXPECT_EQ(told(drops), (Words{"subscribed", "end GCS_CLOSED"}));
}

}  // namespace
}  // namespace gcs::test
