// SPDX-License-Identifier: Apache-2.0
#include "client/pubsub_messages.h"

#include <charconv>
#include <protozero/pbf_writer.hpp>
#include <system_error>

#include "client/message_reader.h"

namespace gcs {
namespace {

using Bytes = std::span<const std::uint8_t>;
using Wire = MessageReader::Wire;

constexpr std::uint32_t kSubscriberId = 1;  // of both requests
constexpr std::uint32_t kCommands = 2;
constexpr std::uint32_t kChannelType = 1;
constexpr std::uint32_t kKeyId = 2;
constexpr std::uint32_t kUnsubscribeMessage = 3;
constexpr std::uint32_t kSubscribeMessage = 4;
constexpr std::uint32_t kMaxProcessed = 2;
constexpr std::uint32_t kRequestPublisherId = 3;

constexpr std::uint32_t kPubMessages = 1;
constexpr std::uint32_t kReplyPublisherId = 2;

constexpr std::uint32_t kConfig = 2;

void add(protozero::pbf_writer& writer, std::uint32_t field, std::string_view bytes) {
  if (!bytes.empty()) writer.add_bytes(field, bytes.data(), bytes.size());
}

std::string serialize(const PubsubCommand& command) {
  std::string bytes;
  protozero::pbf_writer writer(bytes);
  if (command.channel != 0) writer.add_uint32(kChannelType, command.channel);
  add(writer, kKeyId, command.key);
  writer.add_bytes(command.subscribe ? kSubscribeMessage : kUnsubscribeMessage, "", 0);
  return bytes;
}

// Finds a number by its name in the outermost object of a JSON text. What is not JSON may give any
// number, or none.
class JsonSetting {
 public:
  JsonSetting(std::string_view json, std::string_view name) noexcept
      : at_(json.data()), end_(json.data() + json.size()), name_(name) {}

  std::optional<std::int64_t> read() noexcept {
    std::optional<std::int64_t> value;
    std::size_t depth = 0;
    while (at_ != end_) {
      const char c = *at_++;
      if (c == '{' || c == '[') {
        ++depth;
      } else if (c == '}' || c == ']') {
        if (depth == 0) return value;
        --depth;
      } else if (c == '"') {
        const std::string_view text = rest_of_string();
        // Of a name that is there twice, servers take the last.
        if (depth == 1 && text == name_ && skips(':')) value = number();
      }
    }
    return value;
  }

 private:
  // Escapes as they are: no name that is looked for needs one.
  std::string_view rest_of_string() noexcept {
    const char* const start = at_;
    while (at_ != end_ && *at_ != '"') at_ += *at_ == '\\' && end_ - at_ > 1 ? 2 : 1;
    const std::string_view text(start, static_cast<std::size_t>(at_ - start));
    if (at_ != end_) ++at_;
    return text;
  }

  void skip_space() noexcept {
    while (at_ != end_ && (*at_ == ' ' || *at_ == '\t' || *at_ == '\n' || *at_ == '\r')) ++at_;
  }

  bool skips(char c) noexcept {
    skip_space();
    if (at_ == end_ || *at_ != c) return false;
    ++at_;
    return true;
  }

  // A fraction is dropped, as servers do.
  std::optional<std::int64_t> number() noexcept {
    skip_space();
    std::int64_t value = 0;
    const auto [after, error] = std::from_chars(at_, end_, value);
    if (error != std::errc()) return std::nullopt;
    at_ = after;
    if (at_ != end_ && *at_ == '.') {
      for (++at_; at_ != end_ && '0' <= *at_ && *at_ <= '9';) ++at_;
    }
    if (at_ != end_ && (*at_ == 'e' || *at_ == 'E')) return std::nullopt;
    return value;
  }

  const char* at_;
  const char* end_;
  std::string_view name_;
};

}  // namespace

std::string command_request(std::string_view subscriber_id,
                            std::span<const PubsubCommand> commands) {
  std::string request;
  protozero::pbf_writer writer(request);
  add(writer, kSubscriberId, subscriber_id);
  for (const PubsubCommand& command : commands) writer.add_bytes(kCommands, serialize(command));
  return request;
}

std::string poll_request(std::string_view subscriber_id, std::int64_t max_processed,
                         std::string_view publisher_id) {
  std::string request;
  protozero::pbf_writer writer(request);
  add(writer, kSubscriberId, subscriber_id);
  if (max_processed != 0) writer.add_int64(kMaxProcessed, max_processed);
  add(writer, kRequestPublisherId, publisher_id);
  return request;
}

std::optional<PollReply> read_poll_reply(Bytes reply) noexcept {
  PollReply read;
  MessageReader reader(reply);
  while (reader.next()) {
    if (reader.wire() != Wire::kBytes) continue;
    if (reader.field() == kPubMessages) {
      ++read.count;
    } else if (reader.field() == kReplyPublisherId) {
      read.publisher_id = reader.bytes();
    }
  }
  if (!reader.intact()) return std::nullopt;
  return read;
}

bool PollMessages::next(Bytes* message) noexcept {
  MessageReader reader(rest_);
  while (reader.next()) {
    if (reader.field() != kPubMessages || reader.wire() != Wire::kBytes) continue;
    *message = reader.bytes();
    rest_ = reader.rest();
    return true;
  }
  rest_ = {};
  return false;
}

std::optional<std::int64_t> read_subscriber_timeout_ms(Bytes reply) noexcept {
  std::string_view config;
  MessageReader reader(reply);
  while (reader.next()) {
    if (reader.field() != kConfig || reader.wire() != Wire::kBytes) continue;
    config = {reinterpret_cast<const char*>(reader.bytes().data()), reader.bytes().size()};
  }
  if (!reader.intact()) return std::nullopt;
  const std::optional<std::int64_t> timeout = JsonSetting(config, "subscriber_timeout_ms").read();
  return timeout && *timeout > 0 ? timeout : std::nullopt;
}

}  // namespace gcs
