// SPDX-License-Identifier: Apache-2.0
//
// Releases of Ray as numbers and back.
#include <gtest/gtest.h>

#include <string>

#include "client/ray_version.h"
#include "gcs_capi.h"

namespace gcs {
namespace {

TEST(RayVersion, TheFirstThreePartsMakeTheNumber) {
  EXPECT_EQ(ray_version_number("2.60.0"), 2'060'000u);
  EXPECT_EQ(ray_version_number("2.9.3"), 2'009'003u);
  EXPECT_EQ(ray_version_number("3.0.0.dev0"), 3'000'000u);
  EXPECT_EQ(ray_version_number("2.41.0rc1"), 2'041'000u);
  EXPECT_EQ(ray_version_number("2.41rc7.5"), 2'041'005u);
  EXPECT_EQ(ray_version_number("2.5.0+cu12.1"), 2'005'000u);
}

TEST(RayVersion, WhatIsMissingIsZeroAndWhatIsTooLargeIsTheLargest) {
  EXPECT_EQ(ray_version_number("2"), 2'000'000u);
  EXPECT_EQ(ray_version_number("2."), 2'000'000u);
  EXPECT_EQ(ray_version_number("2..7"), 2'000'007u);
  EXPECT_EQ(ray_version_number("2.x.7"), 2'000'007u);
  EXPECT_EQ(ray_version_number("1000.5000.99999999999999999999"), 999'999'999u);
}

TEST(RayVersion, ATextThatDoesNotBeginWithADigitIsNone) {
  for (const char* text : {"", ".", "v2.60.0", " 2.60.0", "-1", "nightly"})
    EXPECT_EQ(ray_version_number(text), 0u) << text;
  EXPECT_EQ(gcs_ray_version_number(nullptr), 0u);
  EXPECT_EQ(gcs_ray_version_number("2.60.0"), 2'060'000u);
}

TEST(RayVersion, ANumberIsWrittenAsRayWritesIt) {
  for (const char* text : {"2.60.0", "2.9.3", "0.0.1", "999.999.999"})
    EXPECT_EQ(ray_version_text(ray_version_number(text)), text);
}

}  // namespace
}  // namespace gcs
