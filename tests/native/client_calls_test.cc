// SPDX-License-Identifier: Apache-2.0
//
// Calls on their way through a client: they wait for a connection, leave in order, end exactly once, and never later
// than their deadline.
#include "client_fixture.h"

namespace gcs::test {
namespace {

using ClientCalls = ClientTest;

TEST_F(ClientCalls, NothingIsConnectedBeforeTheFirstCall) {
  make_client();
  loop().run();
  EXPECT_EQ(attempts(), 0u);
  EXPECT_EQ(client->state(), State::kIdle);
}

TEST_F(ClientCalls, ACallWaitsForTheConnectionAndGetsItsReply) {
  make_client();
  const std::uint64_t id = get("key");
  loop().run();
  ASSERT_EQ(attempts(), 1u);
  EXPECT_TRUE(peer().streams().empty());
  accept();
  EXPECT_EQ(keys_in_flight(peer()), (std::vector<std::string>{"key"}));
  peer().reply(stream_of(peer(), "key"), value_reply("value"));
  EXPECT_EQ(ended(id).status, Status::kOk);
  EXPECT_EQ(text_of(ended(id).body()), "value");
  EXPECT_EQ(ended(id).flags, 0u);
  EXPECT_EQ(ended(id).message(), "");
}

TEST_F(ClientCalls, ADuplicateIdIsRefusedAndTheFirstCallGoesOn) {
  make_ready();
  auto first = get_call("first");
  const std::uint64_t id = submit(std::move(first));
  auto second = get_call("second");
  second->id = id;
  submit(std::move(second));
  EXPECT_EQ(keys_in_flight(peer()), (std::vector<std::string>{"first"}));
  ASSERT_EQ(sink.count(id), 1u);
  EXPECT_EQ(ended(id).status, Status::kInvalidArgument);
  EXPECT_NE(ended(id).message().find("in use"), std::string_view::npos);
  peer().reply(stream_of(peer(), "first"), value_reply("v"));
  ASSERT_EQ(sink.count(id), 2u);
  EXPECT_EQ(sink.events().back()->status, Status::kOk);
}

}  // namespace
}  // namespace gcs::test
