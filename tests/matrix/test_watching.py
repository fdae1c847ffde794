# SPDX-License-Identifier: Apache-2.0
"""watch() on every release: what is there, then its changes; the same as the lists in the end."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING, Any

import pytest

from gcs_cffi import ActorID, JobID, NodeID, messages
from matrix.cluster_parts import new_actor, new_job
from matrix.nodes import end, fields_of

if TYPE_CHECKING:
    from gcs_cffi import GcsClient
    from gcs_cffi.testing import GcsServer
    from matrix.conftest import Connect

PATIENCE = 20.0


async def changes_of(watch: Any, key: bytes, count: int) -> list[Any]:
    """The next changes of one entry; those of others, of other tests, are let go."""
    found: list[Any] = []
    deadline = time.monotonic() + PATIENCE
    while len(found) < count:
        change = await watch.next(max(0, deadline - time.monotonic()))
        if change.id == key:
            assert change.before == (found[-1].value if found else None)
            found.append(change)
    assert watch.current[key] == found[-1].value
    return found


@pytest.mark.method("nodes.watch")
async def test_a_node_is_watched_from_its_beginning_to_its_end(
    gcs: GcsClient, release: tuple[int, ...]
) -> None:
    first, second = NodeID(os.urandom(28)), NodeID(os.urandom(28))
    await gcs.nodes.register({**fields_of(first, "first", "127.0.0.1"), "labels": {"a": "b"}})
    async with gcs.nodes.watch() as nodes:
        (there,) = await changes_of(nodes, first, 1)
        assert type(there.id) is NodeID
        assert type(there.value) is messages.GcsNodeInfo
        assert there.value == await gcs.nodes.get(first)
        await gcs.nodes.register(fields_of(second, "second", "127.0.0.1"))
        (new,) = await changes_of(nodes, second, 1)
        assert new.value == await gcs.nodes.get(second)
        await end(gcs, release, second)
        change: Any = await nodes.next(PATIENCE)
        while change.id != second:
            change = await nodes.next(PATIENCE)
        assert change.before == new.value
        assert change.value.state == messages.GcsNodeInfo.DEAD
        assert change.value == await gcs.nodes.get(second)
        assert nodes.current[first] == there.value


@pytest.mark.method("jobs.watch")
async def test_a_job_is_watched_from_its_beginning_to_its_end(
    own_server: GcsServer, connect: Connect
) -> None:
    async def table() -> dict[JobID, messages.JobTableData]:
        return await gcs.jobs.list(skip_submission_info=True, skip_is_running_tasks=True)

    async with connect(own_server.address) as gcs:
        first = await new_job(gcs)
        async with gcs.jobs.watch() as jobs:
            assert jobs.current == await table()
            (there,) = await changes_of(jobs, first, 1)
            assert type(there.id) is JobID
            assert type(there.value) is messages.JobTableData
            second = await new_job(gcs)
            await gcs.jobs.mark_finished(second)
            new, finished = await changes_of(jobs, second, 2)
            assert (new.value.is_dead, finished.value.is_dead) == (False, True)
            assert jobs.current == await table()


@pytest.mark.method("actors.watch")
async def test_an_actor_is_watched_from_its_beginning_to_its_end(gcs: GcsClient) -> None:
    states = messages.ActorTableData
    job = await new_job(gcs)
    first = await new_actor(gcs, job, "ns")
    async with gcs.actors.watch() as actors:
        (there,) = await changes_of(actors, first, 1)
        assert type(there.id) is ActorID
        assert type(there.value) is states
        wanted = await gcs.actors.get(first)
        assert wanted is not None
        wanted.ClearField("address")  # which changes without a word until it lives
        assert there.value == wanted
        second = await new_actor(gcs, job, "ns", class_name="Other")
        (new,) = await changes_of(actors, second, 1)
        assert new.value.state == states.DEPENDENCIES_UNREADY
        await gcs.actors.kill(second)
        while actors.current[second].state != states.DEAD:
            await asyncio.wait_for(actors.next(), PATIENCE)
        assert actors.current[second] == await gcs.actors.get(second)
        assert actors.current[second].class_name == "Other"


@pytest.mark.method("nodes.watch", "jobs.watch", "actors.watch")
async def test_what_a_restart_has_lost_is_gone(own_server: GcsServer, connect: Connect) -> None:
    async with connect(own_server.address, on_cluster_change="adopt") as gcs:
        job = await new_job(gcs)
        actor = await new_actor(gcs, job, "ns")
        node = NodeID(os.urandom(28))
        await gcs.nodes.register(fields_of(node, "first", "127.0.0.1"))
        async with (
            gcs.nodes.watch() as nodes,
            gcs.jobs.watch() as jobs,
            gcs.actors.watch() as actors,
        ):
            await asyncio.to_thread(own_server.restart)
            watches: list[tuple[Any, bytes]] = [(nodes, node), (jobs, job), (actors, actor)]
            for watch, key in watches:
                there = await watch.next(PATIENCE)
                assert (there.id, there.before) == (key, None)
                gone = await watch.next(PATIENCE)
                assert (gone.id, gone.value, gone.before) == (key, None, there.value)
                assert not watch.current
