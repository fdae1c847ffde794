# SPDX-License-Identifier: Apache-2.0
"""What Ray lists for people: the state API, through the dashboard, and `ray.nodes()`.

Beside it stand the same columns, made of our messages.

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
        _listing("jobs.list", {}, "jobs", "job_id", JOB, is_of_people),
        _listing("nodes.list", {}, "nodes", "node_id", NODE),
        Reading(
            "nodes.list",
            {},
            {"ray_nodes": {}},
            "ray.nodes()",
            lambda found: {
                node_id.hex(): {name: make(node) for name, make in RAY_NODES.items()}
                for node_id, node in found.items()
            },
        ),
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
    is_listed: Callable[[Any], bool] = lambda _: True,
) -> Reading:
    def ours(found: Any) -> Any:
        entries: Iterable[Any] = found.values() if isinstance(found, dict) else found
        rows = [
            {name: make(each) for name, make in columns.items()}
            for each in entries
            if is_listed(each)
        ]
        return {row[key]: row for row in rows}

    def theirs(found: Any) -> Any:
        return {
            entry: {name: _shown(row.get(name)) for name in columns} for entry, row in found.items()
        }

    ways = {"ray_util_state_list": {"what": what, "key": key}}
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


def is_of_people(job: Any) -> bool:
    """Whether a job is listed: the dashboard leaves its own drivers out."""
    return not job.config.ray_namespace.startswith("_ray_internal_")


def _status(job: Any) -> str:
    # A driver has no status of its own: one that has ended has succeeded.
    if job.HasField("job_info"):
        return str(job.job_info.status)
    return "SUCCEEDED" if job.is_dead else "RUNNING"


def _of_submission(job: Any, name: str) -> Any:
    # A submitted job's times and command are those of its submission, not of its driver.
    return getattr(job.job_info if job.HasField("job_info") else job, name) or None


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
JOB: dict[str, Callable[[Any], Any]] = {
    "job_id": lambda job: job.job_id.hex(),
    "type": lambda job: "SUBMISSION" if job.HasField("job_info") else "DRIVER",
    "submission_id": lambda job: job.config.metadata.get("job_submission_id"),
    "status": _status,
    "entrypoint": lambda job: _of_submission(job, "entrypoint"),
    "start_time": lambda job: _of_submission(job, "start_time"),
    "end_time": lambda job: _of_submission(job, "end_time"),
    "message": lambda job: job.job_info.message or None,
    "driver_exit_code": lambda job: job.job_info.driver_exit_code or None,
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
    "state": lambda group: messages.PlacementGroupTableData.PlacementGroupState.Name(group.state),
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
RAY_NODES: dict[str, Callable[[Any], Any]] = {
    "NodeID": lambda node: node.node_id.hex(),
    "Alive": lambda node: node.state == messages.GcsNodeInfo.ALIVE,
    "NodeManagerAddress": lambda node: node.node_manager_address,
    "NodeManagerHostname": lambda node: node.node_manager_hostname,
    "NodeManagerPort": lambda node: node.node_manager_port,
    "ObjectManagerPort": lambda node: node.object_manager_port,
    "ObjectStoreSocketName": lambda node: node.object_store_socket_name,
    "RayletSocketName": lambda node: node.raylet_socket_name,
    "MetricsExportPort": lambda node: node.metrics_export_port,
    "MetricsAgentPort": lambda node: node.metrics_agent_port,
    "DashboardAgentListenPort": lambda node: node.dashboard_agent_listen_port,
    "NodeName": lambda node: node.node_name,
    "RuntimeEnvAgentPort": lambda node: node.runtime_env_agent_port,
    "DeathReason": lambda node: node.death_info.reason,
    "DeathReasonMessage": lambda node: node.death_info.reason_message,
    "alive": lambda node: node.state == messages.GcsNodeInfo.ALIVE,
    # Of a dead node Ray shows none.
    "Resources": lambda node: (
        dict(node.resources_total) if node.state == messages.GcsNodeInfo.ALIVE else {}
    ),
    "Labels": lambda node: dict(node.labels),
}
