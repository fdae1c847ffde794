# SPDX-License-Identifier: Apache-2.0
"""Subscriptions, as a person uses them: entered, iterated, left; and what is refused."""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from helpers import PATIENCE, descriptors_flat, run_script, said_nothing

import gcs_cffi
from gcs_cffi import (
    ClientClosedError,
    ClusterChangedError,
    DeadlineExceededError,
    GcsClient,
    InvalidRequestError,
    Message,
    Resync,
    UnavailableError,
    sync,
)
from gcs_cffi.testing import GcsServer

if TYPE_CHECKING:
    from collections.abc import Callable

POLICIES = ["wait", "drop_oldest", "drop_newest"]
COMMANDS = "/ray.rpc.ObservabilityPubSubService/GcsSubscriberCommandBatch"


async def numbered(gcs: GcsClient, key: str, numbers: range, padding: str = "") -> None:
    """Publishes errors that say which they are."""
    for number in numbers:
        await gcs.errors.publish("kind", f"{number} {padding}", key=key)


def number_of(event: Message | Resync | None) -> int:
    assert isinstance(event, Message), event
    return int(event.value.error_message.split()[0])


async def all_taken(gcs: GcsClient) -> None:
    """Waits until no call and no subscription of the client is pending any more."""
    deadline = time.monotonic() + PATIENCE
    while gcs.stats()["not_taken"] > 0:
        assert time.monotonic() < deadline, gcs.stats()
        await asyncio.sleep(0.01)


# ---- Life ---------------------------------------------------------------------------------------


async def test_an_iteration_gives_what_is_published_until_it_is_left(gcs: GcsClient) -> None:
    key = os.urandom(8).hex()
    seen = []
    async with gcs.subscribe("errors", key) as errors:
        await numbered(gcs, key, range(10))
        async for event in errors:
            seen.append(number_of(event))
            if len(seen) == 10:
                break
    assert seen == list(range(10))
    with pytest.raises(StopAsyncIteration):
        await anext(errors)


def test_a_blocking_iteration_gives_the_same(blocking_gcs: sync.GcsClient) -> None:
    key = os.urandom(8).hex()
    with blocking_gcs.subscribe("errors", key) as errors:
        for number in range(10):
            blocking_gcs.errors.publish("kind", str(number), key=key)
        assert [number_of(next(errors)) for _ in range(10)] == list(range(10))
        with pytest.raises(TimeoutError):
            errors.next(0)
    assert errors.next() is None


async def test_what_is_there_is_taken_without_waiting_and_what_is_not_times_out(
    gcs: GcsClient,
) -> None:
    key = os.urandom(8).hex()
    async with gcs.subscribe("errors", key) as errors:
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            await errors.next(0.05)
        assert 0.04 < time.monotonic() - began < 2
        await numbered(gcs, key, range(1))
        assert number_of(await errors.next(PATIENCE)) == 0
        with pytest.raises(ValueError, match="timeout"):
            await errors.next(-1)


async def test_it_is_entered_once_and_before_it_is_asked(gcs: GcsClient) -> None:
    errors = gcs.subscribe("errors")
    with pytest.raises(RuntimeError, match="enter it first"):
        await anext(errors)
    with pytest.raises(RuntimeError, match="enter it first"):
        await errors.next()
    async with errors:
        with pytest.raises(RuntimeError, match="entered once"):
            await errors.__aenter__()
    with pytest.raises(RuntimeError, match="entered once"):
        await errors.__aenter__()
    assert "errors" in repr(errors)
    with pytest.raises(TypeError):
        pickle.dumps(errors)


async def test_only_one_waits_at_a_time(gcs: GcsClient) -> None:
    async with gcs.subscribe("errors", os.urandom(8)) as errors:
        waiting = asyncio.ensure_future(errors.next())
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="waits"):
            await errors.next()
        waiting.cancel()


async def test_it_ends_with_its_client(server: GcsServer) -> None:
    client = await gcs_cffi.connect(server.address)
    async with client.subscribe("errors", os.urandom(8)) as errors:
        asyncio.get_running_loop().call_later(0.1, asyncio.ensure_future, client.close())
        assert [event async for event in errors] == []
    with pytest.raises(ClientClosedError):
        async with client.subscribe("errors"):
            pass


async def test_it_is_closed_while_somebody_waits(gcs: GcsClient) -> None:
    async with gcs.subscribe("errors", os.urandom(8)) as errors:
        asyncio.get_running_loop().call_later(0.1, asyncio.ensure_future, errors.close())
        assert await asyncio.wait_for(errors.next(), PATIENCE) is None
        await errors.close()


def test_a_blocking_one_is_closed_by_another_thread(blocking_gcs: sync.GcsClient) -> None:
    with blocking_gcs.subscribe("errors", os.urandom(8)) as errors:
        threading.Timer(0.1, errors.close).start()
        assert errors.next(PATIENCE) is None


def test_ctrl_c_ends_a_blocking_wait(blocking_gcs: sync.GcsClient) -> None:
    with blocking_gcs.subscribe("errors", os.urandom(8)) as errors:
        began = time.monotonic()
        timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            errors.next(PATIENCE)
        assert time.monotonic() - began < 1
        timer.join()


async def test_a_consumer_that_raises_ends_its_own_subscription_only(gcs: GcsClient) -> None:
    key = os.urandom(8).hex()
    async with gcs.subscribe("errors", key) as healthy:

        async def fail() -> None:
            async with gcs.subscribe("errors", key) as errors:
                async for _ in errors:
                    raise LookupError("of the consumer's own")

        failing = asyncio.ensure_future(fail())
        while not failing.done():
            await numbered(gcs, key, range(1))
            await asyncio.sleep(0.01)
        assert isinstance(failing.exception(), LookupError)
        assert number_of(await healthy.next(PATIENCE)) == 0


@pytest.mark.parametrize("steps", range(0, 12, 2))
async def test_a_task_that_is_cancelled_leaves_nothing_behind(
    server: GcsServer, steps: int
) -> None:
    async with gcs_cffi.connect(server.address) as client:

        async def consume() -> None:
            async with client.subscribe("errors", os.urandom(8)) as errors:
                await errors.next()

        tasks = [asyncio.ensure_future(consume()) for _ in range(20)]
        for _ in range(steps):
            await asyncio.sleep(0.001)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        await all_taken(client)


@pytest.mark.parametrize("policy", POLICIES)
async def test_a_hundred_at_once_hear_each_its_own(gcs: GcsClient, policy: Any) -> None:
    keys = [os.urandom(8).hex() for _ in range(100)]

    async def consume(key: str, entered: asyncio.Event) -> int:
        async with gcs.subscribe("errors", key, policy=policy) as errors:
            entered.set()
            return number_of(await errors.next(PATIENCE))

    events = [asyncio.Event() for _ in keys]
    tasks = [
        asyncio.ensure_future(consume(key, event)) for key, event in zip(keys, events, strict=True)
    ]
    for event in events:
        await asyncio.wait_for(event.wait(), PATIENCE)
    for number, key in enumerate(keys):
        await numbered(gcs, key, range(number, number + 1))
    assert await asyncio.gather(*tasks) == list(range(100))


async def test_subscriptions_that_come_and_go_leave_nothing_behind(server: GcsServer) -> None:
    async with gcs_cffi.connect(server.address) as client:

        async def once() -> None:
            async with client.subscribe("errors", os.urandom(8)):
                pass

        await once()
        gc.collect()
        with descriptors_flat():
            for _ in range(50):
                await once()
        await all_taken(client)


def test_an_exit_with_open_subscriptions_says_nothing(server: GcsServer) -> None:
    script = """
import sys
import gcs_cffi.sync
gcs = gcs_cffi.sync.connect(sys.argv[1])
subscription = gcs.subscribe("errors").__enter__()
other = gcs.subscribe("logs", policy="drop_oldest").__enter__()
gcs.close()
"""
    assert said_nothing(run_script(script, server.address))


# ---- Bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "options", "error"),
    [
        ((None,), {}, TypeError),
        ((b"errors",), {}, TypeError),
        (("errors", 5), {}, TypeError),
        (("errors", [b"k"]), {}, TypeError),
        (("errors",), {"raw": 1}, TypeError),
        (("errors",), {"policy": "block"}, ValueError),
        (("errors",), {"max_messages": 0}, ValueError),
        (("errors",), {"max_messages": "1"}, TypeError),
        (("errors",), {"max_bytes": 0}, ValueError),
        (("errors",), {"timeout": -1}, ValueError),
        (("errors",), {"timeout": "1"}, TypeError),
    ],
)
def test_arguments_that_cannot_be_are_refused_at_once(
    blocking_gcs: sync.GcsClient,
    arguments: tuple[Any, ...],
    options: dict[str, Any],
    error: type[Exception],
) -> None:
    with pytest.raises(error):
        blocking_gcs.subscribe(*arguments, **options)


@pytest.mark.parametrize(
    ("channel", "key"),
    [
        ("no such channel", None),
        ("WORKER_REF_REMOVED_CHANNEL", None),
        ("actors", b"x" * 15),
        ("jobs", b"x" * 5),
        ("nodes", b"x" * 27),
        ("workers", b"x" * 29),
    ],
)
async def test_the_server_is_not_asked_for_what_cannot_be_subscribed_to(
    gcs: GcsClient, channel: str, key: bytes | None
) -> None:
    with pytest.raises(InvalidRequestError):
        async with gcs.subscribe(channel, key):
            pass
    assert COMMANDS not in gcs.stats()["methods"]


async def test_a_server_that_is_away_is_waited_for_within_the_timeout() -> None:
    with GcsServer() as server:
        async with gcs_cffi.connect(server.address, on_cluster_change="adopt") as gcs:
            server.kill()
            with pytest.raises(DeadlineExceededError, match="not subscribed"):
                async with gcs.subscribe("errors", timeout=0.3):
                    pass
            entering = asyncio.ensure_future(gcs.subscribe("errors").__aenter__())
            await asyncio.sleep(0.1)
            server.start()
            errors = await asyncio.wait_for(entering, PATIENCE)
            await errors.close()
        async with gcs_cffi.connect(
            server.address, on_cluster_change="adopt", wait_for_ready=False
        ) as gcs:
            server.kill()
            with pytest.raises(UnavailableError):
                await gcs.kv.get("key")
            with pytest.raises(UnavailableError):
                async with gcs.subscribe("errors"):
                    pass


# ---- What a consumer that is slow gets ----------------------------------------------------------


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("limits", [{"max_messages": 10}, {"max_bytes": 10_000}])
async def test_a_slow_consumer_misses_nothing_without_being_told(
    gcs: GcsClient, policy: Any, limits: dict[str, Any]
) -> None:
    key = os.urandom(8).hex()
    async with gcs.subscribe("errors", key, policy=policy, **limits) as errors:
        await numbered(gcs, key, range(500), "x" * 900)
        # Under "wait" nothing is dropped; else what is there is fewer, and each gap is counted.
        seen: list[int] = []
        lost = 0
        while not seen or seen[-1] + lost < 499:
            event = await errors.next(PATIENCE)
            if isinstance(event, Resync):
                assert (event.reason, policy == "wait") == ("dropped", False)
                lost += event.lost
                assert str(event.text)
            else:
                seen.append(number_of(event) - lost)
            if policy == "drop_newest" and lost and len(seen) + lost == 500:
                break
        assert seen == list(range(len(seen)))
        assert len(seen) + lost == 500
        assert (lost > 0) == (policy != "wait")


# ---- Restarts -----------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", POLICIES)
async def test_a_restart_is_told_and_what_is_published_after_it_arrives(policy: Any) -> None:
    with GcsServer() as server:
        async with (
            gcs_cffi.connect(server.address, on_cluster_change="adopt") as gcs,
            gcs.subscribe("errors", policy=policy) as errors,
            gcs.subscribe("nodes", policy=policy) as nodes,
        ):
            for _ in range(3):
                await numbered(gcs, "key", range(2))
                assert [number_of(await errors.next(PATIENCE)) for _ in range(2)] == [0, 1]
                server.kill()
                server.start()
                for subscription in (errors, nodes):
                    event = await subscription.next(PATIENCE)
                    assert isinstance(event, Resync)
                    assert (event.reason, event.lost) == ("restarted", 0)


async def test_another_cluster_ends_a_subscription_of_a_client_that_does_not_adopt_it() -> None:
    with GcsServer() as server:
        async with (
            gcs_cffi.connect(server.address) as gcs,
            gcs.subscribe("errors") as alone,
            gcs.subscribe("errors", policy="drop_oldest") as shared,
        ):
            server.kill()
            server.start()
            for errors in (alone, shared):
                with pytest.raises(ClusterChangedError):
                    await errors.next(PATIENCE)
                assert await errors.next() is None


def seconds_of(config: dict[str, Any], env: dict[str, str]) -> Callable[[], GcsServer]:
    return lambda: GcsServer(config=config, env=env)


@pytest.mark.parametrize(
    "start",
    [
        seconds_of({"subscriber_timeout_ms": 2000}, {}),
        seconds_of({}, {"RAY_subscriber_timeout_ms": "2000"}),
    ],
    ids=["config", "environment"],
)
@pytest.mark.parametrize("seconds", [9, pytest.param(60, marks=pytest.mark.long)])
def test_an_idle_subscriber_of_an_impatient_server_still_receives(
    start: Callable[[], GcsServer], seconds: int
) -> None:
    with (
        start() as server,
        sync.connect(server.address) as gcs,
        gcs.subscribe("errors") as alone,
        gcs.subscribe("errors", policy="drop_oldest") as shared,
    ):
        with pytest.raises(TimeoutError):
            alone.next(seconds)
        gcs.errors.publish("kind", "7")
        for errors in (alone, shared):
            assert number_of(errors.next(PATIENCE)) == 7


async def test_a_reply_over_the_limit_is_told_and_what_follows_arrives(server: GcsServer) -> None:
    key = os.urandom(8).hex()
    async with (
        gcs_cffi.connect(server.address, max_receive_message=100_000) as gcs,
        gcs.subscribe("errors", key) as alone,
        gcs.subscribe("errors", key, policy="drop_oldest") as shared,
    ):
        await numbered(gcs, key, range(1), "x" * 200_000)
        for errors in (alone, shared):
            event = await errors.next(PATIENCE)
            assert isinstance(event, Resync)
            assert event.reason == "too_large"
        await numbered(gcs, key, range(1, 2))
        for errors in (alone, shared):
            assert number_of(await errors.next(PATIENCE)) == 1
