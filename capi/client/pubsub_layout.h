// SPDX-License-Identifier: Apache-2.0
//
// How one GCS lays out pub/sub: which channels it has, their numbers and services, and where in a
// PubMessage things are. It is read out of the server's own descriptors, or out of the table of the
// releases that are known.
//
// Invariants:
// - Descriptors and messages are untrusted bytes: a layout has no number that they made absurd.
// - A layout does not change once it is made.
//
// Threads: any; no state.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "client/pubsub_epochs.h"
#include "client/pubsub_messages.h"

namespace gcs {

// Numbers of the methods of a service (client/method_ids.h).
std::uint32_t poll_method(PubsubService service) noexcept;
std::uint32_t command_method(PubsubService service) noexcept;

struct PubsubChannel {
  std::string name;  // in the server's enum ChannelType
  std::uint32_t number = 0;
  PubsubService service{};

  bool operator==(const PubsubChannel&) const = default;
};

// What people call a channel, such as "errors", as the enum has it: "RAY_ERROR_INFO_CHANNEL". Any
// other text as it is.
std::string_view channel_enum_name(std::string_view name) noexcept;
// How many bytes a key of the channel has; 0: any number.
std::size_t channel_key_size(std::string_view enum_name) noexcept;
// Whether each message tells of a change in a table of the GCS, so that one who missed some can
// read the table anew.
bool channel_is_table(std::string_view enum_name) noexcept;

// Views of the bytes that were read.
struct PublishedMessage {
  std::uint32_t channel = 0;
  std::span<const std::uint8_t> key;
  std::span<const std::uint8_t> payload;  // the inner message, serialized
  bool is_failure = false;                // the inner message is failure_message
  std::int64_t sequence_id = 0;
};

class PubsubLayout {
 public:
  // Of two serialized grpc.reflection.v1alpha.ServerReflectionResponses: that to list_services,
  // and that to file_containing_symbol "ray.rpc.PubMessage". nullopt if they do not say it all.
  // Throws std::bad_alloc.
  static std::optional<PubsubLayout> from_descriptors(std::span<const std::uint8_t> services,
                                                      std::span<const std::uint8_t> files);

  // Of the table. What is newer than it is taken to be as the newest in it; nullopt below 2.9, and
  // for 0. Throws std::bad_alloc.
  static std::optional<PubsubLayout> of_release(std::uint32_t ray_version);

  // nullptr if the server has no such channel, or if no GCS publishes it: asking for one of the
  // WORKER_ channels ends old servers.
  const PubsubChannel* find(std::string_view enum_name) const noexcept;
  // Those that find() finds, by number.
  const std::vector<PubsubChannel>& channels() const noexcept { return channels_; }

  // Fields of a PubMessage.
  std::uint32_t failure_message() const noexcept { return failure_message_; }
  std::uint32_t sequence_id() const noexcept { return sequence_id_; }

  // Of a serialized PubMessage. False if the bytes are none; `out` is of no use then.
  bool read(std::span<const std::uint8_t> message, PublishedMessage* out) const noexcept;

  bool operator==(const PubsubLayout&) const = default;

 private:
  PubsubLayout(std::vector<PubsubChannel> channels, std::uint32_t failure_message,
               std::uint32_t sequence_id) noexcept;

  std::vector<PubsubChannel> channels_;
  std::uint32_t failure_message_;
  std::uint32_t sequence_id_;
};

// Serialized grpc.reflection.v1alpha.ServerReflectionRequests. Throw std::bad_alloc.
std::string list_services_request();
std::string file_of_symbol_request(std::string_view symbol);

}  // namespace gcs
