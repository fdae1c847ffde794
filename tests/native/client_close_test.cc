// SPDX-License-Identifier: Apache-2.0
//
// The end of a client: every call ends once, the terminal event is the last of all, and nothing is
// left behind.
#include <algorithm>

#include "client_fixture.h"

namespace gcs::test {
namespace {

class ClientClose : public ClientTest {
 protected:
  void close_now() {
    client->close();
    loop().run();
  }
  // Nothing is held and no timer runs any more.
  void expect_nothing_left() {
    for (const auto& at : connector().peers()) EXPECT_FALSE(at->is_held());
    EXPECT_EQ(loop().next_timer(), transport::kNever);
    const std::size_t before = sink.size();
    const std::size_t attempted = attempts();
    loop().advance(1'000 * kSecond);
    EXPECT_EQ(sink.size(), before);
    EXPECT_EQ(attempts(), attempted);
  }
};

TEST_F(ClientClose, WithTenThousandCallsPendingEachEndsOnce) {
  make_client();
  std::vector<std::uint64_t> ids;
  for (int i = 0; i < 10'000; ++i) ids.push_back(i % 2 == 0 ? get("key") : put("key"));
  loop().run();
  accept(kClusterA, 4'000);
  EXPECT_EQ(peer().open_streams().size(), 4'000u);
  close_now();
  std::size_t maybe_ran = 0;
  for (const auto& event : sink.events()) {
    if (event->kind != EventKind::kKvGet && event->kind != EventKind::kKvPut) continue;
    EXPECT_EQ(event->status, Status::kClosed);
    maybe_ran += (event->flags & kFlagMaybeExecuted) != 0;
  }
  EXPECT_EQ(maybe_ran, 4'000u);
  std::sort(ids.begin(), ids.end());
  std::vector<std::uint64_t> seen;
  for (const auto& event : sink.events()) {
    if (event->status == Status::kClosed) seen.push_back(event->id);
  }
  std::sort(seen.begin(), seen.end());
  EXPECT_EQ(seen, ids);
  EXPECT_EQ(sink.events().back()->kind, EventKind::kClientClosed);
  expect_nothing_left();
}

TEST_F(ClientClose, TheTerminalEventIsTheLastAndComesOnce) {
  make_ready();
  get("key");
  connect(kTimeoutNone);
  loop().run();
  close_now();
  close_now();
  ASSERT_FALSE(sink.events().empty());
  const Event& last = *sink.events().back();
  EXPECT_EQ(last.kind, EventKind::kClientClosed);
  EXPECT_EQ(last.id, kClientId);
  EXPECT_EQ(last.status, Status::kOk);
  EXPECT_EQ(states().back(), State::kClosed);
  expect_nothing_left();
}

TEST_F(ClientClose, ItIsNotCarriedOutInsideTheCall) {
  make_ready();
  client->close();
  EXPECT_FALSE(client->wait_closed(0));
  EXPECT_NE(client->state(), State::kClosed);
  loop().run();
  EXPECT_TRUE(client->wait_closed(0));
  EXPECT_EQ(client->state(), State::kClosed);
}

TEST_F(ClientClose, AnUnusedClientClosesWithoutAConnection) {
  make_client();
  close_now();
  EXPECT_EQ(attempts(), 0u);
  expect_nothing_left();
}

TEST_F(ClientClose, WhileConnecting) {
  make_client();
  const std::uint64_t id = connect();
  loop().run();
  close_now();
  EXPECT_EQ(ended(id).status, Status::kClosed);
  expect_nothing_left();
}

TEST_F(ClientClose, WhileAskingForTheCluster) {
  make_client();
  const std::uint64_t id = get("key");
  loop().run();
  peer().send_settings();
  loop().run();
  close_now();
  EXPECT_EQ(ended(id).status, Status::kClosed);
  EXPECT_EQ(ended(id).flags, kFlagLocal);
  expect_nothing_left();
}

TEST_F(ClientClose, WhileItStaysAwayFromTheServer) {
  make_client();
  const std::uint64_t id = get("key");
  loop().run();
  while (peer().is_held()) peer().lose(ConnectionError::Kind::kConnect, "refused");
  close_now();
  EXPECT_EQ(ended(id).status, Status::kClosed);
  expect_nothing_left();
}

TEST_F(ClientClose, WithADrainingConnection) {
  make_ready();
  const std::uint64_t id = get("key");
  loop().run();
  peer().go_away("maintenance");
  loop().run();
  close_now();
  EXPECT_EQ(ended(id).status, Status::kClosed);
  expect_nothing_left();
}

TEST_F(ClientClose, AfterAClusterChange) {
  make_ready();
  peer().lose();
  loop().advance(kSecond);
  accept(kClusterB);
  close_now();
  expect_nothing_left();
}

TEST_F(ClientClose, CallsAfterItEndAsClosed) {
  make_ready();
  close_now();
  const std::uint64_t id = get("key");
  EXPECT_FALSE(has_ended(id)) << "never inside the submission";
  loop().run();
  EXPECT_EQ(ended(id).status, Status::kClosed);
  EXPECT_EQ(ended(id).flags, kFlagLocal);
  EXPECT_NE(ended(id).message().find("closed"), std::string_view::npos);
  client->cancel(id);
  client->cancel_calls_of(SinkReference(&sink));
  loop().run();
}

TEST_F(ClientClose, CallsInTheSameBurstEndAsClosed) {
  make_ready();
  const std::uint64_t before = get("before");
  client->close();
  const std::uint64_t after = get("after");
  loop().run();
  EXPECT_EQ(ended(before).status, Status::kClosed);
  EXPECT_EQ(ended(after).status, Status::kClosed);
  EXPECT_EQ(sink.events().back()->kind, EventKind::kClientClosed);
}

TEST_F(ClientClose, ACallbackMayCloseAndSubmitToAClosedClient) {
  make_ready();
  const std::uint64_t id = get("key");
  std::uint64_t late = 0;
  sink.on_event = [&](const Event& event) {
    if (event.id == id) client->close();
    if (event.kind == EventKind::kClientClosed && late == 0) late = get("late");
  };
  loop().run();
  peer().reply(stream_of(peer(), "key"), value_reply("v"));
  loop().run();
  EXPECT_EQ(ended(id).status, Status::kOk);
  EXPECT_EQ(ended(late).status, Status::kClosed);
}

TEST_F(ClientClose, WithoutAnEventSinkThereAreNoEventsButThoseOfCalls) {
  options.event_sink = {};
  make_ready();
  const std::uint64_t id = get("key");
  loop().run();
  close_now();
  EXPECT_EQ(ended(id).status, Status::kClosed);
  EXPECT_EQ(sink.size(), 2u) << "the connect and the get";
}

TEST_F(ClientClose, TheProcessCanCloseEveryClient) {
  make_ready();
  const std::uint64_t id = get("key");
  loop().run();
  EXPECT_TRUE(Runtime::shutdown(0)) << "no thread of the library runs here";
  loop().run();
  EXPECT_EQ(ended(id).status, Status::kClosed);
  EXPECT_TRUE(client->wait_closed(0));
}

TEST_F(ClientClose, AClientThatWasDroppedUnclosedLivesUntilItIsClosed) {
  make_ready();
  const std::uint64_t id = get("key");
  loop().run();
  GcsClient* const raw = client.get();
  std::shared_ptr<GcsClient> kept;
  client.swap(kept);
  const std::weak_ptr<GcsClient> observed = kept;
  kept.reset();
  EXPECT_FALSE(observed.expired()) << "the I/O thread uses it";
  peer().reply(stream_of(peer(), "key"), value_reply("v"));
  EXPECT_EQ(ended(id).status, Status::kOk);
  raw->close();
  loop().run();
  EXPECT_TRUE(observed.expired());
}

}  // namespace
}  // namespace gcs::test
