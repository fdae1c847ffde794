// SPDX-License-Identifier: Apache-2.0
//
// Reads and fills structs that begin with their own size, so that programs compiled with an older
// or a newer header and this library understand each other. Such structs only ever grow at their
// end.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "client/status.h"
#include "gcs_capi.h"

namespace gcs::shim {

// What the structs had in the first release.
template <class Struct>
inline constexpr std::size_t kFirstSize = 0;
template <>
inline constexpr std::size_t kFirstSize<gcs_client_options> = 96;
template <>
inline constexpr std::size_t kFirstSize<gcs_call_options> = 24;
template <>
inline constexpr std::size_t kFirstSize<gcs_subscribe_options> = 72;
template <>
inline constexpr std::size_t kFirstSize<gcs_queue_options> = 24;
template <>
inline constexpr std::size_t kFirstSize<gcs_call_item> = 96;

inline constexpr std::size_t kLargestSize = 4096;

// kAbi: no release, past or to come, has a struct of this size.
template <class Struct>
Status check_struct_size(std::size_t size) noexcept {
  static_assert(kFirstSize<Struct> != 0 && sizeof(Struct) >= kFirstSize<Struct>);
  const bool plausible =
      size >= kFirstSize<Struct> && size <= kLargestSize && size % alignof(Struct) == 0;
  return plausible ? Status::kOk : Status::kAbi;
}

// Copies over the defaults in *out what the caller's struct has. Where that is larger than ours,
// kUnsupported unless what we do not know is zero, which is to say not asked for.
template <class Struct>
Status read_struct(const void* given, std::size_t size, Struct* out) noexcept {
  if (const Status status = check_struct_size<Struct>(size); status != Status::kOk) return status;
  const auto* bytes = static_cast<const unsigned char*>(given);
  for (std::size_t i = sizeof(Struct); i < size; ++i) {
    if (bytes[i] != 0) return Status::kUnsupported;
  }
  std::memcpy(out, given, std::min(size, sizeof(Struct)));
  out->struct_size = sizeof(Struct);
  return Status::kOk;
}

// Fills in the defaults. A size larger than ours comes from a header that is newer than this
// library.
template <class Struct>
Status init_struct(Struct* given, std::size_t size, const Struct& defaults) noexcept {
  if (size > sizeof(Struct) || check_struct_size<Struct>(size) != Status::kOk) return Status::kAbi;
  std::memcpy(given, &defaults, size);
  given->struct_size = size;
  return Status::kOk;
}

}  // namespace gcs::shim
