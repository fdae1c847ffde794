# SPDX-License-Identifier: Apache-2.0
"""The request guard: what is known to end a GCS is refused, and the server lives and answers.

No request here names the server's release, so each is judged by the rules of all releases.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple

import pytest

import gcs_cffi
from gcs_cffi import InvalidRequestError

if TYPE_CHECKING:
    from gcs_cffi import GcsClient, sync
    from gcs_cffi.testing import GcsServer

ACTORS = "ray.rpc.ActorInfoGcsService"
NODES = "ray.rpc.NodeInfoGcsService"
JOBS = "ray.rpc.JobInfoGcsService"
WORKERS = "ray.rpc.WorkerInfoGcsService"
GROUPS = "ray.rpc.PlacementGroupInfoGcsService"
TASKS = "ray.rpc.TaskInfoGcsService"
EVENTS = "ray.rpc.RayEventExportGcsService"
AUTOSCALER = "ray.rpc.autoscaler.AutoscalerStateService"
INTERNAL = "ray.rpc.InternalPubSubGcsService"
CONTROL = "ray.rpc.ControlPlanePubSubGcsService"
OBSERVE = "ray.rpc.ObservabilityPubSubService"
PUBSUB = (INTERNAL, CONTROL, OBSERVE)


class Row(NamedTuple):
    """A request that ends some server, and the field that the refusal must name."""

    service: str
    method: str
    request: bytes
    field: str

    def __str__(self) -> str:
        return f"{self.service.rpartition('.')[2]}.{self.method}-{self.field}"


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    encoded = bytearray()
    while value > 127:
        encoded.append(value & 127 | 128)
        value >>= 7
    return bytes([*encoded, value])


def number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def inside(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _id_rows() -> list[Row]:
    """Each id one byte too short, and one too long."""
    places = [
        (ACTORS, "GetActorInfo", "actor_id", (1,), 16),
        (ACTORS, "KillActorViaGcs", "actor_id", (1,), 16),
        (ACTORS, "ReportActorOutOfScope", "actor_id", (1,), 16),
        (ACTORS, "RestartActor", "actor_id", (1,), 16),
        (ACTORS, "RestartActorForLineageReconstruction", "actor_id", (1,), 16),
        (NODES, "CheckAlive", "node_ids", (1,), 28),
        (NODES, "DrainNode", "drain_node_data.node_id", (1, 1), 28),
        (NODES, "GetAllNodeAddressAndLiveness", "node_ids", (1,), 28),
        (NODES, "GetAllNodeInfo", "node_selectors.node_id", (2, 1), 28),
        (NODES, "GetAllNodeInfo", "filters.node_id", (4, 1), 28),
        (NODES, "RegisterNode", "node_info.node_id", (1, 1), 28),
        (NODES, "UnregisterNode", "node_id", (1,), 28),
        (JOBS, "AddJob", "data.job_id", (1, 1), 4),
        (JOBS, "AddJob", "data.driver_address.worker_id", (1, 12, 4), 28),
        (JOBS, "MarkJobFinished", "job_id", (1,), 4),
        (JOBS, "ReportJobError", "job_error.job_id", (1, 1), 4),
        (OBSERVE, "ReportJobError", "job_error.job_id", (1, 1), 4),
        (WORKERS, "AddWorkerInfo", "worker_data.worker_address.worker_id", (1, 2, 4), 28),
        (WORKERS, "GetWorkerInfo", "worker_id", (1,), 28),
        (WORKERS, "ReportWorkerFailure", "worker_failure.worker_address.node_id", (1, 2, 1), 28),
        (WORKERS, "ReportWorkerFailure", "worker_failure.worker_address.worker_id", (1, 2, 4), 28),
        (WORKERS, "UpdateWorkerDebuggerPort", "worker_id", (1,), 28),
        (WORKERS, "UpdateWorkerNumPausedThreads", "worker_id", (1,), 28),
        (GROUPS, "GetPlacementGroup", "placement_group_id", (1,), 18),
        (GROUPS, "RemovePlacementGroup", "placement_group_id", (1,), 18),
        (GROUPS, "WaitPlacementGroupUntilReady", "placement_group_id", (1,), 18),
        (GROUPS, "CreatePlacementGroup", "placement_group_spec.placement_group_id", (1, 1), 18),
        (GROUPS, "CreatePlacementGroup", "placement_group_spec.creator_job_id", (1, 5), 4),
        (GROUPS, "CreatePlacementGroup", "bundles.bundle_id.placement_group_id", (1, 3, 1, 1), 18),
        (GROUPS, "CreatePlacementGroup", "bundles.node_id", (1, 3, 3), 28),
        (GROUPS, "CreatePlacementGroup", "soft_target_node_id", (1, 11), 28),
        (TASKS, "AddTaskEventData", "data.events_by_task.task_id", (1, 1, 1), 24),
        (TASKS, "AddTaskEventData", "data.events_by_task.job_id", (1, 1, 6), 4),
        (TASKS, "AddTaskEventData", "data.events_by_task.task_info.job_id", (1, 1, 3, 6), 4),
        (TASKS, "AddTaskEventData", "data.events_by_task.task_info.actor_id", (1, 1, 3, 25), 16),
        (TASKS, "AddTaskEventData", "events_by_task.state_updates.worker_id", (1, 1, 4, 8), 28),
        (TASKS, "AddTaskEventData", "data.dropped_task_attempts.task_id", (1, 2, 1), 24),
        (TASKS, "AddTaskEventData", "data.job_id", (1, 4), 4),
        (TASKS, "GetTaskEvents", "filters.job_id", (4, 1), 4),
        (TASKS, "GetTaskEvents", "filters.task_ids", (4, 2), 24),
        (TASKS, "GetTaskEvents", "filters.actor_id", (4, 3), 16),
        (ACTORS, "GetAllActorInfo", "filters.actor_id", (3, 1), 16),
        (ACTORS, "GetAllActorInfo", "filters.job_id", (3, 2), 4),
        (EVENTS, "AddEvents", "dropped_task_attempts.task_id", (1, 2, 2, 1), 24),
        (AUTOSCALER, "DrainNode", "node_id", (1,), 28),
        (INTERNAL, "GcsUnregisterSubscriber", "subscriber_id", (1,), 28),
        *((s, "GcsSubscriberCommandBatch", "subscriber_id", (1,), 28) for s in PUBSUB),
        *((s, "GcsSubscriberPoll", "subscriber_id", (1,), 28) for s in PUBSUB),
        *((s, "GcsSubscriberPoll", "publisher_id", (3,), 28) for s in PUBSUB),
    ]
    rows = []
    for service, method, field, path, length in places:
        for size in (length - 1, length + 1):
            request = b"i" * size
            for step in reversed(path):
                request = inside(step, request)
            rows.append(Row(service, method, request, field))
    return rows


def _group(parts: bytes, job: bytes = b"") -> bytes:
    return inside(1, inside(1, b"g" * 18) + parts + job)


def _event(body: bytes) -> bytes:
    return inside(1, inside(1, body))


def _other_rows() -> list[Row]:
    actor = number(1, 1) + inside(10, inside(4, b"w" * 28)) + number(12, 1)
    actor_id = inside(1, b"a" * 16)
    job = inside(5, b"job1")
    own = inside(1, inside(1, b"g" * 18))
    bundle = inside(3, own)
    nameless = inside(3, own + inside(2, inside(1, b"")))
    rows = [
        Row(ACTORS, "CreateActor", b"", "task_spec"),
        Row(ACTORS, "CreateActor", inside(1, number(1, 2)), "task_spec.type"),
        Row(ACTORS, "RegisterActor", b"", "task_spec"),
        Row(ACTORS, "RegisterActor", inside(1, actor), "actor_creation_task_spec"),
        Row(ACTORS, "RegisterActor", inside(1, actor + inside(15, actor_id)), "actor_id"),
        Row(NODES, "RegisterNode", b"", "node_info"),
        Row(NODES, "RegisterNode", inside(1, b""), "node_info.node_id"),
        Row(JOBS, "AddJob", inside(1, inside(1, b"job1")), "data.driver_address"),
        Row(GROUPS, "CreatePlacementGroup", b"", "placement_group_spec"),
        Row(GROUPS, "CreatePlacementGroup", _group(bundle), "creator_job_id"),
        Row(GROUPS, "CreatePlacementGroup", _group(b"", job), "bundles"),
        Row(GROUPS, "CreatePlacementGroup", _group(inside(3, b""), job), "bundles.bundle_id"),
        Row(GROUPS, "CreatePlacementGroup", _group(bundle + number(4, 99), job), "strategy"),
        Row(GROUPS, "CreatePlacementGroup", _group(nameless, job), "unit_resources.key"),
        Row(AUTOSCALER, "DrainNode", inside(1, b"n" * 28), "reason"),
        Row(AUTOSCALER, "DrainNode", inside(1, b"n" * 28) + number(2, 99), "reason"),
        Row(TASKS, "AddTaskEventData", inside(1, inside(2, b"")), "dropped_task_attempts.task_id"),
        Row(EVENTS, "AddEvents", _event(b""), "events_data.events.event_type"),
        Row(EVENTS, "AddEvents", _event(number(3, 8)), "events_data.events.event_type"),
        Row(EVENTS, "AddEvents", _event(number(3, 1) + inside(8, inside(1, b"t"))), "task_id"),
        Row(EVENTS, "AddEvents", _event(number(3, 2) + inside(9, inside(6, b"w"))), "worker_id"),
        Row(AUTOSCALER, "GetClusterResourceState", number(1, 1 << 62), "last_seen_cluster"),
    ]
    for service in PUBSUB:
        channel = number(1, 4 if service == CONTROL else 7)
        rows += [
            Row(service, "GcsPublish", inside(1, b""), "pub_messages.channel_type"),
            Row(service, "GcsPublish", inside(1, number(1, 99)), "pub_messages.channel_type"),
            *(
                Row(service, "GcsPublish", inside(1, channel + number(field, 1)), "sequence_id")
                for field in ((14, 15, 16) if service == INTERNAL else (14, 15))
            ),
            Row(service, "GcsSubscriberCommandBatch", inside(2, inside(4, b"")), "channel_type"),
            Row(
                service,
                "GcsSubscriberCommandBatch",
                inside(2, number(1, 99) + inside(4, b"")),
                "commands.channel_type",
            ),
            Row(service, "GcsSubscriberCommandBatch", inside(2, channel), "subscribe_message"),
        ]
    return rows


ROWS = _id_rows() + _other_rows()


@pytest.mark.parametrize("row", ROWS, ids=str)
async def test_what_ends_a_server_is_refused_and_the_server_answers(
    gcs: GcsClient, blocking_gcs: sync.GcsClient, server: GcsServer, row: Row
) -> None:
    pid = server.pid
    with pytest.raises(InvalidRequestError, match=row.field.replace(".", r"\.")):
        await gcs.call(row.service, row.method, row.request)
    with pytest.raises(InvalidRequestError, match=row.field.replace(".", r"\.")) as refusal:
        blocking_gcs.call(row.service, row.method, row.request)
    assert not refusal.value.retryable
    assert not refusal.value.maybe_executed
    await gcs.call(NODES, "CheckAlive", b"")
    assert server.running
    assert server.pid == pid


async def test_the_refusal_says_what_is_wrong_and_what_is_right(gcs: GcsClient) -> None:
    with pytest.raises(
        InvalidRequestError, match=r"actor_id has 15 bytes; an ActorID has 16 \(or 0 for none\)"
    ):
        await gcs.call(ACTORS, "GetActorInfo", inside(1, b"a" * 15))
    with pytest.raises(InvalidRequestError, match="say which one the server is"):
        await gcs.call(OBSERVE, "GcsPublish", inside(1, number(1, 6)))


async def test_right_ids_and_none_reach_the_server(gcs: GcsClient, server: GcsServer) -> None:
    for service, method, length in (
        (ACTORS, "GetActorInfo", 16),
        (WORKERS, "GetWorkerInfo", 28),
        (GROUPS, "GetPlacementGroup", 18),
        (NODES, "CheckAlive", 28),
    ):
        for request in (inside(1, b"i" * length), inside(1, b""), b""):
            # That there is no such thing is an answer too.
            with contextlib.suppress(gcs_cffi.GcsStatusError, gcs_cffi.RpcError):
                await gcs.call(service, method, request)
    await gcs.call(NODES, "CheckAlive", b"")
    assert server.running


async def test_a_job_with_its_driver_can_be_added_and_listed(own_server: GcsServer) -> None:
    async with gcs_cffi.connect(own_server.address) as gcs:
        job = inside(1, b"\x01\x00\x00\x00") + inside(12, inside(4, b"w" * 28))
        await gcs.call(JOBS, "AddJob", inside(1, job))
        await gcs.call(JOBS, "GetAllJobInfo", b"", timeout=20)
    assert own_server.running


async def test_bytes_that_are_no_message_are_answered_by_the_server(
    gcs: GcsClient, server: GcsServer
) -> None:
    for request in (b"\xff" * 20, b"\x0a\x10a", b"\x00\x00", _varint(9 << 3 | 6)):
        with pytest.raises(gcs_cffi.RpcError):
            await gcs.call(ACTORS, "GetActorInfo", request)
    await gcs.call(NODES, "CheckAlive", b"")
    assert server.running
