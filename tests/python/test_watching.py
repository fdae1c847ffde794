# SPDX-License-Identifier: Apache-2.0
"""watch() on real servers: the table, then its changes, none missed and none twice."""

from __future__ import annotations

import asyncio
import os
import random
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from helpers import PATIENCE, descriptors_flat
from matrix.cluster_parts import new_actor, new_job

import gcs_cffi
from gcs_cffi import (
    ActorID,
    Change,
    ClientClosedError,
    ClusterChangedError,
    DeadlineExceededError,
    GcsClient,
    GcsStatusError,
    JobID,
    NodeID,
    Watch,
    messages,
    sync,
)
from gcs_cffi.testing import GcsServer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

RESTART_PATIENCE = 30.0
DEAD = messages.GcsNodeInfo.DEAD


async def new_node(gcs: GcsClient, name: str = "n") -> NodeID:
    node = NodeID(os.urandom(28))
    await gcs.nodes.register(
        {
            "node_id": node,
            "node_name": name,
            "node_manager_address": "127.0.0.1",
            "node_manager_port": int(gcs.address.rpartition(":")[2]),
            "resources_total": {"CPU": 4.0},
        }
    )
    return node


async def nodes_of(gcs: GcsClient) -> dict[Any, Any]:
    nodes = await gcs.nodes.list()
    for node in nodes.values():
        node.ClearField("state_snapshot")
        if node.state != DEAD:
            node.ClearField("death_info")
    return {**nodes}


async def jobs_of(gcs: GcsClient) -> dict[Any, Any]:
    return {**await gcs.jobs.list(skip_submission_info=True, skip_is_running_tasks=True)}


async def actors_of(gcs: GcsClient) -> dict[Any, Any]:
    return {**await gcs.actors.list()}


class Follower:
    """Iterates a watch, and keeps what its changes amount to."""

    def __init__(self, watch: Watch[Any, Any]) -> None:
        self.watch = watch
        self.seen: dict[Any, Any] = {}
        self.changes: list[Change[Any, Any]] = []

    def take(self, change: Change[Any, Any]) -> None:
        """Checks that a change follows on what came before."""
        assert self.seen.get(change.id) == change.before, change
        assert change.value != change.before, change
        if change.value is None:
            del self.seen[change.id]
        else:
            self.seen[change.id] = change.value
        self.changes.append(change)

    async def until(self, wanted: Mapping[Any, Any], timeout: float = PATIENCE) -> None:
        """Follows until the table is the wanted one; then nothing else may come."""
        end = time.monotonic() + timeout
        while self.seen != wanted:
            left = end - time.monotonic()
            assert left > 0, f"{len(self.seen)} seen, {len(wanted)} wanted"
            try:
                change = await self.watch.next(min(left, 0.5))
            except TimeoutError:
                continue
            assert change is not None
            self.take(change)
        assert self.watch.current == wanted
        with pytest.raises(TimeoutError):
            await self.watch.next(0.2)


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
                assert follower.seen


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


# ---- Life ---------------------------------------------------------------------------------------


async def test_it_is_entered_once_and_before_it_is_asked(gcs: GcsClient) -> None:
    watch = gcs.actors.watch()
    assert "actors" in repr(watch)
    with pytest.raises(RuntimeError, match="entered before"):
        await anext(watch)
    async with watch:
        with pytest.raises(RuntimeError, match="entered once"):
            await watch.__aenter__()
        # The one that was refused has not ended it.
        with pytest.raises(TimeoutError):
            await watch.next(0.1)
    with pytest.raises(RuntimeError, match="entered once"):
        await watch.__aenter__()
    assert await watch.next() is None


async def test_only_one_waits_at_a_time(own_server: GcsServer) -> None:
    async with gcs_cffi.connect(own_server.address) as gcs, gcs.nodes.watch() as nodes:
        waiting = asyncio.ensure_future(nodes.next())
        await asyncio.sleep(0.05)
        with pytest.raises(RuntimeError, match="waits"):
            await nodes.next()
        node = await new_node(gcs)
        change = await asyncio.wait_for(waiting, PATIENCE)
        assert change is not None
        assert change.id == node


@pytest.mark.parametrize("accessor", ["nodes", "jobs", "actors"])
async def test_who_stops_waiting_loses_nothing(own_server: GcsServer, accessor: str) -> None:
    async with gcs_cffi.connect(own_server.address) as gcs:
        job = await new_job(gcs)
        async with getattr(gcs, accessor).watch() as watch:
            wanted = []
            for number in range(30):
                if accessor == "nodes":
                    wanted.append(await new_node(gcs))
                elif accessor == "jobs":
                    wanted.append(await new_job(gcs))
                else:
                    wanted.append(await new_actor(gcs, job, "ns"))
                    await gcs.actors.kill(wanted[-1])
                waiting = asyncio.ensure_future(watch.next())
                await asyncio.sleep(number / 20_000)
                waiting.cancel()
                if not waiting.cancelled():
                    await asyncio.wait([waiting])
                if not waiting.cancelled():
                    break  # it had ended before
            follower = Follower(watch)
            if not waiting.cancelled():
                change = waiting.result()
                assert change is not None
                follower.take(change)
            lists: dict[str, Callable[[GcsClient], Any]] = {
                "nodes": nodes_of,
                "jobs": jobs_of,
                "actors": actors_of,
            }
            await follower.until(await lists[accessor](gcs))
            assert set(wanted) <= set(follower.seen)


async def test_a_watch_ends_with_its_client(server: GcsServer) -> None:
    client = await gcs_cffi.connect(server.address)
    async with client.jobs.watch() as jobs:
        asyncio.get_running_loop().call_later(0.1, asyncio.ensure_future, client.close())
        async for _ in jobs:
            pass
    with pytest.raises(ClientClosedError):
        async with client.jobs.watch():
            pass


async def test_it_is_closed_while_somebody_waits(gcs: GcsClient) -> None:
    async with gcs.actors.watch() as actors:
        asyncio.get_running_loop().call_later(0.1, asyncio.ensure_future, actors.close())
        async for _ in actors:
            pass
        await actors.close()


async def test_it_is_closed_while_the_table_waits_for_the_gcs(own_server: GcsServer) -> None:
    async with gcs_cffi.connect(own_server.address) as gcs, gcs.actors.watch() as actors:
        job = await new_job(gcs)
        await gcs.actors.kill(await new_actor(gcs, job, "ns"))
        await asyncio.sleep(0.3)
        own_server.kill()
        waiting = asyncio.ensure_future(actors.next())
        await asyncio.sleep(0.3)
        await actors.close()
        await asyncio.wait_for(asyncio.wait([waiting]), PATIENCE)


async def test_an_entering_that_is_cancelled_leaves_nothing(server: GcsServer) -> None:
    async with gcs_cffi.connect(server.address) as gcs:
        await gcs.get_ray_version()
        with descriptors_flat():
            for number in range(40):
                entering = asyncio.ensure_future(gcs.nodes.watch().__aenter__())
                await asyncio.sleep(number / 10_000)
                entering.cancel()
                await asyncio.wait([entering])
                if not entering.cancelled():
                    await entering.result().close()
        deadline = time.monotonic() + PATIENCE
        while gcs.stats()["not_taken"] > 0:
            assert time.monotonic() < deadline, gcs.stats()
            await asyncio.sleep(0.01)


async def test_entering_has_a_timeout(own_server: GcsServer) -> None:
    async with gcs_cffi.connect(own_server.address) as gcs:
        own_server.pause()
        began = time.monotonic()
        with pytest.raises(DeadlineExceededError):
            async with gcs.nodes.watch(timeout=0.5):
                pass
        assert 0.4 < time.monotonic() - began < 5
        own_server.resume()


async def test_another_cluster_ends_it(own_server: GcsServer) -> None:
    async with gcs_cffi.connect(own_server.address) as gcs, gcs.nodes.watch() as nodes:
        await asyncio.to_thread(own_server.restart)
        with pytest.raises(ClusterChangedError):
            await asyncio.wait_for(nodes.next(), RESTART_PATIENCE)


async def test_what_cannot_be_is_refused_at_once(gcs: GcsClient) -> None:
    for accessor in (gcs.nodes, gcs.jobs, gcs.actors):
        with pytest.raises(ValueError, match="max_messages"):
            accessor.watch(max_messages=0)
        with pytest.raises(TypeError, match="max_bytes"):
            accessor.watch(max_bytes=1.5)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="timeout"):
            accessor.watch(timeout=-1)
        with pytest.raises(TypeError):
            accessor.watch("nodes")  # type: ignore[call-arg]
