// SPDX-License-Identifier: Apache-2.0
//
// The messages around what is published, which are the same in every release: commands and polls,
// what a poll brings, and the setting that says how long a server remembers a subscriber.
//
// Invariant: replies are untrusted bytes. They are read in place: what comes out of them is a view
// of them.
//
// Threads: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace gcs {

struct PubsubCommand {
  std::uint32_t channel = 0;  // its number at this server
  std::string_view key;       // empty: all of the channel
  bool subscribe = true;      // false: unsubscribe
};

// A GcsSubscriberCommandBatchRequest; the server carries the commands out in this order. A
// subscriber id has 28 bytes. Throws std::bad_alloc.
std::string command_request(std::string_view subscriber_id,
                            std::span<const PubsubCommand> commands);

// A GcsSubscriberPollRequest. `max_processed` acknowledges the messages up to this sequence id of
// the publisher `publisher_id`: 28 bytes; empty while none is known. Throws std::bad_alloc.
std::string poll_request(std::string_view subscriber_id, std::int64_t max_processed,
                         std::string_view publisher_id);

struct PollReply {
  std::span<const std::uint8_t> publisher_id;
  std::size_t count = 0;  // of messages
};

// Of a GcsSubscriberPollReply; nullopt if the bytes are none. Takes one walk over its messages,
// which are not looked into.
std::optional<PollReply> read_poll_reply(std::span<const std::uint8_t> reply) noexcept;

// Goes through the messages of a GcsSubscriberPollReply, each in constant time. Lives no longer
// than the bytes; a copy goes on from the same place.
class PollMessages {
 public:
  explicit PollMessages(std::span<const std::uint8_t> reply = {}) noexcept : rest_(reply) {}

  // Gives the next one, a serialized PubMessage. False at the end, and where the bytes are no
  // reply.
  bool next(std::span<const std::uint8_t>* message) noexcept;

  // What is not yet gone through: a PollMessages of that goes on here.
  std::span<const std::uint8_t> rest() const noexcept { return rest_; }

 private:
  std::span<const std::uint8_t> rest_;
};

// The setting subscriber_timeout_ms in a GetInternalConfigReply, in milliseconds and above 0: a
// server forgets a subscriber that has not polled for so long. nullopt if it is not set there, so
// that the server has Ray's default, or cannot be read.
std::optional<std::int64_t> read_subscriber_timeout_ms(
    std::span<const std::uint8_t> reply) noexcept;

}  // namespace gcs
