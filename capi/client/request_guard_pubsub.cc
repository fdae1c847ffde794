// SPDX-License-Identifier: Apache-2.0
//
// Channels and sequence numbers of pub/sub requests. Ray numbered both anew several times, so the
// same bytes are right for one release and end the next one.
#include <algorithm>
#include <array>
#include <string>

#include "client/method_ids.h"
#include "client/request_guard.h"
#include "client/message_reader.h"
#include "client/request_rules.h"
#include "client/text.h"

namespace gcs {
namespace {

using Bytes = std::span<const std::uint8_t>;
using Wire = MessageReader::Wire;
using Channels = std::uint32_t;  // a bit for each number

enum class Service : std::uint8_t { kInternal, kControlPlane, kObservability };

struct Epoch {
  Releases releases;
  std::uint32_t sequence_id;  // its field in a PubMessage
  Service service;
  Channels channels;  // those that the service has
};

constexpr Channels range(std::uint32_t first, std::uint32_t last) {
  Channels channels = 0;
  for (std::uint32_t channel = first; channel <= last; ++channel) channels |= 1U << channel;
  return channels;
}
constexpr Channels one(std::uint32_t channel) {
  return range(channel, channel);
}

// What comes after the newest release known here is taken to be as that.
constexpr auto kNewest = Releases{}.end;
constexpr std::array kEpochs{
    Epoch{{0, release(2, 10)}, 16, Service::kInternal, range(3, 10)},
    Epoch{{release(2, 10), release(2, 50)}, 16, Service::kInternal, range(3, 8) | one(10)},
    Epoch{{release(2, 50), release(2, 51)}, 14, Service::kInternal, range(3, 9)},
    Epoch{{release(2, 51), release(2, 56)}, 15, Service::kInternal, range(3, 10)},
    Epoch{{release(2, 56), release(2, 57)}, 15, Service::kControlPlane, range(3, 6) | one(10)},
    Epoch{{release(2, 56), release(2, 57)}, 15, Service::kObservability, range(7, 9)},
    Epoch{{release(2, 57), kNewest}, 14, Service::kControlPlane, range(2, 5) | one(9)},
    Epoch{{release(2, 57), kNewest}, 14, Service::kObservability, range(6, 8)},
};

// What all the releases that the server may be have in common.
struct Common {
  Channels channels = ~Channels{0};
  std::uint32_t sequence_ids = 0;  // a bit for each field that is one
  std::uint32_t epochs = 0;
};

Common common_to(Service service, std::uint32_t ray_version) noexcept {
  Common common;
  for (const Epoch& epoch : kEpochs) {
    if (epoch.service != service || !epoch.releases.include(ray_version)) continue;
    ++common.epochs;
    common.channels &= epoch.channels;
    common.sequence_ids |= 1U << epoch.sequence_id;
  }
  return common;
}

std::string list(Channels channels) noexcept {
  std::string text;
  for (std::uint32_t channel = 0; channel < 32; ++channel) {
    if ((channels >> channel & 1) == 0) continue;
    text = join({text, text.empty() ? "" : ", ", Digits(channel)});
  }
  return text;
}

class PubsubJudge {
 public:
  PubsubJudge(Service service, std::uint32_t ray_version)
      : common_(common_to(service, ray_version)), release_is_known_(ray_version != 0) {}

  // No release that the server may be has the method: it answers UNIMPLEMENTED.
  bool knows_no_rule() const noexcept { return common_.epochs == 0; }

  Refusal judge_publish(Bytes request) noexcept {
    return judge(request, kPubMessages, "pub_messages", &PubsubJudge::judge_message);
  }
  Refusal judge_commands(Bytes request) noexcept {
    return judge(request, kCommands, "commands", &PubsubJudge::judge_command);
  }

 private:
  static constexpr std::uint32_t kPubMessages = 1;
  static constexpr std::uint32_t kCommands = 2;
  static constexpr std::uint32_t kChannelType = 1;  // of a message and of a command
  static constexpr std::uint32_t kUnsubscribe = 3;
  static constexpr std::uint32_t kSubscribe = 4;
  static constexpr std::uint32_t kFields = 32;

  using JudgeOne = Refusal (PubsubJudge::*)(Bytes, std::string_view) noexcept;

  Refusal judge(Bytes request, std::uint32_t field, std::string_view name,
                JudgeOne judge_one) noexcept {
    MessageReader reader(request);
    while (reader.next()) {
      if (reader.field() != field || reader.wire() != Wire::kBytes) continue;
      if (Refusal refusal = (this->*judge_one)(reader.bytes(), name)) return refusal;
    }
    return {};
  }

  Refusal judge_message(Bytes message, std::string_view name) noexcept {
    bool has_channel = false;
    MessageReader reader(message);
    while (reader.next()) {
      if (reader.wire() != Wire::kVarint) continue;
      if (reader.field() == kChannelType) {
        has_channel = true;
        if (Refusal refusal = judge_channel(name, reader.number())) return refusal;
      } else if (reader.field() < kFields && (common_.sequence_ids >> reader.field() & 1) != 0 &&
                 reader.number() != 0) {
        return refuse({name, ".sequence_id is set; it must be 0 or absent"},
                      common_.sequence_ids == 1U << reader.field());
      }
    }
    if (has_channel || !reader.intact()) return {};
    return judge_channel(name, 0);
  }

  Refusal judge_command(Bytes command, std::string_view name) noexcept {
    bool has_channel = false;
    bool says_what = false;
    MessageReader reader(command);
    while (reader.next()) {
      if (reader.field() == kChannelType && reader.wire() == Wire::kVarint) {
        has_channel = true;
        if (Refusal refusal = judge_channel(name, reader.number())) return refusal;
      } else if ((reader.field() == kUnsubscribe || reader.field() == kSubscribe) &&
                 reader.wire() == Wire::kBytes) {
        says_what = true;
      }
    }
    if (!reader.intact()) return {};
    if (!has_channel) {
      if (Refusal refusal = judge_channel(name, 0)) return refusal;
    }
    if (says_what) return {};
    return refuse(
        {name, " has neither subscribe_message nor unsubscribe_message; it must have one"}, true);
  }

  Refusal judge_channel(std::string_view name, std::int64_t channel) noexcept {
    if (channel >= 0 && channel < 32 && (common_.channels >> channel & 1) != 0) return {};
    const bool negative = channel < 0;
    const std::uint64_t size =
        negative ? 0 - static_cast<std::uint64_t>(channel) : static_cast<std::uint64_t>(channel);
    return refuse({name, ".channel_type is ", negative ? "-" : "", Digits(size),
                   "; it must be one of ", list(common_.channels)},
                  false);
  }

  Refusal refuse(std::initializer_list<std::string_view> problem, bool in_all) const noexcept {
    return {Status::kInvalidArgument, kFlagLocal,
            join({join(problem), ". Such a request would end the GCS, so it was not sent",
                  !in_all && !release_is_known_
                      ? "; Ray's releases number this differently: say which one the server is"
                      : ""})};
  }

  Common common_;
  bool release_is_known_;
};

}  // namespace

Refusal guard_pubsub(std::uint32_t method, Bytes request, std::uint32_t ray_version) noexcept {
  Service service{};
  bool publishes = false;
  switch (method) {
    case method::kInternalPubSubGcsPublish:
      publishes = true;
      [[fallthrough]];
    case method::kInternalPubSubGcsSubscriberCommandBatch:
      service = Service::kInternal;
      break;
    case method::kControlPlanePubSubGcsPublish:
      publishes = true;
      [[fallthrough]];
    case method::kControlPlanePubSubGcsSubscriberCommandBatch:
      service = Service::kControlPlane;
      break;
    case method::kObservabilityPubSubGcsPublish:
      publishes = true;
      [[fallthrough]];
    case method::kObservabilityPubSubGcsSubscriberCommandBatch:
      service = Service::kObservability;
      break;
    default:
      return {};
  }
  PubsubJudge judge(service, ray_version);
  if (judge.knows_no_rule()) return {};
  return publishes ? judge.judge_publish(request) : judge.judge_commands(request);
}

}  // namespace gcs
