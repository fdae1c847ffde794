// SPDX-License-Identifier: Apache-2.0
//
// A connection from which nothing comes while calls expire is not trusted with new ones.
#include "client_fixture.h"

namespace gcs::test {
namespace {

class ClientSuspect : public ClientTest {
 protected:
  // One call after the other, each of which expires after a second.
  void let_expire(int calls) {
    for (int i = 0; i < calls; ++i) {
      const std::uint64_t id = get("key", kSecond);
      loop().advance(kSecond);
      EXPECT_EQ(ended(id).status, Status::kDeadline);
    }
  }
};

TEST_F(ClientSuspect, TenSilentSecondsOfExpiringCallsLeadToASecondConnection) {
  make_ready();
  let_expire(9);
  EXPECT_EQ(attempts(), 1u);
  let_expire(2);
  loop().advance(50 * kMillisecond);
  ASSERT_EQ(attempts(), 2u);
  accept();
  const std::uint64_t id = get("key");
  loop().run();
  peer().reply(stream_of(peer(), "key"), value_reply("value"));
  EXPECT_EQ(ended(id).status, Status::kOk);
  EXPECT_EQ(client->state(), State::kReady);
}

TEST_F(ClientSuspect, CallsOnTheSilentConnectionMayStillBeAnswered) {
  make_ready();
  const std::uint64_t slow = get("slow", 60 * kSecond);
  loop().run();
  let_expire(12);
  ASSERT_EQ(attempts(), 2u);
  accept();
  EXPECT_FALSE(has_ended(slow));
  peer(0).reply(stream_of(peer(0), "slow"), value_reply("value"));
  EXPECT_EQ(ended(slow).status, Status::kOk);
}

TEST_F(ClientSuspect, TheSilentConnectionIsClosedWhenNothingIsLeftOnIt) {
  make_ready();
  const std::uint64_t slow = get("slow", 30 * kSecond);
  loop().run();
  let_expire(12);
  accept();
  EXPECT_TRUE(peer(0).is_held());
  loop().advance(30 * kSecond);
  EXPECT_EQ(ended(slow).status, Status::kDeadline);
  EXPECT_FALSE(peer(0).is_held());
  EXPECT_EQ(attempts(), 2u);
}

TEST_F(ClientSuspect, AnythingReceivedKeepsTheTrust) {
  make_ready();
  for (int i = 0; i < 10; ++i) {
    let_expire(5);
    const std::uint64_t id = get("answered");
    loop().run();
    peer().reply(stream_of(peer(), "answered"), value_reply("value"));
    EXPECT_EQ(ended(id).status, Status::kOk);
  }
  EXPECT_EQ(attempts(), 1u);
}

TEST_F(ClientSuspect, AnIdleConnectionIsNotASilentOne) {
  make_ready();
  loop().advance(600 * kSecond);
  let_expire(1);
  EXPECT_EQ(attempts(), 1u);
}

TEST_F(ClientSuspect, ACallThatExpiresBeforeItWasSentSaysNothingAboutTheConnection) {
  make_ready();
  peer().set_writable(false);
  for (int i = 0; i < 20; ++i) {
    get("key", kSecond);
    loop().advance(kSecond);
  }
  EXPECT_EQ(attempts(), 1u);
}

TEST_F(ClientSuspect, AServerThatIsSilentAltogetherIsWaitedFor) {
  make_ready();
  let_expire(12);
  const std::uint64_t id = get("key", 300 * kSecond);
  loop().advance(120 * kSecond);
  EXPECT_FALSE(has_ended(id));
  EXPECT_LT(attempts(), 60u);
  for (int i = 0; i < 100 && !peer().is_held(); ++i) loop().advance(50 * kMillisecond);
  accept();
  loop().run();
  peer().reply(stream_of(peer(), "key"), value_reply("value"));
  EXPECT_EQ(ended(id).status, Status::kOk);
}

}  // namespace
}  // namespace gcs::test
