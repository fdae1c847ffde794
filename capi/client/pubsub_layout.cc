// SPDX-License-Identifier: Apache-2.0
#include "client/pubsub_layout.h"

#include <algorithm>
#include <protozero/pbf_builder.hpp>
#include <protozero/pbf_writer.hpp>

#include "client/method_ids.h"

namespace gcs {
namespace {

using Bytes = std::span<const std::uint8_t>;
using Wire = RequestReader::Wire;

constexpr std::uint32_t kChannelType = 1;  // of a published message and of a command
constexpr std::uint32_t kKeyId = 2;
constexpr std::int64_t kLargestField = (std::int64_t{1} << 29) - 1;
constexpr std::int64_t kLargestChannel = 1023;

std::string_view text(Bytes bytes) noexcept {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Walks the fields of one number and one wire type.
template <class Visit>
bool for_each(Bytes message, std::uint32_t field, Wire wire, Visit&& visit) {
  RequestReader reader(message);
  while (reader.next()) {
    if (reader.field() == field && reader.wire() == wire) visit(reader);
  }
  return reader.intact();
}

Bytes bytes_of(Bytes message, std::uint32_t field) noexcept {
  Bytes found;
  for_each(message, field, Wire::kBytes, [&](const RequestReader& at) { found = at.bytes(); });
  return found;
}

std::int64_t number_of(Bytes message, std::uint32_t field) noexcept {
  std::int64_t found = 0;
  for_each(message, field, Wire::kVarint, [&](const RequestReader& at) { found = at.number(); });
  return found;
}

// What is known of the server's services: whether there are two for pub/sub. nullopt: none.
std::optional<bool> read_services(Bytes reply) noexcept {
  constexpr std::uint32_t kListServices = 6;
  constexpr std::uint32_t kService = 1;
  constexpr std::uint32_t kName = 1;
  bool internal = false;
  bool control_plane = false;
  for_each(bytes_of(reply, kListServices), kService, Wire::kBytes, [&](const RequestReader& at) {
    const std::string_view name = text(bytes_of(at.bytes(), kName));
    internal = internal || name == "ray.rpc.InternalPubSubGcsService";
    control_plane = control_plane || name == "ray.rpc.ControlPlanePubSubGcsService";
  });
  if (!internal && !control_plane) return std::nullopt;
  return !internal;
}

}  // namespace

std::uint32_t poll_method(PubsubService service) noexcept {
  switch (service) {
    case PubsubService::kInternal:
      return method::kInternalPubSubGcsSubscriberPoll;
    case PubsubService::kControlPlane:
      return method::kControlPlanePubSubGcsSubscriberPoll;
    case PubsubService::kObservability:
      break;
  }
  return method::kObservabilityPubSubGcsSubscriberPoll;
}

std::uint32_t command_method(PubsubService service) noexcept {
  switch (service) {
    case PubsubService::kInternal:
      return method::kInternalPubSubGcsSubscriberCommandBatch;
    case PubsubService::kControlPlane:
      return method::kControlPlanePubSubGcsSubscriberCommandBatch;
    case PubsubService::kObservability:
      break;
  }
  return method::kObservabilityPubSubGcsSubscriberCommandBatch;
}

std::optional<PubsubLayout> PubsubLayout::from_descriptors(Bytes services, Bytes files) {
  constexpr std::uint32_t kFileResponse = 4;  // of the reply
  constexpr std::uint32_t kFile = 1;          // of that
  constexpr std::uint32_t kPackage = 2;       // of a FileDescriptorProto
  constexpr std::uint32_t kMessageType = 4;
  constexpr std::uint32_t kEnumType = 5;
  constexpr std::uint32_t kName = 1;    // of a message, an enum, a field, a value
  constexpr std::uint32_t kMember = 2;  // fields of a message, values of an enum
  constexpr std::uint32_t kValueNumber = 2;
  constexpr std::uint32_t kFieldNumber = 3;

  const std::optional<bool> has_two_services = read_services(services);
  if (!has_two_services) return std::nullopt;
  PubsubLayout layout;
  bool sound = true;
  const auto read_channel = [&](const RequestReader& at) {
    const std::string_view name = text(bytes_of(at.bytes(), kName));
    const std::int64_t number = number_of(at.bytes(), kValueNumber);
    if (!name.starts_with("GCS_") && !name.starts_with("RAY_")) return;
    sound = sound && number >= 0 && number <= kLargestChannel;
    layout.channels_.push_back({std::string(name), static_cast<std::uint32_t>(number),
                                service_of_channel(name, *has_two_services)});
  };
  const auto read_field = [&](const RequestReader& at) {
    const std::string_view name = text(bytes_of(at.bytes(), kName));
    const std::int64_t number = number_of(at.bytes(), kFieldNumber);
    sound = sound && number > 0 && number <= kLargestField;
    if (name == "channel_type") sound = sound && number == kChannelType;
    if (name == "key_id") sound = sound && number == kKeyId;
    if (name == "sequence_id") layout.sequence_id_ = static_cast<std::uint32_t>(number);
    if (name == "failure_message") layout.failure_message_ = static_cast<std::uint32_t>(number);
  };
  for_each(bytes_of(files, kFileResponse), kFile, Wire::kBytes, [&](const RequestReader& file) {
    if (text(bytes_of(file.bytes(), kPackage)) != "ray.rpc") return;
    for_each(file.bytes(), kEnumType, Wire::kBytes, [&](const RequestReader& at) {
      if (text(bytes_of(at.bytes(), kName)) == "ChannelType" && layout.channels_.empty())
        for_each(at.bytes(), kMember, Wire::kBytes, read_channel);
    });
    for_each(file.bytes(), kMessageType, Wire::kBytes, [&](const RequestReader& at) {
      if (text(bytes_of(at.bytes(), kName)) == "PubMessage")
        for_each(at.bytes(), kMember, Wire::kBytes, read_field);
    });
  });
  if (!sound || layout.channels_.empty() || layout.sequence_id_ <= kKeyId) return std::nullopt;
  return layout;
}

std::optional<PubsubLayout> PubsubLayout::of_release(std::uint32_t ray_version) {
  constexpr std::uint32_t kOldest = release(2, 9);
  if (ray_version < kOldest) return std::nullopt;
  for (const PubsubEpoch& epoch : pubsub_epochs()) {
    if (!epoch.releases.include(ray_version)) continue;
    PubsubLayout layout;
    layout.failure_message_ = epoch.failure_message;
    layout.sequence_id_ = epoch.sequence_id;
    for (const ChannelNumber& channel : epoch.channels) {
      layout.channels_.push_back({std::string(channel.name), channel.number,
                                  service_of_channel(channel.name, epoch.has_two_services)});
    }
    return layout;
  }
  return std::nullopt;
}

const PubsubChannel* PubsubLayout::find(std::string_view enum_name) const noexcept {
  const auto at =
      std::find_if(channels_.begin(), channels_.end(),
                   [enum_name](const PubsubChannel& channel) { return channel.name == enum_name; });
  return at == channels_.end() ? nullptr : &*at;
}

bool PubsubLayout::read(Bytes message, PublishedMessage* out) const noexcept {
  RequestReader reader(message);
  while (reader.next()) {
    const std::uint32_t field = reader.field();
    if (reader.wire() == Wire::kVarint) {
      if (field == kChannelType) out->channel = static_cast<std::uint32_t>(reader.number());
      if (field == sequence_id_) out->sequence_id = reader.number();
    } else if (reader.wire() == Wire::kBytes) {
      if (field == kKeyId) out->key = reader.bytes();
      if (field > kKeyId) {
        out->payload = reader.bytes();
        out->is_failure = field == failure_message_;
      }
    }
  }
  return reader.intact();
}

std::string list_services_request() {
  constexpr protozero::pbf_tag_type kListServices = 7;
  std::string request;
  protozero::pbf_writer(request).add_string(kListServices, "*");
  return request;
}

std::string file_of_symbol_request(std::string_view symbol) {
  constexpr protozero::pbf_tag_type kFileContainingSymbol = 4;
  std::string request;
  protozero::pbf_writer(request).add_string(kFileContainingSymbol, symbol.data(), symbol.size());
  return request;
}

std::optional<PollReply> read_poll_reply(Bytes bytes) noexcept {
  constexpr std::uint32_t kPubMessages = 1;
  constexpr std::uint32_t kPublisherId = 2;
  PollReply reply;
  RequestReader reader(bytes);
  while (reader.next()) {
    if (reader.wire() != Wire::kBytes) continue;
    if (reader.field() == kPubMessages) ++reply.count;
    if (reader.field() == kPublisherId) reply.publisher_id = reader.bytes();
  }
  if (!reader.intact()) return std::nullopt;
  return reply;
}

bool PollMessages::next(Bytes* message) noexcept {
  constexpr std::uint32_t kPubMessages = 1;
  while (reader_.next()) {
    if (reader_.field() != kPubMessages || reader_.wire() != Wire::kBytes) continue;
    *message = reader_.bytes();
    return true;
  }
  return false;
}

std::string command_request(std::string_view subscriber_id,
                            std::span<const PubsubCommand> commands) {
  constexpr protozero::pbf_tag_type kSubscriberId = 1;
  constexpr protozero::pbf_tag_type kCommands = 2;
  constexpr protozero::pbf_tag_type kUnsubscribe = 3;
  constexpr protozero::pbf_tag_type kSubscribe = 4;
  std::string request;
  protozero::pbf_writer writer(request);
  writer.add_bytes(kSubscriberId, subscriber_id.data(), subscriber_id.size());
  for (const PubsubCommand& command : commands) {
    protozero::pbf_writer inner(writer, kCommands);
    inner.add_enum(kChannelType, static_cast<std::int32_t>(command.channel));
    if (!command.key.empty()) inner.add_bytes(kKeyId, command.key.data(), command.key.size());
    inner.add_message(command.subscribe ? kSubscribe : kUnsubscribe, std::string());
  }
  return request;
}

std::string poll_request(std::string_view subscriber_id, std::int64_t max_processed,
                         std::string_view publisher_id) {
  constexpr protozero::pbf_tag_type kSubscriberId = 1;
  constexpr protozero::pbf_tag_type kMaxProcessed = 2;
  constexpr protozero::pbf_tag_type kPublisherId = 3;
  std::string request;
  protozero::pbf_writer writer(request);
  writer.add_bytes(kSubscriberId, subscriber_id.data(), subscriber_id.size());
  if (max_processed != 0) writer.add_int64(kMaxProcessed, max_processed);
  if (!publisher_id.empty())
    writer.add_bytes(kPublisherId, publisher_id.data(), publisher_id.size());
  return request;
}

std::optional<std::int64_t> read_subscriber_timeout_ms(Bytes reply) noexcept {
  constexpr std::uint32_t kConfig = 2;
  constexpr std::string_view kName = "\"subscriber_timeout_ms\"";
  const std::string_view config = text(bytes_of(reply, kConfig));
  std::size_t at = config.find(kName);
  if (at == std::string_view::npos) return std::nullopt;
  at = config.find_first_not_of(" \t\r\n:", at + kName.size());
  constexpr std::int64_t kLargest = std::int64_t{1} << 50;
  std::int64_t value = 0;
  bool any = false;
  for (; at < config.size() && config[at] >= '0' && config[at] <= '9' && value < kLargest; ++at) {
    value = value * 10 + (config[at] - '0');
    any = true;
  }
  return any ? std::optional(value) : std::nullopt;
}

}  // namespace gcs
