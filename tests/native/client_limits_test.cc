// SPDX-License-Identifier: Apache-2.0
//
// What a client holds is bounded, and whoever goes over the bound is told at once.
#include "client_fixture.h"
#include "shim/objects.h"

namespace gcs::test {
namespace {

class ClientLimits : public ClientTest {
 protected:
  // As the application takes an event.
  void take_everything() {
    for (const auto& event : sink.events()) event->handed_over();
  }
  std::uint64_t put_large(std::size_t size) {
    const std::string value(size, 'x');
    auto made = kv::put(bytes_of("ns"), bytes_of("key"), bytes_of(value), true);
    EXPECT_TRUE(made.call);
    return submit(std::move(made.call));
  }
};

TEST_F(ClientLimits, OneCallMoreThanMaxPendingCallsEndsAtOnce) {
  options.max_pending_calls = 3;
  make_ready();
  take_everything();
  for (int i = 0; i < 3; ++i) submit(get_call("key"));
  const std::uint64_t id = submit(get_call("one more"));
  EXPECT_EQ(ended(id).status, Status::kLimit);
  EXPECT_EQ(ended(id).flags, kFlagLocal | kFlagRetryable);
  EXPECT_NE(ended(id).message().find("max_pending_calls, 3"), std::string_view::npos)
      << ended(id).message();
  EXPECT_EQ(client->pending().calls(), 3u);
}

TEST_F(ClientLimits, ACallCountsUntilItsEventIsTaken) {
  options.max_pending_calls = 1;
  make_ready();
  take_everything();
  const std::uint64_t first = submit(get_call("first"));
  peer().reply(stream_of(peer(), "first"), value_reply("value"));
  EXPECT_EQ(ended(first).status, Status::kOk);
  EXPECT_EQ(ended(submit(get_call("second"))).status, Status::kLimit);
  take_everything();
  const std::uint64_t third = submit(get_call("third"));
  EXPECT_FALSE(has_ended(third));
}

TEST_F(ClientLimits, AnEventThatIsDestroyedCountsNoMore) {
  options.max_pending_calls = 10;
  make_ready();
  take_everything();
  std::vector<std::uint64_t> ids;
  for (int i = 0; i < 10; ++i) ids.push_back(submit(get_call("key")));
  for (const std::uint64_t id : ids) client->cancel(id);
  loop().run();
  EXPECT_EQ(client->pending().calls(), 10u);
  take_everything();
  EXPECT_EQ(client->pending().calls(), 0u);
}

TEST_F(ClientLimits, RequestsCountInBytes) {
  options.max_pending_bytes = 100'000;
  make_ready();
  const std::uint64_t first = put_large(60'000);
  EXPECT_FALSE(has_ended(first));
  EXPECT_GT(client->pending().bytes(), 60'000u);
  const std::uint64_t second = put_large(60'000);
  EXPECT_EQ(ended(second).status, Status::kLimit);
  EXPECT_NE(ended(second).message().find("max_pending_bytes, 100000"), std::string_view::npos)
      << ended(second).message();
  EXPECT_FALSE(has_ended(put_large(30'000)));
  EXPECT_FALSE(has_ended(submit(get_call("small")))) << "what lies inside the call costs none";
  client->cancel(first);
  loop().run();
  take_everything();
  EXPECT_LT(client->pending().bytes(), 40'000u);
}

TEST_F(ClientLimits, ARequestLargerThanTheBoundIsRefusedEvenWhenNothingIsPending) {
  options.max_pending_bytes = 1'000;
  make_ready();
  EXPECT_EQ(ended(put_large(2'000)).status, Status::kLimit);
  EXPECT_EQ(client->pending().bytes(), 0u);
}

TEST_F(ClientLimits, WhatWaitsForAConnectionCountsToo) {
  options.max_pending_calls = 5;
  make_client();
  for (int i = 0; i < 5; ++i) submit(get_call("key"));
  EXPECT_EQ(ended(submit(get_call("one more"))).status, Status::kLimit);
}

TEST_F(ClientLimits, AnEventMayBeTakenWhenTheClientHasGone) {
  make_ready();
  submit(get_call("key"));
  client->close();
  loop().run();
  client.reset();
  take_everything();
}

}  // namespace
}  // namespace gcs::test
