// SPDX-License-Identifier: Apache-2.0
//
// What a client holds is bounded, and whoever goes over the bound is told at once.
#include <atomic>
#include <thread>

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
  static std::unique_ptr<Call> put_large(std::size_t size) {
    const std::string value(size, 'x');
    auto made = kv::put(bytes_of("ns"), bytes_of("key"), bytes_of(value), true);
    EXPECT_TRUE(made.call);
    return std::move(made.call);
  }
  // Why one more is refused.
  Refusal one_more(std::unique_ptr<Call> call = get_call("one more")) {
    return client->admit(*call);
  }
};

TEST_F(ClientLimits, OneCallMoreThanMaxPendingCallsIsRefusedAtOnce) {
  options.max_pending_calls = 3;
  make_ready();
  take_everything();
  for (int i = 0; i < 3; ++i) submit(get_call("key"));
  const Refusal refused = one_more();
  EXPECT_EQ(refused.status, Status::kLimit);
  EXPECT_EQ(refused.flags, kFlagLocal | kFlagRetryable);
  EXPECT_NE(refused.message.find("max_pending_calls, 3"), std::string::npos) << refused.message;
  EXPECT_EQ(client->pending().calls(), 3u);
  EXPECT_EQ(client->pending().refused(), 1u);
}

TEST_F(ClientLimits, ACallCountsUntilItsEventIsTaken) {
  options.max_pending_calls = 1;
  make_ready();
  take_everything();
  const std::uint64_t first = submit(get_call("first"));
  peer().reply(stream_of(peer(), "first"), value_reply("value"));
  EXPECT_EQ(ended(first).status, Status::kOk);
  EXPECT_EQ(one_more().status, Status::kLimit);
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
  const std::uint64_t first = submit(put_large(60'000));
  EXPECT_FALSE(has_ended(first));
  EXPECT_GT(client->pending().bytes(), 60'000u);
  const Refusal refused = one_more(put_large(60'000));
  EXPECT_EQ(refused.status, Status::kLimit);
  EXPECT_NE(refused.message.find("max_pending_bytes, 100000"), std::string::npos)
      << refused.message;
  EXPECT_FALSE(has_ended(submit(put_large(30'000))));
  EXPECT_FALSE(has_ended(submit(get_call("small")))) << "what lies inside the call costs none";
  client->cancel(first);
  loop().run();
  take_everything();
  EXPECT_LT(client->pending().bytes(), 40'000u);
}

TEST_F(ClientLimits, ARequestLargerThanTheBoundIsRefusedEvenWhenNothingIsPending) {
  options.max_pending_bytes = 1'000;
  make_ready();
  take_everything();
  EXPECT_EQ(one_more(put_large(2'000)).status, Status::kLimit);
  EXPECT_EQ(client->pending().calls(), 0u);
  EXPECT_EQ(client->pending().bytes(), 0u);
}

TEST_F(ClientLimits, WhatWaitsForAConnectionCountsToo) {
  options.max_pending_calls = 5;
  make_client();
  for (int i = 0; i < 5; ++i) submit(get_call("key"));
  EXPECT_EQ(one_more().status, Status::kLimit);
}

// The I/O thread may be busy with a callback: what is on its way to it is bounded, too.
TEST_F(ClientLimits, WhatTheIoThreadHasNotSeenYetCountsToo) {
  options.max_pending_calls = 5;
  make_ready();
  take_everything();
  for (int i = 0; i < 5; ++i) queue(get_call("key"));
  EXPECT_EQ(one_more().status, Status::kLimit);
  EXPECT_TRUE(peer().open_streams().empty());
}

TEST_F(ClientLimits, ThreadsTogetherNeverGetMoreThanTheBound) {
  constexpr std::uint64_t kBound = 100;
  options.max_pending_calls = kBound;
  options.max_pending_bytes = kBound * 1'000;
  make_client();
  std::vector<std::unique_ptr<Call>> calls(4 * kBound);
  for (auto& call : calls) call = put_large(900);
  std::atomic<std::uint64_t> admitted{0};
  std::vector<std::thread> threads;
  for (std::size_t first = 0; first < 4; ++first) {
    threads.emplace_back([&, first] {
      for (std::size_t i = first; i < calls.size(); i += 4)
        admitted += client->admit(*calls[i]) ? 0 : 1;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_LE(admitted, kBound);
  EXPECT_GT(admitted, kBound - 4) << "calls that are being refused may take a place for a moment";
  EXPECT_EQ(client->pending().calls(), admitted);
  EXPECT_EQ(client->pending().refused(), calls.size() - admitted);
  calls.clear();
  EXPECT_EQ(client->pending().calls(), 0u);
  EXPECT_EQ(client->pending().bytes(), 0u);
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
