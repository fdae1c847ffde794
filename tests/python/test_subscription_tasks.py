# SPDX-License-Identifier: Apache-2.0
"""Tasks that wait for what is published are woken where it is taken: as themselves, and each."""

from __future__ import annotations

import asyncio
import contextvars
import secrets
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
