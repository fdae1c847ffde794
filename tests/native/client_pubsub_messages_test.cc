// SPDX-License-Identifier: Apache-2.0
//
// The messages around what is published: what is sent, byte for byte, and what is read of replies.
#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "client/pubsub_layout.h"
#include "client/pubsub_messages.h"
#include "client_fixture.h"
#include "request_bytes.h"

namespace gcs {
namespace {

using test::bytes;
using test::bytes_of;
using test::number;
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
