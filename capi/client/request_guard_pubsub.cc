// SPDX-License-Identifier: Apache-2.0
//
// Channels and sequence numbers of pub/sub requests. Ray numbered both anew several times, so the
// same bytes are right for one release and end the next one.
#include <string>

#include "client/message_reader.h"
#include "client/method_ids.h"
#include "client/pubsub_epochs.h"
#include "client/request_guard.h"
#include "client/request_rules.h"
#include "client/text.h"

namespace gcs {
namespace {

using Bytes = std::span<const std::uint8_t>;
using Wire = MessageReader::Wire;
using Channels = std::uint32_t;  // a bit for each number

// What all the releases that the server may be have in common.
struct Common {
  Channels channels = ~Channels{0};
  std::uint32_t sequence_ids = 0;  // a bit for each field that is one
  std::uint32_t epochs = 0;
};

Common common_to(PubsubService service, std::uint32_t ray_version) noexcept {
  Common common;
  const bool is_divided = service != PubsubService::kInternal;
  for (const PubsubEpoch& epoch : pubsub_epochs()) {
    if (epoch.is_divided != is_divided || !epoch.releases.include(ray_version)) continue;
    Channels channels = 0;
    for (const EpochChannel& channel : epoch.channels) {
      if (pubsub_service(channel.name, is_divided) == service) channels |= 1U << channel.number;
    }
    ++common.epochs;
    common.channels &= channels;
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
  PubsubJudge(PubsubService service, std::uint32_t ray_version)
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
  PubsubService service{};
  bool publishes = false;
  switch (method) {
    case method::kInternalPubSubGcsPublish:
      publishes = true;
      [[fallthrough]];
    case method::kInternalPubSubGcsSubscriberCommandBatch:
      service = PubsubService::kInternal;
      break;
    case method::kControlPlanePubSubGcsPublish:
      publishes = true;
      [[fallthrough]];
    case method::kControlPlanePubSubGcsSubscriberCommandBatch:
      service = PubsubService::kControlPlane;
      break;
    case method::kObservabilityPubSubGcsPublish:
      publishes = true;
      [[fallthrough]];
    case method::kObservabilityPubSubGcsSubscriberCommandBatch:
      service = PubsubService::kObservability;
      break;
    default:
      return {};
  }
  PubsubJudge judge(service, ray_version);
  if (judge.knows_no_rule()) return {};
  return publishes ? judge.judge_publish(request) : judge.judge_commands(request);
}

}  // namespace gcs
