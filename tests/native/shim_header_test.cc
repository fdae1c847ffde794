// SPDX-License-Identifier: Apache-2.0
//
// The C header from C++: it compiles there, its functions have C linkage, and its structs are
// plain.
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>

#include "gcs_capi.h"

namespace {

static_assert(std::is_standard_layout_v<gcs_client_options> &&
              std::is_trivial_v<gcs_client_options>);
static_assert(std::is_standard_layout_v<gcs_call_item> && std::is_trivial_v<gcs_call_item>);
static_assert(std::is_standard_layout_v<gcs_packed_call> && std::is_trivial_v<gcs_packed_call>);
static_assert(std::is_same_v<gcs_client, std::uint64_t> &&
              std::is_same_v<gcs_status, std::int32_t>);

// What bindings in other languages have written down: a change here is a change of the ABI.
TEST(Header, RecordsAreLaidOutAsTheyWereReleased) {
  EXPECT_EQ(sizeof(gcs_packed_call), 72u);
  EXPECT_EQ(offsetof(gcs_packed_call, kind), 4u);
  EXPECT_EQ(offsetof(gcs_packed_call, client), 8u);
  EXPECT_EQ(offsetof(gcs_packed_call, id), 16u);
  EXPECT_EQ(offsetof(gcs_packed_call, timeout), 24u);
  EXPECT_EQ(offsetof(gcs_packed_call, started), 32u);
  EXPECT_EQ(offsetof(gcs_packed_call, method), 40u);
  EXPECT_EQ(offsetof(gcs_packed_call, name_size), 44u);
  EXPECT_EQ(offsetof(gcs_packed_call, key_size), 48u);
  EXPECT_EQ(offsetof(gcs_packed_call, body_size), 56u);
  EXPECT_EQ(offsetof(gcs_packed_call, ray_version), 64u);
  EXPECT_EQ(sizeof(gcs_packed_event), 48u);
  EXPECT_EQ(offsetof(gcs_packed_event, status), 8u);
  EXPECT_EQ(offsetof(gcs_packed_event, kind), 12u);
  EXPECT_EQ(offsetof(gcs_packed_event, flags), 14u);
  EXPECT_EQ(offsetof(gcs_packed_event, number), 16u);
  EXPECT_EQ(offsetof(gcs_packed_event, offset), 24u);
  EXPECT_EQ(offsetof(gcs_packed_event, size), 32u);
  EXPECT_EQ(offsetof(gcs_packed_event, buffer), 40u);
  EXPECT_EQ(sizeof(gcs_packed_drain), 24u);
  EXPECT_EQ(sizeof(gcs_client_options), 152u);
  EXPECT_EQ(sizeof(gcs_call_options), 32u);
  EXPECT_EQ(sizeof(gcs_queue_options), 24u);
  EXPECT_EQ(sizeof(gcs_call_item), 96u);
}

TEST(Header, WorksFromCpp) {
  gcs_error* error = nullptr;
  gcs_client client = 0;
  gcs_client_options options;
  ASSERT_EQ(gcs_abi_check(GCS_ABI_VERSION), GCS_OK);
  ASSERT_EQ(gcs_client_options_init(&options, sizeof options), GCS_OK);
  options.address = "no address";
  EXPECT_EQ(gcs_client_create(&options, &client, &error), GCS_INVALID_ARGUMENT);
  ASSERT_NE(error, nullptr);
  EXPECT_NE(std::string(gcs_error_message(error)), "");
  gcs_error_free(error);
}

}  // namespace
