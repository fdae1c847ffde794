// SPDX-License-Identifier: Apache-2.0
//
// How calls end, as numbers: 0, the codes of gRPC (1 to 16), Ray's own codes (1000 + n), and what
// is raised here (negative). The numbers are those of the C API, which checks that they agree.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace gcs {

enum class Status : std::int32_t {
  kOk = 0,
  kInvalidArgument = -1,
  kBadHandle = -2,
  kClosed = -3,
  kCancelled = -4,
  kDeadline = -5,
  kConnectionLost = -6,
  kClusterChanged = -7,
  kForked = -8,
  kAbi = -9,
  kNoMemory = -10,
  kWouldDeadlock = -11,
  kNotFound = -12,
  kLimit = -13,
  kUnsupported = -14,
  kInterrupted = -15,
  kInternal = -16,
  kUnavailable = -17,
  kRay = 1000,
};

// A code that the server sent.
constexpr Status grpc_status(std::int32_t code) noexcept {
  return static_cast<Status>(code);
}
// Ray's own code `code` out of a reply.
inline constexpr std::int32_t kRayNotFound = 17;
inline constexpr std::int32_t kRayGcsPassive = 38;
constexpr Status ray_status(std::int32_t code) noexcept {
  return static_cast<Status>(static_cast<std::int32_t>(Status::kRay) + code);
}

// "GCS_DEADLINE", "UNAVAILABLE", "RAY_NOT_FOUND"; "UNKNOWN_STATUS" for what has no name.
const char* status_name(Status status) noexcept;
// Walks the statuses that have a name; false past the end.
bool status_at(std::size_t index, Status* status) noexcept;

inline constexpr std::uint32_t kFlagLocal = 1;
inline constexpr std::uint32_t kFlagMaybeExecuted = 2;
inline constexpr std::uint32_t kFlagRetryable = 4;
inline constexpr std::uint32_t kFlagTimeout = 8;
inline constexpr std::uint32_t kFlagAuth = 16;

// Why something was refused before it began. kOk: it was not.
struct Refusal {
  Status status = Status::kOk;
  std::uint32_t flags = 0;
  std::string message;
  explicit operator bool() const noexcept { return status != Status::kOk; }
};

}  // namespace gcs
