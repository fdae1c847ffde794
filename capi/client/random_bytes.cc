// SPDX-License-Identifier: Apache-2.0
#include "client/random_bytes.h"

#include <sys/random.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <random>

namespace gcs {

std::string random_bytes(std::size_t size) {
  constexpr std::size_t kMostAtOnce = 256;  // which getentropy() takes
  std::string bytes(size, '\0');
  for (std::size_t at = 0; at < size; at += kMostAtOnce) {
    const std::size_t count = std::min(kMostAtOnce, size - at);
    if (::getentropy(bytes.data() + at, count) == 0) continue;
    // A sandbox refuses it. The ids only have to differ.
    std::mt19937_64 random(
        static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count()) ^
        reinterpret_cast<std::uintptr_t>(bytes.data()));
    std::generate_n(bytes.data() + at, count, [&random] { return static_cast<char>(random()); });
  }
  return bytes;
}

}  // namespace gcs
