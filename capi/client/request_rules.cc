// SPDX-License-Identifier: Apache-2.0
#include "client/request_rules.h"

#include <array>
#include <limits>

#include "client/method_ids.h"
#include "client/method_table.h"

namespace gcs {
namespace {

struct IdType {
  std::string_view name;
  std::uint32_t size;
};
constexpr IdType kJobId{"a JobID", 4};
constexpr IdType kActorId{"an ActorID", 16};
constexpr IdType kPlacementGroupId{"a PlacementGroupID", 18};
constexpr IdType kTaskId{"a TaskID", 24};
constexpr IdType kNodeId{"a NodeID", 28};
constexpr IdType kWorkerId{"a WorkerID", 28};
constexpr IdType kSubscriberId{"a subscriber's id", 28};
constexpr IdType kPublisherId{"a publisher's id", 28};

constexpr Field id(std::uint32_t number, std::string_view name, IdType type,
                   Releases releases = {}) {
  return {.number = number,
          .name = name,
          .rule = Rule::kId,
          .type = type.name,
          .low = type.size,
          .releases = releases};
}
constexpr Field required_id(std::uint32_t number, std::string_view name, IdType type,
                            Releases releases = {}) {
  Field field = id(number, name, type, releases);
  field.required = true;
  return field;
}
constexpr Field number(std::uint32_t number, std::string_view name, std::uint32_t low,
                       std::uint32_t high, Releases releases = {}) {
  return {.number = number,
          .name = name,
          .rule = Rule::kNumber,
          .type = {},
          .low = low,
          .high = high,
          .required = low > 0,
          .releases = releases};
}
// A GCS matches names with regular expressions, whose depth grows with the length, and which take
// no new line.
constexpr std::uint32_t kLongestName = 4096;
constexpr Field name_of(std::uint32_t number, std::string_view name, Releases releases = {}) {
  return {.number = number,
          .name = name,
          .rule = Rule::kName,
          .type = {},
          .high = kLongestName,
          .required = true,
          .releases = releases};
}
constexpr Field message(std::uint32_t number, std::string_view name, std::span<const Field> fields,
                        Releases releases = {}) {
  return {.number = number,
          .name = name,
          .rule = Rule::kMessage,
          .type = {},
          .fields = fields,
          .releases = releases};
}
constexpr Field required_message(std::uint32_t number, std::string_view name,
                                 std::span<const Field> fields, Releases releases = {}) {
  Field field = message(number, name, fields, releases);
  field.required = true;
  return field;
}

constexpr Releases since(std::uint32_t first) {
  return {.first = first};
}
constexpr Releases before(std::uint32_t end) {
  return {.first = 0, .end = end};
}

constexpr std::uint32_t kNumberedAnew = release(2, 50);  // the messages of actor creation
constexpr std::uint32_t kFiltersWithPredicates = release(2, 41);

// Nodes.
constexpr Field kCheckAlive[] = {id(1, "node_ids", kNodeId, since(release(2, 49)))};
constexpr Field kDrainNodeData[] = {id(1, "node_id", kNodeId)};
constexpr Field kDrainNode[] = {message(1, "drain_node_data", kDrainNodeData)};
constexpr Field kGetAddresses[] = {id(1, "node_ids", kNodeId)};
constexpr Field kNodeOnly[] = {id(1, "node_id", kNodeId)};
constexpr Field kGetAllNodeInfo[] = {message(2, "node_selectors", kNodeOnly),
                                     message(4, "filters", kNodeOnly)};
constexpr Field kNodeInfo[] = {required_id(1, "node_id", kNodeId)};
constexpr Field kRegisterNode[] = {required_message(1, "node_info", kNodeInfo)};

// Jobs.
constexpr Field kJobOnly[] = {id(1, "job_id", kJobId)};
// Whoever lists the jobs next makes the GCS read the id of the driver of each live one.
constexpr Field kOwnerAddress[] = {id(1, "node_id", kNodeId),
                                   required_id(4, "worker_id", kWorkerId)};
constexpr Field kJobData[] = {required_id(1, "job_id", kJobId),
                              required_message(12, "driver_address", kOwnerAddress)};
constexpr Field kAddJob[] = {required_message(1, "data", kJobData)};
constexpr Field kReportJobError[] = {message(1, "job_error", kJobOnly)};

// Actors.
constexpr Field kActorOnly[] = {id(1, "actor_id", kActorId)};
constexpr Field kAddress[] = {id(1, "node_id", kNodeId), id(4, "worker_id", kWorkerId)};
constexpr Field kCreation[] = {
    id(1, "actor_id", kActorId, since(kNumberedAnew)),
    id(2, "actor_id", kActorId, before(kNumberedAnew)),
};
constexpr Field kCreationOfRegistered[] = {
    required_id(1, "actor_id", kActorId, since(kNumberedAnew)),
    required_id(2, "actor_id", kActorId, before(kNumberedAnew)),
    name_of(8, "ray_namespace", since(kNumberedAnew)),
    name_of(9, "ray_namespace", before(kNumberedAnew)),
};
constexpr Field kAffinity[] = {message(4, "node_affinity_scheduling_strategy", kNodeOnly)};
constexpr Field kType = number(1, "type", 1, 1);
constexpr Field kCreationTask[] = {
    kType,
    message(15, "actor_creation_task_spec", kCreation),
    message(28, "scheduling_strategy", kAffinity),
};
constexpr Field kRegistrationTask[] = {
    kType,
    id(5, "job_id", kJobId),
    id(6, "task_id", kTaskId),
    required_message(10, "caller_address", kOwnerAddress),
    number(12, "num_returns", 1, kNoLimit),
    required_message(15, "actor_creation_task_spec", kCreationOfRegistered),
    message(28, "scheduling_strategy", kAffinity),
};
constexpr Field kCreateActor[] = {required_message(1, "task_spec", kCreationTask)};
constexpr Field kRegisterActor[] = {required_message(1, "task_spec", kRegistrationTask)};

// Harmless as long as the GCS has no actor.
constexpr Field kActorFilters[] = {id(1, "actor_id", kActorId), id(2, "job_id", kJobId)};
constexpr Field kGetAllActorInfo[] = {message(3, "filters", kActorFilters)};

// Workers.
constexpr Field kWorkerOnly[] = {id(1, "worker_id", kWorkerId)};
constexpr Field kWorkerData[] = {message(2, "worker_address", kAddress)};
// A worker without an id would be in every list from then on.
constexpr Field kAddedWorker[] = {required_message(2, "worker_address", kOwnerAddress)};
constexpr Field kAddWorkerInfo[] = {required_message(1, "worker_data", kAddedWorker)};
constexpr Field kReportWorkerFailure[] = {message(1, "worker_failure", kWorkerData)};

// Placement groups.
constexpr Field kPlacementGroupOnly[] = {id(1, "placement_group_id", kPlacementGroupId)};
constexpr std::uint32_t kMostInt32 = std::numeric_limits<std::int32_t>::max();
// Without the group's id in each bundle the group is made, and the raylet that has to remove it
// ends.
constexpr Field kBundleId[] = {required_id(1, "placement_group_id", kPlacementGroupId),
                               number(2, "bundle_index", 0, kMostInt32)};
constexpr Field kAmount[] = {name_of(1, "key")};
constexpr Field kBundle[] = {required_message(1, "bundle_id", kBundleId),
                             message(2, "unit_resources", kAmount), id(3, "node_id", kNodeId)};
constexpr Field kPlacementGroupSpec[] = {
    required_id(1, "placement_group_id", kPlacementGroupId),
    required_message(3, "bundles", kBundle),
    number(4, "strategy", 0, 3),
    required_id(5, "creator_job_id", kJobId),
    id(6, "creator_actor_id", kActorId),
    id(11, "soft_target_node_id", kNodeId),
};
constexpr Field kCreatePlacementGroup[] = {
    required_message(1, "placement_group_spec", kPlacementGroupSpec)};

// Tasks and events.
// Of these two ids, as of an actor task's below, the GCS dies only when a list is filtered by them.
constexpr Field kTaskInfo[] = {number(1, "type", 0, 3), id(6, "job_id", kJobId),
                               id(25, "actor_id", kActorId)};
constexpr Field kTaskState[] = {id(8, "worker_id", kWorkerId)};
constexpr Field kTaskEvents[] = {
    id(1, "task_id", kTaskId),
    message(3, "task_info", kTaskInfo),
    message(4, "state_updates", kTaskState),
    id(6, "job_id", kJobId),
};
constexpr Field kTaskAttempt[] = {required_id(1, "task_id", kTaskId)};
constexpr Field kTaskEventData[] = {
    message(1, "events_by_task", kTaskEvents),
    message(2, "dropped_task_attempts", kTaskAttempt),
    id(4, "job_id", kJobId),
};
constexpr Field kAddTaskEventData[] = {message(1, "data", kTaskEventData)};
constexpr Field kJobFilter[] = {id(2, "job_id", kJobId)};
constexpr Field kTaskFilter[] = {id(2, "task_id", kTaskId)};
constexpr Field kActorFilter[] = {id(2, "actor_id", kActorId)};
constexpr Field kTaskFilters[] = {
    id(1, "job_id", kJobId, before(kFiltersWithPredicates)),
    id(2, "task_ids", kTaskId, before(kFiltersWithPredicates)),
    id(3, "actor_id", kActorId, before(kFiltersWithPredicates)),
    message(1, "job_filters", kJobFilter, since(kFiltersWithPredicates)),
    message(2, "task_filters", kTaskFilter, since(kFiltersWithPredicates)),
    message(3, "actor_filters", kActorFilter, since(kFiltersWithPredicates)),
};
constexpr Field kGetTaskEvents[] = {message(4, "filters", kTaskFilters)};

// The autoscaler's.
// Of another reason the raylet ends.
constexpr Field kDrainGently[] = {id(1, "node_id", kNodeId), number(2, "reason", 1, 2)};
constexpr Field kGetClusterResourceState[] = {
    number(1, "last_seen_cluster_resource_state_version", 0, 0)};

// Pub/sub: the ids; channels and sequence numbers are PubsubRules'.
constexpr Field kSubscriber[] = {id(1, "subscriber_id", kSubscriberId)};
constexpr Field kPoll[] = {id(1, "subscriber_id", kSubscriberId),
                           id(3, "publisher_id", kPublisherId)};

// The GCS takes events of tasks only, and ends on any other.
constexpr Field kTaskDefinition[] = {id(1, "task_id", kTaskId), number(3, "task_type", 0, 3),
                                     id(9, "job_id", kJobId)};
constexpr Field kTaskLifecycle[] = {id(1, "task_id", kTaskId), id(6, "worker_id", kWorkerId),
                                    id(8, "job_id", kJobId)};
constexpr Field kActorTaskDefinition[] = {id(1, "task_id", kTaskId), id(8, "job_id", kJobId),
                                          id(9, "actor_id", kActorId)};
constexpr Field kTaskProfile[] = {id(1, "task_id", kTaskId), id(3, "job_id", kJobId)};
constexpr Field kRayEvent[] = {
    number(3, "event_type", 1, 4),
    message(8, "task_definition_event", kTaskDefinition),
    message(9, "task_lifecycle_event", kTaskLifecycle),
    message(10, "actor_task_definition_event", kActorTaskDefinition),
    message(11, "task_profile_events", kTaskProfile),
};
constexpr Field kEventsMetadata[] = {message(2, "dropped_task_attempts", kTaskAttempt)};
constexpr Field kEventsData[] = {message(1, "events", kRayEvent),
                                 message(2, "task_events_metadata", kEventsMetadata)};
constexpr Field kAddEvents[] = {message(1, "events_data", kEventsData)};

using Table = std::array<std::span<const Field>, std::size(kMethods) + 1>;

constexpr Table kRules = [] {
  Table rules{};
  rules[method::kGetAllNodeInfo] = kGetAllNodeInfo;
  rules[method::kCheckAlive] = kCheckAlive;
  rules[method::kNodeInfoDrainNode] = kDrainNode;
  rules[method::kGetAllNodeAddressAndLiveness] = kGetAddresses;
  rules[method::kRegisterNode] = kRegisterNode;
  rules[method::kUnregisterNode] = kNodeOnly;
  rules[method::kAddJob] = kAddJob;
  rules[method::kMarkJobFinished] = kJobOnly;
  rules[method::kJobInfoReportJobError] = kReportJobError;
  rules[method::kObservabilityPubSubReportJobError] = kReportJobError;
  rules[method::kCreateActor] = kCreateActor;
  rules[method::kRegisterActor] = kRegisterActor;
  rules[method::kGetActorInfo] = kActorOnly;
  rules[method::kGetAllActorInfo] = kGetAllActorInfo;
  rules[method::kKillActorViaGcs] = kActorOnly;
  rules[method::kReportActorOutOfScope] = kActorOnly;
  rules[method::kRestartActor] = kActorOnly;
  rules[method::kRestartActorForLineageReconstruction] = kActorOnly;
  rules[method::kAddWorkerInfo] = kAddWorkerInfo;
  rules[method::kGetWorkerInfo] = kWorkerOnly;
  rules[method::kReportWorkerFailure] = kReportWorkerFailure;
  rules[method::kUpdateWorkerDebuggerPort] = kWorkerOnly;
  rules[method::kUpdateWorkerNumPausedThreads] = kWorkerOnly;
  rules[method::kCreatePlacementGroup] = kCreatePlacementGroup;
  rules[method::kGetPlacementGroup] = kPlacementGroupOnly;
  rules[method::kRemovePlacementGroup] = kPlacementGroupOnly;
  rules[method::kWaitPlacementGroupUntilReady] = kPlacementGroupOnly;
  rules[method::kAddTaskEventData] = kAddTaskEventData;
  rules[method::kGetTaskEvents] = kGetTaskEvents;
  rules[method::kAddEvents] = kAddEvents;
  rules[method::kAutoscalerDrainNode] = kDrainGently;
  rules[method::kGetClusterResourceState] = kGetClusterResourceState;
  for (const std::uint32_t batch :
       {method::kInternalPubSubGcsSubscriberCommandBatch,
        method::kControlPlanePubSubGcsSubscriberCommandBatch,
        method::kObservabilityPubSubGcsSubscriberCommandBatch, method::kGcsUnregisterSubscriber}) {
    rules[batch] = kSubscriber;
  }
  for (const std::uint32_t poll :
       {method::kInternalPubSubGcsSubscriberPoll, method::kControlPlanePubSubGcsSubscriberPoll,
        method::kObservabilityPubSubGcsSubscriberPoll}) {
    rules[poll] = kPoll;
  }
  return rules;
}();

}  // namespace

std::span<const Field> request_rules(std::uint32_t method) noexcept {
  return method < kRules.size() ? kRules[method] : std::span<const Field>{};
}

}  // namespace gcs
