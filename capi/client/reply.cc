// SPDX-License-Identifier: Apache-2.0
#include "client/reply.h"

#include <protozero/pbf_reader.hpp>

#include "client/status_reader.h"
#include "client/text.h"

namespace gcs {
namespace {

using transport::CallResult;
using transport::StatusCode;

struct CodeName {
  std::string_view name;
  std::int32_t code;
};

// As servers of any release write them.
constexpr CodeName kCodeNames[] = {
    {"Out of memory", 1},
    {"Key error", 2},
    {"Type error", 3},
    {"Invalid", 4},
    {"IOError", 5},
    {"Unknown error", 9},
    {"NotImplemented", 10},
    {"RedisError", 11},
    {"TimedOut", 12},
    {"Interrupted", 13},
    {"IntentionalSystemExit", 14},
    {"UnexpectedSystemExit", 15},
    {"CreationTaskError", 16},
    {"NotFound", 17},
    {"Disconnected", 18},
    {"SchedulingCancelled", 19},
    {"AlreadyExists", 20},
    {"ObjectExists", 21},
    {"ObjectNotFound", 22},
    {"ObjectAlreadySealed", 23},
    {"ObjectStoreFull", 24},
    {"TransientObjectStoreFull", 25},
    {"GrpcUnavailable", 26},  // this and the next: before 2.40
    {"GrpcUnknown", 27},
    {"OutOfDisk", 28},
    {"ObjectUnknownOwner", 29},
    {"RpcError", 30},
    {"OutOfResource", 31},
    {"ObjectRefEndOfStream", 32},
    {"AuthError", 33},
    {"Unauthenticated", 33},
    {"InvalidArgument", 34},
    {"ChannelError", 35},
    {"ChannelTimeoutError", 36},
    {"PermissionDenied", 37},
    {"GcsPassive", 38},
};

// The last such field; empty if there is none. Throws protozero::exception.
std::string_view read_bytes(std::span<const std::uint8_t> reply, std::uint32_t field) {
  std::string_view bytes;
  protozero::pbf_reader reader = reader_of(reply);
  while (reader.next()) {
    if (reader.tag() == field && reader.wire_type() == protozero::pbf_wire_type::length_delimited) {
      const protozero::data_view view = reader.get_view();
      bytes = {view.data(), view.size()};
    } else {
      reader.skip();
    }
  }
  return bytes;
}

}  // namespace

std::optional<GcsStatus> read_status(std::span<const std::uint8_t> reply,
                                     std::uint32_t field) noexcept {
  try {
    GcsStatus status;
    protozero::pbf_reader reader = reader_of(reply);
    while (reader.next()) {
      if (reader.tag() == field &&
          reader.wire_type() == protozero::pbf_wire_type::length_delimited) {
        status = read_gcs_status(reader.get_view());
      } else {
        reader.skip();
      }
    }
    return status;
  } catch (const std::exception&) {
    return std::nullopt;
  }
}

std::optional<std::string> read_cluster_id(std::span<const std::uint8_t> reply) {
  constexpr std::uint32_t kClusterId = 2;
  constexpr char kDigits[] = "0123456789abcdef";
  try {
    std::string hex;
    for (const char c : read_bytes(reply, kClusterId)) {
      const auto byte = static_cast<unsigned char>(c);
      hex.push_back(kDigits[byte >> 4]);
      hex.push_back(kDigits[byte & 15]);
    }
    constexpr std::size_t kHexDigits = 56;
    if (!hex.empty() && hex.size() != kHexDigits) return std::nullopt;
    return hex;
  } catch (const protozero::exception&) {
    return std::nullopt;
  }
}

std::optional<std::string> read_ray_version(std::span<const std::uint8_t> reply) {
  constexpr std::uint32_t kRayVersion = 2;
  try {
    return std::string(read_bytes(reply, kRayVersion));
  } catch (const protozero::exception&) {
    return std::nullopt;
  }
}

std::optional<GcsStatus> read_aborted(const CallResult& result) noexcept {
  if (result.code != StatusCode::kAborted) return std::nullopt;
  for (const CodeName& known : kCodeNames) {
    if (known.name != result.message) continue;
    const bool said = !result.details.empty() && is_text(result.details);
    return GcsStatus{known.code, join({said ? result.details : result.message})};
  }
  return std::nullopt;
}

bool is_wrong_cluster(const CallResult& result) noexcept {
  return (result.code == StatusCode::kUnauthenticated &&
          result.message.starts_with("WrongClusterID")) ||
         (result.code == StatusCode::kAborted && result.message == "AuthError");
}

std::string describe(const CallResult& result) noexcept {
  if (result.details.empty() || !is_text(result.details)) return join({result.message});
  return join({result.message, result.message.empty() ? "" : ": ", result.details});
}

}  // namespace gcs
