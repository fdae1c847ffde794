// SPDX-License-Identifier: Apache-2.0
//
// Channels and sequence numbers are judged by the numbers of the server's release; without one, by
// those of all.
#include <gtest/gtest.h>

#include <string>

#include "client/call.h"
#include "client/method_ids.h"
#include "client/request_guard.h"
#include "client/request_rules.h"
#include "client_fixture.h"
#include "request_bytes.h"

namespace gcs {
namespace {

using test::bytes;
using test::judge;
using test::number;

constexpr std::uint32_t kNoField = 0;

std::string publication(std::uint64_t channel, std::uint32_t sequence_field = kNoField) {
  return bytes(1, number(1, channel) + bytes(2, "key") +
                      (sequence_field == kNoField ? "" : number(sequence_field, 1)));
}
std::string subscription(std::uint64_t channel) {
  return bytes(1, std::string(28, 's')) + bytes(2, number(1, channel) + bytes(4, ""));
}

struct Server {
  std::uint32_t publish, command, ray_version;
  std::vector<std::uint64_t> channels;
  std::uint32_t sequence_id;
};

const std::vector<Server>& servers() {
  constexpr auto kPublish = method::kInternalPubSubGcsPublish;
  constexpr auto kCommand = method::kInternalPubSubGcsSubscriberCommandBatch;
  constexpr auto kControlPublish = method::kControlPlanePubSubGcsPublish;
  constexpr auto kControlCommand = method::kControlPlanePubSubGcsSubscriberCommandBatch;
  constexpr auto kObservePublish = method::kObservabilityPubSubGcsPublish;
  constexpr auto kObserveCommand = method::kObservabilityPubSubGcsSubscriberCommandBatch;
  static const std::vector<Server> servers{
      {kPublish, kCommand, release(2, 9, 3), {3, 4, 5, 6, 7, 8, 9, 10}, 16},
      {kPublish, kCommand, release(2, 10), {3, 4, 5, 6, 7, 8, 10}, 16},
      {kPublish, kCommand, release(2, 49, 2), {3, 4, 5, 6, 7, 8, 10}, 16},
      {kPublish, kCommand, release(2, 50, 1), {3, 4, 5, 6, 7, 8, 9}, 14},
      {kPublish, kCommand, release(2, 51), {3, 4, 5, 6, 7, 8, 9, 10}, 15},
      {kPublish, kCommand, release(2, 55, 1), {3, 4, 5, 6, 7, 8, 9, 10}, 15},
      {kPublish, kCommand, 0, {3, 4, 5, 6, 7, 8}, kNoField},
      {kControlPublish, kControlCommand, release(2, 56), {3, 4, 5, 6, 10}, 15},
      {kControlPublish, kControlCommand, release(2, 57), {2, 3, 4, 5, 9}, 14},
      {kControlPublish, kControlCommand, release(2, 99), {2, 3, 4, 5, 9}, 14},
      {kControlPublish, kControlCommand, 0, {3, 4, 5}, kNoField},
      {kObservePublish, kObserveCommand, release(2, 56), {7, 8, 9}, 15},
      {kObservePublish, kObserveCommand, release(2, 60), {6, 7, 8}, 14},
      {kObservePublish, kObserveCommand, 0, {7, 8}, kNoField},
  };
  return servers;
}

TEST(PubsubGuard, OnlyTheChannelsOfServiceAndReleaseAreTaken) {
  for (const Server& server : servers()) {
    for (const std::uint64_t channel : {0ULL, 1ULL, 2ULL, 3ULL, 4ULL, 5ULL, 6ULL, 7ULL, 8ULL, 9ULL,
                                        10ULL, 11ULL, 31ULL, 32ULL, 99ULL, 1ULL << 32, ~0ULL}) {
      const bool is_there = std::ranges::find(server.channels, channel) != server.channels.end();
      for (const Refusal& refusal :
           {judge(server.publish, publication(channel), server.ray_version),
            judge(server.command, subscription(channel), server.ray_version)}) {
        EXPECT_EQ(!refusal, is_there)
            << find_method(server.publish)->path << " " << server.ray_version << " " << channel;
        if (!refusal) continue;
        EXPECT_EQ(refusal.status, Status::kInvalidArgument);
        EXPECT_EQ(refusal.flags, kFlagLocal);
        EXPECT_NE(refusal.message.find(".channel_type is "), std::string::npos);
        EXPECT_EQ(refusal.message.find("say which one") != std::string::npos,
                  server.ray_version == 0);
      }
    }
  }
}

TEST(PubsubGuard, ASequenceIdIsTheServersToGive) {
  for (const Server& server : servers()) {
    for (const std::uint32_t field : {14U, 15U, 16U}) {
      const Refusal refusal =
          judge(server.publish, publication(server.channels.front(), field), server.ray_version);
      if (server.ray_version != 0) {
        EXPECT_EQ(!!refusal, field == server.sequence_id) << server.ray_version << " " << field;
      }
      if (refusal) {
        EXPECT_NE(refusal.message.find("pub_messages.sequence_id is set"), std::string::npos);
      }
    }
  }
  // Of a release that is not known: the fields of all that have the method.
  for (const std::uint32_t field : {14U, 15U, 16U}) {
    EXPECT_TRUE(judge(method::kInternalPubSubGcsPublish, publication(7, field), 0));
  }
  EXPECT_FALSE(judge(method::kObservabilityPubSubGcsPublish, publication(7, 16), 0));
  EXPECT_FALSE(judge(method::kInternalPubSubGcsPublish,
                     bytes(1, number(1, 7) + number(14, 0) + number(15, 0) + number(16, 0)), 0));
}

TEST(PubsubGuard, EveryMessageAndEveryCommandIsJudged) {
  const std::uint32_t ray_version = release(2, 60);
  const auto publish = method::kObservabilityPubSubGcsPublish;
  EXPECT_FALSE(judge(publish, publication(7) + publication(6), ray_version));
  EXPECT_TRUE(judge(publish, publication(7) + publication(5), ray_version));
  EXPECT_TRUE(judge(publish, publication(5) + publication(7), ray_version));
  EXPECT_TRUE(judge(publish, bytes(1, number(1, 99) + number(1, 7)), ray_version));
  EXPECT_TRUE(judge(publish, bytes(1, number(1, 7) + number(1, 99)), ray_version));
  EXPECT_FALSE(judge(publish, "", ray_version));
  EXPECT_TRUE(judge(publish, bytes(1, ""), ray_version));
  const auto command = method::kObservabilityPubSubGcsSubscriberCommandBatch;
  EXPECT_FALSE(
      judge(command, subscription(7) + bytes(2, number(1, 6) + bytes(3, "")), ray_version));
  EXPECT_TRUE(judge(command, subscription(7) + subscription(5), ray_version));
  EXPECT_TRUE(judge(command, bytes(2, number(1, 5) + bytes(3, "")), ray_version));
}

TEST(PubsubGuard, ACommandSaysWhatToDo) {
  for (const Server& server : servers()) {
    const std::string channel = number(1, server.channels.front());
    for (const std::string& command : {channel, channel + number(4, 1), channel + bytes(5, "")}) {
      const Refusal refusal = judge(server.command, bytes(2, command), server.ray_version);
      EXPECT_NE(refusal.message.find("commands has neither subscribe_message nor"),
                std::string::npos);
    }
    EXPECT_FALSE(judge(server.command, bytes(2, channel + bytes(3, "")), server.ray_version));
  }
}

TEST(PubsubGuard, AServiceThatTheReleaseHasNotIsTheServersToRefuse) {
  EXPECT_FALSE(judge(method::kInternalPubSubGcsPublish, publication(99), release(2, 56)));
  EXPECT_FALSE(judge(method::kControlPlanePubSubGcsPublish, publication(99), release(2, 55)));
}

}  // namespace
}  // namespace gcs
