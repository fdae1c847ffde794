# SPDX-License-Identifier: Apache-2.0
"""watch() on real servers: the table, then its changes, none missed and none twice."""

from __future__ import annotations

import asyncio
import os
import random
import threading
import time
from contextlib import suppress
from typing import Any

import pytest
from helpers import PATIENCE
from matrix.cluster_parts import new_actor, new_job
from watchers import DEAD, RESTART_PATIENCE, Follower, actors_of, jobs_of, new_node, nodes_of

import gcs_cffi
from gcs_cffi import (
    ActorID,
    Change,
    GcsClient,
    GcsStatusError,
    JobID,
    NodeID,
    messages,
    sync,
)
from gcs_cffi.testing import GcsServer

# ---- The table, then its changes ----------------------------------------------------------------


async def test_nodes_come_first_and_then_their_changes(own_server: GcsServer) -> None:
    async with gcs_cffi.connect(own_server.address) as gcs:
        first, second = await new_node(gcs, "first"), await new_node(gcs, "second")
        await gcs.nodes.unregister(second)
        async with gcs.nodes.watch() as nodes:
            assert nodes.current == await nodes_of(gcs)
            follower = Follower(nodes)
            await follower.until(await nodes_of(gcs))
            assert {change.before for change in follower.changes} == {None}
            assert set(follower.seen) == {first, second}
            third = await new_node(gcs, "third")
            change = await nodes.next(PATIENCE)
            assert change is not None
            assert type(change.id) is NodeID
            assert (change.id, change.before) == (third, None)
            assert change.value is not None
            assert change.value.node_name == "third"
            follower.take(change)
            await gcs.nodes.unregister(first, message="by a test")
            change = await nodes.next(PATIENCE)
            assert change is not None
            assert change.before is not None
            assert change.value is not None
            assert change.before.state != DEAD
            assert change.value.state == DEAD
            assert change.value.node_name == "first"
            assert change.value.death_info.reason_message == "by a test"
            follower.take(change)
            await follower.until(await nodes_of(gcs))
        assert await nodes.next() is None


async def test_jobs_come_first_and_then_their_changes(own_server: GcsServer) -> None:
    async with gcs_cffi.connect(own_server.address) as gcs:
        first = await new_job(gcs)
        async with gcs.jobs.watch() as jobs:
            follower = Follower(jobs)
            await follower.until(await jobs_of(gcs))
            second = await new_job(gcs)
            await gcs.jobs.mark_finished(first)
            await follower.until(await jobs_of(gcs))
            assert [(change.id, change.value.is_dead) for change in follower.changes] == [
                (first, False),
                (second, False),
                (first, True),
            ]


async def test_actors_come_first_and_then_their_changes(own_server: GcsServer) -> None:
    states = messages.ActorTableData
    async with gcs_cffi.connect(own_server.address) as gcs:
        job = await new_job(gcs)
        first = await new_actor(gcs, job, "ns", name="first")
        async with gcs.actors.watch() as actors:
            follower = Follower(actors)
            await follower.until(await actors_of(gcs))
            second = await new_actor(gcs, job, "ns")
            await gcs.actors.kill(first)
            await follower.until(await actors_of(gcs))
            assert [(change.id, change.value.state) for change in follower.changes] == [
                (first, states.DEPENDENCIES_UNREADY),
                (second, states.DEPENDENCIES_UNREADY),
                (first, states.DEAD),
            ]
            assert follower.seen[first].class_name == "Counter"


async def test_an_actor_that_lineage_restarts_is_followed(own_server: GcsServer) -> None:
    states = messages.ActorTableData
    async with gcs_cffi.connect(own_server.address) as gcs:
        job = await new_job(gcs)
        async with gcs.actors.watch() as actors:
            follower = Follower(actors)
            actor = await new_actor(gcs, job, "ns")
            service = "ActorInfoGcsService"
            for count in (1, 2):
                await gcs.call(
                    service,
                    "ReportActorOutOfScope",
                    {
                        "actor_id": actor,
                        "num_restarts_due_to_lineage_reconstruction": count - 1,
                    },
                )
                await follower.until(await actors_of(gcs))
                assert follower.seen[actor].state == states.DEAD
                restart = {
                    "actor_id": actor,
                    "num_restarts_due_to_lineage_reconstruction": count,
                }
                method = "RestartActorForLineageReconstruction"
                await gcs.call(service, method, restart)
                await follower.until(await actors_of(gcs))
                now = follower.seen[actor]
                assert now.state == states.RESTARTING
                assert now.num_restarts == count
                assert now.num_restarts_due_to_lineage_reconstruction == count


def test_a_blocking_watch_gives_the_same(own_server: GcsServer) -> None:
    with sync.connect(own_server.address) as gcs:
        node = {"node_id": os.urandom(28), "node_name": "first"}
        gcs.nodes.register(node)
        with gcs.nodes.watch() as nodes:
            assert [change.id for change in [next(nodes)]] == [node["node_id"]]
            with pytest.raises(TimeoutError):
                nodes.next(0)
            other = {"node_id": os.urandom(28), "node_name": "second"}
            timer = threading.Timer(0.1, gcs.nodes.register, [other])
            timer.start()
            change = next(nodes)
            timer.join()
            assert change.value is not None
            assert change.value.node_name == "second"
            assert nodes.current == gcs.nodes.list()
            threading.Timer(0.1, nodes.close).start()
            assert list(nodes) == []
        with pytest.raises(RuntimeError, match="entered once"):
            nodes.__enter__()
        with gcs.jobs.watch() as jobs, gcs.actors.watch() as actors:
            gcs.jobs.add({"job_id": b"abcd", "driver_address": {"worker_id": os.urandom(28)}})
            assert next(jobs).id == b"abcd"
            assert actors.current == {}


# ---- No gap -------------------------------------------------------------------------------------


class Changer:
    """Changes the tables all the time, as its seed says, until it is told to rest."""

    def __init__(self, gcs: GcsClient, seed: int) -> None:
        self._gcs = gcs
        self._random = random.Random(seed)
        self._alive: list[NodeID] = []
        self._jobs: list[JobID] = []
        self._actors: list[ActorID] = []

    async def run(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            await self.step()
            if self._random.random() < 0.2:
                await asyncio.sleep(self._random.random() / 50)

    async def step(self) -> None:
        gcs, chance = self._gcs, self._random
        action = chance.choice(["node", "end node", "job", "end job", "actor", "actor", "kill"])
        if action == "node":
            self._alive.append(await new_node(gcs, str(chance.random())))
        elif action == "end node" and self._alive:
            await gcs.nodes.unregister(self._pick(self._alive))
        elif action == "job":
            self._jobs.append(await new_job(gcs))
        elif action == "end job" and len(self._jobs) > 1:
            await gcs.jobs.mark_finished(self._pick(self._jobs))
        elif action == "actor" and self._jobs:
            job = self._jobs[-1]
            self._actors.append(await new_actor(gcs, job, "ns"))
        elif action == "kill" and self._actors:
            # A GCS that has restarted does not know the actors of finished jobs.
            with suppress(GcsStatusError):
                await gcs.actors.kill(self._pick(self._actors))

    def forget(self) -> None:
        """The cluster is another one."""
        for each in (self._alive, self._jobs, self._actors):
            each.clear()

    def _pick(self, several: list[Any]) -> Any:
        return several.pop(self._random.randrange(len(several)))


async def followed(
    server: GcsServer, seed: int, watch_options: dict[str, Any], restarts: int, *, redis: bool
) -> None:
    """Watchers that begin while everything changes hold what the tables have, whenever it rests."""
    print(f"seed {seed}")
    options: dict[str, Any] = {} if redis else {"on_cluster_change": "adopt"}
    async with (
        gcs_cffi.connect(server.address, **options) as gcs,
        gcs_cffi.connect(server.address, **options) as other,
    ):
        changer = Changer(other, seed)
        changing = asyncio.ensure_future(changer.run(1.0))
        await asyncio.sleep(0.1)
        async with (
            gcs.nodes.watch(**watch_options) as nodes,
            gcs.jobs.watch(**watch_options) as jobs,
            gcs.actors.watch(**watch_options) as actors,
        ):
            followers = [Follower(watch) for watch in (nodes, jobs, actors)]
            for restart in range(restarts + 1):
                if restart:
                    await changing
                    await asyncio.to_thread(server.kill)
                    if not redis:
                        changer.forget()
                    await asyncio.sleep(0.2)
                    await asyncio.to_thread(server.start)
                    changing = asyncio.ensure_future(changer.run(1.0))
                await changing
                tables = [await nodes_of(other), await jobs_of(other), await actors_of(other)]
                for follower, table in zip(followers, tables, strict=True):
                    await follower.until(table, RESTART_PATIENCE)
            for follower in followers:
                assert follower.changes


@pytest.mark.parametrize("max_messages", [1, 1000])
async def test_nothing_is_missed_while_everything_changes(
    own_server: GcsServer, max_messages: int
) -> None:
    seed = random.randrange(1 << 32)
    await followed(own_server, seed, {"max_messages": max_messages}, 0, redis=False)


@pytest.mark.timeout(180)
async def test_nothing_is_missed_over_restarts_that_forget_everything(
    own_server: GcsServer,
) -> None:
    await followed(own_server, random.randrange(1 << 32), {}, 2, redis=False)


@pytest.mark.timeout(180)
async def test_nothing_is_missed_over_restarts_that_remember() -> None:
    with GcsServer(redis=True) as server:
        await followed(server, random.randrange(1 << 32), {}, 2, redis=True)


async def test_entries_that_a_restart_has_lost_are_given_as_gone(own_server: GcsServer) -> None:
    async with gcs_cffi.connect(own_server.address, on_cluster_change="adopt") as gcs:
        node = await new_node(gcs)
        async with gcs.nodes.watch() as nodes:
            first = await nodes.next(PATIENCE)
            assert first is not None
            await asyncio.to_thread(own_server.restart)
            gone = await nodes.next(RESTART_PATIENCE)
            assert gone == Change(node, None, first.value)
            assert nodes.current == {}


async def test_what_the_gcs_has_forgotten_goes_when_the_table_is_read_again() -> None:
    config = {"maximum_gcs_dead_node_cached_count": 2}
    with GcsServer(redis=True, config=config) as server:
        async with gcs_cffi.connect(server.address) as gcs, gcs.nodes.watch() as nodes:
            for _ in range(5):
                await gcs.nodes.unregister(await new_node(gcs))
            follower = Follower(nodes)
            for _ in range(10):
                change = await nodes.next(PATIENCE)
                assert change is not None
                follower.take(change)
            assert len(follower.seen) == 5
            await asyncio.to_thread(server.restart)
            await follower.until(await nodes_of(gcs), RESTART_PATIENCE)
            assert len(follower.seen) <= 2
