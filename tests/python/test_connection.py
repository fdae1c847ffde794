# SPDX-License-Identifier: Apache-2.0
"""What a client says of its connection: states as they change, counters, and limits."""

from __future__ import annotations

import asyncio
import copy
import pickle
import threading
import time
from itertools import groupby
from typing import TYPE_CHECKING

import pytest
from helpers import wait_until

import gcs_cffi
from gcs_cffi import LimitExceededError, sync
from gcs_cffi.testing import GcsServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gcs_cffi.options import StateChange


@pytest.fixture
def own_server() -> Iterator[GcsServer]:
    """A server that a test may kill."""
    with GcsServer() as server:
        yield server


async def test_a_watch_gives_the_state_now_and_every_change(own_server: GcsServer) -> None:
    gcs = await gcs_cffi.connect(own_server.address, on_cluster_change="adopt")
    async with gcs, gcs.watch_state() as changes:
        assert (await anext(changes)).state == "ready"
        own_server.kill()
        lost = await asyncio.wait_for(anext(changes), 10)
        assert lost.state == "lost"
        assert lost.reason
        own_server.start()
        again = await asyncio.wait_for(anext(changes), 20)
        while again.state == "lost":  # with another reason: nobody listened yet
            again = await asyncio.wait_for(anext(changes), 20)
        assert again.state == "ready"
        assert own_server.address in again.reason
        # In memory: it is another cluster, which the client has adopted.
        assert str(gcs.cluster_id) in again.reason


async def test_a_watch_says_that_the_gcs_is_another_cluster_now(own_server: GcsServer) -> None:
    async with gcs_cffi.connect(own_server.address) as gcs, gcs.watch_state() as changes:
        old = str(gcs.cluster_id)
        own_server.kill()
        own_server.start()
        while True:
            change = await asyncio.wait_for(anext(changes), 20)
            if old in change.reason:
                break
        assert change.state == "lost"
        assert gcs.stats()["last_connect_error"] == change.reason
        with pytest.raises(gcs_cffi.ClusterChangedError, match=old):
            await gcs.kv.get("key")


async def test_a_watch_ends_with_its_client(own_server: GcsServer) -> None:
    gcs = await gcs_cffi.connect(own_server.address)
    async with gcs.watch_state() as changes:
        asyncio.get_running_loop().call_later(0.1, asyncio.ensure_future, gcs.close())
        states = [change.state async for change in changes]
    assert states == ["ready", "closed"]


async def test_a_watch_that_is_left_leaves_nothing_behind(own_server: GcsServer) -> None:
    async with gcs_cffi.connect(own_server.address) as gcs:
        for _ in range(50):
            async with gcs.watch_state() as changes:
                await anext(changes)
        deadline = time.monotonic() + 5
        while gcs.stats()["not_taken"] > 0:
            assert time.monotonic() < deadline, gcs.stats()
            await asyncio.sleep(0.01)


def test_a_watch_that_a_thread_leaves_leaves_nothing_behind(own_server: GcsServer) -> None:
    with sync.connect(own_server.address) as gcs:
        for _ in range(50):
            with gcs.watch_state() as changes:
                next(changes)
            gcs.on_state_change(lambda _: None)()
        deadline = time.monotonic() + 5
        while gcs.stats()["not_taken"] > 0:
            assert time.monotonic() < deadline, gcs.stats()
            time.sleep(0.01)


async def test_a_watch_over_the_limit_is_refused_and_not_silent(own_server: GcsServer) -> None:
    connecting = gcs_cffi.connect(own_server.address, max_pending_calls=1)
    async with connecting as gcs, gcs.watch_state() as changes:
        await anext(changes)
        with pytest.raises(LimitExceededError):
            await gcs.watch_state().__aenter__()
        with pytest.raises(LimitExceededError):
            gcs.on_state_change(lambda _: None)
    blocking = sync.connect(own_server.address, max_pending_calls=1)
    with blocking, blocking.watch_state() as states:
        next(states)
        with pytest.raises(LimitExceededError):
            blocking.watch_state().__enter__()
        with pytest.raises(LimitExceededError):
            blocking.on_state_change(lambda _: None)


async def test_what_cannot_be_told_anything_is_refused(own_server: GcsServer) -> None:
    async def never_run(_: StateChange) -> None:
        """Would give a coroutine that nobody awaits."""

    async with gcs_cffi.connect(own_server.address) as gcs:
        with sync.connect(own_server.address) as blocking:
            for client in (gcs, blocking):
                for callback in (None, 3, never_run):
                    with pytest.raises(TypeError, match="function"):
                        client.on_state_change(callback)  # type: ignore[arg-type]


async def test_a_function_is_told_nothing_once_it_has_been_let_go(own_server: GcsServer) -> None:
    """Also if the loop has it scheduled already: two functions are told in the same iteration."""
    seen: list[StateChange] = []
    stops: list[Callable[[], None]] = []

    def stop_all(_: StateChange) -> None:
        for stop in stops:
            stop()

    async with gcs_cffi.connect(own_server.address) as gcs:
        stops += [gcs.on_state_change(stop_all), gcs.on_state_change(seen.append)]
        await asyncio.sleep(0.2)
        own_server.kill()
        await asyncio.sleep(0.2)
    assert seen == []


async def test_a_wait_for_the_next_state_can_be_cancelled(own_server: GcsServer) -> None:
    async with gcs_cffi.connect(own_server.address) as gcs, gcs.watch_state() as changes:
        await anext(changes)
        for _ in range(3):
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(anext(changes), 0.05)
        own_server.kill()
        assert (await asyncio.wait_for(anext(changes), 10)).state == "lost"


async def test_one_task_at_a_time_waits_for_the_next_state(own_server: GcsServer) -> None:
    async with gcs_cffi.connect(own_server.address) as gcs, gcs.watch_state() as states:
        assert (await anext(states)).state == "ready"
        first = asyncio.ensure_future(states.__anext__())
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="somebody waits for the next state"):
            await anext(states)
        own_server.kill()
        assert (await first).state == "lost"


def test_one_thread_at_a_time_waits_for_the_next_state(own_server: GcsServer) -> None:
    with sync.connect(own_server.address) as gcs, gcs.watch_state() as states:
        assert next(states).state == "ready"
        seen: list[str] = []
        first = threading.Thread(target=lambda: seen.append(next(states).state))
        first.start()
        wait_until(lambda: states._turn != {}, "the thread waits")
        with pytest.raises(RuntimeError, match="somebody waits for the next state"):
            next(states)
        own_server.kill()
        first.join(10)
        assert seen == ["lost"]


async def test_a_watch_is_entered_before_it_is_iterated_and_once(own_server: GcsServer) -> None:
    async with gcs_cffi.connect(own_server.address) as gcs:
        watch = gcs.watch_state()
        with pytest.raises(RuntimeError, match="entered"):
            await anext(watch)
        async with watch:
            with pytest.raises(RuntimeError, match="once"):
                await watch.__aenter__()


async def test_a_function_is_told_every_change_and_may_raise(own_server: GcsServer) -> None:
    seen: list[StateChange] = []
    told_twice = asyncio.Event()
    reported: list[object] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: reported.append(context.get("exception")))

    def note(change: StateChange) -> None:
        seen.append(change)
        if len(seen) == 2:
            told_twice.set()
        raise ZeroDivisionError

    async with gcs_cffi.connect(own_server.address) as gcs:
        stop = gcs.on_state_change(note)
        own_server.kill()
        await asyncio.wait_for(told_twice.wait(), 10)
        stop()
        stop()
    states = [change.state for change in seen]
    assert states[:2] == ["ready", "lost"]
    assert set(states[2:]) <= {"lost"}, "a new reason may have come before it was let go"
    assert [type(error) for error in reported] == [ZeroDivisionError] * len(states)


def test_a_thread_may_watch_too(own_server: GcsServer) -> None:
    with sync.connect(own_server.address) as gcs:
        states: list[str] = []

        def watch() -> None:
            with gcs.watch_state() as changes:
                states.extend(change.state for change in changes)

        thread = threading.Thread(target=watch)
        thread.start()
        deadline = time.monotonic() + 10
        while not states and time.monotonic() < deadline:
            time.sleep(0.01)
        own_server.kill()
        while gcs.state == "ready" and time.monotonic() < deadline:
            time.sleep(0.01)
    thread.join(10)
    assert not thread.is_alive()
    # Lost for one reason after the other.
    assert [state for state, _ in groupby(states)] == ["ready", "lost", "closed"]


def test_a_function_is_told_in_a_thread_of_its_own(own_server: GcsServer) -> None:
    seen: list[tuple[str, bool]] = []
    main = threading.get_ident()
    with sync.connect(own_server.address) as gcs:
        stop = gcs.on_state_change(
            lambda change: seen.append((change.state, threading.get_ident() == main))
        )
        deadline = time.monotonic() + 10
        while not seen and time.monotonic() < deadline:
            time.sleep(0.01)
        stop()
        stop()
    assert seen == [("ready", False)]


def test_a_function_in_a_thread_may_raise_and_is_told_the_next_change(
    own_server: GcsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    raised: list[object] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: raised.append(args.exc_type))

    def note(change: StateChange) -> None:
        seen.append(change.state)
        raise ZeroDivisionError

    with sync.connect(own_server.address) as gcs:
        gcs.on_state_change(note)
        own_server.kill()
        deadline = time.monotonic() + 10
        while "lost" not in seen and time.monotonic() < deadline:
            time.sleep(0.01)
    while "closed" not in seen and time.monotonic() < deadline:
        time.sleep(0.01)
    assert (seen[0], seen[1], seen[-1]) == ("ready", "lost", "closed")
    while len(raised) < len(seen) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert set(raised) == {ZeroDivisionError}


def test_who_only_watches_gets_the_log_records_too(
    own_server: GcsServer, caplog: pytest.LogCaptureFixture
) -> None:
    with sync.connect(own_server.address) as gcs, gcs.watch_state() as changes:
        assert next(changes).state == "ready"
        own_server.kill()
        assert next(changes).state == "lost"
        deadline = time.monotonic() + 10
        while not caplog.records and time.monotonic() < deadline:
            own_server.start()
            next(changes)
    assert any("lost the connection" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize("take", [pickle.dumps, copy.copy, copy.deepcopy])
async def test_a_client_does_not_go_to_another_process(
    server: GcsServer, take: Callable[[object], object]
) -> None:
    """The number of its handle would stand for another client there, or for none."""
    connecting = gcs_cffi.connect(server.address, token="secret")
    with pytest.raises(TypeError):
        take(connecting)
    async with gcs_cffi.connect(server.address) as gcs:
        with sync.connect(server.address) as blocking:
            for client in (gcs, blocking):
                things: list[object] = [client.kv, client.jobs, client.nodes, client.watch_state()]
                things.append(client)
                if take is copy.copy:
                    things = [client._channel]
                for thing in things:
                    with pytest.raises(TypeError, match="belongs to its process"):
                        take(thing)


async def test_stats_say_how_the_calls_of_each_method_ended(server: GcsServer) -> None:
    async with gcs_cffi.connect(server.address) as gcs:
        for number in range(5):
            await gcs.kv.put(b"stats", b"%d" % number, namespace=b"stats")
        assert await gcs.kv.get(b"nothing", namespace=b"stats") is None
        with pytest.raises(gcs_cffi.DeadlineExceededError):
            await gcs.kv.get(b"stats", namespace=b"stats", timeout=0)
        stats = gcs.stats()
        methods = stats["methods"]
        assert methods["/ray.rpc.InternalKVGcsService/InternalKVPut"]["ok"] == 5
        got = methods["/ray.rpc.InternalKVGcsService/InternalKVGet"]
        assert (got["ok"], got["expired"], got["failed"]) == (1, 1, 0)
        assert stats["state"] == "ready"
        assert stats["pending"] == stats["waiting"] == stats["in_flight"] == 0
        assert stats["connects"] == 1
        assert stats["bytes_sent"] > 100
        assert sum(count for _, count in stats["latencies"]) == 7
        bounds = [bound for bound, _ in stats["latencies"]]
        assert bounds == sorted(bounds)
    with pytest.raises(gcs_cffi.ClientClosedError):
        gcs.stats()


async def test_more_than_max_pending_calls_fail_at_once(server: GcsServer) -> None:
    async with gcs_cffi.connect(server.address, max_pending_calls=10) as gcs:
        results = await asyncio.gather(
            *[gcs.kv.get(b"limit") for _ in range(30)], return_exceptions=True
        )
        refused = [result for result in results if isinstance(result, LimitExceededError)]
        assert len(refused) == 20
        assert all(error.retryable for error in refused)
        assert "max_pending_calls" in str(refused[0])
        assert results.count(None) == 10
        assert await gcs.kv.get(b"limit") is None


async def test_more_than_max_pending_bytes_fail_at_once(server: GcsServer) -> None:
    async with gcs_cffi.connect(server.address, max_pending_bytes=1_000_000) as gcs:
        results = await asyncio.gather(
            *[gcs.kv.put(b"limit%d" % i, bytes(300_000), namespace=b"limit") for i in range(6)],
            return_exceptions=True,
        )
        refused = [result for result in results if isinstance(result, LimitExceededError)]
        assert len(refused) == 3
        assert results.count(True) == 3
        assert await gcs.kv.delete_prefix(b"limit", namespace=b"limit") == 3
        assert gcs.stats()["pending_bytes"] == 0


@pytest.mark.parametrize("name", ["max_pending_calls", "max_pending_bytes"])
@pytest.mark.parametrize(("value", "error"), [(0, ValueError), (-1, ValueError), ("1", TypeError)])
async def test_limits_that_cannot_be_are_refused(
    name: str, value: object, error: type[Exception]
) -> None:
    with pytest.raises(error, match=name):
        await gcs_cffi.connect("127.0.0.1:1", **{name: value})  # type: ignore[arg-type]
