// SPDX-License-Identifier: Apache-2.0
//
// How one GCS lays out pub/sub: the numbers of its channels and of the fields of a published
// message, and the requests and replies that carry them. Pure functions over untrusted bytes:
// whatever cannot be read is nullopt or false, and only std::bad_alloc is thrown.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "client/pubsub_epochs.h"
#include "client/request_reader.h"

namespace gcs {

// Numbers of the methods of a service.
std::uint32_t poll_method(PubsubService service) noexcept;
std::uint32_t command_method(PubsubService service) noexcept;

struct PubsubChannel {
  std::string name;  // as the server's ChannelType has it
  std::uint32_t number;
  PubsubService service;
};

// Views into a reply.
struct PublishedMessage {
  std::uint32_t channel = 0;
  std::span<const std::uint8_t> key;
  std::span<const std::uint8_t> payload;  // the inner message
  bool is_failure = false;                // the publisher says that it has given the key up
  std::int64_t sequence_id = 0;
};

class PubsubLayout {
 public:
  // Of the server's own descriptors, from two replies of reflection: to list_services_request(),
  // and to file_of_symbol_request(kPubMessage). nullopt if they do not say it all.
  static std::optional<PubsubLayout> from_descriptors(std::span<const std::uint8_t> services,
                                                      std::span<const std::uint8_t> files);
  // Of what is known of a release. nullopt for 0, and for what is older than any that is known.
  static std::optional<PubsubLayout> of_release(std::uint32_t ray_version);

  static constexpr std::string_view kPubMessage = "ray.rpc.PubMessage";

  // nullptr if no GCS like this publishes it: to ask for a channel between workers ends old ones.
  const PubsubChannel* find(std::string_view enum_name) const noexcept;
  const std::vector<PubsubChannel>& channels() const noexcept { return channels_; }
  std::uint32_t failure_message() const noexcept { return failure_message_; }
  std::uint32_t sequence_id() const noexcept { return sequence_id_; }
  // One of the messages of a poll's reply.
  bool read(std::span<const std::uint8_t> message, PublishedMessage* out) const noexcept;

 private:
  std::vector<PubsubChannel> channels_;
  std::uint32_t failure_message_ = 0;
  std::uint32_t sequence_id_ = 0;
};

std::string list_services_request();
std::string file_of_symbol_request(std::string_view symbol);

struct PollReply {
  std::span<const std::uint8_t> publisher_id;
  std::size_t count = 0;  // of messages
};
std::optional<PollReply> read_poll_reply(std::span<const std::uint8_t> reply) noexcept;

// Walks the messages of a reply that read_poll_reply() could read.
class PollMessages {
 public:
  explicit PollMessages(std::span<const std::uint8_t> reply = {}) noexcept : reader_(reply) {}
  bool next(std::span<const std::uint8_t>* message) noexcept;

 private:
  RequestReader reader_;
};

struct PubsubCommand {
  std::uint32_t channel;
  std::string_view key;
  bool subscribe;  // or the opposite
};
std::string command_request(std::string_view subscriber_id,
                            std::span<const PubsubCommand> commands);
std::string poll_request(std::string_view subscriber_id, std::int64_t max_processed,
                         std::string_view publisher_id);

// `subscriber_timeout_ms` out of a reply to GetInternalConfig; nullopt: it does not say.
std::optional<std::int64_t> read_subscriber_timeout_ms(
    std::span<const std::uint8_t> reply) noexcept;

}  // namespace gcs
