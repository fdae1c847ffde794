// SPDX-License-Identifier: Apache-2.0
//
// A hundred thousand calls wait for a server that takes one at a time and has stopped: cancelling
// them is no work to speak of. On real sockets and the process's own I/O thread.
#include <chrono>
#include <thread>

#include "client_fixture.h"
#include "scripted_peer.h"

namespace gcs::test {
namespace {

using namespace std::chrono_literals;

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr auto kPatience = 20s;
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
constexpr auto kPatience = 20s;
#else
constexpr auto kPatience = 1s;
#endif
#else
constexpr auto kPatience = 1s;
#endif

std::unique_ptr<Call> make_get() {
  return std::move(kv::get(bytes_of("ns"), bytes_of("key")).call);
}

TEST(ClientMassCancel, AHundredThousandCallsAreCancelledWithinASecond) {
  constexpr std::size_t kCalls = 100'000;
  ScriptedPeer peer([](PeerConnection& self) {
    if (!self.greet({{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 1}})) return;
    const auto question = self.next_request();
    if (!question || !self.reply(question->stream, identity_reply(kClusterA))) return;
    self.stand_still();
  });
  ScopedEnvironment environment;
  TemporaryFolder folder;
  RecordingSink sink;
  ClientOptions options;
  options.address = "127.0.0.1:" + std::to_string(peer.port());
  options.token = "";
  Refusal refusal;
  const auto client = GcsClient::create(options, reserve_ids(1), &refusal);
  ASSERT_NE(client, nullptr) << refusal.message;
  const std::uint64_t first = reserve_ids(kCalls);
  EventList calls;
  for (std::uint64_t id = first; id < first + kCalls; ++id) {
    auto call = make_get();
    call->id = id;
    call->sink = SinkReference(&sink);
    calls.push_back(std::move(call));
  }
  client->submit(std::move(calls));
  for (int i = 0; i < 2000 && client->status().in_flight.get() == 0; ++i)
    std::this_thread::sleep_for(5ms);
  ASSERT_EQ(client->status().in_flight.get(), 1u) << "the peer's limit is one";
  ASSERT_EQ(client->status().waiting.get(), kCalls - 1);
  const auto begun = std::chrono::steady_clock::now();
  for (std::uint64_t id = first; id < first + kCalls; ++id) client->cancel(id);
  while (sink.size() < kCalls && std::chrono::steady_clock::now() - begun < 60s)
    std::this_thread::sleep_for(1ms);
  const auto took = std::chrono::steady_clock::now() - begun;
  EXPECT_EQ(sink.size(), kCalls);
  EXPECT_LT(took, kPatience);
  RecordProperty("milliseconds", static_cast<int>(took / 1ms));
  client->close();
  EXPECT_TRUE(client->wait_closed(kTimeoutNone));
  for (const auto& event : sink.events()) ASSERT_EQ(event->status, Status::kCancelled);
  EXPECT_TRUE(sink.give_up());
}

}  // namespace
}  // namespace gcs::test
