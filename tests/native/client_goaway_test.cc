// SPDX-License-Identifier: Apache-2.0
//
// A server that asks to reconnect (GOAWAY): what it has taken may finish, everything else goes over
// a second connection, and nothing of the first is left.
#include "client_fixture.h"

namespace gcs::test {
namespace {

using Keys = std::vector<std::string>;
using ClientGoAway = ClientTest;

TEST_F(ClientGoAway, AfterGoAwayOldCallsFinishAndNewOnesTakeASecondConnection) {
  make_ready();
  const std::uint64_t old_call = put("old");
  loop().run();
  peer().go_away("maintenance");
  loop().advance(50 * kMillisecond);
  ASSERT_EQ(attempts(), 2u);
  EXPECT_TRUE(peer(0).is_held());
  const std::uint64_t new_call = put("new");
  loop().run();
  accept();
  EXPECT_EQ(keys_in_flight(peer(1)), Keys{"new"});
  peer(1).reply(stream_of(peer(1), "new"), number_reply(1));
  EXPECT_EQ(ended(new_call).status, Status::kOk);
  peer(0).reply(stream_of(peer(0), "old"), number_reply(1));
  EXPECT_EQ(ended(old_call).status, Status::kOk);
  EXPECT_FALSE(peer(0).is_held()) << "a drained connection goes";
  EXPECT_TRUE(peer(1).is_held());
  EXPECT_EQ(attempts(), 2u);
}

TEST_F(ClientGoAway, CallsThatGoAwayLeftOutAreSentOnTheSecondConnectionWhateverTheMethod) {
  make_ready();
  const std::uint64_t taken = put("taken");
  const std::uint64_t left = put("left");
  loop().run();
  peer().go_away("maintenance", 1);
  loop().advance(50 * kMillisecond);
  EXPECT_EQ(keys_in_flight(peer(0)), Keys{"taken"});
  accept();
  EXPECT_EQ(keys_in_flight(peer(1)), Keys{"left"});
  peer(1).reply(stream_of(peer(1), "left"), number_reply(1));
  peer(0).reply(stream_of(peer(0), "taken"), number_reply(1));
  EXPECT_EQ(ended(taken).status, Status::kOk);
  EXPECT_EQ(ended(left).status, Status::kOk);
}

TEST_F(ClientGoAway, CallsOnADrainingConnectionCanBeCancelledAndExpire) {
  make_ready();
  const std::uint64_t cancelled = get("cancelled");
  const std::uint64_t expires = get("expires", kSecond);
  loop().run();
  peer().go_away("maintenance");
  loop().advance(50 * kMillisecond);
  accept();
  client->cancel(cancelled);
  loop().run();
  EXPECT_EQ(ended(cancelled).status, Status::kCancelled);
  EXPECT_TRUE(peer(0).is_held());
  loop().advance(kSecond);
  EXPECT_EQ(ended(expires).status, Status::kDeadline);
  EXPECT_FALSE(peer(0).is_held());
}

TEST_F(ClientGoAway, WhatADrainingConnectionLosesIsSentAgainEvenIfTheSecondFailed) {
  make_ready();
  const std::uint64_t id = get("key");
  loop().run();
  refuse_from_now_on();
  peer().go_away("maintenance");
  loop().advance(10 * kSecond);
  EXPECT_TRUE(peer(0).is_held());
  answer_from_now_on();
  peer(0).lose();
  loop().advance(5 * kSecond);
  EXPECT_EQ(ended(id).status, Status::kOk);
}

TEST_F(ClientGoAway, AGoAwayInTheMiddleOfTheQuestionLeadsToAnotherConnection) {
  make_client();
  const std::uint64_t id = get("key");
  loop().run();
  peer().send_settings();
  loop().run();
  answer_from_now_on();
  peer().go_away("maintenance");
  loop().advance(3 * kSecond);
  EXPECT_EQ(ended(id).status, Status::kOk);
  peer(0).lose();
  loop().run();
  EXPECT_FALSE(peer(0).is_held());
}

TEST_F(ClientGoAway, ARefusedQuestionBeforeGoAwayLeadsToAnotherConnection) {
  make_client();
  const std::uint64_t id = get("key");
  loop().run();
  peer().send_settings();
  loop().run();
  answer_from_now_on();
  peer().go_away("maintenance", 0);
  loop().advance(3 * kSecond);
  EXPECT_EQ(ended(id).status, Status::kOk);
}

// The peer of the old connection may never answer, and never close.
TEST_F(ClientGoAway, AConnectionThatGoesAwayBeforeItWasIdentifiedIsDropped) {
  make_client();
  get("key", kTimeoutNone);
  loop().run();
  for (int round = 0; round < 5; ++round) {
    VirtualPeer& at = peer();
    at.send_settings();
    loop().run();
    ASSERT_EQ(at.streams().size(), 1u) << "the question";
    at.go_away("maintenance");
    loop().run();
    EXPECT_FALSE(at.is_held()) << "round " << round;
    loop().advance(3 * kSecond);
  }
}

TEST_F(ClientGoAway, AConnectionThatWasNeverReadyIsNotSaidToBeLost) {
  make_client();
  get("key", kTimeoutNone);
  loop().run();
  for (int i = 0; i < 3; ++i) {
    peer().send_settings();
    loop().run();
    peer().go_away("maintenance");
    loop().advance(3 * kSecond);
  }
  EXPECT_EQ(client->status().disconnects.get(), 0u);
  EXPECT_EQ(client->status().last_disconnect(), "");
  EXPECT_NE(client->status().last_connect_error(), "");
  EXPECT_EQ(client->state(), State::kConnecting);
}

TEST_F(ClientGoAway, WhoDoesNotWaitIsToldAtOnce) {
  make_client();
  connect();
  loop().run();
  accept(kClusterA, 1);
  auto given_back = put_call("given back");
  given_back->wait_for_ready = 0;
  const std::uint64_t first = submit(std::move(given_back));
  auto waiting = put_call("waits for room");
  waiting->wait_for_ready = 0;
  const std::uint64_t second = submit(std::move(waiting));
  ASSERT_FALSE(has_ended(first));
  ASSERT_FALSE(has_ended(second));
  peer().go_away("maintenance", 0);
  loop().advance(kSecond);  // the second connection is not answered
  for (const std::uint64_t id : {first, second}) {
    EXPECT_EQ(ended(id).status, Status::kUnavailable);
    EXPECT_EQ(ended(id).flags, kFlagLocal | kFlagRetryable);
  }
}

TEST_F(ClientGoAway, ManyGoAwaysLeaveNothingBehind) {
  make_ready();
  answer_from_now_on();
  for (int round = 0; round < 20; ++round) {
    peer().on_call = nullptr;
    const std::uint64_t id = get("key" + std::to_string(round));
    loop().run();
    VirtualPeer& old = peer();
    old.go_away("round");
    loop().advance(3 * kSecond);
    ASSERT_EQ(client->state(), State::kReady) << "round " << round;
    old.reply(stream_of(old, "key" + std::to_string(round)), value_reply("v"));
    EXPECT_EQ(ended(id).status, Status::kOk);
    EXPECT_FALSE(old.is_held());
  }
}

}  // namespace
}  // namespace gcs::test
