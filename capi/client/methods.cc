// SPDX-License-Identifier: Apache-2.0
#include "client/methods.h"

#include <algorithm>
#include <array>
#include <iterator>

#include "client/method_table.h"

namespace gcs {
namespace {

constexpr bool numbered_from_one() {
  for (std::size_t i = 0; i < std::size(kMethods); ++i) {
    if (kMethods[i].id != i + 1) return false;
  }
  return true;
}
static_assert(numbered_from_one());

constexpr std::string_view path_of(std::uint8_t index) {
  return kMethods[index].path;
}

// The places in the table, in the order of their paths.
constexpr auto kByPath = [] {
  std::array<std::uint8_t, std::size(kMethods)> places{};
  static_assert(std::size(kMethods) <= 256);
  for (std::size_t i = 0; i < places.size(); ++i) places[i] = static_cast<std::uint8_t>(i);
  std::ranges::sort(places, {}, path_of);
  return places;
}();

}  // namespace

std::uint32_t method_count() noexcept {
  return std::size(kMethods);
}

const Method* find_method(std::uint32_t id) noexcept {
  return id >= 1 && id <= std::size(kMethods) ? &kMethods[id - 1] : nullptr;
}

const Method* find_method(std::string_view path) noexcept {
  const auto found = std::ranges::lower_bound(kByPath, path, {}, path_of);
  return found != kByPath.end() && path_of(*found) == path ? &kMethods[*found] : nullptr;
}

}  // namespace gcs
