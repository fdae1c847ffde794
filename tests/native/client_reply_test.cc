// SPDX-License-Identifier: Apache-2.0
//
// What the client reads out of replies, the names of statuses, and the methods that it knows.
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "client/methods.h"
#include "client/reply.h"
#include "client/status.h"
#include "client_fixture.h"

namespace gcs {
namespace {

using test::bytes_of;
using namespace std::string_literals;

TEST(ReadStatus, ReadsCodeAndMessage) {
  const auto status = read_status(bytes_of(test::status_reply(38, "passive")), 1);
  ASSERT_TRUE(status);
  EXPECT_EQ(status->code, 38);
  EXPECT_EQ(status->message, "passive");
}

TEST(ReadStatus, AnAbsentStatusIsCodeZero) {
  EXPECT_EQ(read_status({}, 1)->code, 0);
  EXPECT_EQ(read_status(bytes_of("\x12\x01x"s), 1)->code, 0);
  EXPECT_EQ(read_status(bytes_of(test::status_reply(5, "x")), 100)->code, 0);
}

TEST(ReadStatus, FindsTheFieldThatTheMethodNames) {
  EXPECT_EQ(read_status(bytes_of("\xa2\x06\x02\x08\x09"s), 100)->code, 9);
}

// 1000 is added to it, and our own statuses are negative.
TEST(ReadStatus, ACodeThatNoRayHasIsNoStatus) {
  for (const std::int32_t code : {-1, -1000, -1017, INT32_MIN, INT32_MAX, 1'000'001})
    EXPECT_FALSE(read_status(bytes_of(test::status_reply(code, "")), 1)) << code;
  EXPECT_EQ(read_status(bytes_of(test::status_reply(1'000'000, "")), 1)->code, 1'000'000);
}

TEST(ReadStatus, MalformedBytesAreNoStatus) {
  for (const std::string& reply :
       {"\x0a"s, "\x0a\x05\x08"s, "\xff\xff"s, "\x0a\x02\x12\x09"s, "\x0b"s}) {
    EXPECT_FALSE(read_status(bytes_of(reply), 1));
  }
}

TEST(ReadClusterId, GivesHexDigits) {
  const std::string id = "0123456789abcdef0123456789abcdef0123456789abcdef01234567";
  EXPECT_EQ(read_cluster_id(bytes_of(test::identity_reply(id))), id);
}

TEST(ReadClusterId, AServerMayHaveNone) {
  EXPECT_EQ(read_cluster_id({}), "");
  EXPECT_EQ(read_cluster_id(bytes_of("\x12\x00"s)), "");
}

TEST(ReadClusterId, AnotherLengthOrMalformedBytesAreNoId) {
  EXPECT_FALSE(read_cluster_id(bytes_of("\x12\x01x"s)));
  EXPECT_FALSE(read_cluster_id(bytes_of("\x12\x1d"s + std::string(29, 'x'))));
  EXPECT_FALSE(read_cluster_id(bytes_of("\x12\x1c"s + std::string(27, 'x'))));
  EXPECT_FALSE(read_cluster_id(bytes_of("\xff"s)));
}

TEST(StatusNames, EveryStatusHasOneNameOfItsOwn) {
  std::set<std::string> names;
  std::set<std::int32_t> numbers;
  Status status = Status::kOk;
  std::size_t count = 0;
  for (; status_at(count, &status); ++count) {
    EXPECT_TRUE(names.insert(status_name(status)).second) << status_name(status);
    EXPECT_TRUE(numbers.insert(static_cast<std::int32_t>(status)).second) << status_name(status);
  }
  for (std::int32_t code = 0; code <= 16; ++code) EXPECT_TRUE(numbers.contains(code)) << code;
  for (std::int32_t code = -17; code < 0; ++code) EXPECT_TRUE(numbers.contains(code)) << code;
  EXPECT_EQ(status_name(Status::kDeadline), "GCS_DEADLINE"s);
  EXPECT_EQ(status_name(grpc_status(14)), "UNAVAILABLE"s);
  EXPECT_EQ(status_name(ray_status(17)), "RAY_NOT_FOUND"s);
  EXPECT_EQ(status_name(static_cast<Status>(12345)), "UNKNOWN_STATUS"s);
}

TEST(Methods, AreFoundByNumberAndByPath) {
  EXPECT_EQ(find_method(0u), nullptr);
  std::uint32_t id = 1;
  for (; const Method* method = find_method(id); ++id) {
    EXPECT_EQ(method->id, id);
    EXPECT_EQ(find_method(std::string_view(method->path)), method);
  }
  EXPECT_EQ(id, method_count() + 1);
  EXPECT_EQ(find_method("/ray.rpc.NodeInfoGcsService/getclusterid"), nullptr);
  EXPECT_EQ(find_method(""), nullptr);
}

TEST(Methods, AKnownPathIsTheKnownMethod) {
  const auto known = Call::make_by_path("/ray.rpc.NodeInfoGcsService/CheckAlive");
  EXPECT_EQ(known->known, find_method(method::kCheckAlive));
  const auto unknown = Call::make_by_path("/ray.rpc.Later/Method");
  EXPECT_EQ(unknown->known, nullptr);
  EXPECT_EQ(unknown->path, "/ray.rpc.Later/Method");
}

}  // namespace
}  // namespace gcs
