// SPDX-License-Identifier: Apache-2.0
//
// Which cluster the client is connected to.
#include <algorithm>

#include "client/log.h"
#include "client_fixture.h"

namespace gcs::test {
namespace {

using Keys = std::vector<std::string>;
constexpr char kWrongCluster[] =
    "WrongClusterID: Perhaps the client is accessing GCS after it has restarted.";

class ClientIdentity : public ClientTest {
 protected:
  // Refuses as servers do: old ones say it in the details only.
  void refuse_cluster(VirtualPeer& at, VirtualStream& stream, bool old_server) {
    if (old_server) {
      at.refuse(stream, StatusCode::kAborted, "AuthError", "the cluster id does not match");
    } else {
      at.refuse(stream, StatusCode::kUnauthenticated, kWrongCluster);
    }
  }
};

TEST_F(ClientIdentity, TheClusterIsAskedForAndSentWithEveryCall) {
  make_client();
  get("key");
  loop().run();
  peer().send_settings();
  loop().run();
  ASSERT_NE(question(), nullptr);
  EXPECT_EQ(peer().open_streams().size(), 1u) << "no call before the answer";
  EXPECT_EQ(question()->header("ray_cluster_id"), "");
  EXPECT_EQ(client->cluster_id(), "");
  answer_identity(kClusterA);
  EXPECT_EQ(client->cluster_id(), kClusterA);
  EXPECT_EQ(stream_of(peer(), "key").header("ray_cluster_id"), kClusterA);
  EXPECT_EQ(stream_of(peer(), "key").header("authorization"), "");
}

TEST_F(ClientIdentity, AServerWithoutAnIdGetsNone) {
  make_client();
  get("key");
  loop().run();
  accept("");
  EXPECT_EQ(stream_of(peer(), "key").header("ray_cluster_id"), "");
}

TEST_F(ClientIdentity, AGivenIdIsComparedWithTheServersBeforeAnythingIsSent) {
  options.cluster_id = kClusterA;
  make_client();
  EXPECT_EQ(client->cluster_id(), kClusterA);
  const std::uint64_t connecting = connect();
  const std::uint64_t id = get("key");
  loop().run();
  peer().send_settings();
  loop().run();
  EXPECT_FALSE(has_ended(connecting));
  EXPECT_EQ(peer().streams().size(), 1u) << "nothing but the question";
  answer_identity(kClusterA);
  EXPECT_EQ(ended(connecting).status, Status::kOk);
  EXPECT_EQ(stream_of(peer(), "key").header("ray_cluster_id"), kClusterA);
  EXPECT_FALSE(has_ended(id));
}

TEST_F(ClientIdentity, ConnectingToAnotherClusterThanTheOneGivenFails) {
  options.cluster_id = kClusterA;
  make_client();
  const std::uint64_t connecting = connect();
  loop().run();
  peer().send_settings();
  loop().run();
  answer_identity(kClusterB);
  const Event& event = ended(connecting);
  EXPECT_EQ(event.status, Status::kClusterChanged);
  for (const std::string& named : {std::string("made for"), kClusterA, kClusterB}) {
    EXPECT_NE(event.message().find(named), std::string::npos) << event.message();
  }
}

TEST_F(ClientIdentity, AGivenIdHoldsForTheFirstConnectionWhateverMayChangeLater) {
  options.cluster_id = kClusterA;
  options.on_cluster_change = OnClusterChange::kAdopt;
  make_client();
  const std::uint64_t connecting = connect();
  loop().run();
  accept(kClusterB);
  EXPECT_EQ(ended(connecting).status, Status::kClusterChanged);
  EXPECT_EQ(ended(connecting).message().find("adopt"), std::string_view::npos)
      << ended(connecting).message();
}

TEST_F(ClientIdentity, AnAnswerWithoutAnIdIsAskedForAgainAndIsNoOtherCluster) {
  make_ready();
  peer().lose();
  const std::uint64_t id = get("key");
  loop().advance(kSecond);
  accept(std::string());
  loop().advance(3 * kSecond);
  EXPECT_FALSE(has_ended(id));
  accept(kClusterA);
  EXPECT_EQ(keys_in_flight(peer()), Keys{"key"});
}

TEST_F(ClientIdentity, AGivenIdIsCheckedAndWrittenAsTheServerWritesIt) {
  std::string upper = kClusterA;
  std::transform(upper.begin(), upper.end(), upper.begin(),
                 [](char c) { return c == 'a' ? 'A' : c; });
  options.cluster_id = upper;
  make_client();
  EXPECT_EQ(client->cluster_id(), kClusterA);
  for (const std::string& bad : {std::string("abc"), std::string(56, 'g'), std::string(58, 'a'),
                                 "a" + std::string(54, 'b') + " "}) {
    options.cluster_id = bad;
    EXPECT_EQ(GcsClient::create(options, 1, &refusal), nullptr);
    EXPECT_EQ(refusal.status, Status::kInvalidArgument);
    EXPECT_NE(refusal.message.find("56"), std::string::npos) << refusal.message;
  }
}

TEST_F(ClientIdentity, AServerThatComesBackAsTheSameClusterIsUsedAgain) {
  make_ready();
  const std::uint64_t id = get("key");
  loop().run();
  peer().lose();
  loop().advance(kSecond);
  peer().send_settings();
  loop().run();
  ASSERT_NE(question(), nullptr) << "it may be another cluster now";
  EXPECT_EQ(question()->header("ray_cluster_id"), "");
  answer_identity(kClusterA);
  peer().reply(stream_of(peer(), "key"), value_reply("v"));
  EXPECT_EQ(ended(id).status, Status::kOk);
}

class ClusterChange : public ClientIdentity, public ::testing::WithParamInterface<bool> {};

TEST_P(ClusterChange, UnderErrorEveryCallFailsAndBothIdsAreNamed) {
  make_ready();
  const std::uint64_t refused = get("refused");
  const std::uint64_t in_flight = put("in flight");
  loop().run();
  VirtualStream& stream = stream_of(peer(), "refused");
  refuse_cluster(peer(), stream, GetParam());
  const std::uint64_t waiting = get("waiting");
  const std::uint64_t connecting = connect();
  loop().run();
  EXPECT_FALSE(has_ended(waiting));
  answer_identity(kClusterB);
  const std::uint64_t later = get("later");
  const std::uint64_t connecting_later = connect();
  loop().run();
  for (const std::uint64_t id :
       {refused, in_flight, waiting, connecting, later, connecting_later}) {
    EXPECT_EQ(ended(id).status, Status::kClusterChanged);
    EXPECT_NE(ended(id).message().find(kClusterA), std::string_view::npos) << ended(id).message();
    EXPECT_NE(ended(id).message().find(kClusterB), std::string_view::npos) << ended(id).message();
  }
  EXPECT_EQ(ended(refused).flags, kFlagLocal);
  EXPECT_EQ(ended(in_flight).flags, kFlagLocal | kFlagMaybeExecuted);
  EXPECT_FALSE(peer().is_held());
  loop().advance(100 * kSecond);
  EXPECT_EQ(attempts(), 1u);
  EXPECT_EQ(client->cluster_id(), kClusterA);
}

TEST_P(ClusterChange, UnderAdoptTheRefusedCallIsSentAgainWithTheNewId) {
  options.on_cluster_change = OnClusterChange::kAdopt;
  make_ready();
  const std::uint64_t refused = put("refused");
  const std::uint64_t also = put("also");
  loop().run();
  VirtualStream& first = stream_of(peer(), "refused");
  VirtualStream& second = stream_of(peer(), "also");
  refuse_cluster(peer(), first, GetParam());
  refuse_cluster(peer(), second, GetParam());
  loop().run();
  answer_identity(kClusterB);
  EXPECT_EQ(client->cluster_id(), kClusterB);
  EXPECT_EQ(keys_in_flight(peer()).size(), 2u);
  for (const char* key : {"refused", "also"}) {
    EXPECT_EQ(stream_of(peer(), key).header("ray_cluster_id"), kClusterB);
    peer().reply(stream_of(peer(), key), number_reply(1));
  }
  EXPECT_EQ(ended(refused).status, Status::kOk);
  EXPECT_EQ(ended(also).status, Status::kOk);
  EXPECT_EQ(client->state(), State::kReady);
  EXPECT_EQ(attempts(), 1u);
}

TEST_P(ClusterChange, ARestartUnderErrorEndsWhatWaits) {
  make_ready();
  const std::uint64_t read = get("read");
  loop().run();
  peer().lose();
  loop().advance(kSecond);
  const std::uint64_t waiting = put("waiting");
  loop().run();
  peer().send_settings();
  loop().run();
  answer_identity(kClusterB);
  EXPECT_EQ(ended(read).status, Status::kClusterChanged);
  EXPECT_EQ(ended(waiting).status, Status::kClusterChanged);
}

TEST_P(ClusterChange, ARestartUnderAdoptGoesOnWithTheNewCluster) {
  options.on_cluster_change = OnClusterChange::kAdopt;
  make_ready();
  const std::uint64_t read = get("read");
  loop().run();
  peer().lose();
  loop().advance(kSecond);
  accept(kClusterB);
  EXPECT_EQ(stream_of(peer(), "read").header("ray_cluster_id"), kClusterB);
  peer().reply(stream_of(peer(), "read"), value_reply("v"));
  EXPECT_EQ(ended(read).status, Status::kOk);
}

TEST_P(ClusterChange, AServerThatInsistsGetsTheCallThreeTimes) {
  make_ready();
  const std::uint64_t id = put("key");
  loop().run();
  std::size_t refusals = 0;
  for (; refusals < 10 && !has_ended(id); ++refusals) {
    refuse_cluster(peer(), stream_of(peer(), "key"), GetParam());
    loop().run();
    if (question() != nullptr) answer_identity(kClusterA);
  }
  EXPECT_EQ(refusals, 3u);
  EXPECT_EQ(ended(id).status, grpc_status(GetParam() ? 10 : 16));
  EXPECT_FALSE(ended(id).flags & kFlagAuth) << "it is not the token";
}

TEST_P(ClusterChange, ACallThatIsRejectedForItsClusterNeverRan) {
  make_ready();
  const std::uint64_t id = put("key");
  loop().run();
  for (int i = 0; i < 3; ++i) {
    refuse_cluster(peer(), stream_of(peer(), "key"), GetParam());
    loop().run();
    if (question() != nullptr) answer_identity(kClusterA);
  }
  EXPECT_EQ(ended(id).flags & kFlagMaybeExecuted, 0u);
}

TEST_P(ClusterChange, CallsInFlightSurviveAQuestionWithTheOldAnswer) {
  make_ready();
  const std::uint64_t refused = get("refused");
  const std::uint64_t other = put("other");
  loop().run();
  refuse_cluster(peer(), stream_of(peer(), "refused"), GetParam());
  loop().run();
  answer_identity(kClusterA);
  peer().reply(stream_of(peer(), "other"), number_reply(1));
  peer().reply(stream_of(peer(), "refused"), value_reply("v"));
  EXPECT_EQ(ended(refused).status, Status::kOk);
  EXPECT_EQ(ended(other).status, Status::kOk);
}

TEST_P(ClusterChange, CallsInFlightFollowTheirRulesWhenTheQuestionFails) {
  make_ready();
  const std::uint64_t refused = get("refused");
  const std::uint64_t reads = get("reads");
  const std::uint64_t changes = put("changes");
  loop().run();
  refuse_cluster(peer(), stream_of(peer(), "refused"), GetParam());
  loop().run();
  ASSERT_NE(question(), nullptr);
  peer().refuse(*question(), StatusCode::kUnavailable, "not now");
  loop().run();
  EXPECT_EQ(ended(changes).status, Status::kConnectionLost);
  EXPECT_EQ(ended(changes).flags, kFlagLocal | kFlagRetryable | kFlagMaybeExecuted);
  EXPECT_EQ(client->status().disconnects.get(), 1u);
  loop().advance(3 * kSecond);
  accept();
  EXPECT_EQ(keys_in_flight(peer()).size(), 2u) << "what only reads is sent again";
  EXPECT_FALSE(has_ended(refused));
  EXPECT_FALSE(has_ended(reads));
}

TEST_P(ClusterChange, AnIdentityThatIsAskedForAgainIsNoOtherConnection) {
  make_ready();
  get("refused");
  loop().run();
  refuse_cluster(peer(), stream_of(peer(), "refused"), GetParam());
  loop().run();
  answer_identity(kClusterA);
  EXPECT_EQ(client->stats().connects, 1u);
  EXPECT_EQ(client->status().disconnects.get(), 0u);
}

TEST_P(ClusterChange, TheAnswerMayComeTogetherWithTheEndOfCalls) {
  options.on_cluster_change = OnClusterChange::kAdopt;
  make_ready();
  const std::uint64_t refused = get("refused");
  const std::uint64_t other = put("other");
  const std::uint64_t third = put("third");
  loop().run();
  refuse_cluster(peer(), stream_of(peer(), "refused"), GetParam());
  loop().run();
  VirtualPeer& at = peer();
  at.finish(stream_of(at, "other"), {}, number_reply(1));
  ASSERT_NE(question(), nullptr);
  at.finish(*question(), {}, identity_reply(kClusterB));
  at.finish(stream_of(at, "third"), {}, number_reply(1));
  at.tell();
  EXPECT_EQ(ended(other).status, Status::kOk);
  EXPECT_EQ(ended(third).status, Status::kOk);
  EXPECT_EQ(keys_in_flight(at), Keys{"refused"});
  EXPECT_FALSE(has_ended(refused));
}

TEST_P(ClusterChange, WhatADrainingConnectionGivesBackAfterTheChangeFailsWithIt) {
  make_ready();
  const std::uint64_t in_flight = get("in flight", kTimeoutNone);
  loop().run();
  peer().go_away("maintenance");
  loop().advance(50 * kMillisecond);
  accept(kClusterB);
  EXPECT_FALSE(has_ended(in_flight));
  peer(0).lose();
  loop().run();
  EXPECT_EQ(ended(in_flight).status, Status::kClusterChanged);
}

INSTANTIATE_TEST_SUITE_P(OldAndNewServers, ClusterChange, ::testing::Bool(), [](const auto& which) {
  return which.param ? "Aborted" : "Unauthenticated";
});

TEST_F(ClientIdentity, OtherAbortsAreNoWrongCluster) {
  make_ready();
  const std::uint64_t id = get("key");
  loop().run();
  peer().refuse(stream_of(peer(), "key"), StatusCode::kAborted, "InvalidArgument", "AuthError");
  EXPECT_EQ(ended(id).status, ray_status(34));
  EXPECT_EQ(question(), nullptr);
}

}  // namespace
}  // namespace gcs::test
