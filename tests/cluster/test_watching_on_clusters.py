# SPDX-License-Identifier: Apache-2.0
"""watch() on a real cluster whose raylets and actors come and go, and whose GCS restarts.

Invariant: whenever nothing changes, each watcher holds exactly what the lists give.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING, Any

import pytest
from live.ray_process import RayProcess
from watchers import actors_of, jobs_of, nodes_of

import gcs_cffi

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gcs_cffi import Change, GcsClient, Watch

QUIET_SECONDS = 90
ROUNDS = 2
STEPS = 4


class Cluster(RayProcess):
    """A cluster that changes; see `live.changing`."""

    module = "live.changing"


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """It, with two raylets."""
    process = Cluster()
    try:
        for _ in range(2):
            process.ask("add_raylet")
        yield process
    finally:
        process.end()


class Follower:
    """What the changes of a watch amount to."""

    def __init__(self, watch: Watch[Any, Any]) -> None:
        self.watch = watch
        self.seen: dict[Any, Any] = {}
        self.states: dict[Any, list[Any]] = {}
        self.task = asyncio.ensure_future(self._run())

    async def _run(self) -> None:
        async for change in self.watch:
            self._take(change)

    def _take(self, change: Change[Any, Any]) -> None:
        assert self.seen.get(change.id) == change.before, change
        assert change.value != change.before, change
        if change.value is None:
            del self.seen[change.id]
            return
        self.seen[change.id] = change.value


async def tables(gcs: GcsClient) -> list[dict[Any, Any]]:
    return [await nodes_of(gcs), await jobs_of(gcs), await actors_of(gcs)]


async def same(gcs: GcsClient, followers: list[Follower]) -> list[dict[Any, Any]]:
    """Waits until the tables have not changed for a while, and asserts that they are held."""
    end = time.monotonic() + QUIET_SECONDS
    before: list[dict[Any, Any]] = []
    quiet = 0
    while quiet < 4:
        assert time.monotonic() < end, "the cluster does not come to rest"
        await asyncio.sleep(0.5)
        now = await tables(gcs)
        quiet = quiet + 1 if now == before else 0
        before = now
    for follower, table in zip(followers, before, strict=True):
        if follower.task.done():
            follower.task.result()
        name = repr(follower.watch)
        assert set(follower.seen) == set(table), name
        for key, value in table.items():
            assert follower.seen[key] == value, f"{name}\n{follower.seen[key]}\nlist():\n{value}"
        assert follower.watch.current == table, name
    return before


@pytest.mark.timeout(600)
async def test_watchers_hold_what_the_lists_give_over_restarts_of_the_gcs(
    cluster: Cluster,
) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)

    async def ask(method: str, **arguments: Any) -> None:
        await asyncio.to_thread(lambda: cluster.ask(method, **arguments))

    async with (
        gcs_cffi.connect(cluster.address, token=cluster.token) as gcs,
        gcs.nodes.watch() as nodes,
        gcs.jobs.watch() as jobs,
        gcs.actors.watch() as actors,
    ):
        followers = [Follower(nodes), Follower(jobs), Follower(actors)]
        for _ in range(3):
            await ask("new_actor", restarts=3)
        await same(gcs, followers)
        for step in range(ROUNDS * STEPS):
            if step % STEPS == STEPS - 1:
                await ask("kill_gcs")
                await asyncio.sleep(1)
                await ask("start_gcs")
            await ask("start_actors", count=chance.randrange(1, 5))
            await ask(chance.choice(["crash_actor", "kill_actor", "forget_actor"]))
            if step % STEPS == 1:
                await ask("add_raylet")
                await ask("remove_raylet", gracefully=chance.random() < 0.5)
            await same(gcs, followers)
        nodes_now, jobs_now, actors_now = await same(gcs, followers)
        assert len(nodes_now) == 3 + ROUNDS
        assert len(jobs_now) == 1
        assert len(actors_now) > ROUNDS * STEPS
        for follower in followers:
            await follower.watch.close()
            await follower.task
