// SPDX-License-Identifier: Apache-2.0
//
// Reading the one-line files that Ray leaves: a token, an address. No locks; any thread.
#pragma once

#include <string>
#include <string_view>

namespace gcs {

// Without white space at either end.
std::string_view trimmed(std::string_view text) noexcept;

// The first line of a file, trimmed, of at most 64 KiB. Returns 0 or an errno.
int read_first_line(const std::string& path, std::string* line);

}  // namespace gcs
