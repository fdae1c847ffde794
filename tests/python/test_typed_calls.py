# SPDX-License-Identifier: Apache-2.0
"""What a client learns about its server: once, by one task at a time, and within the timeout."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto

import gcs_cffi
from gcs_cffi import DeadlineExceededError, GcsClient, UnsupportedByServerError, messages, sync
from gcs_cffi._release import Release
from gcs_cffi._server import Server

if TYPE_CHECKING:
    from gcs_cffi.testing import GcsServer

CHECK_ALIVE = "/ray.rpc.NodeInfoGcsService/CheckAlive"
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
HEALTH = "grpc.health.v1.Health"


def count(gcs: Any, path: str) -> int:
    counters = gcs.stats()["methods"].get(path, {})
    return int(counters.get("ok", 0))


async def test_the_release_is_asked_once_whatever_number_of_calls_need_it(gcs: GcsClient) -> None:
    assert gcs.ray_version is None
    await asyncio.gather(*(gcs.nodes.list() for _ in range(100)))
    await gcs.jobs.next_id()
    assert count(gcs, CHECK_ALIVE) == 1
    assert gcs.ray_version == await gcs.get_ray_version()


async def test_key_value_calls_never_ask_for_the_release(gcs: GcsClient) -> None:
    await gcs.kv.put("a", b"b", namespace="typed")
    await gcs.call("NodeInfoGcsService", "GetAllNodeInfo", b"")
    assert count(gcs, CHECK_ALIVE) == 0
    assert gcs.ray_version is None


async def test_a_layout_is_asked_for_only_where_the_bundled_one_does_not_do(
    gcs: GcsClient,
) -> None:
    await gcs.nodes.list()
    assert count(gcs, REFLECTION) == 0
    replies = await asyncio.gather(*(gcs.call(HEALTH, "Check", {}) for _ in range(20)))
    assert {reply.status for reply in replies} == {1}
    assert count(gcs, REFLECTION) == 1


async def test_a_task_that_is_cancelled_while_it_asks_leaves_it_to_the_next(
    own_server: GcsServer,
) -> None:
    async with gcs_cffi.connect(own_server.address) as gcs:
        own_server.pause()
        tasks = [asyncio.ensure_future(gcs.nodes.list()) for _ in range(3)]
        await asyncio.sleep(0.1)
        tasks[0].cancel()
        with pytest.raises(asyncio.CancelledError):
            await tasks[0]
        own_server.resume()
        assert await asyncio.gather(*tasks[1:]) == [{}, {}]


async def test_a_call_that_does_not_wait_does_not_wait_for_the_release_either(
    own_server: GcsServer,
) -> None:
    async with gcs_cffi.connect(own_server.address) as gcs:
        async with gcs.watch_state() as changes:
            own_server.kill()
            async for change in changes:
                if change.state != "ready":
                    break
        with pytest.raises(gcs_cffi.UnavailableError):
            await gcs.call("NodeInfoGcsService", "GetAllNodeInfo", {}, wait_for_ready=False)


async def test_one_timeout_covers_all_that_a_call_needs(own_server: GcsServer) -> None:
    async with gcs_cffi.connect(own_server.address) as gcs:
        own_server.pause()
        loop = asyncio.get_running_loop()
        began = loop.time()
        outcomes = await asyncio.gather(
            *(gcs.nodes.list(timeout=0.5) for _ in range(3)), return_exceptions=True
        )
        own_server.resume()
        assert [type(outcome) for outcome in outcomes] == [DeadlineExceededError] * 3
        assert 0.4 < loop.time() - began < 2
        with pytest.raises(DeadlineExceededError):
            await gcs.nodes.list(timeout=0)


def test_a_loop_that_is_closed_while_it_asks_leaves_nothing_behind(
    own_server: GcsServer,
    new_loop: Callable[[], asyncio.AbstractEventLoop],
    recwarn: pytest.WarningsRecorder,
) -> None:
    async def connected() -> GcsClient:
        return await gcs_cffi.connect(own_server.address)

    loop = new_loop()
    gcs = loop.run_until_complete(connected())
    own_server.pause()
    task = loop.create_task(gcs.nodes.list())
    loop.run_until_complete(asyncio.sleep(0.05))
    loop.close()
    own_server.resume()
    coroutine = task.get_coro()
    assert coroutine is not None
    coroutine.close()
    del task, coroutine
    gc.collect()
    again = new_loop()
    assert again.run_until_complete(gcs.nodes.list()) == {}
    again.run_until_complete(gcs.close())
    again.close()
    unraisable = pytest.PytestUnraisableExceptionWarning
    assert not [warning for warning in recwarn if issubclass(warning.category, unraisable)]


def test_threads_learn_the_same_at_the_same_time(blocking_gcs: sync.GcsClient) -> None:
    found: list[object] = []
    barrier = threading.Barrier(8)

    def ask() -> None:
        barrier.wait()
        found.append(blocking_gcs.call(HEALTH, "Check", {}).status)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [1] * 8


async def test_a_service_or_method_that_the_server_lacks_is_named(gcs: GcsClient) -> None:
    with pytest.raises(UnsupportedByServerError, match=r"no\.such\.Service") as caught:
        await gcs.call("no.such.Service", "Check", {})
    assert gcs.ray_version is not None
    assert gcs.ray_version in str(caught.value)
    with pytest.raises(UnsupportedByServerError, match="NoSuchMethod"):
        await gcs.call(HEALTH, "NoSuchMethod", {})
    with pytest.raises(UnsupportedByServerError, match=r"from 2\.37 to 2\.46"):
        await gcs.call("ActorInfoGcsService", "RestartActor", b"")


def test_descriptions_that_make_no_sense_are_said_to() -> None:
    def file(name: str, *imports: str) -> bytes:
        return FileDescriptorProto(
            name=name, package="ray.rpc", syntax="proto3", dependency=imports
        ).SerializeToString()

    for files in (
        [b"\xff"],
        [file("a", "a")],
        [file("a", "b"), file("b", "a")],
        [file("a", "missing")],
        [file(f"f{n}", f"f{n + 1}") for n in range(3000)],
    ):
        with pytest.raises(ValueError, match="make no sense"):
            Server(Release.parse("2.40.0")).add_files(files)
    # Files that lack what they were asked for are taken, and do not help.
    server = Server(Release.parse("2.40.0"))
    server.add_files([file("other")])
    assert server.needs_layout_of("ray.rpc.NodeInfoGcsService")


async def test_a_message_of_an_unknown_method_is_checked_against_the_servers_own(
    gcs: GcsClient,
) -> None:
    with pytest.raises(ValueError, match="no_such_field"):
        await gcs.call(HEALTH, "Check", {"no_such_field": 1})
    with pytest.raises(TypeError, match="HealthCheckRequest"):
        await gcs.call(HEALTH, "Check", messages.CheckAliveRequest())
