// SPDX-License-Identifier: Apache-2.0
//
// How Ray's releases have numbered the channels of pub/sub and the fields of a PubMessage: they
// did so anew several times. The one table of it; pure functions.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "client/request_rules.h"

namespace gcs {

// Who has a channel. Before Ray 2.56 one service had all of them.
enum class PubsubService : std::uint8_t { kInternal, kControlPlane, kObservability };

// A channel that a GCS publishes, by its name in the server's ChannelType.
struct ChannelNumber {
  std::string_view name;
  std::uint32_t number;
};

struct PubsubEpoch {
  Releases releases;
  bool has_two_services;
  std::uint32_t failure_message;  // fields of a PubMessage
  std::uint32_t sequence_id;
  std::span<const ChannelNumber> channels;
};

// From the oldest to the newest; what comes after the newest release known here is taken to be as
// that.
std::span<const PubsubEpoch> pubsub_epochs() noexcept;

PubsubService service_of_channel(std::string_view name, bool has_two_services) noexcept;

// What people call a channel ("errors"), as the server does; any other text as it is.
std::string_view channel_enum_name(std::string_view name) noexcept;
// How many bytes a key of the channel has; 0: any number.
std::size_t channel_key_size(std::string_view enum_name) noexcept;
// Whether each message tells of a change of an entry in a table of the GCS.
bool channel_is_table(std::string_view enum_name) noexcept;
// Whether some release has it.
bool is_known_channel(std::string_view enum_name) noexcept;
// "Ray has it from 2.51 on". Empty without memory.
std::string channel_releases(std::string_view enum_name) noexcept;

}  // namespace gcs
