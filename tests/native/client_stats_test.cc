// SPDX-License-Identifier: Apache-2.0
//
// What a client counts: each call once, by its method and by how it ended.
#include "client/log.h"
#include "client_fixture.h"
#include "shim/stats_json.h"

namespace gcs::test {
namespace {

using Latencies = ClientStatus::Latencies;

class ClientStatsTest : public ClientTest {
 protected:
  const ClientStatus::MethodCounters& of(std::uint32_t method) const {
    return client->status().method(method);
  }
};

TEST_F(ClientStatsTest, CallsAreCountedByMethodAndOutcome) {
  make_ready();
  get("answered");
  get("absent");
  get("refused");
  const std::uint64_t cancelled = get("cancelled");
  get("expired", kSecond);
  put("stored");
  loop().run();
  EXPECT_EQ(client->status().in_flight.get(), 6u);
  peer().reply(stream_of(peer(), "answered"), value_reply("value"));
  peer().reply(stream_of(peer(), "absent"), status_reply(17, "not found"));
  peer().refuse(stream_of(peer(), "refused"), StatusCode::kInternal, "no");
  peer().reply(stream_of(peer(), "stored"), number_reply(1));
  client->cancel(cancelled);
  loop().advance(2 * kSecond);
  EXPECT_EQ(of(method::kInternalKVGet).ok.get(), 2u) << "absence is an answer";
  EXPECT_EQ(of(method::kInternalKVGet).failed.get(), 1u);
  EXPECT_EQ(of(method::kInternalKVGet).cancelled.get(), 1u);
  EXPECT_EQ(of(method::kInternalKVGet).expired.get(), 1u);
  EXPECT_EQ(of(method::kInternalKVPut).ok.get(), 1u);
  EXPECT_EQ(client->status().in_flight.get(), 0u);
  EXPECT_EQ(client->status().waiting.get(), 0u);
}

TEST_F(ClientStatsTest, SendingAgainIsCounted) {
  make_ready();
  get("key");
  loop().run();
  peer().lose(ConnectionError::Kind::kLost, "it \"broke\"");
  loop().advance(kSecond);
  EXPECT_EQ(of(method::kInternalKVGet).sent_again.get(), 1u);
  EXPECT_EQ(client->status().sent_again.get(), 1u);
  EXPECT_EQ(client->status().disconnects.get(), 1u);
  EXPECT_EQ(client->status().last_disconnect(), "it \"broke\"");
  EXPECT_EQ(client->status().waiting.get(), 1u);
}

TEST_F(ClientStatsTest, EveryLatencyHasABucketWhoseBoundIsAQuarterAboveItAtMost) {
  for (std::int64_t time = 4; time < 3'600 * kSecond; time += time / 7 + 1) {
    const std::size_t bucket = Latencies::bucket_of(time);
    EXPECT_LT(static_cast<std::uint64_t>(time), Latencies::bound(bucket)) << time;
    EXPECT_LE(Latencies::bound(bucket) * 4, static_cast<std::uint64_t>(time) * 5 + 8) << time;
    EXPECT_GE(static_cast<std::uint64_t>(time), bucket == 0 ? 0 : Latencies::bound(bucket - 1));
  }
  EXPECT_EQ(Latencies::bucket_of(-5), 0u);
  EXPECT_EQ(Latencies::bucket_of(transport::kNever), Latencies::kBuckets - 1);
}

TEST_F(ClientStatsTest, TheLatencyRunsFromAcceptanceToTheEnd) {
  make_ready();
  const std::uint64_t id = get("key");
  loop().run();
  loop().advance(100 * kMillisecond);
  peer().reply(stream_of(peer(), "key"), value_reply("value"));
  EXPECT_EQ(ended(id).status, Status::kOk);
  EXPECT_EQ(client->status().latencies.count(Latencies::bucket_of(100 * kMillisecond)), 1u);
}

TEST_F(ClientStatsTest, TheJsonNamesMethodsByPathAndEscapesTexts) {
  make_ready();
  get("key");
  submit(Call::make_by_path("/some.Service/Method"));
  loop().run();
  peer().lose(ConnectionError::Kind::kLost, "it \"broke\"\n");
  loop().run();
  const std::string json = shim::stats_json(*client);
  EXPECT_NE(json.find("\"last_disconnect\":\"it \\\"broke\\\"\\u000a\""), std::string::npos)
      << json;
  EXPECT_NE(json.find("\"/ray.rpc.InternalKVGcsService/InternalKVGet\":{\"ok\":0"),
            std::string::npos)
      << json;
  EXPECT_NE(json.find("\"other\":{\"ok\":0,\"failed\":1"), std::string::npos) << json;
  EXPECT_NE(json.find("\"latencies\":["), std::string::npos) << json;
}

TEST_F(ClientStatsTest, AConnectionThatComesAndGoesIsLoggedOnceASecondAtMost) {
  make_ready();
  log::take(1000);
  for (int i = 0; i < 200; ++i) {
    peer().lose();
    loop().advance(100 * kMillisecond);
    if (peer().is_held()) accept();
  }
  std::size_t records = 0;
  bool left_out = false;
  EventList taken = log::take(1000);
  while (const auto event = taken.pop_front()) {
    ++records;
    if (event->message().find("left out") != std::string_view::npos) left_out = true;
  }
  EXPECT_GT(records, 0u);
  EXPECT_LE(records, 21u);
  EXPECT_TRUE(left_out);
}

}  // namespace
}  // namespace gcs::test
