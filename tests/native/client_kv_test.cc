// SPDX-License-Identifier: Apache-2.0
//
// The KV codec: requests against the bytes that they must be, replies well-formed or not, and what
// is refused.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "client/kv.h"
#include "client_fixture.h"
#include "random_seed.h"

namespace gcs {
namespace {

using test::bytes_of;
using test::text_of;
using namespace std::string_literals;

std::string request(const kv::Made& made) {
  EXPECT_TRUE(made.call) << made.refusal.message;
  return made.call ? text_of(made.call->message) : std::string("refused");
}

kv::Made multi_get(std::string_view name_space, const std::vector<std::string>& keys) {
  std::vector<kv::Bytes> views;
  for (const std::string& key : keys) views.push_back(bytes_of(key));
  return kv::multi_get(bytes_of(name_space), views);
}

TEST(KvRequest, GetIsKeyAndNamespace) {
  const kv::Made made = kv::get(bytes_of("ns"), bytes_of("k"));
  EXPECT_EQ(request(made), "\x0a\x01k\x12\x02ns"s);
  EXPECT_EQ(made.call->path, "/ray.rpc.InternalKVGcsService/InternalKVGet");
  EXPECT_EQ(made.call->kind, EventKind::kKvGet);
  EXPECT_TRUE(made.call->known->read_only);
}

TEST(KvRequest, AnEmptyNamespaceAndAnEmptyKeyAreNotWritten) {
  EXPECT_EQ(request(kv::get({}, bytes_of("k"))), "\x0a\x01k"s);
  EXPECT_EQ(request(kv::get({}, {})), "");
  EXPECT_EQ(request(kv::get(bytes_of("n"), {})), "\x12\x01n"s);
}

TEST(KvRequest, AnyByteMayBeInKeyNamespaceAndValue) {
  std::string all;
  for (int byte = 0; byte < 256; ++byte) all.push_back(static_cast<char>(byte));
  const std::string field = "\x80\x02"s + all;
  EXPECT_EQ(request(kv::get(bytes_of(all), bytes_of(all))), "\x0a"s + field + "\x12" + field);
  EXPECT_EQ(request(kv::put(bytes_of(all), bytes_of(all), bytes_of(all), false)),
            "\x0a"s + field + "\x12" + field + "\x22" + field);
}

TEST(KvRequest, PutSaysWhetherItOverwrites) {
  EXPECT_EQ(request(kv::put(bytes_of("ns"), bytes_of("k"), bytes_of("v"), true)),
            "\x0a\x01k\x12\x01v\x18\x01\x22\x02ns"s);
  EXPECT_EQ(request(kv::put(bytes_of("ns"), bytes_of("k"), bytes_of("v"), false)),
            "\x0a\x01k\x12\x01v\x22\x02ns"s);
  EXPECT_EQ(request(kv::put({}, bytes_of("k"), {}, false)), "\x0a\x01k"s);
  EXPECT_FALSE(kv::put({}, {}, {}, true).call->known->read_only);
}

TEST(KvRequest, ALargeValueIsWholeAndShared) {
  const std::string value(3'000'000, 'v');
  const kv::Made made = kv::put(bytes_of("n"), bytes_of("k"), bytes_of(value), true);
  EXPECT_EQ(request(made), "\x0a\x01k\x12\xc0\x8d\xb7\x01"s + value + "\x18\x01\x22\x01n");
  EXPECT_TRUE(made.call->message_owner);
}

TEST(KvRequest, DeleteAndDeleteByPrefixDifferByTheFlag) {
  const kv::Made one = kv::delete_key(bytes_of("ns"), bytes_of("k"));
  EXPECT_EQ(request(one), "\x0a\x01k\x12\x02ns"s);
  EXPECT_EQ(one.call->kind, EventKind::kKvDelete);
  const kv::Made many = kv::delete_prefix(bytes_of("ns"), bytes_of("k"), false);
  EXPECT_EQ(request(many), "\x0a\x01k\x12\x02ns\x18\x01"s);
  EXPECT_EQ(many.call->kind, EventKind::kKvDeletePrefix);
  EXPECT_EQ(many.call->path, one.call->path);
  EXPECT_FALSE(one.call->known->read_only);
}

TEST(KvRequest, ExistsAndKeysAreKeyAndNamespace) {
  EXPECT_EQ(request(kv::exists(bytes_of("ns"), bytes_of("k"))), "\x0a\x01k\x12\x02ns"s);
  EXPECT_EQ(request(kv::keys(bytes_of("ns"), bytes_of("k"), false)), "\x0a\x01k\x12\x02ns"s);
  EXPECT_EQ(request(kv::keys(bytes_of("ns"), {}, false)), "\x12\x02ns"s);
}

TEST(KvRequest, MultiGetAsksForEachKeyOnceInOrder) {
  EXPECT_EQ(request(multi_get("ns", {"b", "a", "b", "", "a", ""})),
            "\x0a\x01"
            "b\x0a\x01"
            "a\x0a\x00\x12\x02ns"s);
  EXPECT_EQ(request(multi_get("", {})), "");
}

TEST(KvRequest, MultiGetOfManyKeysIsWhole) {
  std::vector<std::string> keys;
  std::string expected;
  for (int i = 0; i < 5'000; ++i) {
    keys.push_back("key" + std::to_string(i % 2'500));
    if (i < 2'500) expected += "\x0a"s + static_cast<char>(keys.back().size()) + keys.back();
  }
  EXPECT_EQ(request(multi_get("", keys)), expected);
}

TEST(KvGuard, AKeyThatReachesIntoNamespacesIsRefused) {
  const auto refused = [](const kv::Made& made) {
    EXPECT_FALSE(made.call);
    EXPECT_EQ(made.refusal.status, Status::kInvalidArgument);
    EXPECT_EQ(made.refusal.flags, kFlagLocal);
    EXPECT_NE(made.refusal.message.find("@namespace_"), std::string::npos);
  };
  const auto key = bytes_of("@namespace_x:y");
  refused(kv::get({}, key));
  refused(kv::put({}, key, bytes_of("v"), true));
  refused(kv::delete_key({}, key));
  refused(kv::delete_prefix({}, key, false));
  refused(kv::delete_prefix({}, key, true));
  refused(kv::exists({}, key));
  refused(kv::keys({}, key, false));
  refused(multi_get("", {"fine", "@namespace_x"}));
  EXPECT_TRUE(kv::get(bytes_of("ns"), key).call);
  EXPECT_TRUE(kv::get({}, bytes_of("@namespace")).call);
  EXPECT_TRUE(kv::get({}, bytes_of("x@namespace_")).call);
}

TEST(KvGuard, AnEmptyPrefixWithoutNamespaceNeedsTheFlag) {
  EXPECT_FALSE(kv::delete_prefix({}, {}, false).call);
  EXPECT_FALSE(kv::keys({}, {}, false).call);
  EXPECT_EQ(kv::keys({}, {}, false).refusal.status, Status::kInvalidArgument);
  EXPECT_EQ(request(kv::delete_prefix({}, {}, true)), "\x18\x01"s);
  EXPECT_EQ(request(kv::keys({}, {}, true)), "");
}

// Ray keeps the key "k" of namespace "n" as "@namespace_n:k".
TEST(KvGuard, APrefixThatCoversAllNamespacesNeedsTheFlagToo) {
  const std::string_view stem = "@namespace_";
  for (std::size_t size = 1; size < stem.size(); ++size) {
    const auto prefix = bytes_of(stem.substr(0, size));
    EXPECT_FALSE(kv::delete_prefix({}, prefix, false).call) << stem.substr(0, size);
    EXPECT_FALSE(kv::keys({}, prefix, false).call) << stem.substr(0, size);
    EXPECT_TRUE(kv::delete_prefix({}, prefix, true).call) << stem.substr(0, size);
    EXPECT_TRUE(kv::keys(bytes_of("ns"), prefix, false).call) << stem.substr(0, size);
  }
  EXPECT_TRUE(kv::keys({}, bytes_of("@x"), false).call);
}

std::unique_ptr<Call> replied(EventKind kind, std::string_view reply) {
  auto call = Call::make(kind, *find_method(method::kInternalKVGet));
  call->response.append(bytes_of(reply), reply.size());
  kv::decode(*call);
  return call;
}

using Pair = std::pair<std::string, std::string>;

std::vector<Pair> entries(const Event& event) {
  std::vector<Pair> read;
  kv::Entries walk(event);
  kv::Bytes key, value;
  while (walk.next(&key, &value)) read.emplace_back(text_of(key), text_of(value));
  EXPECT_FALSE(walk.next(&key, &value));
  return read;
}

TEST(KvReply, GetGivesTheValue) {
  const auto call = replied(EventKind::kKvGet, test::value_reply("v\0v"s));
  EXPECT_EQ(call->status, Status::kOk);
  EXPECT_EQ(text_of(call->body()), "v\0v"s);
}

TEST(KvReply, AnEmptyValueIsAValue) {
  EXPECT_EQ(replied(EventKind::kKvGet, "\x0a\x00"s)->status, Status::kOk);
  EXPECT_EQ(replied(EventKind::kKvGet, "")->status, Status::kOk);
  EXPECT_TRUE(replied(EventKind::kKvGet, "")->body().empty());
}

TEST(KvReply, AMissingKeyIsNotFoundForGetAndNothingForTheOthers) {
  const std::string missing = test::status_reply(17, "Failed to find the key");
  const auto got = replied(EventKind::kKvGet, missing);
  EXPECT_EQ(got->status, ray_status(17));
  EXPECT_EQ(got->flags, 0u);
  const Event& event = *got;
  EXPECT_EQ(event.message(), "Failed to find the key");
  EXPECT_EQ(replied(EventKind::kKvPut, missing)->status, ray_status(17));
  for (const EventKind kind :
       {EventKind::kKvMultiGet, EventKind::kKvDelete, EventKind::kKvDeletePrefix,
        EventKind::kKvExists, EventKind::kKvKeys}) {
    const auto call = replied(kind, missing);
    EXPECT_EQ(call->status, Status::kOk);
    EXPECT_EQ(call->number, 0);
    EXPECT_TRUE(entries(*call).empty());
  }
}

TEST(KvReply, OtherCodesAreRaysOwnStatusForAll) {
  for (const EventKind kind :
       {EventKind::kKvGet, EventKind::kKvMultiGet, EventKind::kKvPut, EventKind::kKvDelete,
        EventKind::kKvDeletePrefix, EventKind::kKvExists, EventKind::kKvKeys}) {
    const auto call = replied(kind, test::status_reply(38, "passive"));
    EXPECT_EQ(call->status, ray_status(38));
    EXPECT_TRUE(call->body().empty());
  }
}

TEST(KvReply, CountsAreNumbers) {
  EXPECT_EQ(replied(EventKind::kKvPut, test::number_reply(1))->number, 1);
  EXPECT_EQ(replied(EventKind::kKvPut, "\x0a\x00"s)->number, 0);
  EXPECT_EQ(replied(EventKind::kKvDeletePrefix, test::number_reply(2'000'000))->number, 2'000'000);
  EXPECT_EQ(replied(EventKind::kKvExists, test::number_reply(1))->number, 1);
}

TEST(KvReply, KeysAreEntriesWithoutValues) {
  const auto call = replied(EventKind::kKvKeys, "\x0a\x00\x12\x01k\x12\x00\x12\x03"s + "abc");
  EXPECT_EQ(call->number, 3);
  EXPECT_EQ(entries(*call), (std::vector<Pair>{{"k", ""}, {"", ""}, {"abc", ""}}));
}

TEST(KvReply, MultiGetGivesPairs) {
  const std::string reply = "\x0a\x00"s + "\x12\x06\x0a\x01k\x12\x01v"s + "\x12\x00"s +
                            "\x12\x03\x12\x01w"s + "\x12\x03\x0a\x01j"s;
  const auto call = replied(EventKind::kKvMultiGet, reply);
  EXPECT_EQ(call->number, 4);
  EXPECT_EQ(entries(*call), (std::vector<Pair>{{"k", "v"}, {"", ""}, {"", "w"}, {"j", ""}}));
}

TEST(KvReply, FieldsOfLaterServersAreSkipped) {
  const std::string unknown = "\x98\x06\x07\xa2\x06\x03xyz\xad\x06\x01\x02\x03\x04"s;
  const auto call = replied(EventKind::kKvGet, unknown + test::value_reply("v") + unknown);
  EXPECT_EQ(call->status, Status::kOk);
  EXPECT_EQ(text_of(call->body()), "v");
}

TEST(KvReply, MalformedBytesAreAnErrorOfThisCallAlone) {
  const std::vector<std::string> malformed{"\x12\x05v"s,
                                           "\xff"s,
                                           "\x0a\x02\x08"s,
                                           "\x0a\x02\x08\xff"s,
                                           "\x13"s,
                                           "\x00\x00"s,
                                           "\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f"s};
  for (const EventKind kind : {EventKind::kKvGet, EventKind::kKvMultiGet, EventKind::kKvPut,
                               EventKind::kKvDelete, EventKind::kKvExists, EventKind::kKvKeys}) {
    for (const std::string& reply : malformed) {
      const auto call = replied(kind, reply);
      EXPECT_EQ(call->status, Status::kInternal);
      EXPECT_EQ(call->flags, kFlagLocal | kFlagMaybeExecuted);
      EXPECT_TRUE(call->body().empty());
      const Event& event = *call;
      EXPECT_FALSE(event.message().empty());
      EXPECT_TRUE(entries(*call).empty());
    }
  }
  EXPECT_EQ(replied(EventKind::kKvMultiGet, "\x12\x02\x0a\x05"s)->status, Status::kInternal)
      << "an entry that is cut off";
}

TEST(KvReply, RandomBytesNeverDoMoreThanFail) {
  const std::uint64_t seed = test::random_seed();
  SCOPED_TRACE(test::seed_text(seed));
  std::mt19937_64 random(seed);
  const std::string valid = "\x0a\x02\x08\x00\x12\x06\x0a\x01k\x12\x01v\x12\x03\x0a\x01j\x10\x05"s;
  for (int round = 0; round < 20'000; ++round) {
    std::string reply = valid;
    for (std::uint64_t edits = random() % 4; edits-- > 0;) {
      reply[random() % reply.size()] = static_cast<char>(random());
    }
    reply.resize(random() % (reply.size() + 1));
    const auto kind = static_cast<EventKind>(2 + random() % 7);
    const auto call = replied(kind, reply);
    const std::size_t read = entries(*call).size();
    if (kind == EventKind::kKvKeys || kind == EventKind::kKvMultiGet) {
      ASSERT_EQ(read, call->status == Status::kOk ? static_cast<std::size_t>(call->number) : 0u);
    }
  }
}

}  // namespace
}  // namespace gcs
