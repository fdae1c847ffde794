// SPDX-License-Identifier: Apache-2.0
//
// Calls that were made for one release of Ray go to a server of that release, and to no other; the
// server is asked only if there is such a call.
#include <algorithm>

#include "client_fixture.h"

namespace gcs::test {
namespace {

using Keys = std::vector<std::string>;
constexpr std::uint32_t kRay240 = 2'040'000;
constexpr std::uint32_t kRay252 = 2'052'001;

class ClientVersion : public ClientTest {
 protected:
  std::uint64_t call_for(std::uint32_t version, std::unique_ptr<Call> call,
                         std::int64_t timeout = kTimeoutDefault) {
    call->ray_version = version;
    call->timeout = timeout;
    return submit(std::move(call));
  }
  std::uint64_t get_for(std::uint32_t version, std::string_view key,
                        std::int64_t timeout = kTimeoutDefault) {
    return call_for(version, get_call(key), timeout);
  }
  static std::size_t questions(VirtualPeer& at) {
    return static_cast<std::size_t>(
        std::count_if(at.streams().begin(), at.streams().end(),
                      [](const VirtualStream& stream) { return stream.path == kCheckAlivePath; }));
  }
  VirtualStream& version_question() {
    for (VirtualStream* stream : peer().open_streams()) {
      if (stream->path == kCheckAlivePath) return *stream;
    }
    throw std::logic_error("nobody asks for the release");
  }
  bool is_asked() {
    const auto open = peer().open_streams();
    return std::any_of(open.begin(), open.end(),
                       [](const VirtualStream* stream) { return stream->path == kCheckAlivePath; });
  }
  void answer_version(std::string_view text) {
    peer().reply(version_question(), alive_reply(text));
    loop().run();
  }
  void reconnect() {
    peer().lose();
    wait_for_attempt();
  }
  void wait_for_attempt() {
    for (int i = 0; i < 100 && !peer().is_held(); ++i) loop().advance(100 * kMillisecond);
    accept();
  }
  void expect_mismatch(std::uint64_t id, std::uint32_t more_flags = 0) {
    EXPECT_EQ(ended(id).status, Status::kUnsupported);
    EXPECT_EQ(ended(id).flags, kFlagLocal | kFlagRetryable | more_flags);
    EXPECT_EQ(ended(id).message(),
              "the server is Ray 2.52.1 now, and the request was made for Ray 2.40.0");
  }
};

TEST_F(ClientVersion, NobodyIsAskedWithoutSuchACall) {
  make_ready();
  get("key");
  put("other");
  loop().run();
  reconnect();
  EXPECT_EQ(questions(peer(0)) + questions(peer(1)), 0u);
}

TEST_F(ClientVersion, ACallForTheServersReleaseIsSentWhenItIsKnown) {
  make_ready();
  const std::uint64_t id = get_for(kRay240, "key");
  EXPECT_TRUE(keys_in_flight(peer()).empty());
  EXPECT_EQ(version_question().message, "");
  EXPECT_EQ(version_question().header("ray_cluster_id"), kClusterA);
  answer_version("2.40.0");
  EXPECT_EQ(keys_in_flight(peer()), Keys{"key"});
  peer().reply(stream_of(peer(), "key"), value_reply("v"));
  EXPECT_EQ(ended(id).status, Status::kOk);
}

TEST_F(ClientVersion, AConnectionIsAskedOnce) {
  make_ready();
  for (const char* key : {"a", "b", "c"}) get_for(kRay240, key);
  EXPECT_EQ(questions(peer()), 1u);
  answer_version("2.40.0");
  get_for(kRay240, "d");
  EXPECT_EQ(questions(peer()), 1u);
  EXPECT_EQ(keys_in_flight(peer()), (Keys{"a", "b", "c", "d"}));
}

TEST_F(ClientVersion, OtherCallsDoNotWaitForTheAnswer) {
  make_ready();
  get_for(kRay240, "for one");
  get("for any");
  loop().run();
  EXPECT_EQ(keys_in_flight(peer()), Keys{"for any"});
  answer_version("2.40.0");
  EXPECT_EQ(keys_in_flight(peer()), (Keys{"for any", "for one"}));
}

TEST_F(ClientVersion, ACallForAnotherReleaseEnds) {
  make_ready();
  const std::uint64_t waiting = get_for(kRay240, "waiting");
  const std::uint64_t good = get_for(kRay252, "good");
  answer_version("2.52.1");
  expect_mismatch(waiting);
  expect_mismatch(get_for(kRay240, "later"));
  EXPECT_FALSE(has_ended(good));
  EXPECT_EQ(keys_in_flight(peer()), Keys{"good"});
}

TEST_F(ClientVersion, ADevelopmentVersionIsNamedAsTheServerNamesIt) {
  make_ready();
  const std::uint64_t id = get_for(kRay240, "key");
  answer_version("3.0.0.dev0");
  EXPECT_EQ(ended(id).message(),
            "the server is Ray 3.0.0.dev0 now, and the request was made for Ray 2.40.0");
  get_for(3'000'000, "good");
  EXPECT_EQ(keys_in_flight(peer()), Keys{"good"});
}

TEST_F(ClientVersion, EveryLaterConnectionIsAskedWhenItIsReady) {
  make_ready();
  get_for(kRay240, "key");
  answer_version("2.40.0");
  peer().reply(stream_of(peer(), "key"), value_reply("v"));
  peer().lose();
  const std::uint64_t connecting = connect();
  wait_for_attempt();
  EXPECT_EQ(ended(connecting).status, Status::kOk) << "ready without the answer";
  EXPECT_EQ(questions(peer(1)), 1u);
  answer_version("2.40.0");
  get_for(kRay240, "later");
  EXPECT_EQ(keys_in_flight(peer()), Keys{"later"});
  EXPECT_EQ(questions(peer(1)), 1u);
}

TEST_F(ClientVersion, ACallThatIsSentAgainGoesToTheSameReleaseOnly) {
  make_ready();
  const std::uint64_t read = get_for(kRay240, "read");
  answer_version("2.40.0");
  reconnect();
  EXPECT_FALSE(has_ended(read));
  EXPECT_TRUE(keys_in_flight(peer()).empty()) << "not before the release is known again";
  answer_version("2.40.0");
  EXPECT_EQ(keys_in_flight(peer()), Keys{"read"});
  reconnect();
  answer_version("2.52.1");
  expect_mismatch(read, kFlagMaybeExecuted);
}

TEST_F(ClientVersion, AServerThatComesBackAsAnotherReleaseEndsWhatWaits) {
  options.on_cluster_change = OnClusterChange::kAdopt;
  make_ready();
  const std::uint64_t asked = call_for(kRay240, put_call("asked"));
  peer().lose();
  const std::uint64_t waiting = call_for(kRay240, put_call("waiting"));
  while (!peer().is_held()) loop().advance(100 * kMillisecond);
  accept(kClusterB);
  answer_version("2.52.1");
  expect_mismatch(asked);
  expect_mismatch(waiting);
}

// Behind a proxy that keeps the connection; it is whoever asks that finds out.
TEST_F(ClientVersion, EveryAnswerToCheckAliveTellsTheReleaseThatCallsGoTo) {
  make_ready();
  get_for(kRay240, "first");
  answer_version("2.40.0");
  const auto ask = [&](std::string_view release) {
    const std::uint64_t id =
        submit(Call::make(EventKind::kCall, *find_method(method::kCheckAlive)));
    answer_version(release);
    EXPECT_EQ(ended(id).status, Status::kOk);
  };
  ask("2.52.1");
  expect_mismatch(get_for(kRay240, "old"));
  get_for(kRay252, "new");
  EXPECT_EQ(keys_in_flight(peer()), (Keys{"first", "new"}));
  for (const char* none : {"", "nightly", "0.0.0"}) ask(none);
  get_for(kRay252, "newer");
  EXPECT_EQ(keys_in_flight(peer()), (Keys{"first", "new", "newer"}));
}

TEST_F(ClientVersion, UnderErrorANewClusterEndsWhatWaitsForTheRelease) {
  make_ready();
  const std::uint64_t id = get_for(kRay240, "key");
  peer().lose();
  loop().advance(kSecond);
  accept(kClusterB);
  EXPECT_EQ(ended(id).status, Status::kClusterChanged);
}

TEST_F(ClientVersion, AnotherClusterOnTheSameConnectionIsAskedAgain) {
  options.on_cluster_change = OnClusterChange::kAdopt;
  make_ready();
  get_for(kRay240, "first");
  answer_version("2.40.0");
  const std::uint64_t id = get_for(kRay240, "key");
  peer().refuse(stream_of(peer(), "key"), StatusCode::kUnauthenticated, "WrongClusterID: x");
  loop().run();
  answer_identity(kClusterB);
  EXPECT_EQ(questions(peer()), 2u);
  answer_version("2.52.1");
  expect_mismatch(id);
}

TEST_F(ClientVersion, TheQuestionItselfMayTellThatTheClusterIsAnother) {
  options.on_cluster_change = OnClusterChange::kAdopt;
  make_ready();
  get_for(kRay240, "key");
  peer().refuse(version_question(), StatusCode::kUnauthenticated, "WrongClusterID: x");
  loop().run();
  ASSERT_NE(question(), nullptr);
  answer_identity(kClusterB);
  EXPECT_EQ(version_question().header("ray_cluster_id"), kClusterB);
  answer_version("2.40.0");
  EXPECT_EQ(keys_in_flight(peer()), Keys{"key"});
}

TEST_F(ClientVersion, ARefusedTokenEndsWhatWaits) {
  options.token = "old";
  make_ready();
  const std::uint64_t id = get_for(kRay240, "key");
  peer().refuse(version_question(), StatusCode::kUnauthenticated, "InvalidAuthToken");
  loop().run();
  EXPECT_EQ(ended(id).status, grpc_status(16));
  EXPECT_EQ(ended(id).flags, kFlagAuth);
  EXPECT_NE(ended(id).message().find("InvalidAuthToken"), std::string_view::npos);
  get_for(kRay240, "next");
  EXPECT_TRUE(is_asked()) << "the next call asks again";
}

TEST_F(ClientVersion, AFailedQuestionIsAskedAgainWithinTheDeadline) {
  make_ready();
  const std::uint64_t id = get_for(kRay240, "key", 20 * kSecond);
  for (int i = 0; i < 5; ++i) {
    peer().refuse(version_question(), StatusCode::kUnavailable, "not now");
    for (int step = 0; step < 50 && !is_asked(); ++step) loop().advance(50 * kMillisecond);
  }
  answer_version("2.40.0");
  EXPECT_EQ(keys_in_flight(peer()), Keys{"key"});
  EXPECT_FALSE(has_ended(id));
}

TEST_F(ClientVersion, AServerThatNeverSaysItIsNotHammeredAndTheDeadlineSaysWhatFailed) {
  make_ready();
  peer().on_call = [](VirtualPeer& at, VirtualStream& stream) {
    if (stream.path == kCheckAlivePath) at.refuse(stream, StatusCode::kInternal, "broken");
  };
  const std::uint64_t id = get_for(kRay240, "key", 20 * kSecond);
  loop().advance(21 * kSecond);
  EXPECT_EQ(ended(id).status, Status::kDeadline);
  EXPECT_EQ(ended(id).flags, kFlagLocal | kFlagTimeout | kFlagRetryable) << "it never ran";
  EXPECT_NE(ended(id).message().find("broken"), std::string_view::npos) << ended(id).message();
  EXPECT_GT(questions(peer()), 10u);
  EXPECT_LT(questions(peer()), 200u);
}

TEST_F(ClientVersion, WhoDoesNotWaitIsToldThatTheQuestionFailed) {
  make_ready();
  auto call = get_call("key");
  call->wait_for_ready = 0;
  const std::uint64_t id = call_for(kRay240, std::move(call));
  peer().refuse(version_question(), StatusCode::kUnavailable, "not now");
  EXPECT_EQ(ended(id).status, Status::kUnavailable);
  EXPECT_EQ(ended(id).flags, kFlagLocal | kFlagRetryable);
  EXPECT_NE(ended(id).message().find("not now"), std::string_view::npos);
}

TEST_F(ClientVersion, AStatusOfRaysInTheAnswerIsAFailureOfTheQuestion) {
  make_ready();
  get_for(kRay240, "key");
  peer().reply(version_question(), status_reply(kRayGcsPassive, "passive"));
  loop().advance(kSecond);
  answer_version("2.40.0");
  EXPECT_EQ(keys_in_flight(peer()), Keys{"key"});
}

TEST_F(ClientVersion, AnAnswerThatNamesNoReleaseEndsWhatWaits) {
  make_ready();
  const std::string garbled("\xff\xff\xff", 3);
  for (const std::string& answer :
       {std::string(), alive_reply(""), alive_reply("nightly"), alive_reply("0.0.0"), garbled}) {
    const std::uint64_t id = get_for(kRay240, "key");
    peer().reply(version_question(), answer);
    EXPECT_EQ(ended(id).status, Status::kUnsupported);
    EXPECT_EQ(ended(id).flags, kFlagLocal);
    EXPECT_NE(ended(id).message().find("CheckAlive"), std::string_view::npos);
  }
}

TEST_F(ClientVersion, AVersionThatIsNoTextIsWrittenAsItsNumber) {
  make_ready();
  const std::uint64_t id = get_for(kRay240, "key");
  answer_version("2.52.1\xff");
  expect_mismatch(id);
}

TEST_F(ClientVersion, AServerWithoutTheMethodEndsWhatWaits) {
  make_ready();
  const std::uint64_t id = get_for(kRay240, "key");
  peer().refuse(version_question(), StatusCode::kUnimplemented, "");
  EXPECT_EQ(ended(id).status, Status::kUnsupported);
  EXPECT_EQ(ended(id).flags, kFlagLocal);
}

TEST_F(ClientVersion, AnUnansweredQuestionIsAskedAgain) {
  make_ready();
  const std::uint64_t id = get_for(kRay240, "key");
  for (int i = 0; i < 6; ++i) {
    loop().advance(kSecond);
    const std::uint64_t other = get("other");  // the server answers those
    loop().run();
    peer().reply(stream_of(peer(), "other"), value_reply("v"));
    EXPECT_EQ(ended(other).status, Status::kOk);
  }
  EXPECT_EQ(questions(peer()), 2u);
  answer_version("2.40.0");
  EXPECT_EQ(keys_in_flight(peer()), Keys{"key"});
  EXPECT_FALSE(has_ended(id));
}

TEST_F(ClientVersion, AnUnansweredQuestionLeavesTheDeadline) {
  make_ready();
  const std::uint64_t id = get_for(kRay240, "key", kSecond);
  loop().advance(2 * kSecond);
  EXPECT_EQ(ended(id).status, Status::kDeadline);
  EXPECT_EQ(ended(id).flags, kFlagLocal | kFlagTimeout | kFlagRetryable);
  EXPECT_EQ(ended(id).message(),
            "the call was not sent within 1 s: the server has not said which Ray it is");
}

TEST_F(ClientVersion, AnUnansweredQuestionMakesASilentConnectionSuspect) {
  make_ready();
  loop().advance(kSecond);
  get_for(kRay240, "key", 11 * kSecond);
  loop().advance(12 * kSecond);
  EXPECT_EQ(attempts(), 2u);
}

TEST_F(ClientVersion, ACallThatWaitsForTheReleaseCanBeCancelled) {
  make_ready();
  const std::uint64_t id = get_for(kRay240, "key");
  client->cancel(id);
  loop().run();
  EXPECT_EQ(ended(id).status, Status::kCancelled);
  EXPECT_EQ(ended(id).flags, kFlagLocal);
  answer_version("2.40.0");
  EXPECT_TRUE(keys_in_flight(peer()).empty());
}

TEST_F(ClientVersion, ACallThatWaitsForTheReleaseEndsWithTheClient) {
  make_ready();
  const std::uint64_t id = get_for(kRay240, "key");
  EXPECT_EQ(client->status().waiting.get(), 1u);
  client->close();
  loop().run();
  EXPECT_EQ(ended(id).status, Status::kClosed);
}

TEST_F(ClientVersion, ADrainingServerLeavesTheQuestionToTheNextOne) {
  make_ready();
  const std::uint64_t id = get_for(kRay240, "key");
  peer().go_away("maintenance");
  loop().advance(50 * kMillisecond);
  EXPECT_FALSE(peer(0).is_held()) << "nothing is left there";
  accept();
  answer_version("2.40.0");
  EXPECT_EQ(keys_in_flight(peer()), Keys{"key"});
  EXPECT_FALSE(has_ended(id));
}

TEST_F(ClientVersion, TheQuestionTakesTheRoomThatComesFirst) {
  make_client();
  get("first");
  loop().run();
  accept(kClusterA, 1);
  ASSERT_EQ(keys_in_flight(peer()), Keys{"first"});
  get_for(kRay240, "for one");
  get("second");
  loop().run();
  EXPECT_EQ(questions(peer()), 0u) << "there is no room";
  peer().reply(stream_of(peer(), "first"), value_reply("v"));
  EXPECT_TRUE(is_asked());
  answer_version("2.40.0");
  EXPECT_EQ(keys_in_flight(peer()).size(), 1u);
}

TEST_F(ClientVersion, AnswersAndCallsMayEndTogether) {
  make_ready();
  const std::uint64_t other = get("other");
  const std::uint64_t refused = put("refused");
  get_for(kRay240, "key");
  VirtualPeer& at = peer();
  at.finish(stream_of(at, "other"), {}, value_reply("v"));
  at.finish(version_question(), {}, alive_reply("2.40.0"));
  at.finish(stream_of(at, "refused"), {}, number_reply(1));
  at.tell();
  EXPECT_EQ(ended(other).status, Status::kOk);
  EXPECT_EQ(ended(refused).status, Status::kOk);
  EXPECT_EQ(keys_in_flight(at), Keys{"key"});
}

TEST_F(ClientVersion, WhatComesBetweenTheCallsAndTheAnswerWaitsForThatAnswer) {
  make_client();
  get("first");
  loop().run();
  accept(kClusterA, 2);
  const std::uint64_t gone = get_for(kRay240, "gone");
  client->cancel(gone);
  auto call = get_call("key");
  call->ray_version = kRay240;
  get("second");
  queue(std::move(call));
  loop().run();
  VirtualPeer& at = peer();
  // The call's turn comes when the first one has ended, just before the answer is looked at.
  at.finish(stream_of(at, "first"), {}, value_reply("v"));
  at.finish(
      version_question(),
      {StatusCode::kUnavailable, transport::Origin::kServer, Fate::kMayHaveRun, "not now", {}});
  at.tell();
  EXPECT_EQ(questions(at), 1u);
  loop().advance(kSecond);
  EXPECT_EQ(questions(at), 2u);
  answer_version("2.40.0");
  EXPECT_EQ(keys_in_flight(at), (Keys{"second", "key"}));
}

TEST_F(ClientVersion, ALostConnectionWithoutRetriesFailsThoseThatDoNotWait) {
  make_ready();
  auto call = get_call("key");
  call->wait_for_ready = 0;
  const std::uint64_t id = call_for(kRay240, std::move(call));
  refuse_from_now_on();
  peer().lose();
  loop().run();
  EXPECT_EQ(ended(id).status, Status::kUnavailable);
}

}  // namespace
}  // namespace gcs::test
