// SPDX-License-Identifier: Apache-2.0
//
// Which address a client is to use: the one given, else RAY_ADDRESS, else the file that `ray start`
// leaves. Reads the environment and one file; no locks; any thread.
#pragma once

#include <optional>
#include <string>

#include "client/status.h"
#include "transport/address.h"

namespace gcs {

// kInvalidArgument: an address that cannot be one, or that is no GCS ("local", "ray://...").
// kNotFound: none anywhere; the message says where it was looked for.
Refusal find_address(const std::optional<std::string>& given, transport::Address* address);

}  // namespace gcs
