// SPDX-License-Identifier: Apache-2.0
//
// The messages around what is published: what is sent, byte for byte, and what is read of replies.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "client/pubsub_layout.h"
#include "client/pubsub_messages.h"
#include "client/request_rules.h"
#include "client_fixture.h"
#include "request_bytes.h"

namespace gcs {
namespace {

using test::bytes;
using test::bytes_of;
using test::number;
using test::tag;
using namespace std::string_literals;
using namespace std::string_view_literals;

std::string text(std::span<const std::uint8_t> view) {
  return {reinterpret_cast<const char*>(view.data()), view.size()};
}

std::vector<std::string> messages_of(PollMessages messages) {
  std::vector<std::string> all;
  std::span<const std::uint8_t> message;
  while (messages.next(&message)) all.push_back(text(message));
  return all;
}

TEST(PubsubRequests, ReflectionIsAskedForServicesAndForAFile) {
  EXPECT_EQ(list_services_request(), "\x3a\x01*"s);
  EXPECT_EQ(file_of_symbol_request("ray.rpc.PubMessage"), "\x22\x12ray.rpc.PubMessage"s);
}

TEST(PubsubRequests, CommandsAreWrittenInTheirOrder) {
  const std::vector<PubsubCommand> commands{
      {7, "", true}, {300, "key\0"sv, false}, {0, "", true}, {0, std::string_view(), false}};
  EXPECT_EQ(command_request("subscriber", commands),
            "\x0a\x0asubscriber"
            "\x12\x04\x08\x07\x22\x00"
            "\x12\x0b\x08\xac\x02\x12\x04key\0\x1a\x00"
            "\x12\x02\x22\x00"
            "\x12\x02\x1a\x00"s);
  EXPECT_EQ(command_request("", {}), "");
  const std::string long_key(200, 'k');
  const PubsubCommand command{1, long_key, true};
  EXPECT_EQ(command_request("s", {&command, 1}),
            bytes(1, "s") + bytes(2, number(1, 1) + bytes(2, long_key) + bytes(4, "")));
}

TEST(PubsubRequests, APollAcknowledgesWhatHasBeenProcessed) {
  EXPECT_EQ(poll_request("subscriber", 300, "publisher"),
            "\x0a\x0asubscriber\x10\xac\x02\x1a\x09publisher"s);
  EXPECT_EQ(poll_request("s", 0, ""), "\x0a\x01s"s);
  EXPECT_EQ(poll_request("s", INT64_MAX, ""), bytes(1, "s") + number(2, INT64_MAX));
}

TEST(PollReply, HasItsPublisherAndItsMessages) {
  const std::string reply = bytes(1, "first") + bytes(2, std::string(28, 'p')) + bytes(1, "") +
                            number(9, 1) + bytes(1, "third") + bytes(100, bytes(2, "status")) +
                            number(1, 5);
  const auto read = read_poll_reply(bytes_of(reply));
  ASSERT_TRUE(read);
  EXPECT_EQ(text(read->publisher_id), std::string(28, 'p'));
  EXPECT_EQ(read->count, 3U);
  const std::vector<std::string> messages{"first", "", "third"};
  EXPECT_EQ(messages_of(PollMessages(bytes_of(reply))), messages);
}

TEST(PollReply, MayHaveNothing) {
  const auto read = read_poll_reply({});
  ASSERT_TRUE(read);
  EXPECT_EQ(read->count, 0U);
  EXPECT_TRUE(read->publisher_id.empty());
  EXPECT_TRUE(messages_of(PollMessages()).empty());
}

TEST(PollReply, IsGoneThroughInParts) {
  const std::string reply = bytes(1, "a") + bytes(2, "id") + bytes(1, "b") + bytes(1, "c");
  PollMessages messages(bytes_of(reply));
  std::span<const std::uint8_t> message;
  ASSERT_TRUE(messages.next(&message));
  const std::vector<std::string> others{"b", "c"};
  EXPECT_EQ(messages_of(messages), others);
  EXPECT_EQ(messages_of(PollMessages(messages.rest())), others);
  EXPECT_EQ(messages.rest().size(), reply.size() - 3);
  while (messages.next(&message)) {
  }
  EXPECT_FALSE(messages.next(&message));
  EXPECT_TRUE(messages.rest().empty());
}

TEST(PollReply, CutAnywhereItIsNoneOrHasLess) {
  const std::vector<std::string> fields{bytes(1, "first"), bytes(2, "publisher"),
                                        bytes(1, std::string(200, 'x')), number(9, 300)};
  std::string reply;
  std::vector<std::size_t> ends{0};
  for (const std::string& field : fields) ends.push_back((reply += field).size());
  for (std::size_t size = 0; size <= reply.size(); ++size) {
    const std::string cut = reply.substr(0, size);
    const auto read = read_poll_reply(bytes_of(cut));
    EXPECT_EQ(read.has_value(), std::ranges::find(ends, size) != ends.end()) << size;
    const std::size_t whole = (size >= ends[1] ? 1U : 0U) + (size >= ends[3] ? 1U : 0U);
    EXPECT_EQ(messages_of(PollMessages(bytes_of(cut))).size(), whole) << size;
    if (read) {
      EXPECT_EQ(read->count, whole);
    }
  }
  for (const std::string& reply_of_no_kind : {"\x0b"s, "\x0c"s, "\x00"s, "\xff\xff"s, "\x0e"s})
    EXPECT_FALSE(read_poll_reply(bytes_of(reply_of_no_kind)));
}

TEST(PublishedMessage, IsReadWithTheNumbersOfTheServer) {
  for (const std::uint32_t minor : {9U, 10U, 50U, 51U, 56U, 57U}) {
    const auto layout = PubsubLayout::of_release(release(2, minor));
    ASSERT_TRUE(layout);
    const std::uint32_t actor_message = layout->failure_message() + 1;
    PublishedMessage read;
    const std::string message = number(1, 3) + bytes(2, "key") + bytes(actor_message, "actor") +
                                number(layout->sequence_id(), 1ULL << 40);
    ASSERT_TRUE(layout->read(bytes_of(message), &read));
    EXPECT_EQ(read.channel, 3U);
    EXPECT_TRUE(std::ranges::equal(read.key, bytes_of("key")));
    EXPECT_TRUE(std::ranges::equal(read.payload, bytes_of("actor")));
    EXPECT_FALSE(read.is_failure);
    EXPECT_EQ(read.sequence_id, std::int64_t{1} << 40);

    const std::string failure = bytes(2, "key") + bytes(layout->failure_message(), "");
    ASSERT_TRUE(layout->read(bytes_of(failure), &read));
    EXPECT_EQ(read.channel, 0U);
    EXPECT_TRUE(read.is_failure);
    EXPECT_TRUE(read.payload.empty());
    EXPECT_EQ(read.sequence_id, 0);
  }
}

TEST(PublishedMessage, OfTheInnerMessagesTheLastCounts) {
  const auto layout = PubsubLayout::of_release(release(2, 60));
  PublishedMessage read;
  const std::string failure_first = bytes(5, "") + bytes(99, "later");
  ASSERT_TRUE(layout->read(bytes_of(failure_first), &read));
  EXPECT_FALSE(read.is_failure);
  EXPECT_TRUE(std::ranges::equal(read.payload, bytes_of("later")));
  const std::string failure_last = bytes(6, "actor") + bytes(5, "");
  ASSERT_TRUE(layout->read(bytes_of(failure_last), &read));
  EXPECT_TRUE(read.is_failure);
  EXPECT_TRUE(read.payload.empty());
}

TEST(PublishedMessage, WhatIsNotKnownInItIsPassedOver) {
  const auto layout = PubsubLayout::of_release(release(2, 60));
  PublishedMessage read;
  const std::string unknown = number(30, 7) + tag(31, 1) + std::string(8, 'x') + tag(32, 5) +
                              std::string(4, 'x') + tag(33, 3) + bytes(6, "inside") + tag(33, 4);
  const std::string wrong_types = bytes(1, "x") + number(2, 1) + number(6, 1) + bytes(14, "x");
  const std::string message = unknown + number(1, 2) + bytes(2, "key") + unknown +
                              bytes(6, "actor") + number(14, 9) + wrong_types + unknown;
  ASSERT_TRUE(layout->read(bytes_of(message), &read));
  EXPECT_EQ(read.channel, 2U);
  EXPECT_TRUE(std::ranges::equal(read.key, bytes_of("key")));
  EXPECT_TRUE(std::ranges::equal(read.payload, bytes_of("actor")));
  EXPECT_EQ(read.sequence_id, 9);
  ASSERT_TRUE(layout->read({}, &read));
  EXPECT_TRUE(read.key.empty());
  EXPECT_TRUE(read.payload.empty());
}

TEST(PublishedMessage, CutWithinAFieldIsNone) {
  const auto layout = PubsubLayout::of_release(release(2, 60));
  const std::vector<std::string> fields{number(1, 200), bytes(2, "key"), bytes(6, "actor"),
                                        number(14, 1ULL << 40)};
  std::string message;
  std::vector<std::size_t> ends{0};
  for (const std::string& field : fields) ends.push_back((message += field).size());
  for (std::size_t size = 0; size <= message.size(); ++size) {
    PublishedMessage read;
    EXPECT_EQ(layout->read(bytes_of(message.substr(0, size)), &read),
              std::ranges::find(ends, size) != ends.end())
        << size;
  }
}

std::optional<std::int64_t> timeout_in(const std::string& config) {
  const std::string reply = bytes(1, "") + bytes(2, config);
  return read_subscriber_timeout_ms(bytes_of(reply));
}

TEST(SubscriberTimeout, IsReadOutOfTheSettings) {
  for (const char* config :
       {R"({"subscriber_timeout_ms":2000})", R"({"subscriber_timeout_ms" : 2000 })",
        "{\r\n\t\"a\": 1,\n\"subscriber_timeout_ms\"\n:\n2000\n}",
        R"({"a":{"subscriber_timeout_ms":7},"subscriber_timeout_ms":2000,"b":[1,{}]})",
        R"({"a":"\"subscriber_timeout_ms\":7","subscriber_timeout_ms":2000})",
        R"({"a":"\\","subscriber_timeout_ms":2000,"b":"}"})",
        R"({"a":"subscriber_timeout_ms","subscriber_timeout_ms":2000})",
        R"({"subscriber_timeout_ms":7,"subscriber_timeout_ms":2000})",
        R"({"subscriber_timeout_ms":2000.75})"}) {
    EXPECT_EQ(timeout_in(config), 2000) << config;
  }
}

TEST(SubscriberTimeout, MayBeMissingOrNoNumber) {
  for (const char* config : {"",
                             "{}",
                             "null",
                             "[]",
                             R"({"a":1})",
                             R"({"a":{"subscriber_timeout_ms":7}})",
                             R"("subscriber_timeout_ms":7)",
                             R"({"subscriber_timeout_ms":"7"})",
                             R"({"subscriber_timeout_ms":null})",
                             R"({"subscriber_timeout_ms":0})",
                             R"({"subscriber_timeout_ms":-5})",
                             R"({"subscriber_timeout_ms":1e9})",
                             R"({"subscriber_timeout_ms":1.5e9})",
                             R"({"subscriber_timeout_ms":99999999999999999999})",
                             R"({"a":["subscriber_timeout_ms",7]})",
                             R"({"Subscriber_timeout_ms":7})",
                             R"(}{"subscriber_timeout_ms":7})",
                             R"({"subscriber_timeout_ms)",
                             R"({"subscriber_timeout_ms":)",
                             R"({"subscriber_timeout_ms\)",
                             "c3Vic2NyaWJlcg=="}) {
    EXPECT_FALSE(timeout_in(config)) << config;
  }
  EXPECT_FALSE(read_subscriber_timeout_ms({}));
  EXPECT_FALSE(read_subscriber_timeout_ms(bytes_of("\x12\x20{\"subscriber_timeout_ms\":7}"s)));
}

}  // namespace
}  // namespace gcs
