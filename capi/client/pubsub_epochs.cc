// SPDX-License-Identifier: Apache-2.0
#include "client/pubsub_epochs.h"

#include <algorithm>
#include <array>

#include "client/text.h"

namespace gcs {
namespace {

constexpr EpochChannel kFirstChannels[] = {
    {"GCS_ACTOR_CHANNEL", 3},           {"GCS_JOB_CHANNEL", 4},
    {"GCS_NODE_INFO_CHANNEL", 5},       {"GCS_WORKER_DELTA_CHANNEL", 6},
    {"RAY_ERROR_INFO_CHANNEL", 7},      {"RAY_LOG_CHANNEL", 8},
    {"RAY_PYTHON_FUNCTION_CHANNEL", 9}, {"RAY_NODE_RESOURCE_USAGE_CHANNEL", 10},
};
constexpr EpochChannel kWithoutFunctions[] = {
    {"GCS_ACTOR_CHANNEL", 3},
    {"GCS_JOB_CHANNEL", 4},
    {"GCS_NODE_INFO_CHANNEL", 5},
    {"GCS_WORKER_DELTA_CHANNEL", 6},
    {"RAY_ERROR_INFO_CHANNEL", 7},
    {"RAY_LOG_CHANNEL", 8},
    {"RAY_NODE_RESOURCE_USAGE_CHANNEL", 10},
};
constexpr EpochChannel kWithLiveness[] = {
    {"GCS_ACTOR_CHANNEL", 3},
    {"GCS_JOB_CHANNEL", 4},
    {"GCS_NODE_INFO_CHANNEL", 5},
    {"GCS_WORKER_DELTA_CHANNEL", 6},
    {"RAY_ERROR_INFO_CHANNEL", 7},
    {"RAY_LOG_CHANNEL", 8},
    {"RAY_NODE_RESOURCE_USAGE_CHANNEL", 9},
    {"GCS_NODE_ADDRESS_AND_LIVENESS_CHANNEL", 10},
};
constexpr std::span<const EpochChannel> kWithoutGap = std::span(kWithLiveness).first<7>();
constexpr EpochChannel kOneLess[] = {
    {"GCS_ACTOR_CHANNEL", 2},
    {"GCS_JOB_CHANNEL", 3},
    {"GCS_NODE_INFO_CHANNEL", 4},
    {"GCS_WORKER_DELTA_CHANNEL", 5},
    {"RAY_ERROR_INFO_CHANNEL", 6},
    {"RAY_LOG_CHANNEL", 7},
    {"RAY_NODE_RESOURCE_USAGE_CHANNEL", 8},
    {"GCS_NODE_ADDRESS_AND_LIVENESS_CHANNEL", 9},
};

constexpr std::array kEpochs{
    PubsubEpoch{{0, release(2, 10)}, false, 6, 16, kFirstChannels},
    PubsubEpoch{{release(2, 10), release(2, 50)}, false, 6, 16, kWithoutFunctions},
    PubsubEpoch{{release(2, 50), release(2, 51)}, false, 6, 14, kWithoutGap},
    PubsubEpoch{{release(2, 51), release(2, 56)}, false, 6, 15, kWithLiveness},
    PubsubEpoch{{release(2, 56), release(2, 57)}, true, 6, 15, kWithLiveness},
    PubsubEpoch{{release(2, 57), Releases{}.end}, true, 5, 14, kOneLess},
};

bool has_channel(const PubsubEpoch& epoch, std::string_view name) noexcept {
  return std::any_of(epoch.channels.begin(), epoch.channels.end(),
                     [name](const EpochChannel& channel) { return channel.name == name; });
}

// "2.51"
std::string release_text(std::uint32_t number) noexcept {
  return join({Digits(number / 1'000'000), ".", Digits(number / 1000 % 1000)});
}

}  // namespace

std::span<const PubsubEpoch> pubsub_epochs() noexcept {
  return kEpochs;
}

PubsubService pubsub_service(std::string_view channel, bool is_divided) noexcept {
  if (!is_divided) return PubsubService::kInternal;
  const bool is_observed = channel == "RAY_ERROR_INFO_CHANNEL" || channel == "RAY_LOG_CHANNEL" ||
                           channel == "RAY_NODE_RESOURCE_USAGE_CHANNEL";
  return is_observed ? PubsubService::kObservability : PubsubService::kControlPlane;
}

bool is_known_channel(std::string_view channel) noexcept {
  return std::any_of(kEpochs.begin(), kEpochs.end(),
                     [channel](const PubsubEpoch& epoch) { return has_channel(epoch, channel); });
}

std::string channel_releases(std::string_view channel) noexcept {
  constexpr std::uint32_t kOldest = release(2, 9);
  const auto has = [channel](const PubsubEpoch& epoch) { return has_channel(epoch, channel); };
  const auto first = std::find_if(kEpochs.begin(), kEpochs.end(), has);
  const auto last = std::find_if(kEpochs.rbegin(), kEpochs.rend(), has);
  if (first == kEpochs.end()) return {};
  const std::string from = release_text(std::max(first->releases.first, kOldest));
  if (last->releases.end == Releases{}.end) return join({"Ray has it from ", from, " on"});
  return join({"Ray had it from ", from, ", and before ", release_text(last->releases.end)});
}

}  // namespace gcs
