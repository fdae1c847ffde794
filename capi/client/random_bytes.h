// SPDX-License-Identifier: Apache-2.0
//
// Bytes that nobody else draws: the ids of subscribers.
//
// Threads: any.
#pragma once

#include <cstddef>
#include <string>

namespace gcs {

// From the system. Throws std::bad_alloc.
std::string random_bytes(std::size_t size);

}  // namespace gcs
