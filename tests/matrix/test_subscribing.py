# SPDX-License-Identifier: Apache-2.0
"""gcs.subscribe() on every release: what is published arrives, typed or as bytes, once, in order.

`subscribing.Subscriber` does the same by plain calls, for what the release's own server says.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from gcs_cffi import (
    ActorID,
    InvalidRequestError,
    JobID,
    Message,
    NodeID,
    UnsupportedByServerError,
    WorkerID,
    messages,
)
from matrix.cluster_parts import new_actor, new_job, new_node
from matrix.nodes import end

if TYPE_CHECKING:
    from gcs_cffi import GcsClient

COMMANDS = "GcsSubscriberCommandBatch"
PATIENCE = 20.0


async def arrived(subscription: Any) -> Any:
    """The next message."""
    event = await subscription.next(PATIENCE)
    assert isinstance(event, Message), event
    return event


def commands(gcs: GcsClient) -> int:
    """How many command batches the client has sent."""
    methods = gcs.stats()["methods"]
    return sum(sum(counts.values()) for path, counts in methods.items() if COMMANDS in path)


@pytest.mark.method("subscribe (errors)")
@pytest.mark.parametrize("policy", ["wait", "drop_oldest", "drop_newest"])
async def test_errors_arrive_once_and_in_order(gcs: GcsClient, policy: Any) -> None:
    key = os.urandom(8).hex()
    async with gcs.subscribe("errors", key, policy=policy) as errors:
        for number in range(20):
            await gcs.errors.publish("kind", str(number), key=key)
            await gcs.errors.publish("kind", "of no interest", key="another")
        for number in range(20):
            event = await arrived(errors)
            assert event.key == key.encode()
            assert type(event.value) is messages.ErrorTableData
            assert (event.value.type, event.value.error_message) == ("kind", str(number))


@pytest.mark.method("subscribe (errors)")
async def test_a_whole_channel_and_a_key_of_it_do_not_disturb_each_other(gcs: GcsClient) -> None:
    key = os.urandom(8).hex()
    async with (
        gcs.subscribe("errors", policy="drop_oldest") as everything,
        gcs.subscribe("errors", key, policy="drop_oldest") as of_key,
        gcs.subscribe("logs", key, policy="drop_oldest") as logs,
    ):
        for kind, with_key in (("first", "another"), ("second", key), ("third", key)):
            await gcs.errors.publish(kind, "", key=with_key)
        await gcs.logs.publish({"lines": ["line"]}, key=key)
        assert [(await arrived(of_key)).value.type for _ in range(2)] == ["second", "third"]
        assert (await arrived(logs)).value.lines == ["line"]
        mine: list[str] = []
        while len(mine) < 3:
            event = await arrived(everything)
            if event.value.type in ("first", "second", "third"):
                mine.append(event.value.type)
        assert mine == ["first", "second", "third"]


@pytest.mark.method("subscribe (logs)")
async def test_lines_arrive(gcs: GcsClient) -> None:
    job = os.urandom(4).hex()
    batch = messages.LogBatch(pid="raylet", job_id=job, is_error=True, lines=["a", "ü"])
    async with gcs.subscribe("logs", job) as logs, gcs.subscribe("logs", job, raw=True) as raw:
        await gcs.logs.publish(batch)
        assert (await arrived(logs)).value == batch
        assert (await arrived(raw)).value == batch.SerializeToString()


@pytest.mark.method("subscribe (resource_usage)")
async def test_resource_usage_arrives(gcs: GcsClient) -> None:
    key = os.urandom(8)
    async with gcs.subscribe("resource_usage", key) as usage:
        await gcs.resources.publish_usage('{"cpu": 1}', key=key)
        event = await arrived(usage)
        assert (event.key, event.value.json) == (key, '{"cpu": 1}')


@pytest.mark.method("subscribe (nodes)")
async def test_nodes_come_and_go(gcs: GcsClient, release: tuple[int, ...]) -> None:
    async with gcs.subscribe("nodes", policy="drop_oldest") as nodes:
        node = await new_node(gcs)
        while (event := await arrived(nodes)).key != node:
            pass
        assert type(event.key) is NodeID
        assert type(event.value) is messages.GcsNodeInfo
        assert event.value.node_name == node.hex()
        assert event.value.state == messages.GcsNodeInfo.ALIVE
        if release < (2, 23):
            return  # which cannot be told that a node goes
        await end(gcs, release, node)
        while (event := await arrived(nodes)).key != node:
            pass
        assert event.value.state == messages.GcsNodeInfo.DEAD


@pytest.mark.method("subscribe (node_liveness)")
@pytest.mark.since("2.51", part="GCS_NODE_ADDRESS_AND_LIVENESS_CHANNEL")
async def test_the_liveness_of_nodes_arrives(gcs: GcsClient) -> None:
    async with gcs.subscribe("node_liveness") as nodes:
        node = await new_node(gcs)
        while (event := await arrived(nodes)).key != node:
            pass
        assert type(event.value) is messages.GcsNodeAddressAndLiveness
        assert event.value.state == messages.GcsNodeInfo.ALIVE


@pytest.mark.method("subscribe (jobs)")
async def test_jobs_come_and_end(gcs: GcsClient) -> None:
    async with gcs.subscribe("jobs") as jobs:
        job = await new_job(gcs)
        while (event := await arrived(jobs)).key != job:
            pass
        assert type(event.key) is JobID
        assert type(event.value) is messages.JobTableData
        assert not event.value.is_dead
        await gcs.jobs.mark_finished(job)
        while (event := await arrived(jobs)).key != job:
            pass
        assert event.value.is_dead


@pytest.mark.method("subscribe (actors)")
async def test_an_actor_that_is_killed_is_told_by_its_id(gcs: GcsClient, namespace: str) -> None:
    job = await new_job(gcs, namespace)
    actor = await new_actor(gcs, job, namespace)
    async with gcs.subscribe("actors", actor) as actors:
        await gcs.actors.kill(actor)
        event = await arrived(actors)
        assert event.key == actor
        assert type(event.key) is ActorID
        assert type(event.value) is messages.ActorTableData
        assert event.value.state == messages.ActorTableData.DEAD


@pytest.mark.method("subscribe (workers)")
async def test_a_worker_that_has_died_is_told(gcs: GcsClient) -> None:
    worker = WorkerID(os.urandom(28))
    address = {"worker_id": worker, "node_id": os.urandom(28), "ip_address": "127.0.0.1"}
    await gcs.workers.add({"worker_address": address, "is_alive": True})
    async with gcs.subscribe("workers", worker) as workers:
        await gcs.workers.report_failure({"worker_address": address})
        event = await arrived(workers)
        assert event.key == worker
        assert type(event.value) is messages.WorkerDeltaData
        assert event.value.worker_id == worker


Wrong = tuple[str, bytes | None]
WRONG: list[Wrong] = [
    ("no_such_channel", None),
    ("WORKER_OBJECT_EVICTION", None),
    ("WORKER_OBJECT_LOCATIONS_CHANNEL", None),
    ("WORKER_REF_REMOVED_CHANNEL", None),
    ("", None),
    ("actors", b"x" * 15),
    ("actors", b"x" * 17),
    ("jobs", b"x"),
    ("nodes", b"x" * 27),
    ("node_liveness", b"x" * 29),
    ("workers", b"x" * 27),
    ("GCS_ACTOR_CHANNEL", b"x" * 15),
]


@pytest.mark.method("subscribe (errors)")
@pytest.mark.parametrize(("channel", "key"), WRONG)
async def test_what_cannot_be_subscribed_to_is_refused_here(
    gcs: GcsClient, channel: str, key: bytes | None
) -> None:
    with pytest.raises(InvalidRequestError):
        async with gcs.subscribe(channel, key):
            pass
    assert commands(gcs) == 0


@pytest.mark.method("subscribe (errors)")
async def test_a_channel_of_another_release_is_refused_here(
    gcs: GcsClient, release: tuple[int, ...]
) -> None:
    has = {
        "GCS_NODE_ADDRESS_AND_LIVENESS_CHANNEL": release >= (2, 51),
        "RAY_PYTHON_FUNCTION_CHANNEL": release < (2, 10),
    }
    for channel in (name for name, is_there in has.items() if not is_there):
        with pytest.raises(UnsupportedByServerError, match=r"Ray ha[sd] it from 2"):
            async with gcs.subscribe(channel):
                pass
    assert commands(gcs) == 0
    for channel in (name for name, is_there in has.items() if is_there):
        async with gcs.subscribe(channel):
            pass


@pytest.mark.method("subscribe (errors)")
async def test_a_channel_by_the_servers_own_name_comes_as_bytes(gcs: GcsClient) -> None:
    key = os.urandom(8).hex()
    async with gcs.subscribe("RAY_ERROR_INFO_CHANNEL", key) as errors:
        await gcs.errors.publish("kind", "text", key=key)
        event = await arrived(errors)
        assert type(event.value) is bytes
        assert messages.ErrorTableData.FromString(event.value).error_message == "text"
