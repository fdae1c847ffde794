// SPDX-License-Identifier: Apache-2.0
//
// Errors and durations as they stand inside a sentence: "connection refused", "5 s".
#pragma once

#include <cstdint>
#include <string>

namespace gcs::transport {

std::string system_error_text(int error_number);
// What to do about it, as the rest of the sentence; empty where there is no advice. EAGAIN is that
// of a thread that could not be started.
const char* system_error_advice(int error_number) noexcept;
std::string seconds_text(std::int64_t nanoseconds);

}  // namespace gcs::transport
