# SPDX-License-Identifier: Apache-2.0
"""Subscriptions that come and go at the same time, to the same and to different topics.

Promise: whoever is entered hears everything from then on, whatever the others do meanwhile.
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
from typing import TYPE_CHECKING, Any

import pytest
from helpers import PATIENCE

import gcs_cffi
from gcs_cffi import Message

if TYPE_CHECKING:
    from gcs_cffi import GcsClient, Subscription
    from gcs_cffi.testing import GcsServer

POLICIES: tuple[Any, ...] = ("wait", "drop_oldest", "drop_newest")
TASKS = 24
ROUNDS = 12


async def check_hears(gcs: GcsClient, subscription: Subscription, key: str) -> None:
    """Fails unless what is published now arrives."""
    text = os.urandom(8).hex()
    await gcs.errors.publish("kind", text, key=key)
    while True:
        event = await subscription.next(PATIENCE)
        assert isinstance(event, Message), event
        if event.value.error_message == text:
            return


@pytest.mark.parametrize("count", [2, 3, 50])
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("whole", [True, False], ids=["channel", "key"])
async def test_all_that_subscribe_to_one_topic_at_once_hear_it(
    server: GcsServer, count: int, policy: Any, whole: bool
) -> None:
    key = os.urandom(8).hex()
    async with gcs_cffi.connect(server.address) as gcs:
        entered = await asyncio.gather(
            *(
                gcs.subscribe("errors", None if whole else key, policy=policy).__aenter__()
                for _ in range(count)
            )
        )
        for subscription in entered:
            await check_hears(gcs, subscription, key)


@pytest.mark.parametrize("delay", [0.0, 0.0005, 0.001, 0.002, 0.004])
async def test_one_that_comes_while_another_is_entered_or_left_hears_its_topic(
    server: GcsServer, delay: float
) -> None:
    key = os.urandom(8).hex()
    async with gcs_cffi.connect(server.address) as gcs:
        first = gcs.subscribe("errors", key, policy="drop_oldest")
        entering = asyncio.ensure_future(first.__aenter__())
        await asyncio.sleep(delay)
        async with gcs.subscribe("errors", key, policy="drop_newest") as second:
            await entering
            await check_hears(gcs, second, key)
            await check_hears(gcs, first, key)
            await first.close()
            await check_hears(gcs, second, key)
        # The last has left: the server is being told so.
        await asyncio.sleep(delay)
        async with gcs.subscribe("errors", key, policy="drop_oldest") as third:
            await check_hears(gcs, third, key)


async def test_whatever_comes_and_goes_the_others_hear_their_topics(server: GcsServer) -> None:
    seed = secrets.randbits(32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    keys = [os.urandom(4).hex() for _ in range(3)]
    async with gcs_cffi.connect(server.address) as gcs:

        async def live(own: random.Random) -> None:
            for _ in range(ROUNDS):
                key = own.choice(keys)
                policy = own.choice(POLICIES)
                topic = None if own.random() < 0.2 else key
                subscription = gcs.subscribe("errors", topic, policy=policy, max_messages=100_000)
                if own.random() < 0.3:
                    entering = asyncio.ensure_future(subscription.__aenter__())
                    await asyncio.sleep(own.choice((0, 0, 0.0005, 0.002)))
                    entering.cancel()
                    await asyncio.wait([entering])
                    await subscription.close()
                    continue
                async with subscription:
                    if own.random() < 0.7:
                        await check_hears(gcs, subscription, key)
                    await asyncio.sleep(own.choice((0, 0.001, 0.005)))

        async with gcs.subscribe("errors", keys[0], policy="drop_oldest") as steady:
            await asyncio.gather(*(live(random.Random(chance.random())) for _ in range(TASKS)))
            while True:
                try:
                    await steady.next(0.1)
                except TimeoutError:
                    break
            await check_hears(gcs, steady, keys[0])
