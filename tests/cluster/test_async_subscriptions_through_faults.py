# SPDX-License-Identifier: Apache-2.0
"""Subscriptions of an event loop through the same faults as those of threads, in short.

The long forms are run by `./dev chaos --long`; each prints its seed and its figures.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from chaos.proxy import Path, Proxy
from chaos.subscribers import KEY, Heard, Publisher

import gcs_cffi
from gcs_cffi import Message, Resync
from gcs_cffi.testing import GcsServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

POLICIES = ("wait", "drop_oldest", "drop_newest")
SOON = 4.0
"""Seconds after the server accepts connections in which messages flow again."""
PATIENCE = 60.0
HELD = 20_000


class Listeners:
    """Tasks that subscribe, one for each policy, and judge what they hear."""

    def __init__(self) -> None:
        self.heard: list[Heard] = []
        self.tasks: list[asyncio.Task[None]] = []

    async def flow(self) -> float:
        """Waits until each has heard a message after this moment; how long after, at most."""
        moment = time.monotonic()
        while not all(heard.last_at > moment for heard in self.heard):
            self.check()
            assert time.monotonic() - moment < PATIENCE, [str(heard) for heard in self.heard]
            await asyncio.sleep(0.002)
        return max(heard.last_at for heard in self.heard) - moment

    async def settle(self) -> None:
        """Waits until nothing has come for half a second."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() - max(heard.last_at for heard in self.heard) < 0.5:
            assert time.monotonic() < end
            await asyncio.sleep(0.05)
        self.check()

    def check(self) -> None:
        """Fails if one has heard what it must not, or has ended."""
        for heard, task in zip(self.heard, self.tasks, strict=True):
            assert not task.done(), task
            assert not heard.wrong, (heard.policy, heard.wrong[:10])


@asynccontextmanager
async def listening(address: str) -> AsyncIterator[Listeners]:
    """Has a client's subscriptions heard while the block runs."""
    listeners = Listeners()
    async with gcs_cffi.connect(address, on_cluster_change="adopt") as gcs:
        entered = [asyncio.Event() for _ in POLICIES]

        async def listen(heard: Heard, event: asyncio.Event) -> None:
            policy = heard.policy
            async with gcs.subscribe("errors", KEY, policy=policy, max_messages=HELD) as errors:  # type: ignore[arg-type]
                event.set()
                async for each in errors:
                    heard.note(each)

        for policy, event in zip(POLICIES, entered, strict=True):
            listeners.heard.append(Heard(policy))
            listeners.tasks.append(asyncio.ensure_future(listen(listeners.heard[-1], event)))
        for event in entered:
            await asyncio.wait_for(event.wait(), PATIENCE)
        try:
            yield listeners
        finally:
            for task in listeners.tasks:
                task.cancel()
            await asyncio.wait(listeners.tasks)
            for heard in listeners.heard:
                print(heard)


@pytest.mark.timeout(500)
@pytest.mark.parametrize("redis", [False, True], ids=["memory", "redis"])
@pytest.mark.parametrize(
    ("kills", "count"), [(2, 5000), pytest.param(20, 100_000, marks=pytest.mark.long)]
)
async def test_messages_flow_again_soon_after_each_kill(
    redis: bool, kills: int, count: int
) -> None:
    seed = secrets.randbits(32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    waits = []
    async with GcsServer(redis=redis) as server, listening(server.address) as listeners:
        with Publisher(server.address, count, pause=0.0 if count > 50_000 else 0.001) as publisher:
            for _ in range(kills):
                await listeners.flow()
                await asyncio.sleep(chance.uniform(0, 0.5))
                await asyncio.to_thread(server.kill)
                await asyncio.sleep(chance.uniform(0, 0.5))
                await asyncio.to_thread(server.start)
                waits.append(await listeners.flow())
            taken = await asyncio.to_thread(publisher.taken, 400)
        await listeners.settle()
        print(f"{taken} of {count} taken; flow after {max(waits):.2f} s at most")
        assert max(waits) < SOON
        for heard in listeners.heard:
            assert heard.resyncs["restarted"] >= kills
            assert heard.last == count - 1


@pytest.mark.timeout(200)
@pytest.mark.parametrize("seconds", [6, pytest.param(30, marks=pytest.mark.long)])
async def test_a_server_that_is_paused_loses_nothing_silently(seconds: float) -> None:
    async with GcsServer() as server, listening(server.address) as listeners:
        with Publisher(server.address, 3000, pause=0.001) as publisher:
            await listeners.flow()
            server.pause()
            await asyncio.sleep(seconds)
            server.resume()
            print(f"flow after {await listeners.flow():.2f} s")
            await asyncio.to_thread(publisher.taken, 100)
        await listeners.settle()


def reset_up_mid_frame(proxy: Proxy) -> None:
    proxy.reset_mid_frame("up")


def nothing_comes(proxy: Proxy) -> None:
    proxy.set_path("down", Path(dropped=True))


def nothing_leaves(proxy: Proxy) -> None:
    proxy.set_path("up", Path(dropped=True))


def stalled_down(proxy: Proxy) -> None:
    proxy.set_path("down", Path(stalled=True))


def new_ones_are_silent(proxy: Proxy) -> None:
    proxy.admit("silent")
    proxy.reset()


FAULTS: list[Callable[[Proxy], object]] = [
    Proxy.reset,
    reset_up_mid_frame,
    nothing_comes,
    nothing_leaves,
    stalled_down,
    new_ones_are_silent,
]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_network_that_fails_loses_nothing_at_all(
    fault: Callable[[Proxy], object],
) -> None:
    """The publisher stays, and keeps what was not acknowledged."""
    seed = secrets.randbits(32)
    print(f"seed {seed}")
    with GcsServer() as server, Proxy(server.address, seed) as proxy:
        async with listening(proxy.address) as listeners:
            with Publisher(server.address, 3000, pause=0.001) as publisher:
                for _ in range(3):
                    await listeners.flow()
                    await asyncio.to_thread(fault, proxy)
                    await asyncio.sleep(0.5)
                    await asyncio.to_thread(proxy.heal)
                    await listeners.flow()
                taken = await asyncio.to_thread(publisher.taken, 100)
            await listeners.settle()
            for heard in listeners.heard:
                assert heard.messages == taken == 3000
                assert not heard.resyncs


def message(number: int) -> Message:
    return Message(b"", gcs_cffi.messages.ErrorTableData(error_message=str(number)))


@pytest.mark.parametrize(
    ("numbers", "is_wrong"),
    [
        ([5, 6, 7], False),
        ([5, -1, 7], False),
        ([5, 7], True),
        ([5, -1, 6, 8], True),
        ([5, 5], True),
        ([5, -1, 5], True),
        ([6, 5], True),
    ],
)
def test_the_oracle_finds_what_is_missing_or_comes_twice(
    numbers: list[int], is_wrong: bool
) -> None:
    """A negative number stands for a resync."""
    heard = Heard("wait")
    for number in numbers:
        heard.note(Resync("restarted", 0, "") if number < 0 else message(number))
    assert bool(heard.wrong) is is_wrong
