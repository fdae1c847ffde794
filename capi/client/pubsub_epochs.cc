// SPDX-License-Identifier: Apache-2.0
#include "client/pubsub_epochs.h"

#include <algorithm>
#include <array>

#include "client/text.h"

namespace gcs {
namespace {

constexpr std::string_view kActors = "GCS_ACTOR_CHANNEL";
constexpr std::string_view kJobs = "GCS_JOB_CHANNEL";
constexpr std::string_view kNodes = "GCS_NODE_INFO_CHANNEL";
constexpr std::string_view kWorkers = "GCS_WORKER_DELTA_CHANNEL";
constexpr std::string_view kErrors = "RAY_ERROR_INFO_CHANNEL";
constexpr std::string_view kLogs = "RAY_LOG_CHANNEL";
constexpr std::string_view kFunctions = "RAY_PYTHON_FUNCTION_CHANNEL";
constexpr std::string_view kUsage = "RAY_NODE_RESOURCE_USAGE_CHANNEL";
constexpr std::string_view kLiveness = "GCS_NODE_ADDRESS_AND_LIVENESS_CHANNEL";

constexpr std::array<ChannelNumber, 8> kOldest{{{kActors, 3},
                                                {kJobs, 4},
                                                {kNodes, 5},
                                                {kWorkers, 6},
                                                {kErrors, 7},
                                                {kLogs, 8},
                                                {kFunctions, 9},
                                                {kUsage, 10}}};
constexpr std::array<ChannelNumber, 7> kWithoutFunctions{
    {{kActors, 3}, {kJobs, 4}, {kNodes, 5}, {kWorkers, 6}, {kErrors, 7}, {kLogs, 8}, {kUsage, 10}}};
constexpr std::array<ChannelNumber, 8> kFrom51{{{kActors, 3},
                                                {kJobs, 4},
                                                {kNodes, 5},
                                                {kWorkers, 6},
                                                {kErrors, 7},
                                                {kLogs, 8},
                                                {kUsage, 9},
                                                {kLiveness, 10}}};
constexpr std::array<ChannelNumber, 8> kFrom57{{{kActors, 2},
                                                {kJobs, 3},
                                                {kNodes, 4},
                                                {kWorkers, 5},
                                                {kErrors, 6},
                                                {kLogs, 7},
                                                {kUsage, 8},
                                                {kLiveness, 9}}};
// Ray 2.50 is 2.51 without the last.
constexpr std::span<const ChannelNumber> kFrom50 = std::span(kFrom51).first(7);

constexpr std::array kEpochs{
    PubsubEpoch{{0, release(2, 10)}, false, 6, 16, kOldest},
    PubsubEpoch{{release(2, 10), release(2, 50)}, false, 6, 16, kWithoutFunctions},
    PubsubEpoch{{release(2, 50), release(2, 51)}, false, 6, 14, kFrom50},
    PubsubEpoch{{release(2, 51), release(2, 56)}, false, 6, 15, kFrom51},
    PubsubEpoch{{release(2, 56), release(2, 57)}, true, 6, 15, kFrom51},
    PubsubEpoch{{release(2, 57), Releases{}.end}, true, 5, 14, kFrom57},
};

struct Name {
  std::string_view short_name;
  std::string_view enum_name;
  std::size_t key_size;
};
constexpr std::array kNames{
    Name{"actors", kActors, 16},
    Name{"errors", kErrors, 0},
    Name{"jobs", kJobs, 4},
    Name{"logs", kLogs, 0},
    Name{"nodes", kNodes, 28},
    Name{"node_liveness", kLiveness, 28},
    Name{"resource_usage", kUsage, 0},
    Name{"workers", kWorkers, 28},
};

bool has_channel(const PubsubEpoch& epoch, std::string_view name) noexcept {
  return std::any_of(epoch.channels.begin(), epoch.channels.end(),
                     [name](const ChannelNumber& channel) { return channel.name == name; });
}

// "2.51"
std::string release_text(std::uint32_t number) noexcept {
  return join({Digits(number / 1'000'000), ".", Digits(number / 1000 % 1000)});
}

}  // namespace

std::span<const PubsubEpoch> pubsub_epochs() noexcept {
  return kEpochs;
}

PubsubService service_of_channel(std::string_view name, bool has_two_services) noexcept {
  if (!has_two_services) return PubsubService::kInternal;
  return name == kErrors || name == kLogs || name == kUsage ? PubsubService::kObservability
                                                            : PubsubService::kControlPlane;
}

std::string_view channel_enum_name(std::string_view name) noexcept {
  for (const Name& each : kNames) {
    if (each.short_name == name) return each.enum_name;
  }
  return name;
}

std::size_t channel_key_size(std::string_view enum_name) noexcept {
  for (const Name& each : kNames) {
    if (each.enum_name == enum_name) return each.key_size;
  }
  return 0;
}

bool channel_is_table(std::string_view enum_name) noexcept {
  return enum_name.starts_with("GCS_") && enum_name != kWorkers;
}

bool is_known_channel(std::string_view enum_name) noexcept {
  return std::any_of(kEpochs.begin(), kEpochs.end(), [enum_name](const PubsubEpoch& epoch) {
    return has_channel(epoch, enum_name);
  });
}

std::string channel_releases(std::string_view enum_name) noexcept {
  const auto has = [enum_name](const PubsubEpoch& epoch) { return has_channel(epoch, enum_name); };
  const auto first = std::find_if(kEpochs.begin(), kEpochs.end(), has);
  const auto last = std::find_if(kEpochs.rbegin(), kEpochs.rend(), has);
  if (first == kEpochs.end()) return {};
  const std::string from = release_text(std::max(first->releases.first, release(2, 9)));
  if (last->releases.end == Releases{}.end) return join({"Ray has it from ", from, " on"});
  return join({"Ray had it from ", from, " to before ", release_text(last->releases.end)});
}

}  // namespace gcs
