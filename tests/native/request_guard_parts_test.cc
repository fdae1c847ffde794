// SPDX-License-Identifier: Apache-2.0
//
// What must be there, and in its range, inside requests that end a GCS or a raylet without it.
#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "client/request_guard.h"
#include "request_bytes.h"

namespace gcs {
namespace {

using test::bytes;
using test::expect_passes;
using test::expect_refused;
using test::id;
using test::number;

TEST(RequestGuard, APlacementGroupHasAJobAndBundles) {
  const std::string job = id(5, 4);
  const std::string bundle = bytes(3, bytes(1, id(1, 18) + number(2, 0)));
  expect_passes(method::kCreatePlacementGroup, bytes(1, id(1, 18) + job + bundle));
  expect_refused(method::kCreatePlacementGroup, bytes(1, job + bundle),
                 "placement_group_spec.placement_group_id is missing");
  expect_refused(method::kCreatePlacementGroup, bytes(1, id(1, 17) + job + bundle),
                 "placement_group_spec.placement_group_id has 17 bytes");
  const std::string own = id(1, 18);
  expect_refused(method::kCreatePlacementGroup, bytes(1, own + job),
                 "placement_group_spec.bundles is missing");
  expect_refused(method::kCreatePlacementGroup, bytes(1, own + bundle),
                 "placement_group_spec.creator_job_id is missing");
  expect_refused(method::kCreatePlacementGroup, bytes(1, bundle + id(5, 3)),
                 "placement_group_spec.creator_job_id has 3 bytes");
}

TEST(RequestGuard, ABundleSaysWhoseItIsAndWhatItHolds) {
  const auto group = [](const std::string& bundle) {
    return bytes(1, id(1, 18) + id(5, 4) + bytes(3, bundle));
  };
  const std::string own = bytes(1, id(1, 18));
  expect_passes(method::kCreatePlacementGroup, group(own + bytes(2, bytes(1, "CPU"))));
  const std::pair<std::string, const char*> refused[] = {
      {"", "bundles.bundle_id is missing"},
      {bytes(1, ""), "bundle_id.placement_group_id is missing"},
      {bytes(1, id(1, 17)), "bundle_id.placement_group_id has 17 bytes"},
      {bytes(1, id(1, 18) + number(2, std::uint64_t{0} - 7)), "bundle_index is -7"},
      // What a server reads of it is -7 again.
      {bytes(1, id(1, 18) + number(2, 0xfffffff9)), "bundle_index is 4294967289"},
      {own + bytes(2, bytes(1, "")), "unit_resources.key is empty"},
      {own + bytes(2, ""), "unit_resources.key is empty"},
      {own + bytes(2, bytes(1, "a\nb")), "unit_resources.key has a control character"},
      {own + bytes(2, bytes(1, std::string(4097, 'a'))), "unit_resources.key has 4097 bytes"},
      {own + id(3, 27), "bundles.node_id has 27 bytes"},
  };
  for (const auto& [bundle, text] : refused) {
    expect_refused(method::kCreatePlacementGroup, group(bundle), text);
  }
  const std::string all = id(1, 18) + id(5, 4) + bytes(3, own);
  expect_refused(method::kCreatePlacementGroup, bytes(1, all + number(4, 4)), "strategy is 4");
  expect_refused(method::kCreatePlacementGroup, bytes(1, all + id(11, 1)),
                 "soft_target_node_id has 1 byte");
}

TEST(RequestGuard, TasksAreOfAKindThatThereIs) {
  const auto task = [](std::uint64_t type) {
    return bytes(1, bytes(1, bytes(3, number(1, type))));
  };
  expect_passes(method::kAddTaskEventData, task(3));
  expect_refused(method::kAddTaskEventData, task(99), "task_info.type is 99");
  expect_refused(method::kAddTaskEventData, task(std::uint64_t{0} - 1), "task_info.type is -1");
  const auto event = [](std::uint64_t type) {
    return bytes(1, bytes(1, number(3, 1) + bytes(8, number(3, type))));
  };
  expect_passes(method::kAddEvents, event(2));
  expect_refused(method::kAddEvents, event(99), "task_definition_event.task_type is 99");
}

TEST(RequestGuard, AWorkerThatIsAddedHasAnId) {
  expect_passes(method::kAddWorkerInfo, bytes(1, bytes(2, id(4, 28))));
  expect_refused(method::kAddWorkerInfo, "", "worker_data is missing");
  expect_refused(method::kAddWorkerInfo, bytes(1, bytes(2, "")), "worker_id is missing");
}

TEST(RequestGuard, WhatRayletsStreamIsNotSent) {
  const auto call = Call::make_by_path("/ray.rpc.syncer.RaySyncer/StartSync");
  EXPECT_EQ(guard_request(*call).status, Status::kInvalidArgument);
  EXPECT_FALSE(guard_request(*Call::make_by_path("/grpc.health.v1.Health/Check")));
}

TEST(RequestGuard, ANodeIsDrainedForAReason) {
  for (const std::uint64_t reason : {1, 2}) {
    expect_passes(method::kAutoscalerDrainNode, id(1, 28) + number(2, reason));
  }
  expect_refused(method::kAutoscalerDrainNode, id(1, 28), "reason is 0");
  expect_refused(method::kAutoscalerDrainNode, id(1, 28) + number(2, 99), "reason is 99");
  expect_refused(method::kAutoscalerDrainNode, id(1, 27) + number(2, 1), "node_id has 27 bytes");
}

TEST(RequestGuard, EventsAreOfTasks) {
  const auto event = [](const std::string& inside) { return bytes(1, bytes(1, inside)); };
  for (const std::uint64_t type : {1, 2, 3, 4}) {
    expect_passes(method::kAddEvents, event(number(3, type)));
  }
  for (const std::uint64_t type : {0, 5, 17, 99}) {
    expect_refused(method::kAddEvents, event(number(3, type)), "must be from 1 to 4");
  }
  expect_refused(method::kAddEvents, event(""), "events_data.events.event_type is 0");
  struct Id {
    std::uint32_t message, field;
    std::size_t size;
  };
  for (const Id& at : {Id{8, 1, 24},
                       {8, 9, 4},
                       {9, 1, 24},
                       {9, 6, 28},
                       {9, 8, 4},
                       {10, 1, 24},
                       {10, 8, 4},
                       {10, 9, 16},
                       {11, 1, 24},
                       {11, 3, 4}}) {
    const auto with = [&](std::size_t size) {
      return event(number(3, 1) + bytes(at.message, id(at.field, size)));
    };
    expect_passes(method::kAddEvents, with(at.size));
    expect_passes(method::kAddEvents, with(0));
    expect_refused(method::kAddEvents, with(at.size - 1), "events_data.events.");
    expect_refused(method::kAddEvents, with(at.size + 1), "events_data.events.");
  }
}

TEST(RequestGuard, NoVersionOfTheClusterStateIsClaimedToBeSeen) {
  expect_passes(method::kGetClusterResourceState, "");
  expect_passes(method::kGetClusterResourceState, number(1, 0));
  expect_refused(method::kGetClusterResourceState, number(1, 100),
                 "last_seen_cluster_resource_state_version is 100; it must be 0");
}

}  // namespace
}  // namespace gcs
