// SPDX-License-Identifier: Apache-2.0
//
// What a field of a request must look like, or it ends the GCS's process, or a raylet's: ids that
// have not their length, fields that must be there, numbers out of range, empty names.
// docs/request-guard.md says how each was found.
//
// Invariants: constants only; the nesting of the shapes is finite, and so is a walk along them.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <string_view>

namespace gcs {

// A release of Ray, such as 2.49.0, as one number.
constexpr std::uint32_t release(std::uint32_t major, std::uint32_t minor,
                                std::uint32_t patch = 0) noexcept {
  return major * 1'000'000 + minor * 1'000 + patch;
}

// From `first` on, before `end`.
struct Releases {
  std::uint32_t first = 0;
  std::uint32_t end = std::numeric_limits<std::uint32_t>::max();

  // A release that the caller has not named may be any.
  constexpr bool include(std::uint32_t ray_version) const noexcept {
    return ray_version == 0 || (first <= ray_version && ray_version < end);
  }
  constexpr bool all() const noexcept { return first == 0 && end == Releases{}.end; }
};

enum class Rule : std::uint8_t {
  kId,       // bytes: as many as `low`; or none, unless it is required
  kNumber,   // from `low` to `high`; absent it is 0
  kName,     // text: not empty, not longer than `high`, no control characters
  kMessage,  // as `fields` says
};

// As the `high` of a number.
inline constexpr std::uint32_t kNoLimit = std::numeric_limits<std::uint32_t>::max();

struct Field {
  std::uint32_t number;
  std::string_view name;
  Rule rule;
  std::string_view type;  // of an id, for people
  std::uint32_t low = 0;
  std::uint32_t high = 0;
  bool required = false;
  std::span<const Field> fields{};
  Releases releases{};
};

// The rules for the request of a method; empty if it has none.
std::span<const Field> request_rules(std::uint32_t method) noexcept;

}  // namespace gcs
