# SPDX-License-Identifier: Apache-2.0
"""connect() and what a client says about itself."""

from __future__ import annotations

import asyncio
import gc
import inspect
import math
import sys
import threading
import time
import warnings
from typing import TYPE_CHECKING

import pytest
from helpers import PATIENCE, descriptors_flat, finished, wait_until

import gcs_cffi
from gcs_cffi import ClusterID, sync
from gcs_cffi._connecting import Connecting
from gcs_cffi.testing import GcsServer

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from pathlib import Path

    from helpers import Peer

    from gcs_cffi import GcsClient

    StartPeer = Callable[[Callable[[socket.socket], None]], Peer]


def state_of(gcs: GcsClient) -> str:
    return gcs.state


def version_of(gcs: GcsClient) -> str | None:
    return gcs.ray_version


def never_answer(connection: socket.socket) -> None:
    while connection.recv(1 << 16):
        pass


async def test_nothing_happens_until_awaited_or_entered(peer: StartPeer) -> None:
    silent = peer(lambda connection: None)
    with descriptors_flat():
        connecting = gcs_cffi.connect(silent.address)
        await asyncio.sleep(0.1)
    assert isinstance(connecting, Connecting)
    assert silent.accepted == 0


async def test_awaited_it_gives_a_client_that_is_to_be_closed(server: GcsServer) -> None:
    gcs = await gcs_cffi.connect(server.address)
    assert state_of(gcs) == "ready"
    await gcs.close()
    assert state_of(gcs) == "closed"


async def test_entered_it_gives_a_client_that_is_closed_at_the_end(server: GcsServer) -> None:
    async with gcs_cffi.connect(server.address) as gcs:
        assert state_of(gcs) == "ready"
    assert state_of(gcs) == "closed"


async def test_a_client_can_be_entered_itself(server: GcsServer) -> None:
    async with await gcs_cffi.connect(server.address) as gcs:
        assert await gcs.kv.get("nothing", namespace="nowhere") is None
    assert state_of(gcs) == "closed"


async def test_a_connection_is_entered_once(server: GcsServer) -> None:
    connecting = gcs_cffi.connect(server.address)
    async with connecting:
        with pytest.raises(RuntimeError, match="entered before"):
            await connecting.__aenter__()


async def test_address_cluster_and_version_are_known(server: GcsServer) -> None:
    async with gcs_cffi.connect(server.address) as gcs:
        assert gcs.address == server.address
        assert type(gcs.cluster_id) is ClusterID
        assert not gcs.cluster_id.is_nil
        assert version_of(gcs) is None
        assert await gcs.get_ray_version() == server.version
        assert version_of(gcs) == server.version
        assert await gcs.get_ray_version() == server.version
        cluster_id = gcs.cluster_id
    assert gcs.cluster_id == cluster_id
    assert gcs.address == server.address
    assert repr(gcs) == f"<gcs_cffi.GcsClient of {server.address}, closed>"
    with gcs_cffi.sync.connect(server.address) as blocking:
        assert repr(blocking) == f"<gcs_cffi.sync.GcsClient of {server.address}, ready>"


async def test_the_expected_cluster_is_taken_in_each_form(server: GcsServer) -> None:
    async with gcs_cffi.connect(server.address) as gcs:
        cluster_id = gcs.cluster_id
    assert cluster_id is not None
    for form in (cluster_id, bytes(cluster_id), cluster_id.hex()):
        async with gcs_cffi.connect(server.address, cluster_id=form) as gcs:
            assert gcs.cluster_id == cluster_id
            assert await gcs.kv.get("nothing", namespace="nowhere") is None


async def test_another_cluster_than_the_expected_one_is_refused(server: GcsServer) -> None:
    expected = "0" * 55 + "1"
    with pytest.raises(gcs_cffi.ClusterChangedError, match=f"made for cluster {expected}"):
        await gcs_cffi.connect(server.address, cluster_id=expected)


async def test_the_address_is_found_in_the_environment(
    server: GcsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", server.address)
    async with gcs_cffi.connect() as gcs:
        assert gcs.address == server.address


async def test_the_address_is_found_in_the_file_that_ray_start_leaves(
    server: GcsServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    file = tmp_path / "ray" / "ray_current_cluster"
    file.parent.mkdir()
    file.write_text(server.address)
    for address in (None, "auto"):
        async with gcs_cffi.connect(address) as gcs:
            assert gcs.address == server.address


PLAIN = {"on_state_change", "stats", "subscribe", "watch", "watch_state"}  # they wait for nothing


async def test_every_async_method_is_a_coroutine_function(gcs: GcsClient) -> None:
    for part in (gcs, gcs.kv, gcs.jobs, gcs.nodes):
        for name in dir(type(part)):
            method = getattr(type(part), name)
            if not name.startswith("_") and inspect.isfunction(method) and name not in PLAIN:
                assert inspect.iscoroutinefunction(method), name
    # A bare future would be refused here.
    task = asyncio.get_running_loop().create_task(gcs.kv.get("nothing", namespace="nowhere"))
    assert await task is None


def test_blocking_and_async_have_the_same_names_and_arguments() -> None:
    for cls, other in (
        (gcs_cffi.GcsClient, sync.GcsClient),
        (gcs_cffi.KeyValueStore, sync.KeyValueStore),
        (gcs_cffi.Jobs, sync.Jobs),
        (gcs_cffi.Nodes, sync.Nodes),
    ):
        names = {name for name in dir(cls) if not name.startswith("_")}
        assert names == {name for name in dir(other) if not name.startswith("_")}
        for name in names:
            mine, others = getattr(cls, name), getattr(other, name)
            if inspect.isfunction(mine):
                assert inspect.signature(mine) == inspect.signature(others), name
                assert not inspect.iscoroutinefunction(others)
                assert inspect.iscoroutinefunction(mine) == (name not in PLAIN), name
    ours, theirs = inspect.signature(gcs_cffi.connect), inspect.signature(sync.connect)
    assert ours.parameters == theirs.parameters


async def test_cancelled_while_connecting_it_leaks_nothing(peer: StartPeer) -> None:
    silent = peer(never_answer)
    with pytest.raises(gcs_cffi.UnavailableError):
        await gcs_cffi.connect("127.0.0.1:1", connect_timeout=0.05)  # what the loop itself needs
    with descriptors_flat():
        task = asyncio.ensure_future(_await(gcs_cffi.connect(silent.address)))
        await asyncio.to_thread(wait_until, lambda: silent.accepted == 1, "a connection")
        began = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert time.monotonic() - began < 1
        assert await asyncio.to_thread(silent.left_alone)


async def _await(connecting: Connecting) -> GcsClient:
    return await connecting


async def test_connect_timeout_bounds_connecting_as_a_whole(peer: StartPeer) -> None:
    silent = peer(never_answer)
    began = time.monotonic()
    with pytest.raises(gcs_cffi.UnavailableError, match=silent.address):
        await gcs_cffi.connect(silent.address, connect_timeout=0.4)
    assert 0.3 < time.monotonic() - began < 2


@pytest.mark.parametrize("timeout", [math.inf, 1e300])
async def test_without_a_connect_timeout_connecting_goes_on(timeout: float) -> None:
    with GcsServer() as late:
        late.stop()
        attempt = asyncio.ensure_future(gcs_cffi.connect(late.address, connect_timeout=timeout))
        await asyncio.sleep(0.2)
        assert not attempt.done()
        late.start()
        gcs = await asyncio.wait_for(attempt, PATIENCE)
        assert await gcs.kv.get("nothing", namespace="nowhere") is None
        await gcs.close()


async def test_an_unclosed_client_gives_a_resource_warning_and_is_closed(
    server: GcsServer,
) -> None:
    async with gcs_cffi.connect(server.address):
        pass
    gc.collect()
    with descriptors_flat():
        gcs = await gcs_cffi.connect(server.address)
        held = [gcs]
        del gcs
        with pytest.warns(ResourceWarning, match=server.address):
            held.clear()


async def test_an_accessor_keeps_its_client_alive(server: GcsServer) -> None:
    gcs = await gcs_cffi.connect(server.address)
    kv = gcs.kv
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        del gcs
        gc.collect()
        assert await kv.get("nothing", namespace="nowhere") is None
    held = [kv]
    del kv
    with pytest.warns(ResourceWarning, match=server.address):
        held.clear()


async def test_calls_after_close_fail_and_a_second_close_does_nothing(server: GcsServer) -> None:
    gcs = await gcs_cffi.connect(server.address)
    await gcs.close()
    await gcs.close()
    for call in (
        gcs.kv.get("key"),
        gcs.kv.put("key", b""),
        gcs.jobs.next_id(),
        gcs.nodes.list(),
        gcs.get_ray_version(),
        gcs.call("NodeInfoGcsService", "CheckAlive"),
    ):
        with pytest.raises(gcs_cffi.ClientClosedError, match=server.address):
            await call


async def test_ten_thousand_calls_pending_at_close_end_once_each(own_server: GcsServer) -> None:
    gcs = await gcs_cffi.connect(own_server.address)
    own_server.pause()
    ends = 0

    async def call(number: int) -> None:
        nonlocal ends
        try:
            await gcs.kv.get(f"key {number}", namespace="some")
        finally:
            ends += 1

    tasks = [asyncio.ensure_future(call(number)) for number in range(10_000)]
    await asyncio.sleep(0.2)
    assert ends == 0
    late = asyncio.ensure_future(call(10_000))
    await asyncio.sleep(0)  # made, and not handed over yet
    await gcs.close()
    results = await finished(*tasks, late)
    assert ends == 10_001
    assert {type(result) for result in results} == {gcs_cffi.ClientClosedError}
    own_server.resume()


async def test_two_clients_do_not_disturb_each_other(server: GcsServer, namespace: str) -> None:
    async with gcs_cffi.connect(server.address) as first:
        async with gcs_cffi.connect(server.address) as second:
            await second.kv.put("key", b"value", namespace=namespace)
        assert await first.kv.get("key", namespace=namespace) == b"value"


def test_a_client_belongs_to_no_loop(server: GcsServer, namespace: str) -> None:
    async def make() -> GcsClient:
        return await gcs_cffi.connect(server.address)

    gcs = asyncio.run(make())
    results: list[bytes | None] = []

    async def use(number: int) -> None:
        key = f"key {number}"
        await gcs.kv.put(key, key.encode(), namespace=namespace)
        results.append(await gcs.kv.get(key, namespace=namespace))

    threads = [
        threading.Thread(target=lambda number=number: asyncio.run(use(number)))
        for number in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(result or b"" for result in results) == [b"key %d" % n for n in range(4)]
    asyncio.run(gcs.close())


async def test_a_task_is_made_of_a_call(gcs: GcsClient, namespace: str) -> None:
    # These refuse a bare future.
    if sys.version_info >= (3, 11):
        async with asyncio.TaskGroup() as group:
            task = group.create_task(gcs.kv.put("key", b"value", namespace=namespace))
    else:
        task = asyncio.get_running_loop().create_task(
            gcs.kv.put("key", b"value", namespace=namespace)
        )
    assert await task is True
