# SPDX-License-Identifier: Apache-2.0
"""Subscriptions through restarts, pauses and networks that fail: nothing twice, nothing silently.

The long forms are run by `./dev chaos --long`; each prints its seed and its figures.
"""

from __future__ import annotations

import random
import secrets
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from chaos.memory import resident
from chaos.proxy import Path, Proxy
from chaos.subscribers import Publisher, Subscribers

from gcs_cffi import sync
from gcs_cffi.testing import GcsServer

if TYPE_CHECKING:
    from collections.abc import Callable

POLICIES = ("wait", "drop_oldest", "drop_newest")
SOON = 4.0
"""Seconds after the server accepts connections in which messages flow again."""
PATIENCE = 60.0
LIMITS = {"max_messages": 20_000}


def seeded() -> random.Random:
    seed = secrets.randbits(32)
    print(f"seed {seed}")
    return random.Random(seed)


@pytest.mark.timeout(500)
@pytest.mark.parametrize("redis", [False, True], ids=["memory", "redis"])
@pytest.mark.parametrize(
    ("kills", "count"), [(2, 3000), pytest.param(20, 100_000, marks=pytest.mark.long)]
)
def test_messages_flow_again_soon_after_each_kill(redis: bool, kills: int, count: int) -> None:
    chance = seeded()
    waits = []
    with (
        GcsServer(redis=redis) as server,
        sync.connect(server.address, on_cluster_change="adopt") as gcs,
    ):
        subscribers = Subscribers(gcs, POLICIES, **LIMITS)
        with Publisher(server.address, count, pause=0.0 if count > 50_000 else 0.001) as publisher:
            for _ in range(kills):
                subscribers.flow_since(time.monotonic(), PATIENCE)
                time.sleep(chance.uniform(0, 0.5))
                server.kill()
                time.sleep(chance.uniform(0, 0.5))
                server.start()
                waits.append(subscribers.flow_since(time.monotonic(), PATIENCE))
            taken = publisher.taken(400)
        subscribers.settle(PATIENCE)
        print(f"{taken} of {count} taken; flow after {max(waits):.2f} s at most")
        subscribers.check()
        assert max(waits) < SOON
        for heard in subscribers.heard:
            assert heard.resyncs["restarted"] >= kills
            assert heard.last == count - 1


@pytest.mark.timeout(200)
@pytest.mark.parametrize("seconds", [5, pytest.param(30, marks=pytest.mark.long)])
def test_a_server_that_is_paused_loses_nothing_silently(seconds: float) -> None:
    with (
        GcsServer() as server,
        sync.connect(server.address, on_cluster_change="adopt") as gcs,
    ):
        subscribers = Subscribers(gcs, POLICIES, **LIMITS)
        with Publisher(server.address, 3000, pause=0.001) as publisher:
            subscribers.flow_since(time.monotonic(), PATIENCE)
            server.pause()
            time.sleep(seconds)
            server.resume()
            print(f"flow after {subscribers.flow_since(time.monotonic(), PATIENCE):.2f} s")
            publisher.taken(100)
        subscribers.settle(PATIENCE)
        subscribers.check()


def reset(proxy: Proxy) -> None:
    proxy.reset()


def reset_mid_frame(proxy: Proxy) -> None:
    proxy.reset_mid_frame("down")


def half_open(proxy: Proxy) -> None:
    proxy.set_path("both", Path(stalled=True))
    time.sleep(0.5)
    proxy.heal()


def black_hole(proxy: Proxy) -> None:
    proxy.set_path("both", Path(dropped=True))
    time.sleep(0.5)
    proxy.heal()


def slow(proxy: Proxy) -> None:
    proxy.set_path("both", Path(latency=0.05, jitter=0.05, rate=100_000))
    time.sleep(1)
    proxy.heal()


def refused(proxy: Proxy) -> None:
    proxy.admit("refused")
    proxy.reset()
    time.sleep(0.5)
    proxy.heal()


FAULTS: list[Callable[[Proxy], None]] = [
    reset,
    reset_mid_frame,
    half_open,
    black_hole,
    slow,
    refused,
]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_network_that_fails_loses_nothing_silently(fault: Callable[[Proxy], None]) -> None:
    with (
        GcsServer() as server,
        Proxy(server.address, secrets.randbits(32)) as proxy,
        sync.connect(proxy.address) as gcs,
    ):
        subscribers = Subscribers(gcs, POLICIES, **LIMITS)
        with Publisher(server.address, 3000, pause=0.001) as publisher:
            for _ in range(3):
                subscribers.flow_since(time.monotonic(), PATIENCE)
                fault(proxy)
                subscribers.flow_since(time.monotonic(), PATIENCE)
            taken = publisher.taken(100)
        subscribers.settle(PATIENCE)
        subscribers.check()
        for heard in subscribers.heard:
            # The same publisher, which keeps what was not acknowledged: nothing is missing.
            assert heard.messages == taken == 3000
            assert not heard.resyncs


@pytest.mark.timeout(100)
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(
    ("count", "seconds"), [(2000, 3.0), pytest.param(10_000, 30.0, marks=pytest.mark.long)]
)
def test_a_consumer_that_hardly_takes_anything_bounds_what_is_held(
    policy: Any, count: int, seconds: float
) -> None:
    """It takes ten messages a second, of 10 kB each."""
    held, padding = 100, "x" * 10_000
    with GcsServer() as server, sync.connect(server.address) as gcs:
        subscription = gcs.subscribe("errors", "slow", policy=policy, max_messages=held)
        with subscription as errors:
            before = resident()

            def publish() -> None:
                with sync.connect(server.address) as other:
                    for number in range(count):
                        if number % 100 == 0:
                            time.sleep(seconds / count * 60)
                        other.errors.publish("kind", f"{number} {padding}", key="slow")

            thread = threading.Thread(target=publish)
            thread.start()
            taken, largest = 0, 0
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                with suppress(TimeoutError):
                    errors.next(0.5)
                    taken += 1
                time.sleep(0.1)
                largest = max(largest, resident() - before)
            thread.join(60)
            largest = max(largest, resident() - before)
            assert taken >= seconds, "what is published hardly arrives"
            print(f"{policy}: {taken} taken of {count}, {largest >> 20} MiB more at most")
            # What is held; one reply beside, for as long as it is read or, under "wait", until it
            # has been taken; and what the allocators keep.
            reply = min(count, 5000) * 10_000
            assert largest < held * 10_000 + reply + (24 << 20)
