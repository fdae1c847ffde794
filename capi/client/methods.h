// SPDX-License-Identifier: Apache-2.0
//
// The methods that have a number. Numbers are never reused; capi/abi/methods.lock is the list of
// record.
#pragma once

#include <cstdint>
#include <string_view>

namespace gcs {

struct Method {
  std::uint32_t id;
  const char* path;           // "/ray.rpc.Service/Method"
  bool read_only;             // may be sent again even if it has run
  std::uint8_t status_field;  // number of the reply's GcsStatus; 0: the reply has none
};

namespace method {
inline constexpr std::uint32_t kGetClusterId = 1;
inline constexpr std::uint32_t kInternalKvGet = 2;
inline constexpr std::uint32_t kInternalKvMultiGet = 3;
inline constexpr std::uint32_t kInternalKvPut = 4;
inline constexpr std::uint32_t kInternalKvDel = 5;
inline constexpr std::uint32_t kInternalKvExists = 6;
inline constexpr std::uint32_t kInternalKvKeys = 7;
inline constexpr std::uint32_t kGetNextJobId = 8;
inline constexpr std::uint32_t kGetAllNodeInfo = 9;
inline constexpr std::uint32_t kCheckAlive = 10;
}  // namespace method

// How many methods have a number; these are 1, 2, ...
std::uint32_t method_count() noexcept;
// nullptr: no such number, no such path.
const Method* find_method(std::uint32_t id) noexcept;
const Method* find_method(std::string_view path) noexcept;

}  // namespace gcs
