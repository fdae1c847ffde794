// SPDX-License-Identifier: Apache-2.0
//
// What is known to end a GCS is refused, on both sides of each limit, and nothing else is.
#include "client/request_guard.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

#include "client/call.h"
#include "client/method_ids.h"
#include "client/request_rules.h"
#include "client_fixture.h"
#include "random_seed.h"
#include "request_bytes.h"

namespace gcs {
namespace {

using namespace std::string_literals;
using test::bytes;
using test::bytes_of;
using test::expect_passes;
using test::expect_refused;
using test::id;
using test::judge;
using test::number;
using test::tag;
using test::varint;

struct IdField {
  std::uint32_t method;
  std::vector<std::uint32_t> path;  // field numbers; the last is the id's
  std::size_t size;
  std::string_view name;
  bool required = false;
  std::uint32_t ray_version = 0;
};

const std::vector<IdField>& id_fields() {
  static const std::vector<IdField> fields{
      {method::kGetActorInfo, {1}, 16, "actor_id"},
      {method::kKillActorViaGcs, {1}, 16, "actor_id"},
      {method::kReportActorOutOfScope, {1}, 16, "actor_id"},
      {method::kRestartActor, {1}, 16, "actor_id"},
      {method::kRestartActorForLineageReconstruction, {1}, 16, "actor_id"},
      {method::kCheckAlive, {1}, 28, "node_ids"},
      {method::kNodeInfoDrainNode, {1, 1}, 28, "drain_node_data.node_id"},
      {method::kGetAllNodeAddressAndLiveness, {1}, 28, "node_ids"},
      {method::kGetAllNodeInfo, {2, 1}, 28, "node_selectors.node_id"},
      {method::kGetAllNodeInfo, {4, 1}, 28, "filters.node_id"},
      {method::kRegisterNode, {1, 1}, 28, "node_info.node_id", true},
      {method::kUnregisterNode, {1}, 28, "node_id"},
      {method::kMarkJobFinished, {1}, 4, "job_id"},
      {method::kJobInfoReportJobError, {1, 1}, 4, "job_error.job_id"},
      {method::kObservabilityPubSubReportJobError, {1, 1}, 4, "job_error.job_id"},
      {method::kAddWorkerInfo, {1, 2, 4}, 28, "worker_data.worker_address.worker_id", true},
      {method::kGetWorkerInfo, {1}, 28, "worker_id"},
      {method::kReportWorkerFailure, {1, 2, 1}, 28, "worker_failure.worker_address.node_id"},
      {method::kReportWorkerFailure, {1, 2, 4}, 28, "worker_failure.worker_address.worker_id"},
      {method::kUpdateWorkerDebuggerPort, {1}, 28, "worker_id"},
      {method::kUpdateWorkerNumPausedThreads, {1}, 28, "worker_id"},
      {method::kGetPlacementGroup, {1}, 18, "placement_group_id"},
      {method::kRemovePlacementGroup, {1}, 18, "placement_group_id"},
      {method::kWaitPlacementGroupUntilReady, {1}, 18, "placement_group_id"},
      {method::kAddTaskEventData, {1, 1, 1}, 24, "data.events_by_task.task_id"},
      {method::kAddTaskEventData, {1, 1, 6}, 4, "data.events_by_task.job_id"},
      {method::kAddTaskEventData, {1, 1, 3, 6}, 4, "data.events_by_task.task_info.job_id"},
      {method::kAddTaskEventData, {1, 1, 3, 25}, 16, "data.events_by_task.task_info.actor_id"},
      {method::kAddTaskEventData, {1, 1, 4, 8}, 28, "data.events_by_task.state_updates.worker_id"},
      {method::kAddTaskEventData, {1, 2, 1}, 24, "data.dropped_task_attempts.task_id", true},
      {method::kAddTaskEventData, {1, 4}, 4, "data.job_id"},
      {method::kGetTaskEvents, {4, 1}, 4, "filters.job_id", false, release(2, 40)},
      {method::kGetTaskEvents, {4, 2}, 24, "filters.task_ids", false, release(2, 40)},
      {method::kGetTaskEvents, {4, 1, 2}, 4, "filters.job_filters.job_id", false, release(2, 41)},
      {method::kGetTaskEvents,
       {4, 2, 2},
       24,
       "filters.task_filters.task_id",
       false,
       release(2, 60)},
      {method::kAddEvents,
       {1, 2, 2, 1},
       24,
       "events_data.task_events_metadata.dropped_task_attempts.task_id",
       true},
      {method::kInternalPubSubGcsSubscriberCommandBatch, {1}, 28, "subscriber_id"},
      {method::kControlPlanePubSubGcsSubscriberCommandBatch, {1}, 28, "subscriber_id"},
      {method::kObservabilityPubSubGcsSubscriberCommandBatch, {1}, 28, "subscriber_id"},
      {method::kInternalPubSubGcsSubscriberPoll, {1}, 28, "subscriber_id"},
      {method::kControlPlanePubSubGcsSubscriberPoll, {1}, 28, "subscriber_id"},
      {method::kObservabilityPubSubGcsSubscriberPoll, {1}, 28, "subscriber_id"},
      {method::kInternalPubSubGcsSubscriberPoll, {3}, 28, "publisher_id"},
      {method::kControlPlanePubSubGcsSubscriberPoll, {3}, 28, "publisher_id"},
      {method::kObservabilityPubSubGcsSubscriberPoll, {3}, 28, "publisher_id"},
      {method::kGcsUnregisterSubscriber, {1}, 28, "subscriber_id"},
  };
  return fields;
}

// The message with `inner` where the path leads.
std::string around(const IdField& field, std::string inner) {
  for (std::size_t i = field.path.size() - 1; i-- > 0;) inner = bytes(field.path[i], inner);
  return inner;
}

TEST(RequestGuard, AnIdHasItsLengthOrIsEmpty) {
  for (const IdField& field : id_fields()) {
    const std::uint32_t last = field.path.back();
    const auto request = [&](std::size_t size) { return around(field, id(last, size)); };
    expect_passes(field.method, request(field.size), field.ray_version);
    for (const std::size_t size : {std::size_t{1}, field.size - 1, field.size + 1}) {
      const std::string says = std::string(field.name) + " has " + std::to_string(size) +
                               (size == 1 ? " byte;" : " bytes;");
      expect_refused(field.method, request(size), says, field.ray_version);
    }
    if (field.required) {
      expect_refused(field.method, request(0), field.name, field.ray_version);
      expect_refused(field.method, around(field, ""), std::string(field.name) + " is missing",
                     field.ray_version);
    } else {
      expect_passes(field.method, request(0), field.ray_version);
      expect_passes(field.method, around(field, ""), field.ray_version);
    }
  }
}

TEST(RequestGuard, EachOccurrenceOfAFieldIsJudged) {
  for (const IdField& field : id_fields()) {
    const std::uint32_t last = field.path.back();
    const std::string good = id(last, field.size);
    const std::string bad = id(last, field.size - 1);
    for (const std::string& twice : {good + bad, bad + good}) {
      expect_refused(field.method, around(field, twice), field.name, field.ray_version);
    }
    expect_passes(field.method, around(field, good + good), field.ray_version);
    // And where the message around it is given twice.
    expect_refused(field.method, around(field, good) + around(field, bad), field.name,
                   field.ray_version);
    expect_refused(field.method, around(field, bad) + around(field, good), field.name,
                   field.ray_version);
  }
}

TEST(RequestGuard, AFieldOfAnotherWireTypeIsNone) {
  for (const IdField& field : id_fields()) {
    if (field.required) continue;
    const std::uint32_t last = field.path.back();
    for (const std::string& other : {number(last, 7), tag(last, 1) + std::string(8, 'x'),
                                     tag(last, 5) + std::string(4, 'x')}) {
      expect_passes(field.method, around(field, other), field.ray_version);
    }
  }
}

TEST(RequestGuard, UnknownFieldsAndGroupsHideNothing) {
  const std::string bad = id(1, 15);
  for (const std::string& before :
       {number(9, 1), bytes(9, "x"), tag(9, 3) + tag(9, 4), tag(9, 3) + number(1, 1) + tag(9, 4),
        tag(9, 3) + tag(8, 3) + id(1, 3) + tag(8, 4) + tag(9, 4), number(19000, 1),
        number(536870911, 1)}) {
    expect_refused(method::kGetActorInfo, before + bad, "actor_id has 15 bytes");
    expect_passes(method::kGetActorInfo, before + id(1, 16));
  }
  // The same tag and length in more bytes than they need.
  expect_refused(method::kGetActorInfo, "\x8a\x00\x01x"s, "actor_id has 1 byte;");
  expect_refused(method::kGetActorInfo, "\x8a\x80\x80\x80\x70\x01x"s, "actor_id has 1 byte;");
  expect_refused(method::kGetActorInfo, "\x0a\x81\x80\x80\x80\x00x"s, "actor_id has 1 byte;");
}

TEST(RequestGuard, BytesThatAreNoMessageAreTheServersToRefuse) {
  for (const std::string& bytes :
       {"\xff\xff\xff\xff"s, "\x0a"s, "\x0a\x10x"s, "\x00\x00"s, tag(9, 6), tag(9, 7), tag(9, 3),
        tag(9, 4), "\x0d\x01"s, std::string(20, '\xff'), "\x8a\x80\x80\x80\x80\x00\x01x"s}) {
    expect_passes(method::kGetActorInfo, bytes);
  }
}

TEST(RequestGuard, MethodsWithoutRulesTakeAnything) {
  for (const std::uint32_t method :
       {method::kGetClusterId, method::kInternalKVGet, method::kInternalKVPut,
        method::kGetNamedActorInfo, method::kPinRuntimeEnvURI, method::kServerReflectionInfo}) {
    expect_passes(method, id(1, 15));
    expect_passes(method, "");
  }
  const auto call = Call::make_by_path("/some.Service/Method");
  call->copy_request(bytes_of(id(1, 15)));
  EXPECT_FALSE(guard_request(*call));
}

TEST(RequestGuard, AKnownMethodByItsPathIsGuardedToo) {
  const auto call = Call::make_by_path("/ray.rpc.ActorInfoGcsService/GetActorInfo");
  call->copy_request(bytes_of(id(1, 15)));
  EXPECT_EQ(guard_request(*call).message.substr(0, 66),
            "actor_id has 15 bytes; an ActorID has 16 (or 0 for none). Such a r");
}

TEST(RequestGuard, NodesAreCheckedByAddressOnlyBeforeRay249) {
  const std::string text = bytes(1, "127.0.0.1:6379");
  expect_passes(method::kCheckAlive, text, release(2, 48));
  expect_refused(method::kCheckAlive, text, "node_ids", release(2, 49));
  expect_refused(method::kCheckAlive, text, "node_ids", release(2, 61));
  expect_refused(method::kCheckAlive, text, "say which one the server is");
  expect_refused(method::kCheckAlive, id(1, 28) + text, "node_ids has 14 bytes", release(2, 60));
  expect_passes(method::kCheckAlive, id(1, 28) + id(1, 28) + id(1, 28));
}

std::string registration(const std::string& task) {
  return bytes(1, bytes(10, id(4, 28)) + number(12, 1) + task);
}

TEST(RequestGuard, AnActorIsCreatedByACreationTask) {
  for (const std::uint32_t method : {method::kCreateActor, method::kRegisterActor}) {
    const std::string creation = bytes(15, id(1, 16) + bytes(8, "ns"));
    expect_passes(method, registration(number(1, 1) + creation), release(2, 60));
    expect_refused(method, "", "task_spec is missing");
    expect_refused(method, registration(creation), "task_spec.type is 0; it must be 1",
                   release(2, 60));
    for (const std::uint64_t type : {0, 2, 3, 99}) {
      expect_refused(method, registration(number(1, type) + creation), "task_spec.type is ",
                     release(2, 60));
    }
    expect_refused(method, registration(number(1, -1) + creation), "task_spec.type is -1;",
                   release(2, 60));
    expect_refused(method, registration(number(1, 1) + bytes(15, id(1, 15))),
                   "task_spec.actor_creation_task_spec.actor_id has 15 bytes", release(2, 50));
    expect_refused(method, registration(number(1, 1) + bytes(15, id(2, 15))),
                   "task_spec.actor_creation_task_spec.actor_id has 15 bytes", release(2, 49));
  }
}

TEST(RequestGuard, TheCreatedActorsIdIsWhereTheReleaseReadsIt) {
  const std::string now = registration(number(1, 1) + bytes(15, id(1, 16) + bytes(8, "ns")));
  const std::string before = registration(number(1, 1) + bytes(15, id(2, 16) + bytes(9, "ns")));
  expect_passes(method::kRegisterActor, now, release(2, 50));
  expect_passes(method::kRegisterActor, before, release(2, 49, 2));
  constexpr std::string_view kMissing = "task_spec.actor_creation_task_spec.actor_id is missing";
  expect_refused(method::kRegisterActor, now, kMissing, release(2, 49, 2));
  expect_refused(method::kRegisterActor, before, kMissing, release(2, 50));
  expect_refused(method::kRegisterActor, now, "say which one the server is");
  expect_refused(method::kRegisterActor, registration(number(1, 1)),
                 "task_spec.actor_creation_task_spec is missing");
}

TEST(RequestGuard, ARegisteredActorHasAnOwnerAndAResult) {
  const std::string task = number(1, 1) + bytes(15, id(1, 16) + bytes(8, "ns"));
  const std::string strange = bytes(28, bytes(4, id(1, 27)));
  const std::string owner = bytes(10, id(4, 28));
  const std::uint32_t ray_version = release(2, 60);
  const auto request = [](const std::string& inside) { return bytes(1, inside); };
  expect_passes(method::kRegisterActor, request(task + owner + number(12, 1)), ray_version);
  expect_refused(method::kRegisterActor, request(task + owner + number(12, 1) + strange),
                 "node_affinity_scheduling_strategy.node_id has 27 bytes", ray_version);
  expect_refused(method::kRegisterActor,
                 request(number(1, 1) + bytes(15, id(1, 16)) + owner + number(12, 1)),
                 "actor_creation_task_spec.ray_namespace is empty", ray_version);
  expect_refused(method::kRegisterActor, request(task + owner),
                 "task_spec.num_returns is 0; it must be at least 1", ray_version);
  expect_refused(method::kRegisterActor, request(task + number(12, 1)),
                 "task_spec.caller_address is missing", ray_version);
  expect_refused(method::kRegisterActor, request(task + bytes(10, id(1, 28)) + number(12, 1)),
                 "task_spec.caller_address.worker_id is missing", ray_version);
  for (const auto& [bad, name] : {std::pair{id(5, 3), "task_spec.job_id"},
                                  {id(6, 23), "task_spec.task_id"},
                                  {bytes(10, id(1, 27)), "task_spec.caller_address.node_id"},
                                  {bytes(10, id(4, 29)), "task_spec.caller_address.worker_id"}}) {
    expect_refused(method::kRegisterActor, registration(number(1, 1) + bad + bytes(15, id(1, 16))),
                   name, release(2, 60));
  }
}

TEST(RequestGuard, EmptyRequestsThatEndAServerAreRefused) {
  expect_refused(method::kRegisterNode, "", "node_info is missing");
  expect_refused(method::kCreatePlacementGroup, "", "placement_group_spec is missing");
}

TEST(RequestGuard, AJobHasADriver) {
  const std::string driver = bytes(12, id(4, 28));
  expect_passes(method::kAddJob, bytes(1, id(1, 4) + driver));
  expect_refused(method::kAddJob, bytes(1, driver), "data.job_id is missing");
  expect_refused(method::kAddJob, bytes(1, id(1, 3) + driver), "data.job_id has 3 bytes");
  expect_refused(method::kAddJob, bytes(1, id(1, 4)), "data.driver_address is missing");
  expect_refused(method::kAddJob, bytes(1, id(1, 4) + bytes(12, id(1, 27) + id(4, 28))),
                 "data.driver_address.node_id has 27 bytes");
  expect_refused(method::kAddJob, "", "data is missing");
}

TEST(RequestGuard, FiltersOfTasksAreReadAsTheReleaseReadsThem) {
  const std::string scalar = bytes(4, id(1, 4));
  const std::string predicate = bytes(4, bytes(1, number(1, 1) + id(2, 4)));
  expect_passes(method::kGetTaskEvents, scalar, release(2, 40));
  expect_passes(method::kGetTaskEvents, predicate, release(2, 41));
  expect_refused(method::kGetTaskEvents, predicate, "filters.job_id has 8 bytes", release(2, 40));
  expect_refused(method::kGetTaskEvents, predicate, "say which one the server is");
  expect_passes(method::kGetTaskEvents, number(3, 100) + bytes(4, number(5, 1)));
}

TEST(RequestGuard, RandomBytesNeverCrashIt) {
  const std::uint64_t seed = test::random_seed();
  SCOPED_TRACE(test::seed_text(seed));
  std::mt19937_64 random(seed);
  constexpr std::uint32_t kReleases[] = {0,
                                         release(2, 9),
                                         release(2, 41),
                                         release(2, 51),
                                         release(2, 56),
                                         release(2, 60),
                                         release(9, 0)};
  for (int round = 0; round < 200'000; ++round) {
    std::string request(random() % 40, '\0');
    for (char& byte : request) {
      // Mostly small: tags and lengths that lead somewhere.
      byte = static_cast<char>(random() % 4 == 0 ? random() : random() % 36);
    }
    const auto method = static_cast<std::uint32_t>(1 + random() % method_count());
    const Refusal refusal = judge(method, request, kReleases[random() % std::size(kReleases)]);
    ASSERT_TRUE(!refusal || !refusal.message.empty());
  }
}

TEST(RequestGuard, WhatIsCutOffAnywhereNeverCrashesIt) {
  for (const IdField& field : id_fields()) {
    const std::string whole = around(field, id(field.path.back(), field.size));
    for (std::size_t size = 0; size < whole.size(); ++size) {
      judge(field.method, whole.substr(0, size), field.ray_version);
    }
  }
}

}  // namespace
}  // namespace gcs
