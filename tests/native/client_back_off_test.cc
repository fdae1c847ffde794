// SPDX-License-Identifier: Apache-2.0
//
// How long a client stays away from a server that fails.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>

#include "client/back_off.h"

namespace gcs {
namespace {

constexpr std::int64_t kMillisecond = 1'000'000;

std::int64_t bound(int attempt) {
  return std::min<std::int64_t>(2'000 * kMillisecond,
                                50 * kMillisecond << std::min(attempt - 1, 20));
}

TEST(BackOff, TheFirstTimeIsAtOnceAndTheOthersAreWithinTheirBounds) {
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    BackOff back_off(seed * 0x9e3779b97f4a7c15u);
    EXPECT_EQ(back_off.next(), 0);
    for (int attempt = 1; attempt <= 40; ++attempt) {
      const std::int64_t delay = back_off.next();
      ASSERT_GE(delay, 0) << "seed " << seed << ", attempt " << attempt;
      ASSERT_LE(delay, bound(attempt)) << "seed " << seed << ", attempt " << attempt;
    }
  }
}

TEST(BackOff, TheWholeRangeIsUsed) {
  for (const int attempt : {1, 3, 6, 10}) {
    std::int64_t least = INT64_MAX;
    std::int64_t most = 0;
    for (std::uint64_t seed = 0; seed < 500; ++seed) {
      BackOff back_off(seed * 0x9e3779b97f4a7c15u);
      std::int64_t delay = 0;
      for (int i = 0; i <= attempt; ++i) delay = back_off.next();
      least = std::min(least, delay);
      most = std::max(most, delay);
    }
    EXPECT_LT(least, bound(attempt) / 10) << "attempt " << attempt;
    EXPECT_GT(most, bound(attempt) - bound(attempt) / 10) << "attempt " << attempt;
  }
}

TEST(BackOff, AResetBeginsAnew) {
  BackOff back_off(1);
  for (int i = 0; i < 10; ++i) back_off.next();
  back_off.reset();
  EXPECT_EQ(back_off.next(), 0);
  EXPECT_LE(back_off.next(), bound(1));
}

TEST(BackOff, ItNeverEndsAndNeverOverflows) {
  BackOff back_off(1);
  for (int i = 0; i < 100'000; ++i) {
    const std::int64_t delay = back_off.next();
    ASSERT_GE(delay, 0);
    ASSERT_LE(delay, 2'000 * kMillisecond);
  }
}

}  // namespace
}  // namespace gcs
