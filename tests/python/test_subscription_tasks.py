# SPDX-License-Identifier: Apache-2.0
"""Tasks that wait for what is published are woken where it is taken: as themselves, and each."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import secrets
import warnings
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from helpers import PATIENCE

import gcs_cffi
from gcs_cffi import Message, _futures, _reactor

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcs_cffi import GcsClient, Subscription
    from gcs_cffi.testing import GcsServer

CONSUMERS = 8


async def entered(gcs: GcsClient, key: str) -> list[Subscription]:
    subscribing = [gcs.subscribe("errors", key).__aenter__() for _ in range(CONSUMERS)]
    return list(await asyncio.gather(*subscribing))


async def texts(subscription: Subscription, count: int) -> list[str]:
    heard: list[str] = []
    while len(heard) < count:
        event = await subscription.__anext__()
        assert isinstance(event, Message), event
        heard.append(event.value.error_message)
    return heard


async def publish(gcs: GcsClient, key: str, first: int, count: int) -> list[str]:
    published = [str(number) for number in range(first, first + count)]
    for text in published:
        await gcs.errors.publish("kind", text, key=key)
    return published


@pytest.mark.parametrize("debug", [False, True])
async def test_a_woken_consumer_runs_as_itself(gcs: GcsClient, debug: bool) -> None:
    asyncio.get_running_loop().set_debug(debug)
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable")
    key = secrets.token_hex(8)

    async def consume(subscription: Subscription, number: int) -> tuple[int, bool, list[str]]:
        variable.set(number)
        task = asyncio.current_task()
        heard = await texts(subscription, 20)
        return variable.get(), asyncio.current_task() is task, heard

    subscriptions = await entered(gcs, key)
    consumers = [
        asyncio.ensure_future(consume(subscription, number))
        for number, subscription in enumerate(subscriptions)
    ]
    published = await publish(gcs, key, 0, 20)
    seen = await asyncio.wait_for(asyncio.gather(*consumers), PATIENCE)
    assert seen == [(number, True, published) for number in range(CONSUMERS)]
    for subscription in subscriptions:
        await subscription.close()


async def test_a_consumer_that_is_cancelled_or_closes_another_wakes_no_wrong_one(
    gcs: GcsClient,
) -> None:
    key = secrets.token_hex(8)
    subscriptions = await entered(gcs, key)

    async def closing() -> None:
        await subscriptions[0].__anext__()
        await subscriptions[1].close()
        consumers[2].cancel()

    consumers: list[asyncio.Future[Any]] = [asyncio.ensure_future(closing())]
    consumers += [asyncio.ensure_future(texts(one, 2)) for one in subscriptions[1:]]
    published = await publish(gcs, key, 0, 2)
    ended: list[Any] = await asyncio.wait_for(
        asyncio.gather(*consumers, return_exceptions=True), PATIENCE
    )
    assert ended[0] is None
    assert isinstance(ended[1], StopAsyncIteration | RuntimeError) or ended[1] == published
    assert isinstance(ended[2], asyncio.CancelledError) or ended[2] == published
    assert ended[3:] == [published] * (CONSUMERS - 3)
    for subscription in subscriptions:
        await subscription.close()


def test_a_consumer_that_exits_takes_no_other_consumers_message_with_it(server: GcsServer) -> None:
    loop = asyncio.new_event_loop()
    key = secrets.token_hex(8)

    async def exits(subscription: Subscription) -> None:
        await subscription.__anext__()
        raise SystemExit(7)

    async def connect() -> GcsClient:
        return await gcs_cffi.connect(server.address)

    try:
        gcs = loop.run_until_complete(connect())
        subscriptions = loop.run_until_complete(entered(gcs, key))
        consumers: list[asyncio.Task[Any]] = [
            loop.create_task(texts(subscription, 1)) for subscription in subscriptions
        ]
        consumers[3].cancel()
        consumers[3] = loop.create_task(exits(subscriptions[3]))
        loop.run_until_complete(asyncio.sleep(0))
        publishing = loop.create_task(publish(gcs, key, 0, 1))
        with pytest.raises(SystemExit):
            loop.run_until_complete(asyncio.wait(consumers))
        done = asyncio.wait_for(asyncio.gather(*consumers, return_exceptions=True), PATIENCE)
        heard = loop.run_until_complete(done)
        assert isinstance(heard.pop(3), SystemExit)
        assert heard == [["0"]] * (CONSUMERS - 1)
        loop.run_until_complete(publishing)
        loop.run_until_complete(gcs.close())
    finally:
        loop.close()


def test_an_interrupt_before_a_woken_consumer_runs_does_not_strand_it(
    server: GcsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.new_event_loop()
    key = secrets.token_hex(8)
    end_wait_here = _futures.end_wait_here

    async def connect() -> GcsClient:
        return await gcs_cffi.connect(server.address)

    def interrupted(_: object) -> None:
        monkeypatch.setattr(_reactor, "end_wait_here", end_wait_here)
        raise KeyboardInterrupt

    try:
        gcs = loop.run_until_complete(connect())
        subscriptions = loop.run_until_complete(entered(gcs, key))
        for number in range(3):
            consumers = [loop.create_task(texts(subscription, 1)) for subscription in subscriptions]
            loop.run_until_complete(asyncio.sleep(0))
            monkeypatch.setattr(_reactor, "end_wait_here", interrupted)
            publishing = loop.create_task(publish(gcs, key, number, 1))
            with pytest.raises(KeyboardInterrupt):
                loop.run_until_complete(asyncio.wait(consumers))
            done = asyncio.wait_for(asyncio.gather(*consumers), PATIENCE)
            assert loop.run_until_complete(done) == [[str(number)]] * CONSUMERS
            loop.run_until_complete(publishing)
        loop.run_until_complete(gcs.close())
    finally:
        loop.close()


@pytest.mark.parametrize("what", ["next", "next with a timeout", "state"])
def test_a_loop_in_which_a_wait_was_cancelled_is_not_held(server: GcsServer, what: str) -> None:
    async def wait_in_vain() -> object:
        gcs = await gcs_cffi.connect(server.address)
        waited: Any
        if what == "state":
            waited = await gcs.watch_state().__aenter__()
            await anext(waited)
            waiting = anext(waited)
        else:
            waited = await gcs.subscribe("errors", secrets.token_hex(8)).__aenter__()
            waiting = waited.next(PATIENCE if what == "next with a timeout" else None)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(waiting, 0.01)
        return waited

    loop = asyncio.SelectorEventLoop()
    kept = loop.run_until_complete(wait_in_vain())
    gone = weakref.ref(loop)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # it was not closed
        del loop
        gc.collect()
        assert gone() is None
        del kept
        gc.collect()


@pytest.mark.parametrize("closed", [True, False])
def test_a_consumer_is_thrown_away_without_a_word(
    server: GcsServer, new_loop: Callable[[], asyncio.AbstractEventLoop], closed: bool
) -> None:
    async def consume() -> None:
        async with gcs_cffi.connect(server.address) as gcs, gcs.subscribe("errors") as events:
            opened.append(gcs)
            async for _ in events:
                pass

    opened: list[GcsClient] = []
    complaints: list[Any] = []
    loop = new_loop()
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    coroutine = consume()
    task = loop.create_task(coroutine)
    while not opened:
        loop.run_until_complete(asyncio.sleep(0.01))
    loop.run_until_complete(asyncio.sleep(0.01))
    if closed:
        loop.close()
    with suppress(RuntimeError):  # the client's own close() may want the loop
        coroutine.close()
    if not closed:
        loop.run_until_complete(asyncio.sleep(0.01))
        loop.close()
    assert not task.done()
    assert complaints == []
    task._log_destroy_pending = False  # type: ignore[attr-defined]


@pytest.mark.parametrize("timeout", [None, PATIENCE])
async def test_one_that_is_refused_does_not_disturb_the_one_that_waits(
    gcs: GcsClient, namespace: str, timeout: float | None
) -> None:
    async with gcs.subscribe("errors", namespace) as events:
        waiting = asyncio.ensure_future(events.next(timeout))
        await asyncio.sleep(0)
        for refused in (None, 0, 1):
            with pytest.raises(RuntimeError, match="somebody waits for the next event already"):
                await events.next(refused)
        await gcs.errors.publish("kind", "text", key=namespace)
        event = await asyncio.wait_for(waiting, PATIENCE)
        assert isinstance(event, Message)


@pytest.mark.parametrize("timeout", [None, PATIENCE])
async def test_a_reactor_that_is_given_up_ends_an_iteration(
    server: GcsServer, timeout: float | None
) -> None:
    key = secrets.token_hex(8)
    async with gcs_cffi.connect(server.address) as gcs, gcs.subscribe("errors", key) as events:
        waiting = asyncio.ensure_future(events.next(timeout))
        await asyncio.sleep(0.01)
        _reactor.reactor_for(asyncio.get_running_loop()).retire()
        assert await waiting is None


def test_a_loop_that_was_closed_under_a_consumer_disturbs_nobody(
    server: GcsServer, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    loop = new_loop()

    async def begin() -> tuple[GcsClient, asyncio.Task[list[str]]]:
        gcs = await gcs_cffi.connect(server.address)
        subscription = await gcs.subscribe("errors").__aenter__()
        consumer = asyncio.ensure_future(texts(subscription, 1))
        await asyncio.sleep(0.05)
        return gcs, consumer

    gcs, consumer = loop.run_until_complete(begin())
    loop.close()

    async def use() -> None:
        async with gcs_cffi.connect(server.address) as other:
            assert await other.kv.get("key", namespace="some") is None

    asyncio.run(use())
    asyncio.run(gcs.close())
    consumer._log_destroy_pending = False  # type: ignore[attr-defined]
