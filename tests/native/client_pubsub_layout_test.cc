// SPDX-License-Identifier: Apache-2.0
//
// Which numbers pub/sub has at a server: by its release, and by its own descriptors. The numbers
// here are those that the descriptors of real servers hold.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "client/method_ids.h"
#include "client/pubsub_layout.h"
#include "client/request_rules.h"
#include "client_fixture.h"
#include "request_bytes.h"

namespace gcs {
namespace {

using test::bytes;
using test::bytes_of;
using test::number;

using Numbers = std::map<std::string, std::uint32_t>;

constexpr std::uint32_t kInt64 = 3;
constexpr std::uint32_t kMessage = 11;
constexpr std::uint32_t kBytes = 12;
constexpr std::uint32_t kEnum = 14;

struct Server {
  std::vector<std::uint32_t> releases;
  Numbers channels;  // all of the enum
  std::uint32_t failure_message, sequence_id;
  std::vector<std::string> services;
};

const std::vector<Server>& servers() {
  static const std::vector<std::string> one_service{"ray.rpc.InternalPubSubGcsService"};
  static const std::vector<std::string> two_services{"ray.rpc.ControlPlanePubSubGcsService",
                                                     "ray.rpc.ObservabilityPubSubService"};
  static const Numbers until_functions{
      {"WORKER_OBJECT_EVICTION", 0},
      {"WORKER_REF_REMOVED_CHANNEL", 1},
      {"WORKER_OBJECT_LOCATIONS_CHANNEL", 2},
      {"GCS_ACTOR_CHANNEL", 3},
      {"GCS_JOB_CHANNEL", 4},
      {"GCS_NODE_INFO_CHANNEL", 5},
      {"GCS_WORKER_DELTA_CHANNEL", 6},
      {"RAY_ERROR_INFO_CHANNEL", 7},
      {"RAY_LOG_CHANNEL", 8},
  };
  static const auto with = [](Numbers numbers, const Numbers& more) {
    numbers.insert(more.begin(), more.end());
    return numbers;
  };
  static const Numbers with_liveness =
      with(until_functions,
           {{"RAY_NODE_RESOURCE_USAGE_CHANNEL", 9}, {"GCS_NODE_ADDRESS_AND_LIVENESS_CHANNEL", 10}});
  static const std::vector<Server> servers{
      {{release(2, 9), release(2, 9, 3)},
       with(until_functions,
            {{"RAY_PYTHON_FUNCTION_CHANNEL", 9}, {"RAY_NODE_RESOURCE_USAGE_CHANNEL", 10}}),
       6,
       16,
       one_service},
      {{release(2, 10), release(2, 30), release(2, 49, 2)},
       with(until_functions, {{"RAY_NODE_RESOURCE_USAGE_CHANNEL", 10}}),
       6,
       16,
       one_service},
      {{release(2, 50), release(2, 50, 1)},
       with(until_functions, {{"RAY_NODE_RESOURCE_USAGE_CHANNEL", 9}}),
       6,
       14,
       one_service},
      {{release(2, 51), release(2, 55, 1)}, with_liveness, 6, 15, one_service},
      {{release(2, 56), release(2, 56, 1)}, with_liveness, 6, 15, two_services},
      {{release(2, 57), release(2, 60), release(2, 99), release(3, 0)},
       {{"WORKER_REF_REMOVED_CHANNEL", 0},
        {"WORKER_OBJECT_LOCATIONS_CHANNEL", 1},
        {"GCS_ACTOR_CHANNEL", 2},
        {"GCS_JOB_CHANNEL", 3},
        {"GCS_NODE_INFO_CHANNEL", 4},
        {"GCS_WORKER_DELTA_CHANNEL", 5},
        {"RAY_ERROR_INFO_CHANNEL", 6},
        {"RAY_LOG_CHANNEL", 7},
        {"RAY_NODE_RESOURCE_USAGE_CHANNEL", 8},
        {"GCS_NODE_ADDRESS_AND_LIVENESS_CHANNEL", 9}},
       5,
       14,
       two_services},
  };
  return servers;
}
const Server& newest() {
  return servers().back();
}

std::string services_reply(const std::vector<std::string>& services) {
  std::string list = bytes(1, bytes(1, "grpc.health.v1.Health"));
  for (const std::string& service : services) list += bytes(1, bytes(1, service));
  return bytes(1, "host") + bytes(2, list_services_request()) + bytes(6, list);
}

// What stands in the descriptors; the changes to it make them wrong.
struct Descriptors {
  std::string package = "ray.rpc";
  std::string enum_name = "ChannelType";
  std::string message_name = "PubMessage";
  std::vector<std::pair<std::string, std::uint64_t>> values;
  struct Field {
    std::string name;
    std::uint64_t number;
    std::uint32_t type;
  };
  std::vector<Field> fields;

  explicit Descriptors(const Server& server)
      : values(server.channels.begin(), server.channels.end()),
        fields{{"channel_type", 1, kEnum},
               {"key_id", 2, kBytes},
               {"failure_message", server.failure_message, kMessage},
               {"actor_message", server.failure_message + 1, kMessage},
               {"sequence_id", server.sequence_id, kInt64}} {}

  void change(const std::string& field, std::uint64_t its_number, std::uint32_t type) {
    *std::ranges::find(fields, field, &Field::name) = {field, its_number, type};
  }
  void drop(const std::string& field) {
    std::erase_if(fields, [&field](const Field& other) { return other.name == field; });
  }

  std::string file() const {
    std::string message = bytes(1, message_name);
    for (const Field& field : fields) {
      message += bytes(2, bytes(1, field.name) + number(3, field.number) + number(4, 1) +
                              number(5, field.type) + bytes(6, ".ray.rpc.SomeType"));
    }
    std::string type = bytes(1, enum_name);
    for (const auto& [name, value] : values) {
      type += bytes(2, bytes(1, name) + number(2, value));
    }
    return bytes(1, "src/pubsub.proto") + bytes(2, package) + bytes(3, "src/common.proto") +
           bytes(4, bytes(1, "LogBatch")) + bytes(4, message) + bytes(5, bytes(1, "Other")) +
           bytes(5, type) + bytes(12, "proto3");
  }
  std::string reply() const { return reply_of({file()}); }

  static std::string reply_of(const std::vector<std::string>& files) {
    std::string response;
    for (const std::string& file : files) response += bytes(1, file);
    return bytes(2, file_of_symbol_request("ray.rpc.PubMessage")) + bytes(4, response);
  }
};

std::optional<PubsubLayout> made_of(const std::string& services, const std::string& files) {
  return PubsubLayout::from_descriptors(bytes_of(services), bytes_of(files));
}
std::optional<PubsubLayout> made_of(const Descriptors& descriptors) {
  return made_of(services_reply(newest().services), descriptors.reply());
}

void expect_layout_of(const Server& server, const std::optional<PubsubLayout>& layout) {
  ASSERT_TRUE(layout);
  EXPECT_EQ(layout->failure_message(), server.failure_message);
  EXPECT_EQ(layout->sequence_id(), server.sequence_id);
  std::size_t published = 0;
  for (const auto& [name, its_number] : server.channels) {
    const PubsubChannel* channel = layout->find(name);
    if (name.starts_with("WORKER_")) {
      EXPECT_EQ(channel, nullptr) << name;
      continue;
    }
    ++published;
    ASSERT_NE(channel, nullptr) << name;
    EXPECT_EQ(channel->name, name);
    EXPECT_EQ(channel->number, its_number) << name;
    const PubsubService of_two =
        name.starts_with("RAY_") ? PubsubService::kObservability : PubsubService::kControlPlane;
    EXPECT_EQ(channel->service, server.services.size() == 1 ? PubsubService::kInternal : of_two)
        << name;
  }
  EXPECT_EQ(layout->channels().size(), published);
  EXPECT_TRUE(std::ranges::is_sorted(layout->channels(), {}, &PubsubChannel::number));
}

TEST(PubsubLayout, AReleaseHasItsNumbers) {
  for (const Server& server : servers()) {
    for (const std::uint32_t ray_version : server.releases) {
      SCOPED_TRACE(ray_version);
      expect_layout_of(server, PubsubLayout::of_release(ray_version));
    }
  }
}

TEST(PubsubLayout, AReleaseThatIsNotKnownOrTooOldHasNone) {
  for (const std::uint32_t ray_version : {0U, 1U, release(1, 13), release(2, 8, 1)})
    EXPECT_FALSE(PubsubLayout::of_release(ray_version)) << ray_version;
}

TEST(PubsubLayout, AServersOwnDescriptorsSayWhatItsReleaseHas) {
  for (const Server& server : servers()) {
    const auto layout = made_of(services_reply(server.services), Descriptors(server).reply());
    expect_layout_of(server, layout);
    EXPECT_EQ(layout, PubsubLayout::of_release(server.releases.front()));
  }
}

TEST(PubsubLayout, NumbersThatNoKnownReleaseHasAreTakenFromTheDescriptors) {
  Descriptors later(newest());
  later.values = {{"GCS_LATER_CHANNEL", 1023}, {"RAY_LOG_CHANNEL", 0}, {"WORKER_X", 4}};
  later.change("failure_message", 3, kMessage);
  later.change("sequence_id", (1U << 29) - 1, kInt64);
  const auto layout = made_of(later);
  ASSERT_TRUE(layout);
  EXPECT_EQ(layout->failure_message(), 3U);
  EXPECT_EQ(layout->sequence_id(), (1U << 29) - 1);
  const std::vector<PubsubChannel> channels{
      {"RAY_LOG_CHANNEL", 0, PubsubService::kObservability},
      {"GCS_LATER_CHANNEL", 1023, PubsubService::kControlPlane}};
  EXPECT_EQ(layout->channels(), channels);
  EXPECT_EQ(layout->find("GCS_ACTOR_CHANNEL"), nullptr);
  EXPECT_EQ(layout->find(""), nullptr);
}

TEST(PubsubLayout, TheFileIsFoundAmongThoseItImports) {
  const Descriptors descriptors(newest());
  Descriptors other(servers().front());
  other.package = "ray.other";
  const std::string reply =
      Descriptors::reply_of({bytes(2, "ray.rpc") + bytes(4, bytes(1, "Address")), other.file(),
                             descriptors.file(), descriptors.file(), bytes(1, "no package")});
  expect_layout_of(newest(), made_of(services_reply(newest().services), reply));
}

TEST(PubsubLayout, AChannelNeedsItsService) {
  const std::string files = Descriptors(newest()).reply();
  EXPECT_FALSE(made_of(services_reply({}), files));
  EXPECT_FALSE(
      made_of(services_reply({"ray.rpc.InternalPubSubGcsServic", "InternalPubSub"}), files));
  const auto observed = made_of(services_reply({"ray.rpc.ObservabilityPubSubService"}), files);
  ASSERT_TRUE(observed);
  EXPECT_NE(observed->find("RAY_LOG_CHANNEL"), nullptr);
  EXPECT_EQ(observed->find("GCS_ACTOR_CHANNEL"), nullptr);
  const auto controlled = made_of(services_reply({"ray.rpc.ControlPlanePubSubGcsService"}), files);
  ASSERT_TRUE(controlled);
  EXPECT_EQ(controlled->find("RAY_LOG_CHANNEL"), nullptr);
  EXPECT_NE(controlled->find("GCS_ACTOR_CHANNEL"), nullptr);
}

TEST(PubsubLayout, AnErrorOfReflectionIsNoLayout) {
  const std::string services = services_reply(newest().services);
  const std::string files = Descriptors(newest()).reply();
  const std::string error = bytes(7, number(1, 5) + bytes(2, "Symbol not found."));
  EXPECT_FALSE(made_of(services, error));
  EXPECT_FALSE(made_of(error, files));
  EXPECT_FALSE(made_of("", files));
  EXPECT_FALSE(made_of(services, ""));
  EXPECT_FALSE(made_of(files, services));
}

TEST(PubsubLayout, DescriptorsThatDoNotSayItAllAreRefused) {
  for (const char* field : {"channel_type", "key_id", "failure_message", "sequence_id"}) {
    Descriptors descriptors(newest());
    descriptors.drop(field);
    EXPECT_FALSE(made_of(descriptors)) << field;
  }
  for (std::string Descriptors::*name :
       {&Descriptors::package, &Descriptors::enum_name, &Descriptors::message_name}) {
    Descriptors descriptors(newest());
    descriptors.*name += "2";
    EXPECT_FALSE(made_of(descriptors)) << descriptors.*name;
  }
  Descriptors without_values(newest());
  without_values.values.clear();
  EXPECT_FALSE(made_of(without_values));
}

TEST(PubsubLayout, FieldsThatCannotBeReadAreRefused) {
  struct Change {
    const char* field;
    std::uint64_t number;
    std::uint32_t type;
  };
  constexpr std::uint64_t kNegative = ~std::uint64_t{0};
  constexpr std::uint64_t kTooLarge = 1U << 29;
  constexpr std::uint32_t kSint64 = 18;
  for (const Change& change : std::vector<Change>{
           {"channel_type", 3, kEnum},
           {"channel_type", 1, kBytes},
           {"key_id", 1, kBytes},
           {"key_id", 2, kInt64},
           {"sequence_id", 0, kInt64},
           {"sequence_id", 1, kInt64},
           {"sequence_id", 2, kInt64},
           {"sequence_id", 5, kInt64},
           {"sequence_id", 14, kSint64},
           {"sequence_id", 14, kMessage},
           {"sequence_id", 14, 0},
           {"sequence_id", kNegative, kInt64},
           {"sequence_id", kTooLarge, kInt64},
           {"sequence_id", (std::uint64_t{1} << 32) + 14, kInt64},
           {"failure_message", 2, kMessage},
           {"failure_message", 14, kMessage},
           {"failure_message", 5, kInt64},
           {"failure_message", kTooLarge, kMessage},
           {"actor_message", 0, kMessage},
           {"actor_message", kTooLarge, kMessage},
       }) {
    Descriptors descriptors(newest());
    descriptors.change(change.field, change.number, change.type);
    EXPECT_FALSE(made_of(descriptors)) << change.field << " " << change.number;
  }
}

TEST(PubsubLayout, ChannelsThatNoServerHasAreRefused) {
  for (const std::uint64_t its_number :
       {std::uint64_t{1024}, std::uint64_t{1} << 32, ~std::uint64_t{0}}) {
    for (const char* name : {"GCS_LATER_CHANNEL", "WORKER_LATER_CHANNEL"}) {
      Descriptors descriptors(newest());
      descriptors.values.emplace_back(name, its_number);
      EXPECT_FALSE(made_of(descriptors)) << name << " " << its_number;
    }
  }
  for (const std::string& name : {std::string(), std::string(256, 'N')}) {
    Descriptors descriptors(newest());
    descriptors.values.emplace_back(name, 20);
    EXPECT_FALSE(made_of(descriptors)) << name;
  }
  Descriptors many(newest());
  while (many.values.size() < 1025) many.values.emplace_back("SOME", 20);
  EXPECT_FALSE(made_of(many));
  many.values.pop_back();
  EXPECT_TRUE(made_of(many));
}

TEST(PubsubLayout, BrokenDescriptorsAreRefusedAndNeverBelievedBeyondTheBounds) {
  const std::string services = services_reply(newest().services);
  const std::string files = Descriptors(newest()).reply();
  for (std::size_t size = 0; size < files.size(); ++size)
    EXPECT_FALSE(made_of(services, files.substr(0, size))) << size;
  for (std::size_t at = 0; at < files.size(); ++at) {
    for (const int value : {0, 1, 127, 128, 255}) {
      std::string broken = files;
      broken[at] = static_cast<char>(value);
      const auto layout = made_of(services, broken);
      if (!layout) continue;
      EXPECT_GT(layout->sequence_id(), 2U);
      EXPECT_LT(layout->sequence_id(), 1U << 29);
      EXPECT_GT(layout->failure_message(), 2U);
      EXPECT_NE(layout->failure_message(), layout->sequence_id());
      for (const PubsubChannel& channel : layout->channels()) {
        EXPECT_LT(channel.number, 1024U);
        EXPECT_FALSE(channel.name.starts_with("WORKER_"));
      }
    }
  }
  for (std::size_t size = 0; size < services.size(); ++size) {
    // Cut between two fields, it is a reply that lists nothing.
    EXPECT_FALSE(made_of(services.substr(0, size), files)) << size;
  }
}

TEST(PubsubChannels, HaveShortNamesKeysAndTables) {
  struct Known {
    const char* name;
    const char* enum_name;
    std::size_t key_size;
    bool is_table;
  };
  for (const Known& known : std::vector<Known>{
           {"errors", "RAY_ERROR_INFO_CHANNEL", 0, false},
           {"logs", "RAY_LOG_CHANNEL", 0, false},
           {"resource_usage", "RAY_NODE_RESOURCE_USAGE_CHANNEL", 0, false},
           {"actors", "GCS_ACTOR_CHANNEL", 16, true},
           {"jobs", "GCS_JOB_CHANNEL", 4, true},
           {"nodes", "GCS_NODE_INFO_CHANNEL", 28, true},
           {"node_liveness", "GCS_NODE_ADDRESS_AND_LIVENESS_CHANNEL", 28, true},
           {"workers", "GCS_WORKER_DELTA_CHANNEL", 28, false},
           {"GCS_LATER_CHANNEL", "GCS_LATER_CHANNEL", 0, true},
           {"Errors", "Errors", 0, false},
           {"", "", 0, false},
       }) {
    EXPECT_EQ(channel_enum_name(known.name), known.enum_name);
    EXPECT_EQ(channel_enum_name(known.enum_name), known.enum_name);
    EXPECT_EQ(channel_key_size(known.enum_name), known.key_size) << known.enum_name;
    EXPECT_EQ(channel_is_table(known.enum_name), known.is_table) << known.enum_name;
  }
}

TEST(PubsubChannels, AreAskedForAtTheirService) {
  EXPECT_EQ(poll_method(PubsubService::kInternal), method::kInternalPubSubGcsSubscriberPoll);
  EXPECT_EQ(poll_method(PubsubService::kControlPlane),
            method::kControlPlanePubSubGcsSubscriberPoll);
  EXPECT_EQ(poll_method(PubsubService::kObservability),
            method::kObservabilityPubSubGcsSubscriberPoll);
  EXPECT_EQ(command_method(PubsubService::kInternal),
            method::kInternalPubSubGcsSubscriberCommandBatch);
  EXPECT_EQ(command_method(PubsubService::kControlPlane),
            method::kControlPlanePubSubGcsSubscriberCommandBatch);
  EXPECT_EQ(command_method(PubsubService::kObservability),
            method::kObservabilityPubSubGcsSubscriberCommandBatch);
}

}  // namespace
}  // namespace gcs
