// SPDX-License-Identifier: Apache-2.0
//
// The methods that have a number. Numbers are never reused; capi/abi/methods.lock is the list of
// record, from which the table and the names of the numbers (method_ids.h) are written.
#pragma once

#include <cstdint>
#include <string_view>

#include "client/method_ids.h"

namespace gcs {

struct Method {
  std::uint32_t id;
  const char* path;           // "/ray.rpc.Service/Method"
  bool read_only;             // may be sent again even if it has run
  std::uint8_t status_field;  // number of the reply's status; 0: the reply has none
  const char* first_release;  // of Ray, such as "2.41"
  const char* last_release;   // empty: the newest has it
};

// How many methods have a number; these are 1, 2, ...
std::uint32_t method_count() noexcept;
// nullptr: no such number, no such path.
const Method* find_method(std::uint32_t id) noexcept;
const Method* find_method(std::string_view path) noexcept;

}  // namespace gcs
