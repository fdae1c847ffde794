// SPDX-License-Identifier: Apache-2.0
//
// Errors and durations as they stand inside a sentence: "connection refused", "5 s".
#pragma once

#include <cstdint>
#include <string>

namespace gcs::transport {

std::string system_error_text(int error_number);
std::string seconds_text(std::int64_t nanoseconds);

}  // namespace gcs::transport
