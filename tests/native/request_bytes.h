// SPDX-License-Identifier: Apache-2.0
//
// Requests written by hand, so that no code under test writes them, and what the guard says to
// them.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "client/call.h"
#include "client/method_ids.h"
#include "client/request_guard.h"
#include "client/request_rules.h"
#include "client_fixture.h"

namespace gcs::test {

inline std::string varint(std::uint64_t value) {
  std::string bytes;
  for (; value > 127; value >>= 7) bytes.push_back(static_cast<char>((value & 127) | 128));
  bytes.push_back(static_cast<char>(value));
  return bytes;
}
inline std::string tag(std::uint32_t field, std::uint32_t wire) {
  return varint(std::uint64_t{field} << 3 | wire);
}
inline std::string number(std::uint32_t field, std::uint64_t value) {
  return tag(field, 0) + varint(value);
}
inline std::string bytes(std::uint32_t field, const std::string& value) {
  return tag(field, 2) + varint(value.size()) + value;
}
inline std::string id(std::uint32_t field, std::size_t size) {
  return bytes(field, std::string(size, 'i'));
}

inline Refusal judge(std::uint32_t method, const std::string& request,
                     std::uint32_t ray_version = 0) {
  const auto call = Call::make(EventKind::kCall, *find_method(method));
  call->copy_request(bytes_of(request));
  call->ray_version = ray_version;
  return guard_request(*call);
}

inline void expect_passes(std::uint32_t method, const std::string& request,
                          std::uint32_t ray_version = 0) {
  const Refusal refusal = judge(method, request, ray_version);
  EXPECT_FALSE(refusal) << find_method(method)->path << ": " << refusal.message;
}

inline void expect_refused(std::uint32_t method, const std::string& request, std::string_view says,
                           std::uint32_t ray_version = 0) {
  const Refusal refusal = judge(method, request, ray_version);
  EXPECT_EQ(refusal.status, Status::kInvalidArgument) << find_method(method)->path;
  EXPECT_EQ(refusal.flags, kFlagLocal);
  EXPECT_NE(refusal.message.find(says), std::string::npos) << refusal.message;
}

}  // namespace gcs::test
