// SPDX-License-Identifier: Apache-2.0
//
// What a client counts, as the JSON object of gcs_client_stats().
//
// Threads: any. Each number is read by itself, so that those of one snapshot need not add up.
#pragma once

#include <string>

#include "client/gcs_client.h"

namespace gcs::shim {

// Throws std::bad_alloc.
std::string stats_json(const GcsClient& client);

}  // namespace gcs::shim
