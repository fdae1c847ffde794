# SPDX-License-Identifier: Apache-2.0
"""What Ray's state API lists through the dashboard, beside the columns that our messages give.

Invariant: each column is taken from a field or is computed as its comment says; columns that the
dashboard makes out of other sources than the GCS are not here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from gcs_cffi import messages
from live.comparison import Reading


def listings() -> list[Reading]:
    """The readings, by what is listed."""
    return [
        _listing("actors.list", {}, "actors", "actor_id", ACTOR),
        _listing("nodes.list", {}, "nodes", "node_id", NODE),
        _listing("workers.list", {}, "workers", "worker_id", WORKER),
        _listing(
            "placement_groups.list", {}, "placement_groups", "placement_group_id", PLACEMENT_GROUP
        ),
        _listing("tasks.list", {"exclude_driver": True}, "tasks", "task_id", TASK),
    ]


def _listing(
    accessor: str,
    arguments: dict[str, Any],
    what: str,
    key: str,
    columns: dict[str, Callable[[Any], Any]],
) -> Reading:
    def ours(found: Any) -> Any:
        entries: Iterable[Any] = found.values() if isinstance(found, dict) else found
        rows = [{name: make(each) for name, make in columns.items()} for each in entries]
        return {row[key]: row for row in rows}

    def theirs(found: Any) -> Any:
        return {
            entry: {name: _shown(row.get(name)) for name in columns}
            for entry, row in found.items()
        }

    ways = {"listed": {"what": what, "key": key}}
    return Reading(accessor, arguments, ways, f"list_{what}()", ours, theirs)


def _shown(value: Any) -> Any:
    # Ray says None where a protobuf field is unset; the message gives the empty value.
    return value or None


def _hex(value: bytes) -> str | None:
    # Ray shows the nil id as none.
    return None if not value or value.strip(b"\xff") == b"" else value.hex()


def _state(task: Any) -> str:
    # The last of the states that the attempt was in.
    return str(messages.TaskStatus.Name(max(task.state_updates.state_ts_ns, default=0)))


ACTOR: dict[str, Callable[[Any], Any]] = {
    "actor_id": lambda actor: actor.actor_id.hex(),
    "class_name": lambda actor: actor.class_name or None,
    "state": lambda actor: messages.ActorTableData.ActorState.Name(actor.state),
    "job_id": lambda actor: actor.job_id.hex(),
    "name": lambda actor: actor.name or None,
    "pid": lambda actor: actor.pid or None,
    "ray_namespace": lambda actor: actor.ray_namespace or None,
    "serialized_runtime_env": lambda actor: actor.serialized_runtime_env or None,
    "required_resources": lambda actor: dict(actor.required_resources) or None,
    "is_detached": lambda actor: actor.is_detached or None,
    "repr_name": lambda actor: actor.repr_name or None,
}
NODE: dict[str, Callable[[Any], Any]] = {
    "node_id": lambda node: node.node_id.hex(),
    "node_ip": lambda node: node.node_manager_address or None,
    "is_head_node": lambda node: node.is_head_node or None,
    "state": lambda node: messages.GcsNodeInfo.GcsNodeState.Name(node.state),
    "node_name": lambda node: node.node_name or None,
    "labels": lambda node: dict(node.labels) or None,
    "start_time_ms": lambda node: node.start_time_ms or None,
    "end_time_ms": lambda node: node.end_time_ms or None,
}
WORKER: dict[str, Callable[[Any], Any]] = {
    "worker_id": lambda worker: worker.worker_address.worker_id.hex(),
    "is_alive": lambda worker: worker.is_alive or None,
    "worker_type": lambda worker: messages.WorkerType.Name(worker.worker_type),
    "exit_detail": lambda worker: worker.exit_detail or None,
    "node_id": lambda worker: _hex(worker.worker_address.node_id),
    "ip": lambda worker: worker.worker_address.ip_address or None,
    "pid": lambda worker: worker.pid or None,
    "start_time_ms": lambda worker: worker.start_time_ms or None,
    "end_time_ms": lambda worker: worker.end_time_ms or None,
}
PLACEMENT_GROUP: dict[str, Callable[[Any], Any]] = {
    "placement_group_id": lambda group: group.placement_group_id.hex(),
    "name": lambda group: group.name or None,
    "creator_job_id": lambda group: group.creator_job_id.hex(),
    "state": lambda group: (
        messages.PlacementGroupTableData.PlacementGroupState.Name(group.state)
    ),
    "is_detached": lambda group: group.is_detached or None,
}
TASK: dict[str, Callable[[Any], Any]] = {
    "task_id": lambda task: task.task_id.hex(),
    "name": lambda task: task.task_info.name or None,
    "state": _state,
    "job_id": lambda task: task.job_id.hex(),
    "type": lambda task: messages.TaskType.Name(task.task_info.type),
    "func_or_class_name": lambda task: task.task_info.func_or_class_name or None,
    "node_id": lambda task: _hex(task.state_updates.node_id),
    "worker_id": lambda task: _hex(task.state_updates.worker_id),
}
