// SPDX-License-Identifier: Apache-2.0
//
// Calls on their way through a client: they wait for a connection, leave in order, and end exactly
// once.
#include "client_fixture.h"

namespace gcs::test {
namespace {

using ClientCalls = ClientTest;
using Keys = std::vector<std::string>;

TEST_F(ClientCalls, NothingIsConnectedBeforeTheFirstCall) {
  make_client();
  loop().advance(100 * kSecond);
  EXPECT_EQ(attempts(), 0u);
  EXPECT_EQ(client->state(), State::kIdle);
}

TEST_F(ClientCalls, ACallWaitsForTheConnectionAndGetsItsReply) {
  make_client();
  const std::uint64_t id = get("key");
  loop().run();
  ASSERT_EQ(attempts(), 1u);
  EXPECT_EQ(peer().address(), kAddress);
  EXPECT_TRUE(peer().streams().empty()) << "before SETTINGS nothing may be sent";
  accept();
  EXPECT_EQ(keys_in_flight(peer()), Keys{"key"});
  peer().reply(stream_of(peer(), "key"), value_reply("value"));
  EXPECT_EQ(ended(id).status, Status::kOk);
  EXPECT_EQ(text_of(ended(id).body()), "value");
  EXPECT_EQ(ended(id).kind, EventKind::kKvGet);
  EXPECT_EQ(ended(id).flags, 0u);
  EXPECT_EQ(ended(id).message(), "");
}

TEST_F(ClientCalls, WaitingCallsLeaveInTheOrderOfTheirSubmission) {
  make_client();
  Keys keys;
  for (int i = 0; i < 50; ++i) {
    keys.push_back("key" + std::to_string(i));
    get(keys.back());
    if (i % 7 == 0) loop().run();
  }
  loop().run();
  accept();
  EXPECT_EQ(keys_in_flight(peer()), keys);
}

TEST_F(ClientCalls, ABurstIsOneWakeUpAndOneWrite) {
  make_ready();
  const std::uint64_t flushes = peer().flushes();
  const std::uint64_t turns = loop().turns();
  for (int i = 0; i < 50; ++i) get("key" + std::to_string(i));
  loop().run();
  EXPECT_EQ(keys_in_flight(peer()).size(), 50u);
  EXPECT_EQ(peer().flushes(), flushes + 1);
  // The client's, and the one in which the peer looks at what it got.
  EXPECT_LE(loop().turns(), turns + 2);
}

TEST_F(ClientCalls, CallsBeyondTheStreamLimitWaitForRoomInOrder) {
  make_client();
  for (const char* key : {"a", "b", "c", "d"}) get(key);
  loop().run();
  accept(kClusterA, 2);
  EXPECT_EQ(keys_in_flight(peer()), (Keys{"a", "b"}));
  get("e");
  loop().run();
  peer().reply(stream_of(peer(), "b"), value_reply(""));
  EXPECT_EQ(keys_in_flight(peer()), (Keys{"a", "c"}));
  peer().set_stream_limit(4);
  EXPECT_EQ(keys_in_flight(peer()), (Keys{"a", "c", "d", "e"}));
}

TEST_F(ClientCalls, ACancelledCallMakesRoomForTheNext) {
  make_client();
  const std::uint64_t first = get("a");
  get("b");
  loop().run();
  accept(kClusterA, 1);
  EXPECT_EQ(keys_in_flight(peer()), Keys{"a"});
  client->cancel(first);
  loop().run();
  EXPECT_EQ(keys_in_flight(peer()), Keys{"b"});
}

TEST_F(ClientCalls, CallsThatDoNotFitIntoTheOutputWait) {
  make_ready();
  peer().set_writable(false);
  get("a");
  loop().run();
  EXPECT_TRUE(keys_in_flight(peer()).empty());
  peer().set_writable(true);
  EXPECT_EQ(keys_in_flight(peer()), Keys{"a"});
}

TEST_F(ClientCalls, AConnectEndsAsSoonAsTheClientIsReady) {
  make_client();
  const std::uint64_t before = connect();
  loop().run();
  EXPECT_FALSE(has_ended(before));
  accept();
  EXPECT_EQ(ended(before).status, Status::kOk);
  EXPECT_EQ(ended(before).kind, EventKind::kConnect);
  const std::uint64_t after = connect();
  loop().run();
  EXPECT_EQ(ended(after).status, Status::kOk);
  EXPECT_EQ(peer().streams().size(), 1u) << "a connect is not sent";
}

TEST_F(ClientCalls, CancelEndsACallThatWaits) {
  make_client();
  const std::uint64_t id = get("key");
  loop().run();
  client->cancel(id);
  loop().run();
  EXPECT_EQ(ended(id).status, Status::kCancelled);
  EXPECT_EQ(ended(id).flags, kFlagLocal);
  accept();
  EXPECT_TRUE(keys_in_flight(peer()).empty());
}

TEST_F(ClientCalls, CancelEndsACallInFlightAndItsStream) {
  make_ready();
  const std::uint64_t id = get("key");
  const std::uint64_t other = get("other");
  loop().run();
  VirtualStream& stream = stream_of(peer(), "key");
  client->cancel(id);
  client->cancel(id);
  loop().run();
  EXPECT_EQ(ended(id).status, Status::kCancelled);
  EXPECT_EQ(ended(id).flags, kFlagLocal | kFlagMaybeExecuted);
  EXPECT_TRUE(stream.cancelled);
  EXPECT_FALSE(has_ended(other));
}

TEST_F(ClientCalls, CancelOfAnUnknownOrEndedCallDoesNothing) {
  make_ready();
  const std::uint64_t id = get("key");
  loop().run();
  client->cancel(0);
  client->cancel(id + 1'000'000);
  loop().run();
  EXPECT_FALSE(has_ended(id));
  peer().reply(stream_of(peer(), "key"), value_reply("v"));
  client->cancel(id);
  loop().run();
  EXPECT_EQ(ended(id).status, Status::kOk);
}

TEST_F(ClientCalls, ACancelInTheBurstOfItsCallCancelsIt) {
  make_ready();
  const std::uint64_t id = get("key");
  client->cancel(id);
  loop().run();
  EXPECT_EQ(ended(id).status, Status::kCancelled);
  EXPECT_TRUE(keys_in_flight(peer()).empty());
}

TEST_F(ClientCalls, CancelCallsOfASinkEndsItsCallsAndNoOthers) {
  make_client();
  RecordingSink other;
  std::vector<std::uint64_t> mine, others;
  for (int i = 0; i < 200; ++i) {
    auto call = get_call("key" + std::to_string(i));
    if (i % 2 == 0) call->sink = SinkReference(&other);
    (i % 2 == 0 ? others : mine).push_back(queue(std::move(call)));
  }
  loop().run();
  accept(kClusterA, 100);
  client->cancel_calls_of(SinkReference(&other));
  loop().run();
  for (const std::uint64_t id : mine) EXPECT_FALSE(has_ended(id));
  for (const std::uint64_t id : others) EXPECT_EQ(other.count(id), 1u);
  for (const auto& event : other.events()) EXPECT_EQ(event->status, Status::kCancelled);
  EXPECT_EQ(keys_in_flight(peer()).size(), 100u) << "all that remain";
  EXPECT_TRUE(other.give_up());
}

TEST_F(ClientCalls, TheProcessCanCancelASinksCallsOnAllClients) {
  make_ready();
  const std::uint64_t id = get("key");
  loop().run();
  Runtime::cancel_calls_of(sink);
  loop().run();
  EXPECT_EQ(ended(id).status, Status::kCancelled);
}

TEST_F(ClientCalls, ADuplicateIdIsRefusedAndTheFirstCallGoesOn) {
  make_ready();
  const std::uint64_t id = submit(get_call("first"));
  auto second = get_call("second");
  second->id = id;
  submit(std::move(second));
  EXPECT_EQ(keys_in_flight(peer()), Keys{"first"});
  ASSERT_EQ(sink.count(id), 1u);
  EXPECT_EQ(ended(id).status, Status::kInvalidArgument);
  EXPECT_NE(ended(id).message().find("in use"), std::string_view::npos);
  peer().reply(stream_of(peer(), "first"), value_reply("v"));
  ASSERT_EQ(sink.count(id), 2u);
  EXPECT_EQ(sink.events().back()->status, Status::kOk);
}

TEST_F(ClientCalls, AMessageOverTheLimitIsRefusedBeforeItIsSent) {
  options.max_send_message = 1'000;
  make_ready();
  const auto raw = [](std::size_t size) {
    auto call = Call::make_by_path("/ray.rpc.Some/Method");
    call->copy_request(std::vector<std::uint8_t>(size, 0));
    return call;
  };
  const std::uint64_t over = submit(raw(1'001));
  EXPECT_EQ(ended(over).status, Status::kLimit);
  EXPECT_EQ(ended(over).flags, kFlagLocal);
  EXPECT_NE(ended(over).message().find("1001"), std::string_view::npos) << ended(over).message();
  EXPECT_NE(ended(over).message().find("1000"), std::string_view::npos) << ended(over).message();
  const std::uint64_t exact = submit(raw(1'000));
  EXPECT_FALSE(has_ended(exact));
  EXPECT_EQ(peer().streams().back().message.size(), 1'000u);
}

TEST_F(ClientCalls, ARequestIsGivenUpWhenItsCallHasEnded) {
  struct Lent {
    static void release(void* user, const std::uint8_t*, std::size_t) noexcept {
      ++*static_cast<int*>(user);
    }
  };
  make_ready();
  int released = 0;
  static const std::vector<std::uint8_t> kBytes(100'000, 1);
  auto call = Call::make_by_path("/ray.rpc.Some/Method");
  call->lend_request(transport::SharedBytes::adopt(kBytes, Lent::release, &released));
  const std::uint64_t id = submit(std::move(call));
  EXPECT_EQ(released, 0);
  EXPECT_EQ(peer().streams().back().message.size(), kBytes.size());
  client->cancel(id);
  loop().run();
  EXPECT_EQ(released, 1);
}

TEST_F(ClientCalls, ACallThatDoesNotWaitFailsWhileTheConnectionIsAway) {
  make_client();
  const std::uint64_t patient = get("patient");
  auto impatient = get_call("impatient");
  impatient->wait_for_ready = 0;
  const std::uint64_t during_attempt = queue(std::move(impatient));
  loop().run();
  EXPECT_FALSE(has_ended(during_attempt)) << "the attempt that is under way may still succeed";
  peer().lose(ConnectionError::Kind::kConnect, "connection refused");
  EXPECT_EQ(ended(during_attempt).status, Status::kUnavailable);
  EXPECT_EQ(ended(during_attempt).flags, kFlagLocal | kFlagRetryable);
  EXPECT_NE(ended(during_attempt).message().find("connection refused"), std::string_view::npos);
  EXPECT_FALSE(has_ended(patient));
  // The first attempt after a failure may come at once; stay in the back-off after it.
  while (peer().is_held()) peer().lose(ConnectionError::Kind::kConnect, "connection refused");
  auto another = get_call("another");
  another->wait_for_ready = 0;
  const std::uint64_t during_back_off = submit(std::move(another));
  EXPECT_EQ(ended(during_back_off).status, Status::kUnavailable);
  EXPECT_FALSE(has_ended(patient));
}

TEST_F(ClientCalls, TheClientsOptionSaysWhetherCallsWaitAndACallMayDiffer) {
  options.wait_for_ready = false;
  make_client();
  const std::uint64_t impatient = get("impatient");
  auto call = get_call("patient");
  call->wait_for_ready = 1;
  const std::uint64_t patient = queue(std::move(call));
  const std::uint64_t connecting = connect();
  loop().run();
  peer().lose(ConnectionError::Kind::kConnect, "connection refused");
  EXPECT_EQ(ended(impatient).status, Status::kUnavailable);
  EXPECT_FALSE(has_ended(patient));
  EXPECT_FALSE(has_ended(connecting));
}

TEST_F(ClientCalls, ACallThatDoesNotWaitIsSentWhenTheClientIsReady) {
  options.wait_for_ready = false;
  make_ready();
  const std::uint64_t id = get("key");
  loop().run();
  peer().reply(stream_of(peer(), "key"), value_reply("v"));
  EXPECT_EQ(ended(id).status, Status::kOk);
}

TEST_F(ClientCalls, ACallbackMaySubmitAndCancel) {
  make_ready();
  const std::uint64_t first = get("first");
  const std::uint64_t victim = get("victim");
  loop().run();
  std::uint64_t second = 0;
  sink.on_event = [&](const Event& event) {
    if (event.id != first) return;
    second = get("second");
    client->cancel(victim);
  };
  peer().reply(stream_of(peer(), "first"), value_reply("v"));
  EXPECT_FALSE(has_ended(victim)) << "never inside the callback";
  loop().run();
  EXPECT_EQ(ended(victim).status, Status::kCancelled);
  peer().reply(stream_of(peer(), "second"), value_reply("v"));
  EXPECT_EQ(ended(second).status, Status::kOk);
}

TEST_F(ClientCalls, AGenericCallGivesTheWholeReply) {
  make_ready();
  const std::uint64_t id = submit(Call::make_by_path("/ray.rpc.Later/Method"));
  EXPECT_EQ(peer().streams().back().path, "/ray.rpc.Later/Method");
  peer().reply(peer().streams().back(), "any bytes at all");
  EXPECT_EQ(ended(id).status, Status::kOk);
  EXPECT_EQ(text_of(ended(id).body()), "any bytes at all");
}

TEST_F(ClientCalls, RaysStatusOutOfAReplyIsTheCallsStatus) {
  make_ready();
  const std::uint64_t id = submit(Call::make(EventKind::kCall, *find_method(method::kCheckAlive)));
  const std::string reply = status_reply(5, "disk on fire");
  peer().reply(peer().streams().back(), reply);
  EXPECT_EQ(ended(id).status, ray_status(5));
  EXPECT_EQ(ended(id).flags, 0u);
  EXPECT_EQ(ended(id).message(), "disk on fire");
  EXPECT_EQ(ended(id).address(), kAddress);
  EXPECT_EQ(text_of(ended(id).body()), reply);
}

TEST_F(ClientCalls, AReplyThatIsNoProtobufIsAnErrorOfThatCallAlone) {
  make_ready();
  const std::uint64_t bad = get("bad");
  const std::uint64_t good = get("good");
  const std::uint64_t generic =
      queue(Call::make(EventKind::kCall, *find_method(method::kCheckAlive)));
  loop().run();
  VirtualStream& last = peer().streams().back();
  peer().reply(stream_of(peer(), "bad"), "\xff\xff");
  peer().reply(last, "\xff\xff");
  EXPECT_EQ(ended(bad).status, Status::kInternal);
  EXPECT_EQ(ended(bad).address(), kAddress);
  EXPECT_EQ(ended(generic).status, Status::kInternal);
  EXPECT_FALSE(has_ended(good));
  peer().reply(stream_of(peer(), "good"), value_reply("v"));
  EXPECT_EQ(ended(good).status, Status::kOk);
}

TEST_F(ClientCalls, ALargeReplyIsWhole) {
  make_ready();
  const std::uint64_t id = get("key");
  loop().run();
  const std::string value(3 << 20, 'v');
  peer().reply(stream_of(peer(), "key"), value_reply(value));
  EXPECT_EQ(text_of(ended(id).body()), value);
}

TEST_F(ClientCalls, TheCountersAddUp) {
  make_ready();
  const std::uint64_t good = get("good");
  const std::uint64_t bad = get("bad");
  get("pending");
  loop().run();
  ClientStats stats = client->stats();
  EXPECT_EQ(stats.pending, 3u);
  peer().reply(stream_of(peer(), "good"), value_reply(std::string(1'000, 'v')));
  peer().refuse(stream_of(peer(), "bad"), StatusCode::kInternal, "no");
  stats = client->stats();
  EXPECT_EQ(ended(good).status, Status::kOk);
  EXPECT_EQ(ended(bad).status, grpc_status(13));
  EXPECT_EQ(stats.state, State::kReady);
  EXPECT_EQ(stats.started, 4u) << "three calls and the connect";
  EXPECT_EQ(stats.completed, 2u);
  EXPECT_EQ(stats.failed, 1u);
  EXPECT_EQ(stats.pending, 1u);
  EXPECT_EQ(stats.connects, 1u);
}

TEST_F(ClientCalls, TheBytesOfTheOpenConnectionAreCounted) {
  make_ready();
  get("key");
  loop().run();
  peer().reply(stream_of(peer(), "key"), value_reply(std::string(1'000, 'v')));
  EXPECT_GE(client->stats().bytes_received, 1'000u);
  EXPECT_GT(client->stats().bytes_sent, 0u);
}

}  // namespace
}  // namespace gcs::test
