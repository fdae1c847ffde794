# SPDX-License-Identifier: Apache-2.0
"""From calls to batches and back: hand-over, cancellation, and queues that are full."""

from __future__ import annotations

import asyncio
import contextvars
import time
from typing import TYPE_CHECKING, Any

import pytest
from helpers import finished, pending_in_library, quiet_reactor, wait_until

import gcs_cffi
from gcs_cffi import _futures, _native, _reactor

if TYPE_CHECKING:
    from gcs_cffi import GcsClient
    from gcs_cffi.testing import GcsServer

NOWHERE = "nowhere"


def submitted_batches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the batches that are handed over from now on; it grows."""
    sizes: list[int] = []
    submit = _native.Queue.submit

    def noting(queue: _native.Queue, batch: bytes) -> int:
        sizes.append(len(batch))
        return submit(queue, batch)

    monkeypatch.setattr(_native.Queue, "submit", noting)
    return sizes


async def test_calls_of_one_iteration_leave_in_one_batch(
    gcs: GcsClient, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = submitted_batches(monkeypatch)
    await asyncio.gather(*(gcs.kv.get(f"key {n}", namespace=namespace) for n in range(200)))
    assert len(batches) == 1


async def test_a_full_queue_is_drained_in_turns(gcs: GcsClient, namespace: str) -> None:
    count = 6000  # more than the drains of one wake-up take
    await gcs.kv.put("key", b"value", namespace=namespace)
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0)

    ticking = asyncio.ensure_future(tick())
    calls = [asyncio.ensure_future(gcs.kv.get("key", namespace=namespace)) for _ in range(count)]
    await asyncio.sleep(0)
    time.sleep(1)  # noqa: ASYNC251 (the replies pile up meanwhile)
    values = await asyncio.gather(*calls)
    ticking.cancel()
    assert values == [b"value"] * count
    assert ticks > 1


def test_a_task_that_exits_takes_no_other_calls_result_with_it(server: GcsServer) -> None:
    loop = asyncio.new_event_loop()

    async def call(gcs: GcsClient, number: int) -> int:
        assert await gcs.kv.get("key", namespace=NOWHERE) is None
        if number == 5:
            raise SystemExit(7)
        return number

    async def connect() -> GcsClient:
        return await gcs_cffi.connect(server.address)

    try:
        gcs = loop.run_until_complete(connect())
        calls = [loop.create_task(call(gcs, number)) for number in range(20)]
        with pytest.raises(SystemExit):
            loop.run_until_complete(asyncio.wait(calls))
        results = loop.run_until_complete(asyncio.gather(*calls, return_exceptions=True))
        assert [result for result in results if isinstance(result, int)] == [
            number for number in range(20) if number != 5
        ]
        assert isinstance(results[5], SystemExit)
        loop.run_until_complete(gcs.close())
    finally:
        loop.close()


def test_an_interrupt_before_a_woken_task_runs_does_not_strand_it(
    server: GcsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.new_event_loop()
    interrupts = 3

    async def connect() -> GcsClient:
        return await gcs_cffi.connect(server.address)

    def interrupted(*arguments: Any) -> None:
        nonlocal interrupts
        if interrupts:
            interrupts -= 1
            monkeypatch.setattr(_futures, "end", end)
            raise KeyboardInterrupt
        end(*arguments)

    try:
        gcs = loop.run_until_complete(connect())
        end = _futures.end
        while interrupts:
            calls = [loop.create_task(gcs.kv.get("key", namespace=NOWHERE)) for _ in range(5)]
            monkeypatch.setattr(_futures, "end", interrupted)
            with pytest.raises(KeyboardInterrupt):
                loop.run_until_complete(asyncio.wait(calls))
            done = asyncio.wait_for(asyncio.gather(*calls), 20)
            assert loop.run_until_complete(done) == [None] * 5
        loop.run_until_complete(gcs.close())
    finally:
        loop.close()


@pytest.mark.parametrize("debug", [False, True])
async def test_a_woken_task_runs_as_itself(gcs: GcsClient, namespace: str, debug: bool) -> None:
    asyncio.get_running_loop().set_debug(debug)
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable")

    async def call(number: int) -> tuple[int, bool]:
        variable.set(number)
        task = asyncio.current_task()
        await gcs.kv.get("key", namespace=namespace)
        return variable.get(), asyncio.current_task() is task

    seen = await asyncio.gather(*(call(number) for number in range(50)))
    assert seen == [(number, True) for number in range(50)]


async def test_calls_of_tasks_that_were_woken_together_leave_in_one_batch(
    gcs: GcsClient, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def twice() -> None:
        await gcs.kv.get("key", namespace=namespace)
        await gcs.kv.get("key", namespace=namespace)

    await quiet_reactor()
    batches = submitted_batches(monkeypatch)
    tasks = [asyncio.ensure_future(twice()) for _ in range(100)]
    while not batches:  # noqa: ASYNC110 (one iteration after the other)
        await asyncio.sleep(0)
    time.sleep(0.5)  # noqa: ASYNC251 (all replies arrive meanwhile)
    await asyncio.gather(*tasks)
    assert len(batches) == 2


async def test_a_flush_that_fails_fails_every_call_in_it_and_no_other(
    gcs: GcsClient, namespace: str
) -> None:
    reactor = await quiet_reactor()
    calls = [asyncio.ensure_future(gcs.kv.get(f"key {n}", namespace=namespace)) for n in range(10)]
    await asyncio.sleep(0)
    assert len(reactor.batch) == 10
    # A record whose size cannot be makes the whole batch malformed.
    reactor.batch[0] = b"\x07"
    results = await finished(*calls)
    assert [type(result) for result in results] == [gcs_cffi.InvalidRequestError] * 10
    assert reactor.pending == {}
    assert await gcs.kv.get("key", namespace=namespace) is None


async def test_a_flush_that_cannot_be_made_fails_every_call_in_it(
    gcs: GcsClient, namespace: str
) -> None:
    reactor = await quiet_reactor()
    call = asyncio.ensure_future(gcs.kv.get("key", namespace=namespace))
    await asyncio.sleep(0)
    reactor.batch[0] = None  # type: ignore[assignment]
    (result,) = await finished(call)
    assert isinstance(result, gcs_cffi.GcsError)
    assert "could not be handed" in str(result)
    assert await gcs.kv.get("key", namespace=namespace) is None


async def test_a_call_cancelled_before_the_flush_never_reaches_the_library(
    gcs: GcsClient, namespace: str
) -> None:
    reactor = await quiet_reactor()
    put = asyncio.ensure_future(gcs.kv.put("key", b"value", namespace=namespace))
    await asyncio.sleep(0)
    assert len(reactor.batch) == len(reactor.pending) == 1
    put.cancel()
    # Run the task here, before the flush that waits behind it.
    with pytest.raises(asyncio.CancelledError):
        await put
    assert reactor.pending == {}
    await asyncio.sleep(0.05)
    assert await gcs.kv.get("key", namespace=namespace) is None


async def test_a_cancelled_task_ends_at_once_and_cancels_the_rpc(own_server: GcsServer) -> None:
    async with gcs_cffi.connect(own_server.address) as gcs:
        own_server.pause()
        tasks = [
            asyncio.ensure_future(gcs.kv.get(f"key {n}", namespace=NOWHERE)) for n in range(100)
        ]
        await asyncio.sleep(0.1)
        assert pending_in_library(gcs) == 100
        began = time.monotonic()
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert time.monotonic() - began < 1
        assert {type(result) for result in results} == {asyncio.CancelledError}
        await asyncio.to_thread(
            wait_until, lambda: pending_in_library(gcs) == 0, "the library has cancelled them"
        )
        assert _reactor.reactor_for(asyncio.get_running_loop()).pending == {}
        own_server.resume()
        assert await gcs.kv.get("key", namespace=NOWHERE) is None


async def test_a_timeout_around_a_call_cancels_it(own_server: GcsServer) -> None:
    async with gcs_cffi.connect(own_server.address) as gcs:
        own_server.pause()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(gcs.kv.get("key", namespace=NOWHERE), 0.1)
        own_server.resume()


async def test_a_cancellation_that_meets_the_reply_is_still_a_cancellation(
    gcs: GcsClient, namespace: str
) -> None:
    await gcs.kv.put("key", b"value", namespace=namespace)
    for delay in range(40):
        task = asyncio.ensure_future(gcs.kv.get("key", namespace=namespace))
        await asyncio.sleep(delay * 2e-5)
        was_done = task.done()
        task.cancel()
        (result,) = await asyncio.gather(task, return_exceptions=True)
        assert result == b"value" if was_done else isinstance(result, asyncio.CancelledError)
    assert _reactor.reactor_for(asyncio.get_running_loop()).pending == {}


async def test_a_coroutine_that_is_thrown_away_takes_its_call_back(
    own_server: GcsServer,
) -> None:
    async with gcs_cffi.connect(own_server.address) as gcs:
        own_server.pause()
        call = gcs.kv.get("key", namespace=NOWHERE)
        call.send(None)
        await asyncio.sleep(0.05)
        assert pending_in_library(gcs) == 1
        call.close()
        assert _reactor.reactor_for(asyncio.get_running_loop()).pending == {}
        await asyncio.to_thread(
            wait_until, lambda: pending_in_library(gcs) == 0, "the library has cancelled it"
        )
        own_server.resume()
