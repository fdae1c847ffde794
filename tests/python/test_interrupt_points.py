# SPDX-License-Identifier: Apache-2.0
"""An interrupt (Ctrl-C, or a handler of a signal that raises) at each point of an event's way.

Promise: nothing is lost, told twice or left waiting, wherever it comes. Each test goes through all
points at which Python looks for signals: where a function begins, and behind each call of one of C.
"""

from __future__ import annotations

import asyncio
import gc
import os
import secrets
import sys
import time
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from helpers import LoopWithoutReaders

import gcs_cffi
from gcs_cffi import GcsError, Message, sync

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from typing_extensions import Self

    from gcs_cffi import GcsClient
    from gcs_cffi.testing import GcsServer

    NewLoop = Callable[[], asyncio.AbstractEventLoop]

DELIVERY = ("_reactor.py", "_futures.py", "_channel.py")
LARGE = 300_000  # bytes; of an event that does not go through the arena


class InterruptedError_(KeyboardInterrupt):  # noqa: N801 (an exception that asyncio lets pass)
    """What the tests raise."""


class Interrupt:
    """Raises once, at the point with this number.

    Args:
        number: counts from 1.
        files: whose calls count.
        functions: only those that are made by these.
        handles_are_lost: the loop is woken by a handle of its own, which asyncio forgets when an
            interrupt comes before its first line: that is no point.

    Attributes:
        point: where it was raised; None if there are fewer points.
    """

    def __init__(
        self,
        number: int,
        files: tuple[str, ...],
        functions: tuple[str, ...] = (),
        handles_are_lost: bool = False,
    ) -> None:
        self.point: str | None = None
        self._handles_are_lost = handles_are_lost
        self._left = number
        self._files = files
        self._functions = functions

    def __enter__(self) -> Self:
        gc.disable()  # what an interrupt does to a finalizer is only told
        sys.setprofile(self._look)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)
        gc.enable()

    def _look(self, frame: FrameType, event: str, argument: Any) -> None:
        code = frame.f_code
        if self.point is not None or event not in ("call", "c_return"):
            return
        if not code.co_filename.endswith(self._files):
            return
        if self._functions and code.co_name not in self._functions:
            return
        if self._handles_are_lost and (event, code.co_name) == ("call", "drain"):
            return
        self._left -= 1
        if self._left == 0:
            of = getattr(argument, "__name__", "") if event == "c_return" else ""
            self.point = f"{event} {of} in {code.co_name}, line {frame.f_lineno}"
            raise InterruptedError_


def run_interrupted(
    loop: asyncio.AbstractEventLoop, coroutine: Any, interrupt: Interrupt
) -> str | None:
    """Runs it, with an interrupt in between; gives the point."""
    task = loop.create_task(coroutine)
    with interrupt, suppress(InterruptedError_):
        loop.run_until_complete(task)
    # A loop that was left like that may have been told to stop once more.
    loop.call_soon(loop.stop)
    loop.run_forever()
    if not task.done():
        task.cancel()
        loop.run_until_complete(asyncio.wait([task]))
    elif not task.cancelled():
        task.exception()
    return interrupt.point


async def until(condition: Callable[[], bool], seconds: float) -> None:
    """Waits for it, and no longer."""
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:  # noqa: ASYNC110 (after an interrupt, too)
        await asyncio.sleep(0.001)


async def connected(address: str) -> GcsClient:
    """A client."""
    return await gcs_cffi.connect(address)


class Consumer:
    """A task that takes events, and is made anew when an interrupt has hit it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, address: str, then: Any = None) -> None:
        self.loop = loop
        self.key = secrets.token_hex(8)
        self.heard: list[str] = []
        self.failed: list[BaseException] = []
        self._then = then
        self._task: asyncio.Task[None] | None = None
        self.gcs, self._events = loop.run_until_complete(self._enter(address))

    async def _enter(self, address: str) -> tuple[GcsClient, gcs_cffi.Subscription]:
        gcs = await connected(address)
        return gcs, await gcs.subscribe("errors", self.key).__aenter__()

    async def _consume(self) -> None:
        async for event in self._events:
            assert isinstance(event, Message), event
            if self._then is not None:
                await self._then(self.gcs)
            self.heard.append(event.value.error_message.rstrip("x"))

    def go_on(self) -> None:
        """Has it wait, if it does not."""
        if self._task is not None and self._task.done():
            self._note(self._task)
            self._task = None
        if self._task is None:
            self._task = self.loop.create_task(self._consume())
        self.loop.run_until_complete(asyncio.sleep(0))

    def _note(self, task: asyncio.Task[None]) -> None:
        error = task.exception()
        if error is not None and not isinstance(error, InterruptedError_):
            self.failed.append(error)
            traceback.print_exception(error)

    async def _leave(self) -> None:
        await self._events.close()
        await self.gcs.close()

    def leave(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self.loop.run_until_complete(asyncio.wait([self._task]))
        self.loop.run_until_complete(self._leave())


@pytest.mark.parametrize("size", [0, LARGE], ids=["small", "large"])
def test_no_event_is_lost_told_twice_or_left_lying(
    server: GcsServer, new_loop: NewLoop, size: int
) -> None:
    loop = new_loop()
    consumer = Consumer(loop, server.address)
    heard = consumer.heard
    with sync.connect(server.address) as publisher:
        point: str | None = ""
        number = 0
        while point is not None:
            number += 1
            consumer.go_on()
            heard.clear()
            publisher.errors.publish("kind", f"{number}" + "x" * size, key=consumer.key)
            time.sleep(0.003)
            waiting = until(lambda: bool(heard), 1)
            interrupt = Interrupt(number, DELIVERY, handles_are_lost=new_loop is LoopWithoutReaders)
            point = run_interrupted(loop, waiting, interrupt)
            consumer.go_on()
            loop.run_until_complete(until(lambda: bool(heard), 5))
            assert heard == [str(number)], point
            publisher.errors.publish("kind", "next", key=consumer.key)
            loop.run_until_complete(until(lambda: len(heard) > 1, 5))
            assert heard == [str(number), "next"], point
    assert consumer.failed == []
    print(number, "points")
    assert number > 15
    consumer.leave()
    loop.close()


def test_calls_of_a_woken_consumer_are_made_or_fail(server: GcsServer, new_loop: NewLoop) -> None:
    async def call(gcs: GcsClient) -> None:
        await gcs.kv.get(b"key")

    loop = new_loop()
    consumer = Consumer(loop, server.address, call)
    heard, failed = consumer.heard, consumer.failed
    with sync.connect(server.address) as publisher:
        point: str | None = ""
        number = 0
        while point is not None:
            number += 1
            consumer.go_on()
            heard.clear()
            failed.clear()
            publisher.errors.publish("kind", str(number), key=consumer.key)
            time.sleep(0.003)
            interrupt = Interrupt(
                number, ("_reactor.py",), ("drain", "flush"), new_loop is LoopWithoutReaders
            )
            point = run_interrupted(loop, until(lambda: bool(heard), 0.3), interrupt)
            end = time.monotonic() + 5
            while not heard and not failed and time.monotonic() < end:
                loop.run_until_complete(asyncio.sleep(0.01))
                consumer.go_on()
            assert heard == [str(number)] or failed, point
            assert heard or isinstance(failed[0], GcsError), point
    print(number, "points")
    assert number > 2
    consumer.leave()
    loop.close()


def test_a_state_is_told_once(server: GcsServer, new_loop: NewLoop) -> None:
    loop = new_loop()
    point: str | None = ""
    number = 0
    while point is not None:
        number += 1
        told: list[str] = []

        gcs = loop.run_until_complete(connected(server.address))

        async def watch(gcs: GcsClient = gcs, told: list[str] = told) -> None:
            gcs.on_state_change(lambda change: told.append(change.state))
            await asyncio.sleep(0.02)

        interrupt = Interrupt(number, ("_reactor.py", "_channel.py"), ("_deliver", "take"))
        point = run_interrupted(loop, watch(), interrupt)
        loop.run_until_complete(gcs.close())
        loop.run_until_complete(until(lambda told=told: "closed" in told, 5))  # type: ignore[misc]
        assert told == ["ready", "closed"], point
    print(number, "points")
    assert number > 2
    loop.close()


def test_a_request_is_never_sent_from_memory_that_was_given_back(
    server: GcsServer, new_loop: NewLoop
) -> None:
    loop = new_loop()
    key = secrets.token_bytes(8)
    size = 20_000

    async def put(letter: bytes) -> None:
        await gcs.kv.put(key, bytes(bytearray(letter * size)), overwrite=True)

    async def look() -> bytes | None:
        other = [os.urandom(size + number) for number in range(-64, 64)]
        await gcs.kv.get(b"other")
        return await gcs.kv.get(key) if other else None

    gcs = loop.run_until_complete(connected(server.address))
    point: str | None = ""
    number = 0
    while point is not None:
        number += 1
        interrupt = Interrupt(number, ("_channel.py",), ("request",))
        point = run_interrupted(loop, put(b"ab"[number % 2 : number % 2 + 1]), interrupt)
        value = loop.run_until_complete(look())
        assert value in (None, b"a" * size, b"b" * size), point
        reactor = gcs._channel._reactor
        assert (reactor.batch, reactor.pending) == ({}, {}), point
    print(number, "points")
    assert number > 2
    loop.run_until_complete(gcs.close())
    loop.close()
