# SPDX-License-Identifier: Apache-2.0
"""What a consumer that hardly takes anything costs, and what one that is gone leaves behind.

Another process publishes, so that what this one needs is the subscription's alone.
"""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import time
import tracemalloc
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from chaos.memory import resident
from helpers import PATIENCE, descriptors_flat

import gcs_cffi
from gcs_cffi import Message, Resync, sync

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gcs_cffi.testing import GcsServer

POLICIES: tuple[Any, ...] = ("wait", "drop_oldest", "drop_newest")
COUNT = 10_000
SIZE = 10_000  # bytes of a message
HELD = 100  # messages
REPLY = 5_000 * (SIZE + 100)  # bytes: the largest that a server sends of these
MORE = 24 << 20  # bytes; for buffers of the connection, and what allocators keep
PAUSE = 0.1  # seconds between two messages that are taken
TAKEN_SLOWLY = 20

PUBLISHER = """
import sys
import gcs_cffi
from gcs_cffi import messages
address, count, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
with gcs_cffi.sync.connect(address) as gcs:
    for begin in range(0, count, 100):
        request = messages.GcsPublishRequest()
        for number in range(begin, min(count, begin + 100)):
            request.pub_messages.add(
                channel_type="RAY_ERROR_INFO_CHANNEL",
                key_id=b"slow",
                error_info_message={"type": str(number), "error_message": "x" * size},
            )
        gcs.call("ObservabilityPubSubService", "GcsPublish", request)
"""


@contextmanager
def publishing(address: str, count: int, size: int) -> Iterator[subprocess.Popen[bytes]]:
    """Has another process publish numbered errors, as fast as it can."""
    command = [sys.executable, "-I", "-c", PUBLISHER, address, str(count), str(size)]
    with subprocess.Popen(command) as process:
        try:
            yield process
        finally:
            process.kill()


class Oracle:
    """Numbers follow one another, or the resyncs between two say how many are missing there."""

    def __init__(self) -> None:
        self.last = -1
        self.messages = self.lost = self._lost_here = 0

    def note(self, event: Message | Resync | None) -> None:
        if isinstance(event, Resync):
            assert event.reason == "dropped", event
            assert event.lost > 0
            self.lost += event.lost
            self._lost_here += event.lost
            return
        assert isinstance(event, Message), event
        number = int(event.value.type)
        assert number - self.last - 1 == self._lost_here
        self.last, self._lost_here = number, 0
        self.messages += 1


@pytest.mark.timeout(180)
@pytest.mark.parametrize("policy", POLICIES)
def test_a_slow_consumer_bounds_memory_and_is_told_exactly_what_is_missing(
    own_server: GcsServer, policy: Any
) -> None:
    oracle = Oracle()
    with (
        sync.connect(own_server.address) as gcs,
        gcs.subscribe("errors", "slow", policy=policy, max_messages=HELD) as errors,
    ):
        before = largest = resident()
        with publishing(own_server.address, COUNT, SIZE) as publisher:
            while publisher.poll() is None or oracle.messages < TAKEN_SLOWLY:
                oracle.note(errors.next(PATIENCE))
                time.sleep(PAUSE)
                largest = max(largest, resident())
            assert publisher.returncode == 0
        # Within the time that the last of them need to get here.
        time.sleep(1)
        largest = max(largest, resident())
        # While it is read a reply is in memory under each policy.
        bound = HELD * SIZE + REPLY + MORE
        print(f"{policy}: {(largest - before) >> 20} MiB more, bound {bound >> 20} MiB")
        assert largest - before < bound
        while oracle.messages + oracle.lost < COUNT:
            oracle.note(errors.next(PATIENCE))
        gcs.errors.publish(str(COUNT), "", key="slow")
        oracle.note(errors.next(PATIENCE))
        assert oracle.last == COUNT
    print(f"{policy}: {oracle.messages} messages, {oracle.lost} dropped")
    if policy == "wait":
        assert oracle.lost == 0
    else:
        # Nothing but what was held when the publisher was done, and what was taken before.
        assert oracle.messages < COUNT // 2


@pytest.mark.parametrize("policy", POLICIES)
def test_what_is_held_is_bounded_in_bytes_as_well(own_server: GcsServer, policy: Any) -> None:
    oracle = Oracle()
    held = 5 * SIZE
    with (
        sync.connect(own_server.address) as gcs,
        gcs.subscribe("errors", "slow", policy=policy, max_bytes=held) as errors,
    ):
        with publishing(own_server.address, 500, SIZE) as publisher:
            assert publisher.wait(60) == 0
        time.sleep(0.5)
        at_once = 0
        try:
            while True:
                event = errors.next(0.2 if policy != "wait" else 0)
                oracle.note(event)
                at_once += isinstance(event, Message)
        except TimeoutError:
            pass
        if policy != "wait":
            assert at_once <= 6  # the last of what may leave may be over the bound
            assert oracle.messages + oracle.lost == 500
            return
        while oracle.last < 499:
            oracle.note(errors.next(PATIENCE))
        assert oracle.messages == 500


ROUNDS = 30


async def test_subscriptions_of_every_kind_leave_no_memory_behind(own_server: GcsServer) -> None:
    async with gcs_cffi.connect(own_server.address) as gcs:

        async def once(number: int) -> None:
            for policy in POLICIES:
                async with gcs.subscribe("errors", "key", policy=policy, max_messages=4) as errors:
                    for _ in range(10):
                        await gcs.errors.publish("kind", "x" * 1000, key="key")
                    if number % 3 == 0:
                        await errors.next(PATIENCE)
                    elif number % 3 == 1:
                        task = asyncio.ensure_future(errors.next(PATIENCE))
                        await asyncio.sleep(0)
                        task.cancel()
                        await asyncio.wait([task])
            entering = asyncio.ensure_future(gcs.subscribe("nodes").__aenter__())
            await asyncio.sleep(0)
            entering.cancel()
            await asyncio.wait([entering])

        async def settled() -> int:
            deadline = time.monotonic() + PATIENCE
            while gcs.stats()["not_taken"] > 0:
                assert time.monotonic() < deadline, gcs.stats()
                await asyncio.sleep(0.01)
            gc.collect()
            return tracemalloc.get_traced_memory()[0]

        for number in range(6):
            await once(number)
        tracemalloc.start()
        try:
            with descriptors_flat():
                await once(0)
                before = await settled()
                for number in range(ROUNDS):
                    await once(number)
                grown = await settled() - before
        finally:
            tracemalloc.stop()
    # One event alone is 1000 bytes.
    assert grown < ROUNDS * 1000, grown
