# SPDX-License-Identifier: Apache-2.0
"""gcs.subscribe() to each channel, in each way, on every release: what is published arrives."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest

from gcs_cffi import Message, Resync
from matrix.published import CHANNELS, Channel, Prepared

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcs_cffi import GcsClient
    from gcs_cffi.testing import GcsServer
    from matrix.conftest import Connect

POLICIES: tuple[Any, ...] = ("wait", "drop_oldest", "drop_newest")
PATIENCE = 20.0
SETTLED = 0.2  # seconds in which nothing more comes


async def next_with(subscription: Any, key: object) -> Message:
    """The next message with a key; others may come before it."""
    while True:
        event = await subscription.next(PATIENCE)
        assert isinstance(event, Message), event
        if event.key == key:
            return event


async def later(subscription: Any, key: object) -> list[object]:
    """What comes with a key until nothing more does."""
    found: list[object] = []
    while True:
        try:
            event = await subscription.next(SETTLED)
        except TimeoutError:
            return found
        if isinstance(event, Resync) or event.key == key:
            found.append(event)


@pytest.mark.parametrize("channel", [channel.case() for channel in CHANNELS])
async def test_whoever_has_subscribed_to_it_or_its_key_gets_it_typed_or_as_bytes(
    gcs: GcsClient, release: tuple[int, ...], channel: Channel
) -> None:
    mine = await channel.prepare(gcs, release)
    other = await channel.prepare(gcs, release)
    async with AsyncExitStack() as stack:
        entered = []
        for policy in POLICIES:
            for key in (None, mine.key):
                for raw in (False, True):
                    one = gcs.subscribe(channel.name, key, raw=raw, policy=policy)
                    entered.append((key, raw, await stack.enter_async_context(one)))
        # The other first: whoever is to have mine alone must not get it.
        await other.tell()
        await mine.tell()
        for key, raw, subscription in entered:
            if key is None:
                await next_with(subscription, other.key)
                event = await next_with(subscription, mine.key)
            else:
                first = await subscription.next(PATIENCE)
                assert isinstance(first, Message), first
                event = first
                assert event.key == mine.key
            assert type(event.key) is channel.key
            if raw:
                assert type(event.value) is bytes
                assert mine.mark in event.value
            else:
                assert type(event.value) is channel.message
                assert mine.mark in event.value.SerializeToString()


@pytest.mark.parametrize("channel", [channel.case() for channel in CHANNELS])
async def test_nothing_comes_twice_and_nothing_of_what_was_before(
    gcs: GcsClient, release: tuple[int, ...], channel: Channel
) -> None:
    earlier: Prepared = await channel.prepare(gcs, release)
    mine = await channel.prepare(gcs, release)
    async with gcs.subscribe(channel.name, earlier.key) as of_earlier:
        await earlier.tell()
        await next_with(of_earlier, earlier.key)
        await later(of_earlier, earlier.key)
    async with (
        gcs.subscribe(channel.name, policy="drop_oldest") as everything,
        gcs.subscribe(channel.name, mine.key) as of_key,
    ):
        await mine.tell()
        # An id's second change, if the release tells one, is another message.
        heard = [await of_key.next(PATIENCE), *await later(of_key, mine.key)]
        everything_heard = []
        while True:
            try:
                everything_heard.append(await everything.next(SETTLED))
            except TimeoutError:
                break
        assert all(isinstance(event, Message) for event in everything_heard)
        keys = [event.key for event in everything_heard if isinstance(event, Message)]
        assert keys.count(mine.key) == len(heard) == len({str(event) for event in heard})
        assert earlier.key not in keys


@pytest.mark.parametrize("channel", [channel.case() for channel in CHANNELS])
async def test_it_is_subscribed_to_anew_at_a_server_that_has_restarted(
    own_server: GcsServer, connect: Connect, release: tuple[int, ...], channel: Channel
) -> None:
    async with connect(own_server.address, on_cluster_change="adopt") as gcs, AsyncExitStack() as s:
        entered = [
            await s.enter_async_context(gcs.subscribe(channel.name, policy=policy))
            for policy in POLICIES
        ]
        for _ in range(2):
            own_server.kill()
            own_server.start()
            for subscription in entered:
                while not isinstance(event := await subscription.next(PATIENCE), Resync):
                    pass  # told by the server that was there before
                assert (event.reason, event.lost) == ("restarted", 0)
            told = await channel.prepare(gcs, release)
            await told.tell()
            for subscription in entered:
                message = await next_with(subscription, told.key)
                assert type(message.value) is channel.message
        assert own_server.running


@pytest.mark.method("subscribe (actors)", "subscribe (errors)")
async def test_many_keys_of_many_channels_are_heard(
    gcs: GcsClient, release: tuple[int, ...], unique: Callable[[int], bytes]
) -> None:
    by_name = {channel.name: channel for channel in CHANNELS}
    async with AsyncExitStack() as stack:
        for number in range(300):
            name = ("errors", "logs", "actors", "nodes")[number % 4]
            size = 16 if name == "actors" else 28
            policy: Any = POLICIES[number % 3] if number % 50 == 0 else "drop_newest"
            one = gcs.subscribe(name, unique(size), policy=policy)
            await stack.enter_async_context(one)
        for name in ("errors", "logs", "actors", "nodes"):
            told = await by_name[name].prepare(gcs, release)
            async with gcs.subscribe(name, told.key, policy="drop_newest") as subscription:
                await told.tell()
                assert (await next_with(subscription, told.key)).key == told.key
