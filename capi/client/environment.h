// SPDX-License-Identifier: Apache-2.0
//
// The process's environment variables. Another thread that changes one meanwhile pulls the memory
// away under a reader: so they are read by the thread that makes a client, and never later.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <string>

namespace gcs {

// Empty if there is none of that name.
inline std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string() : std::string(value);
}

// What Ray takes for yes.
inline bool environment_is_true(const char* name) {
  std::string value = environment(name);
  std::transform(value.begin(), value.end(), value.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return value == "1" || value == "true";
}

}  // namespace gcs
