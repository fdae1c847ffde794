// SPDX-License-Identifier: Apache-2.0
//
// Releases of Ray as numbers: 2.60.0 is 2 060 000. Pure functions; any text has a number.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace gcs {

// Of each of the first three parts between dots the digits it begins with count; a part that has
// none, or is missing, is 0, and one above 999 is 999. 0 if the text does not begin with a digit.
std::uint32_t ray_version_number(std::string_view text) noexcept;
// "2.60.0"; empty without memory.
std::string ray_version_text(std::uint32_t number) noexcept;

}  // namespace gcs
