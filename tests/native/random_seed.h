// SPDX-License-Identifier: Apache-2.0
//
// Where a random test gets its seed, and how it says which one it had: GCS_TEST_SEED repeats a run.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <random>
#include <string>

namespace gcs::test {

inline std::uint64_t random_seed() {
  if (const char* given = std::getenv("GCS_TEST_SEED")) return std::strtoull(given, nullptr, 10);
  std::random_device device;
  return (static_cast<std::uint64_t>(device()) << 32) | device();
}

inline std::string seed_text(std::uint64_t seed) {
  return "to repeat this run set GCS_TEST_SEED=" + std::to_string(seed);
}

}  // namespace gcs::test
