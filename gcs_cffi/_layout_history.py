# SPDX-License-Identifier: Apache-2.0
"""What names alone do not say about the layouts of older releases.

Invariants:
- Fields that only got another name are listed in RENAMED, with the name of the newest release.
- A message whose meaning changed under the same names, or which holds in other fields what the
  newest release holds in these, has a function in CONVERSIONS. It runs after everything with the
  same name was copied.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.descriptor import Descriptor, EnumDescriptor
    from google.protobuf.message import Message

RENAMED: Final = (
    ("ray.rpc.ActorCreationTaskSpec", "execute_out_of_order", "allow_out_of_order_execution"),
    ("ray.rpc.ActorTaskSpec", "actor_counter", "concurrency_group_sequence_number"),
    ("ray.rpc.ActorTaskSpec", "sequence_number", "concurrency_group_sequence_number"),
    ("ray.rpc.Address", "raylet_id", "node_id"),
    ("ray.rpc.InternalKVPutReply", "added_num", "added"),
    (
        "ray.rpc.PlacementGroupTableData",
        "label_domain_assignments",
        "topology_assignments",
    ),
    ("ray.rpc.TaskStateUpdate", "state_ts", "state_ts_ns"),
    ("ray.rpc.WorkerDeltaData", "raylet_id", "node_id"),
    ("ray.rpc.autoscaler.ClusterResourceConstraint", "min_bundles", "resource_requests"),
)
"""Message, older name, newest name."""

_TASK_STATUS: Final = "ray.rpc.TaskStatus"
_STATE_TIMES: Final = {
    "pending_args_avail_ts": "PENDING_ARGS_AVAIL",
    "pending_node_assignment_ts": "PENDING_NODE_ASSIGNMENT",
    "submitted_to_worker_ts": "SUBMITTED_TO_WORKER",
    "running_ts": "RUNNING",
    "finished_ts": "FINISHED",
    "failed_ts": "FAILED",
}
"""Fields of a TaskStateUpdate before 2.32, and the states whose times they are."""


def _state_times(source: Any, target: Any) -> None:
    """The keys of `state_ts_ns` are numbers of states, which releases number differently."""
    before, after = _task_status(source.DESCRIPTOR), _task_status(target.DESCRIPTOR)
    times = _times_of(target)
    if times is None:
        # Newer to older: what has no field there had no time there.
        for name, state in _STATE_TIMES.items():
            number = before.values_by_name[state].number
            if number in source.state_ts_ns:
                setattr(target, name, source.state_ts_ns[number])
        return
    copied = dict(times)
    times.clear()
    for number, time in copied.items():
        times[enum_number(before, number, after)] = time
    for name, state in _STATE_TIMES.items():
        if name in source.DESCRIPTOR.fields_by_name and getattr(source, name):
            times[after.values_by_name[state].number] = getattr(source, name)


def _times_of(message: Any) -> Any:
    return getattr(message, "state_ts_ns", getattr(message, "state_ts", None))


def _state_times_differ(one: Descriptor, other: Descriptor) -> bool:
    def numbers(descriptor: Descriptor) -> dict[str, int]:
        return {value.name: value.number for value in _task_status(descriptor).values}

    first, second = numbers(one), numbers(other)
    return any(first[name] != second[name] for name in first.keys() & second.keys())


def _task_status(descriptor: Descriptor) -> EnumDescriptor:
    found: EnumDescriptor = descriptor.file.pool.FindEnumTypeByName(_TASK_STATUS)
    return found


def _draining_nodes(source: Any, target: Any) -> None:
    """Ray 2.9 says which nodes drain, and not until when."""
    if "node_ids" in source.DESCRIPTOR.fields_by_name:
        for node_id in source.node_ids:
            target.draining_nodes.add(node_id=node_id)


CONVERSIONS: Final[dict[str, Callable[[Message, Message], None]]] = {
    "ray.rpc.GetDrainingNodesReply": _draining_nodes,
    "ray.rpc.TaskStateUpdate": _state_times,
}
"""By the message's full name: completes the second from the first, which an older release sent."""

CONVERTED: Final = {("ray.rpc.TaskStateUpdate", "state_ts_ns")}
"""Fields, by message and name, that a conversion finds a place for if no field has their name."""

DIFFERENCES: Final[dict[str, Callable[[Descriptor, Descriptor], bool]]] = {
    "ray.rpc.TaskStateUpdate": _state_times_differ,
}
"""Whether two layouts mean different things although no field shows it."""


def enum_number(source: EnumDescriptor, number: int, target: EnumDescriptor) -> int:
    """The number that another layout gives to a value, by its name.

    A value that the target has no name for keeps its number; if that number means something else
    there, it becomes -1 - number, which means nothing.
    """
    value = source.values_by_number.get(number)
    twin = None if value is None else target.values_by_name.get(value.name)
    if twin is not None:
        found: int = twin.number
        return found
    return -1 - number if number in target.values_by_number else number
