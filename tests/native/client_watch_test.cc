// SPDX-License-Identifier: Apache-2.0
//
// Who watches a client's state gets the present one and every change, until the end.
#include "client_fixture.h"

namespace gcs::test {
namespace {

class ClientWatch : public ClientTest {
 protected:
  std::uint64_t watch(RecordingSink& changes) {
    auto call = Call::make(EventKind::kState, *find_method(method::kGetClusterId));
    call->sink = SinkReference(&changes);
    call->timeout = kTimeoutNone;
    return submit(std::move(call));
  }
};

TEST_F(ClientWatch, AWatchGetsThePresentStateAndEveryChangeUntilItIsCancelled) {
  make_client();
  RecordingSink changes;
  const std::uint64_t id = watch(changes);
  connect();
  loop().run();
  accept();
  peer().lose();
  loop().advance(kSecond);
  accept();
  client->cancel(id);
  loop().run();
  peer().lose();
  loop().run();
  client->close();
  loop().run();
  EXPECT_TRUE(changes.give_up()) << "nothing holds the watcher any more";
  std::vector<State> seen;
  Status last = Status::kOk;
  for (const auto& event : changes.events()) {
    if (event->id != id) continue;
    EXPECT_EQ(last, Status::kOk) << "nothing follows the end";
    EXPECT_EQ(event->kind, EventKind::kState);
    last = event->status;
    if (last == Status::kOk) seen.push_back(static_cast<State>(event->number));
  }
  EXPECT_EQ(seen, (std::vector{State::kIdle, State::kConnecting, State::kReady, State::kLost,
                               State::kReady}));
  EXPECT_EQ(last, Status::kCancelled);
}

TEST_F(ClientWatch, AWatchHearsEachNewReasonWhyTheConnectionIsNotBack) {
  make_ready();
  RecordingSink changes;
  const std::uint64_t id = watch(changes);
  peer().lose(ConnectionError::Kind::kLost, "connection reset");
  for (int i = 0; i < 3; ++i) {
    loop().advance(3 * kSecond);
    peer().lose(ConnectionError::Kind::kConnect, "connection refused");
  }
  loop().advance(3 * kSecond);
  peer().send_settings();
  loop().run();
  answer_identity(kClusterB);
  client->cancel(id);
  loop().run();
  std::vector<std::string> lost;
  for (const auto& event : changes.events()) {
    if (event->status == Status::kOk && event->number == static_cast<std::int64_t>(State::kLost))
      lost.emplace_back(event->message());
  }
  ASSERT_EQ(lost.size(), 3u);
  EXPECT_EQ(lost[0], "connection reset");
  EXPECT_EQ(lost[1], "connection refused");
  EXPECT_NE(lost[2].find(kClusterA), std::string::npos) << lost[2];
  EXPECT_NE(lost[2].find(kClusterB), std::string::npos) << lost[2];
  EXPECT_EQ(client->status().last_disconnect(), "connection reset");
  EXPECT_EQ(client->status().last_connect_error(), lost[2]);
  EXPECT_TRUE(changes.give_up());
}

TEST_F(ClientWatch, AWatchHearsWhyNoAttemptCouldBeBegun) {
  make_ready();
  RecordingSink changes;
  const std::uint64_t id = watch(changes);
  connector().failing_attempts = 1000;
  peer().lose(ConnectionError::Kind::kLost, "connection reset");
  loop().advance(10 * kSecond);
  client->cancel(id);
  loop().run();
  std::string texts;
  for (const auto& event : changes.events()) texts += std::string(event->message()) + "\n";
  EXPECT_NE(texts.find("out of memory"), std::string::npos) << texts;
  EXPECT_TRUE(changes.give_up());
}

// A server may reject every call for its cluster, and still name the same one.
TEST_F(ClientWatch, AQuestionForTheClusterIsNoChangeOfState) {
  make_ready();
  RecordingSink changes;
  const std::uint64_t id = watch(changes);
  peer().on_call = [](VirtualPeer& at, VirtualStream& stream) {
    if (stream.path == kGetClusterIdPath) {
      at.reply(stream, identity_reply(kClusterA));
    } else {
      at.refuse(stream, StatusCode::kUnauthenticated, "WrongClusterID");
    }
  };
  for (int i = 0; i < 100; ++i) {
    get("key" + std::to_string(i));
    loop().run();
  }
  client->cancel(id);
  loop().run();
  EXPECT_LE(changes.events().size(), 3u);
  EXPECT_TRUE(changes.give_up());
}

TEST_F(ClientWatch, AnAdoptedClusterIsNamedWithTheOneBefore) {
  options.on_cluster_change = OnClusterChange::kAdopt;
  make_ready();
  peer().lose();
  loop().advance(kSecond);
  accept(kClusterB);
  const Event* last = nullptr;
  for (const auto& event : sink.events()) {
    if (event->kind == EventKind::kState) last = event.get();
  }
  ASSERT_NE(last, nullptr);
  EXPECT_EQ(last->number, static_cast<std::int64_t>(State::kReady));
  EXPECT_NE(last->message().find(kClusterA), std::string_view::npos) << last->message();
  EXPECT_NE(last->message().find(kClusterB), std::string_view::npos) << last->message();
}

TEST_F(ClientWatch, AWatchEndsWithTheClient) {
  make_ready();
  RecordingSink changes;
  watch(changes);
  client->close();
  loop().run();
  ASSERT_EQ(changes.events().size(), 3u);
  EXPECT_EQ(changes.events()[0]->number, static_cast<std::int64_t>(State::kReady));
  EXPECT_EQ(changes.events()[1]->number, static_cast<std::int64_t>(State::kClosed));
  EXPECT_EQ(changes.events()[2]->status, Status::kClosed);
  EXPECT_TRUE(changes.give_up());
}

}  // namespace
}  // namespace gcs::test
