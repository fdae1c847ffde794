# SPDX-License-Identifier: Apache-2.0
"""watch(), as a person uses it: entered, iterated, left; and what is refused."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest
from helpers import PATIENCE, descriptors_flat
from matrix.cluster_parts import new_actor, new_job
from watchers import RESTART_PATIENCE, Follower, actors_of, jobs_of, new_node, nodes_of

import gcs_cffi
from gcs_cffi import ClientClosedError, ClusterChangedError, DeadlineExceededError, GcsClient
from gcs_cffi.testing import GcsServer

if TYPE_CHECKING:
    from collections.abc import Callable


async def test_it_is_entered_once_and_before_it_is_asked(gcs: GcsClient) -> None:
    watch = gcs.actors.watch()
    assert "actors" in repr(watch)
    with pytest.raises(RuntimeError, match="enter it first"):
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
            wanted: list[bytes] = []
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
