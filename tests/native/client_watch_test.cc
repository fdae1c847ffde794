// SPDX-License-Identifier: Apache-2.0
//
// Who watches a client's state gets the present one and every change, until the end.
#include "client_fixture.h"

namespace gcs::test {
namespace {

using ClientWatch = ClientTest;

TEST_F(ClientWatch, AWatchGetsThePresentStateAndEveryChangeUntilItIsCancelled) {
  make_client();
  RecordingSink changes;
  auto watch = Call::make(EventKind::kState, *find_method(method::kGetClusterId));
  watch->sink = SinkReference(&changes);
  watch->timeout = kTimeoutNone;
  const std::uint64_t id = submit(std::move(watch));
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

TEST_F(ClientWatch, AWatchEndsWithTheClient) {
  make_ready();
  RecordingSink changes;
  auto watch = Call::make(EventKind::kState, *find_method(method::kGetClusterId));
  watch->sink = SinkReference(&changes);
  watch->timeout = kTimeoutNone;
  submit(std::move(watch));
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
