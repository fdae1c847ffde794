// SPDX-License-Identifier: Apache-2.0
#include "client/pubsub_layout.h"

#include <algorithm>
#include <protozero/pbf_writer.hpp>
#include <utility>

#include "client/message_reader.h"
#include "client/method_ids.h"

namespace gcs {
namespace {

using Bytes = std::span<const std::uint8_t>;
using Wire = MessageReader::Wire;

// The two fields of a PubMessage that are the same in every release.
constexpr std::uint32_t kChannelType = 1;
constexpr std::uint32_t kKeyId = 2;

struct NamedChannel {
  std::string_view name;
  std::string_view enum_name;
  std::size_t key_size;
};
constexpr NamedChannel kNamedChannels[] = {
    {"errors", "RAY_ERROR_INFO_CHANNEL", 0},
    {"logs", "RAY_LOG_CHANNEL", 0},
    {"resource_usage", "RAY_NODE_RESOURCE_USAGE_CHANNEL", 0},
    {"actors", "GCS_ACTOR_CHANNEL", 16},
    {"jobs", "GCS_JOB_CHANNEL", 4},
    {"nodes", "GCS_NODE_INFO_CHANNEL", 28},
    {"node_liveness", "GCS_NODE_ADDRESS_AND_LIVENESS_CHANNEL", 28},
    {"workers", "GCS_WORKER_DELTA_CHANNEL", 28},
};

// Between workers only.
bool is_published(std::string_view channel) noexcept {
  return !channel.starts_with("WORKER_");
}

// Which of the services a server has.
struct Services {
  bool internal = false;
  bool control_plane = false;
  bool observability = false;

  bool have(PubsubService service) const noexcept {
    switch (service) {
      case PubsubService::kInternal:
        return internal;
      case PubsubService::kControlPlane:
        return control_plane;
      default:
        return observability;
    }
  }
};

std::string_view text(Bytes bytes) noexcept {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Calls `visit` with each field of that number and of bytes. False if these are no message, or one
// that `visit` returns false for.
template <typename Visit>
bool visit_each(Bytes message, std::uint32_t field, Visit visit) {
  MessageReader reader(message);
  while (reader.next()) {
    if (reader.field() == field && reader.wire() == Wire::kBytes && !visit(reader.bytes())) {
      return false;
    }
  }
  return reader.intact();
}

// The last field of that number and of bytes; empty if there is none.
std::string_view last_text(Bytes message, std::uint32_t field) noexcept {
  std::string_view last;
  visit_each(message, field, [&last](Bytes bytes) noexcept {
    last = text(bytes);
    return true;
  });
  return last;
}

bool read_services(Bytes response, Services* services) {
  constexpr std::uint32_t kListServicesResponse = 6;
  constexpr std::uint32_t kService = 1;
  constexpr std::uint32_t kName = 1;
  return visit_each(response, kListServicesResponse, [services](Bytes list) {
    return visit_each(list, kService, [services](Bytes service) {
      const std::string_view name = last_text(service, kName);
      if (name == "ray.rpc.InternalPubSubGcsService") services->internal = true;
      if (name == "ray.rpc.ControlPlanePubSubGcsService") services->control_plane = true;
      if (name == "ray.rpc.ObservabilityPubSubService") services->observability = true;
      return true;
    });
  });
}

// Reads FileDescriptorProtos until both the enum and the message are found.
class Descriptors {
 public:
  explicit Descriptors(const Services& services) noexcept : services_(services) {}

  // False if the file makes no sense.
  bool read_file(Bytes file) {
    constexpr std::uint32_t kPackage = 2;
    constexpr std::uint32_t kMessageType = 4;
    constexpr std::uint32_t kEnumType = 5;
    if (last_text(file, kPackage) != "ray.rpc") return true;
    return visit_each(file, kEnumType, [this](Bytes type) { return read_enum(type); }) &&
           visit_each(file, kMessageType, [this](Bytes type) { return read_message(type); });
  }

  bool complete() const noexcept {
    return has_enum_ && !channels_.empty() && channel_type_ == kChannelType && key_id_ == kKeyId &&
           failure_message_ > kKeyId && sequence_id_ > kKeyId && failure_message_ != sequence_id_;
  }

  std::vector<PubsubChannel> take_channels() {
    std::ranges::sort(channels_, {}, [](const PubsubChannel& channel) noexcept {
      return std::pair(channel.number, std::string_view(channel.name));
    });
    return std::move(channels_);
  }
  std::uint32_t failure_message() const noexcept { return failure_message_; }
  std::uint32_t sequence_id() const noexcept { return sequence_id_; }

 private:
  static constexpr std::uint32_t kName = 1;  // of an enum, its values, a message, and its fields

  bool read_enum(Bytes type) {
    constexpr std::uint32_t kValue = 2;
    if (has_enum_ || last_text(type, kName) != "ChannelType") return true;
    has_enum_ = true;
    return visit_each(type, kValue, [this](Bytes value) { return read_value(value); });
  }

  bool read_value(Bytes value) {
    constexpr std::uint32_t kNumber = 2;
    constexpr std::int64_t kHighestChannel = 1023;  // Ray has had ten or so
    constexpr std::size_t kMostChannels = 1024;
    constexpr std::size_t kLongestName = 255;
    std::int64_t number = 0;
    if (!read_number(value, kNumber, &number)) return false;
    const std::string_view name = last_text(value, kName);
    if (number < 0 || number > kHighestChannel || ++values_ > kMostChannels || name.empty() ||
        name.size() > kLongestName) {
      return false;
    }
    const PubsubService service = pubsub_service(name, !services_.internal);
    if (!is_published(name) || !services_.have(service)) return true;
    channels_.push_back({std::string(name), static_cast<std::uint32_t>(number), service});
    return true;
  }

  bool read_message(Bytes type) {
    constexpr std::uint32_t kField = 2;
    if (has_message_ || last_text(type, kName) != "PubMessage") return true;
    has_message_ = true;
    return visit_each(type, kField, [this](Bytes field) { return read_field(field); });
  }

  bool read_field(Bytes field) {
    constexpr std::uint32_t kNumber = 3;
    constexpr std::uint32_t kType = 5;
    constexpr std::int64_t kInt64 = 3;
    constexpr std::int64_t kMessage = 11;
    constexpr std::int64_t kBytes = 12;
    constexpr std::int64_t kEnum = 14;
    constexpr std::int64_t kHighestField = (1 << 29) - 1;
    std::int64_t number = 0;
    std::int64_t type = 0;
    if (!read_number(field, kNumber, &number) || !read_number(field, kType, &type) || number < 1 ||
        number > kHighestField) {
      return false;
    }
    const auto has = [name = last_text(field, kName), number, type](
                         std::string_view other, std::int64_t its_type, std::uint32_t* into) {
      if (name != other) return true;
      *into = static_cast<std::uint32_t>(number);
      return type == its_type;
    };
    return has("channel_type", kEnum, &channel_type_) && has("key_id", kBytes, &key_id_) &&
           has("failure_message", kMessage, &failure_message_) &&
           has("sequence_id", kInt64, &sequence_id_);
  }

  // 0 if it is absent. False if these are no message.
  static bool read_number(Bytes message, std::uint32_t field, std::int64_t* number) noexcept {
    MessageReader reader(message);
    while (reader.next()) {
      if (reader.field() == field && reader.wire() == Wire::kVarint) *number = reader.number();
    }
    return reader.intact();
  }

  Services services_;
  bool has_enum_ = false;
  bool has_message_ = false;
  std::size_t values_ = 0;
  std::vector<PubsubChannel> channels_;
  std::uint32_t channel_type_ = 0;
  std::uint32_t key_id_ = 0;
  std::uint32_t failure_message_ = 0;
  std::uint32_t sequence_id_ = 0;
};

}  // namespace

std::uint32_t poll_method(PubsubService service) noexcept {
  switch (service) {
    case PubsubService::kInternal:
      return method::kInternalPubSubGcsSubscriberPoll;
    case PubsubService::kControlPlane:
      return method::kControlPlanePubSubGcsSubscriberPoll;
    default:
      return method::kObservabilityPubSubGcsSubscriberPoll;
  }
}

std::uint32_t command_method(PubsubService service) noexcept {
  switch (service) {
    case PubsubService::kInternal:
      return method::kInternalPubSubGcsSubscriberCommandBatch;
    case PubsubService::kControlPlane:
      return method::kControlPlanePubSubGcsSubscriberCommandBatch;
    default:
      return method::kObservabilityPubSubGcsSubscriberCommandBatch;
  }
}

std::string_view channel_enum_name(std::string_view name) noexcept {
  const auto* const known = std::ranges::find(kNamedChannels, name, &NamedChannel::name);
  return known == std::end(kNamedChannels) ? name : known->enum_name;
}

std::size_t channel_key_size(std::string_view enum_name) noexcept {
  const auto* const known = std::ranges::find(kNamedChannels, enum_name, &NamedChannel::enum_name);
  return known == std::end(kNamedChannels) ? 0 : known->key_size;
}

bool channel_is_table(std::string_view enum_name) noexcept {
  return enum_name.starts_with("GCS_") && enum_name != "GCS_WORKER_DELTA_CHANNEL";
}

PubsubLayout::PubsubLayout(std::vector<PubsubChannel> channels, std::uint32_t failure_message,
                           std::uint32_t sequence_id) noexcept
    : channels_(std::move(channels)),
      failure_message_(failure_message),
      sequence_id_(sequence_id) {}

std::optional<PubsubLayout> PubsubLayout::from_descriptors(Bytes services, Bytes files) {
  constexpr std::uint32_t kFileDescriptorResponse = 4;
  constexpr std::uint32_t kFileDescriptorProto = 1;
  Services listed;
  if (!read_services(services, &listed)) return std::nullopt;
  Descriptors descriptors(listed);
  const bool intact = visit_each(files, kFileDescriptorResponse, [&descriptors](Bytes response) {
    return visit_each(response, kFileDescriptorProto,
                      [&descriptors](Bytes file) { return descriptors.read_file(file); });
  });
  if (!intact || !descriptors.complete()) return std::nullopt;
  return PubsubLayout(descriptors.take_channels(), descriptors.failure_message(),
                      descriptors.sequence_id());
}

std::optional<PubsubLayout> PubsubLayout::of_release(std::uint32_t ray_version) {
  if (ray_version < release(2, 9)) return std::nullopt;
  for (const PubsubEpoch& epoch : pubsub_epochs()) {
    if (!epoch.releases.include(ray_version)) continue;
    std::vector<PubsubChannel> channels;
    channels.reserve(epoch.channels.size());
    for (const EpochChannel& channel : epoch.channels) {
      channels.push_back({std::string(channel.name), channel.number,
                          pubsub_service(channel.name, epoch.is_divided)});
    }
    return PubsubLayout(std::move(channels), epoch.failure_message, epoch.sequence_id);
  }
  return std::nullopt;
}

const PubsubChannel* PubsubLayout::find(std::string_view enum_name) const noexcept {
  const auto found = std::ranges::find(channels_, enum_name, &PubsubChannel::name);
  return found == channels_.end() ? nullptr : &*found;
}

bool PubsubLayout::read(Bytes message, PublishedMessage* out) const noexcept {
  *out = {};
  MessageReader reader(message);
  while (reader.next()) {
    const std::uint32_t field = reader.field();
    if (reader.wire() == Wire::kVarint) {
      if (field == kChannelType) out->channel = static_cast<std::uint32_t>(reader.number());
      if (field == sequence_id_) out->sequence_id = reader.number();
    } else if (reader.wire() == Wire::kBytes) {
      if (field == kKeyId) {
        out->key = reader.bytes();
      } else if (field > kKeyId && field != sequence_id_) {
        // Of a oneof, the last that is there counts.
        out->payload = reader.bytes();
        out->is_failure = field == failure_message_;
      }
    }
  }
  return reader.intact();
}

std::string list_services_request() {
  constexpr std::uint32_t kListServices = 7;
  std::string request;
  // Servers look only whether it is there.
  protozero::pbf_writer(request).add_string(kListServices, "*", 1);
  return request;
}

std::string file_of_symbol_request(std::string_view symbol) {
  constexpr std::uint32_t kFileContainingSymbol = 4;
  std::string request;
  protozero::pbf_writer(request).add_string(kFileContainingSymbol, symbol.data(), symbol.size());
  return request;
}

}  // namespace gcs
