// SPDX-License-Identifier: Apache-2.0
//
// The connection: made when it is wanted, made again when it is lost, given up when it is none.
#include "client_fixture.h"

namespace gcs::test {
namespace {

using Keys = std::vector<std::string>;
using Kind = ConnectionError::Kind;

class ClientConnection : public ClientTest {
 protected:
  std::uint64_t impatient_get(std::string_view key) {
    auto call = get_call(key);
    call->wait_for_ready = 0;
    return queue(std::move(call));
  }
};

TEST_F(ClientConnection, ItsStatesAreReportedInOrder) {
  make_ready();
  get("key");
  loop().run();
  answer_from_now_on();
  peer().lose();
  loop().advance(kSecond);
  client->close();
  loop().run();
  EXPECT_EQ(states(), (std::vector<State>{State::kConnecting, State::kReady, State::kLost,
                                          State::kReady, State::kClosed}));
  for (const auto& event : sink.events()) {
    if (event->kind != EventKind::kState) continue;
    EXPECT_EQ(event->id, kClientId);
    EXPECT_EQ(event->status, Status::kOk);
    EXPECT_FALSE(event->message().empty());
  }
  EXPECT_EQ(client->state(), State::kClosed);
}

TEST_F(ClientConnection, ConnectGoesOnTryingUntilItsTimeoutAndNamesAddressAndLastFailure) {
  make_client();
  refuse_from_now_on();
  const std::uint64_t id = connect(3 * kSecond);
  loop().advance(3 * kSecond - 1);
  EXPECT_FALSE(has_ended(id));
  EXPECT_GT(attempts(), 3u);
  loop().advance(1);
  EXPECT_EQ(ended(id).status, Status::kUnavailable);
  EXPECT_EQ(ended(id).flags, kFlagLocal | kFlagRetryable);
  EXPECT_NE(ended(id).message().find(kAddress), std::string_view::npos) << ended(id).message();
  EXPECT_NE(ended(id).message().find("connection refused"), std::string_view::npos)
      << ended(id).message();
  EXPECT_NE(ended(id).message().find("3 s"), std::string_view::npos) << ended(id).message();
}

TEST_F(ClientConnection, ConnectHasTheConnectTimeoutByDefault) {
  options.connect_timeout = 2 * kSecond;
  make_client();
  const std::uint64_t id = connect();
  loop().advance(2 * kSecond - 1);
  EXPECT_FALSE(has_ended(id));
  loop().advance(1);
  EXPECT_EQ(ended(id).status, Status::kUnavailable);
}

TEST_F(ClientConnection, ConnectOnAReadyClientNeedsNoTime) {
  make_ready();
  const std::uint64_t id = connect(0);
  loop().run();
  EXPECT_EQ(ended(id).status, Status::kOk) << ended(id).message();
}

TEST_F(ClientConnection, APeerThatNeverSendsSettingsIsReportedAsSuch) {
  make_client();
  const std::uint64_t id = connect();
  loop().advance(options.connect_timeout);
  EXPECT_EQ(ended(id).status, Status::kUnavailable);
  EXPECT_NE(ended(id).message().find("SETTINGS"), std::string_view::npos) << ended(id).message();
}

TEST_F(ClientConnection, ARefusedConnectionIsTriedAgainUntilItWorks) {
  make_client();
  refuse_from_now_on();
  const std::uint64_t id = get("key");
  loop().advance(10 * kSecond);
  EXPECT_FALSE(has_ended(id));
  answer_from_now_on();
  loop().advance(3 * kSecond);
  EXPECT_EQ(ended(id).status, Status::kOk);
}

TEST_F(ClientConnection, AttemptsFollowTheBackOff) {
  make_client();
  refuse_from_now_on();
  get("key", kTimeoutNone);
  loop().advance(600 * kSecond);
  for (std::size_t i = 1; i < attempts(); ++i) {
    const std::int64_t gap = peer(i).begun() - peer(i - 1).begun();
    EXPECT_LE(gap, i == 1 ? 50 * kMillisecond : 2 * kSecond) << "attempt " << i;
  }
  EXPECT_GT(attempts(), 300u) << "2 s apart at most";
  EXPECT_LT(attempts(), 1'200u) << "1 s apart on average";
}

TEST_F(ClientConnection, AnAttemptThatHangsIsGivenUpForTheNext) {
  make_client();
  get("key", kTimeoutNone);
  loop().advance(100 * kSecond);
  EXPECT_GT(attempts(), 10u);
  EXPECT_LT(attempts(), 40u);
  std::size_t held = 0;
  for (const auto& at : connector().peers()) held += at->is_held();
  EXPECT_LE(held, 1u);
}

TEST_F(ClientConnection, ALostConnectionIsMadeAgainAtOnceEvenIfNobodyWaits) {
  make_ready();
  get("key");
  loop().run();
  peer().reply(stream_of(peer(), "key"), value_reply("v"));
  const transport::TimePoint lost = loop().now();
  peer().lose();
  loop().run();
  ASSERT_EQ(attempts(), 2u);
  EXPECT_EQ(peer().begun(), lost);
  EXPECT_EQ(client->state(), State::kLost);
  accept();
  EXPECT_EQ(client->state(), State::kReady);
  EXPECT_EQ(client->stats().connects, 2u);
}

TEST_F(ClientConnection, AfterALossItIsTriedForEverEvenIfNobodyWaits) {
  make_ready();
  connector().script = [](VirtualPeer& at) { at.lose(ConnectionError::Kind::kConnect, "refused"); };
  peer().lose();
  loop().advance(600 * kSecond);
  EXPECT_EQ(client->state(), State::kLost);
  EXPECT_GT(attempts(), 200u);
  connector().script = [](VirtualPeer& at) { at.send_settings(); };
  loop().advance(3 * kSecond);
  answer_identity(kClusterA);
  EXPECT_EQ(client->state(), State::kReady);
}

TEST_F(ClientConnection, APeerThatAcceptsAndDropsIsNotHammered) {
  make_client();
  connector().script = [](VirtualPeer& at) { at.send_settings(); };
  connector().on_call = [](VirtualPeer& at, VirtualStream& stream) {
    at.reply(stream, identity_reply(kClusterA));
    at.lose();
  };
  get("key", kTimeoutNone);
  connect(kTimeoutNone);
  loop().advance(100 * kSecond);
  EXPECT_GT(attempts(), 40u);
  EXPECT_LT(attempts(), 300u) << "only a completed call resets the back-off";
}

TEST_F(ClientConnection, WhenNobodyWantsItAConnectionThatNeverWorkedIsLeftAlone) {
  make_client();
  refuse_from_now_on();
  const std::uint64_t id = impatient_get("key");
  loop().run();
  EXPECT_EQ(ended(id).status, Status::kUnavailable);
  const std::size_t before = attempts();
  loop().advance(100 * kSecond);
  EXPECT_EQ(attempts(), before);
  EXPECT_EQ(client->state(), State::kIdle);
}

TEST_F(ClientConnection, SomethingElseThanHttp2EndsWaitingCallsAtOnce) {
  for (const Kind kind : {Kind::kNotHttp2, Kind::kTls}) {
    if (!client) make_client();
    connector().script = nullptr;
    const std::uint64_t call = get("key");
    const std::uint64_t connecting = connect();
    loop().advance(2 * kSecond);
    ASSERT_TRUE(peer().is_held());
    peer().lose(kind, "the peer speaks HTTP/1.1");
    for (const std::uint64_t id : {call, connecting}) {
      EXPECT_EQ(ended(id).status, Status::kUnavailable);
      EXPECT_TRUE(ended(id).flags & kFlagLocal);
      EXPECT_NE(ended(id).message().find("HTTP/1.1"), std::string_view::npos)
          << ended(id).message();
      EXPECT_NE(ended(id).message().find(kAddress), std::string_view::npos) << ended(id).message();
    }
  }
  answer_from_now_on();
  const std::uint64_t later = get("later");
  loop().advance(3 * kSecond);
  EXPECT_EQ(ended(later).status, Status::kOk) << "what was there may be replaced";
}

TEST_F(ClientConnection, AnUnansweredQuestionForTheClusterIsReportedAndTheConnectionGivenUp) {
  make_client();
  connector().script = [](VirtualPeer& at) { at.send_settings(); };
  const std::uint64_t connecting = connect();
  const std::uint64_t waiting = get("key", kTimeoutNone);
  const std::uint64_t impatient = impatient_get("impatient");
  loop().advance(options.connect_timeout);
  EXPECT_EQ(ended(connecting).status, Status::kUnavailable);
  EXPECT_NE(ended(connecting).message().find("GetClusterId"), std::string_view::npos)
      << ended(connecting).message();
  EXPECT_EQ(ended(impatient).status, Status::kUnavailable);
  EXPECT_FALSE(has_ended(waiting));
  loop().advance(options.connect_timeout);
  EXPECT_FALSE(peer(0).is_held());
  EXPECT_GE(attempts(), 2u);
  answer_from_now_on();
  loop().advance(20 * kSecond);
  EXPECT_EQ(ended(waiting).status, Status::kOk);
}

TEST_F(ClientConnection, TheQuestionForTheClusterWaitsForRoom) {
  make_client();
  const std::uint64_t id = connect();
  loop().run();
  peer().send_settings(0);
  loop().run();
  EXPECT_TRUE(peer().streams().empty());
  peer().set_stream_limit(1);
  loop().run();
  answer_identity(kClusterA);
  EXPECT_EQ(ended(id).status, Status::kOk);
}

TEST_F(ClientConnection, AServerThatIsNoGcsEndsWaitingCallsAtOnce) {
  const auto fails = [this](const std::function<void(VirtualStream&)>& answer) {
    const std::uint64_t id = get("key");
    loop().advance(3 * kSecond);
    peer().send_settings();
    loop().run();
    ASSERT_EQ(peer().open_streams().size(), 1u);
    answer(*peer().open_streams().front());
    EXPECT_EQ(ended(id).status, Status::kUnavailable);
    EXPECT_NE(ended(id).message().find("address of a GCS"), std::string_view::npos)
        << ended(id).message();
  };
  make_client();
  fails([this](VirtualStream& stream) { peer().refuse(stream, StatusCode::kUnimplemented, ""); });
  fails([this](VirtualStream& stream) { peer().reply(stream, "\xff\xff"); });
  fails([this](VirtualStream& stream) {
    peer().reply(stream,
                 "\x12\x03"
                 "abc");
  });
  fails([this](VirtualStream& stream) { peer().reply(stream, status_reply(5, "no")); });
}

TEST_F(ClientConnection, AFailedQuestionForTheClusterIsAskedOnANewConnection) {
  make_client();
  const std::uint64_t id = get("key");
  loop().run();
  peer().send_settings();
  loop().run();
  peer().refuse(*peer().open_streams().front(), StatusCode::kUnavailable, "starting");
  EXPECT_FALSE(has_ended(id));
  answer_from_now_on();
  loop().advance(3 * kSecond);
  EXPECT_EQ(ended(id).status, Status::kOk);
}

TEST_F(ClientConnection, AnAttemptThatCannotEvenBeginIsMadeAgain) {
  make_client();
  connector().failing_attempts = 3;
  const std::uint64_t id = get("key");
  answer_from_now_on();
  loop().advance(10 * kSecond);
  EXPECT_EQ(ended(id).status, Status::kOk);
}

TEST_F(ClientConnection, WhoDoesNotWaitFailsAtOnceWhileALostConnectionIsMadeAgain) {
  make_ready();
  peer().lose();
  loop().advance(kSecond);
  ASSERT_EQ(attempts(), 2u) << "the second attempt is under way";
  const std::uint64_t id = impatient_get("key");
  loop().run();
  EXPECT_EQ(ended(id).status, Status::kUnavailable);
  EXPECT_EQ(ended(id).flags, kFlagLocal | kFlagRetryable);
  accept();
  const std::uint64_t later = impatient_get("key");
  loop().run();
  EXPECT_FALSE(has_ended(later));
}

TEST_F(ClientConnection, WhoDoesNotWaitWaitsForTheVeryFirstAttempt) {
  make_client();
  const std::uint64_t first = impatient_get("first");
  loop().run();
  EXPECT_FALSE(has_ended(first));
  accept();
  EXPECT_EQ(keys_in_flight(peer()), std::vector<std::string>{"first"});
}

TEST_F(ClientConnection, TheOptionsReachTheTransport) {
  options.connect_timeout = 10 * kSecond;
  options.tcp_user_timeout = 7 * kSecond;
  options.max_receive_message = 12'345;
  options.max_send_message = 54'321;
  make_client();
  connect();
  loop().run();
  EXPECT_EQ(peer().options().connect_timeout, 9 * kSecond)
      << "so that a failed attempt can still be reported";
  EXPECT_EQ(peer().options().tcp_user_timeout, 7 * kSecond);
  EXPECT_EQ(peer().options().max_receive_message, 12'345u);
  EXPECT_EQ(peer().options().max_send_message, 54'321u);
}

TEST_F(ClientConnection, OptionsThatCannotBeAreRefused) {
  options.connect_timeout = 0;
  EXPECT_EQ(GcsClient::create(options, 1, &refusal), nullptr);
  EXPECT_EQ(refusal.status, Status::kInvalidArgument);
  options.connect_timeout = kSecond;
  options.address = "nonsense";
  EXPECT_EQ(GcsClient::create(options, 1, &refusal), nullptr);
  EXPECT_EQ(refusal.status, Status::kInvalidArgument);
  options.address.reset();
  EXPECT_EQ(GcsClient::create(options, 1, &refusal), nullptr);
  EXPECT_EQ(refusal.status, Status::kNotFound);
}

}  // namespace
}  // namespace gcs::test
