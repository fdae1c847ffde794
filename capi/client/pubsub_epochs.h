// SPDX-License-Identifier: Apache-2.0
//
// How the releases of Ray number the channels of pub/sub and the fields of a PubMessage, and which
// service a channel is of. Constants only.
//
// Invariant: the epochs follow one another without a gap, from the first release to whatever comes
// after the newest that is known here, which is taken to be as that one.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "client/request_rules.h"

namespace gcs {

// One service until 2.55, two since 2.56.
enum class PubsubService : std::uint8_t { kInternal, kControlPlane, kObservability };

struct EpochChannel {
  std::string_view name;  // in the server's enum ChannelType
  std::uint32_t number;
};

struct PubsubEpoch {
  Releases releases;
  bool is_divided;  // among two services
  // Fields of a PubMessage.
  std::uint32_t failure_message;
  std::uint32_t sequence_id;
  // Those that a GCS publishes, by number; all are below 32.
  std::span<const EpochChannel> channels;
};

std::span<const PubsubEpoch> pubsub_epochs() noexcept;

// Of a channel, known here or not, of a server that has one service, or two.
PubsubService pubsub_service(std::string_view channel, bool is_divided) noexcept;

// Whether some release has it.
bool is_known_channel(std::string_view channel) noexcept;
// Which releases have a channel that is known, for people: "Ray has it from 2.51 on". Empty without
// memory.
std::string channel_releases(std::string_view channel) noexcept;

}  // namespace gcs
