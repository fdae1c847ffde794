// SPDX-License-Identifier: Apache-2.0
//
// What tests of the C functions share in which the process lacks something: one client, and what
// was said when it was made.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "environment.h"
#include "gcs_peer.h"

namespace gcs::test {

inline constexpr std::int64_t kMillisecond = 1'000'000;
inline constexpr std::int64_t kTimeout = 20'000 * kMillisecond;

class StarvedClientTest : public ::testing::Test {
 protected:
  StarvedClientTest() {
    gcs_client_options_init(&options_, sizeof options_);
    options_.token = "";
    gcs_log_set_level(GCS_LOG_OFF);
  }
  gcs_status create(const std::string& address) {
    options_.address = address.c_str();
    gcs_error* error = nullptr;
    const gcs_status status = gcs_client_create(&options_, &client_, &error);
    message_ = gcs_error_message(error);
    flags_ = gcs_error_flags(error);
    gcs_error_free(error);
    return status;
  }
  void destroy() {
    EXPECT_EQ(gcs_client_destroy(client_, kTimeout), GCS_OK);
    EXPECT_EQ(gcs_shutdown(kTimeout), GCS_OK);
  }
  void get(std::string_view key, Ending& ending, int wait_for_ready = 1) {
    gcs_call_options options;
    gcs_call_options_init(&options, sizeof options);
    options.timeout = kTimeout;
    options.wait_for_ready = wait_for_ready;
    ASSERT_EQ(gcs_kv_get(client_, {"n", 1}, {key.data(), key.size()}, &options, nullptr,
                         Ending::receive, &ending, nullptr),
              GCS_OK);
  }
  static void expect_value(Ending& ending) {
    ASSERT_TRUE(ending.wait());
    EXPECT_EQ(ending.status(), GCS_OK) << ending.message();
  }

  ScopedEnvironment environment_;
  gcs_client_options options_;
  gcs_client client_ = 0;
  std::string message_;
  std::uint32_t flags_ = 0;
};

}  // namespace gcs::test
