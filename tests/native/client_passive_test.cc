// SPDX-License-Identifier: Apache-2.0
//
// A GCS that is passive refuses calls without looking at them: who waits for a server waits for an
// active one, too, and nobody else is held up.
#include "client_fixture.h"

namespace gcs::test {
namespace {

constexpr std::int32_t kPassive = 38;
const std::string kPassiveText = "GCS server is in passive (read-only) mode.";

class ClientPassive : public ClientTest {
 protected:
  // Puts are refused, gets are answered.
  void be_passive() {
    peer().on_call = [this](VirtualPeer& at, VirtualStream& stream) {
      if (stream.path.ends_with("Put")) {
        ++refusals;
        at.reply(stream, status_reply(kPassive, kPassiveText));
      } else {
        at.reply(stream, value_reply("value"));
      }
    };
  }
  void be_active() {
    peer().on_call = [](VirtualPeer& at, VirtualStream& stream) {
      at.reply(stream, number_reply(1));
    };
  }
  int refusals = 0;
};

TEST_F(ClientPassive, AMutatingCallIsSentAgainUntilTheGcsIsActive) {
  make_ready();
  be_passive();
  const std::uint64_t id = put("key");
  loop().advance(20 * kSecond);
  EXPECT_FALSE(has_ended(id));
  EXPECT_GT(refusals, 10);
  EXPECT_LT(refusals, 200) << "a passive GCS is not hammered";
  be_active();
  loop().advance(3 * kSecond);
  EXPECT_EQ(ended(id).status, Status::kOk);
  EXPECT_EQ(ended(id).number, 1);
  EXPECT_EQ(ended(id).flags, 0u);
  EXPECT_TRUE(ended(id).message().empty());
}

TEST_F(ClientPassive, WhatItAnswersIsNotHeldUpByWhatItRefuses) {
  make_ready();
  be_passive();
  put("key");
  loop().advance(10 * kSecond);
  const std::uint64_t id = get("key");
  loop().run();
  EXPECT_EQ(ended(id).status, Status::kOk);
}

TEST_F(ClientPassive, ACallThatDoesNotWaitFailsAtOnceAndMayBeTriedAgain) {
  make_ready();
  be_passive();
  auto call = put_call("key");
  call->wait_for_ready = 0;
  const std::uint64_t id = submit(std::move(call));
  EXPECT_EQ(ended(id).status, ray_status(kPassive));
  EXPECT_EQ(ended(id).flags, kFlagRetryable);
  EXPECT_EQ(ended(id).message(), kPassiveText);
}

TEST_F(ClientPassive, TheDeadlineEndsTheWaitAndSaysWhatWasWaitedFor) {
  make_ready();
  be_passive();
  const std::uint64_t id = put("key", 5 * kSecond);
  loop().advance(6 * kSecond);
  EXPECT_TRUE(ended(id).status == Status::kDeadline);
  EXPECT_EQ(ended(id).flags, kFlagLocal | kFlagTimeout | kFlagRetryable) << "it never ran";
  EXPECT_NE(ended(id).message().find("passive (read-only)"), std::string_view::npos)
      << ended(id).message();
}

TEST_F(ClientPassive, TheOtherEncodingOfTheRefusalIsTheSame) {
  make_ready();
  int refused = 0;
  peer().on_call = [&](VirtualPeer& at, VirtualStream& stream) {
    if (++refused < 5) {
      at.refuse(stream, StatusCode::kAborted, "GcsPassive", "the GCS is passive");
    } else {
      at.reply(stream, number_reply(1));
    }
  };
  const std::uint64_t id = put("key");
  loop().advance(10 * kSecond);
  EXPECT_EQ(ended(id).status, Status::kOk);
}

TEST_F(ClientPassive, ACallThatIsHeldBackCanBeCancelled) {
  make_ready();
  be_passive();
  const std::uint64_t id = put("key");
  loop().advance(kSecond);
  client->cancel(id);
  loop().run();
  EXPECT_EQ(ended(id).status, Status::kCancelled);
  EXPECT_EQ(ended(id).flags, kFlagLocal);
}

TEST_F(ClientPassive, ACallThatIsHeldBackEndsWithTheClient) {
  make_ready();
  be_passive();
  const std::uint64_t id = put("key");
  loop().advance(10 * kSecond);
  client->close();
  loop().run();
  EXPECT_EQ(ended(id).status, Status::kClosed);
}

TEST_F(ClientPassive, ACallThatIsHeldBackGoesToTheNextConnection) {
  make_ready();
  be_passive();
  const std::uint64_t id = put("key");
  loop().advance(10 * kSecond);
  peer().lose();
  loop().run();
  accept();
  be_active();
  loop().advance(3 * kSecond);
  EXPECT_EQ(ended(id).status, Status::kOk);
}

TEST_F(ClientPassive, ACallThatIsHeldBackEndsWhenTheClusterChanges) {
  make_ready();
  be_passive();
  const std::uint64_t id = put("key");
  loop().advance(10 * kSecond);
  peer().lose();
  loop().run();
  accept(kClusterB);
  loop().advance(3 * kSecond);
  EXPECT_EQ(ended(id).status, Status::kClusterChanged);
}

TEST_F(ClientPassive, WhatAnEarlierSendingMayHaveDoneIsStillSaid) {
  make_ready();
  for (const std::int32_t code : {kPassive, 5}) {
    auto call = put_call("key");
    call->wait_for_ready = 0;
    call->retry = Retry::kAlways;
    const std::uint64_t id = submit(std::move(call));
    peer().refuse(stream_of(peer(), "key"), StatusCode::kUnavailable, "busy");
    loop().run();
    ASSERT_FALSE(has_ended(id));
    peer().reply(stream_of(peer(), "key"), status_reply(code, "not now"));
    EXPECT_EQ(ended(id).status, ray_status(code));
    EXPECT_TRUE(ended(id).flags & kFlagMaybeExecuted) << code;
  }
}

}  // namespace
}  // namespace gcs::test
