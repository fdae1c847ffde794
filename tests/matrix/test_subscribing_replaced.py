# SPDX-License-Identifier: Apache-2.0
"""Subscriptions to a server that comes back as another release of Ray: they go on, or say why not.

Invariant: no server is ended by what it is asked, which is laid out for the one that is there.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest

from gcs_cffi import Resync, UnsupportedByServerError
from gcs_cffi.testing import GcsServer
from matrix.conftest import numbers_of
from matrix.published import CHANNELS
from matrix.test_replaced import newest_server

if TYPE_CHECKING:
    from matrix.conftest import Connect

POLICIES: tuple[Any, ...] = ("wait", "drop_newest")
PATIENCE = 20.0
LIVENESS_SINCE = (2, 51)


@pytest.mark.method(*(f"subscribe ({channel.name})" for channel in CHANNELS))
@pytest.mark.parametrize("upgrade", [True, False], ids=["upgraded", "downgraded"])
async def test_subscriptions_go_on_with_the_release_that_came_back(
    connect: Connect, hide_user: None, release: tuple[int, ...], upgrade: bool
) -> None:
    own, newest = None, newest_server()
    first, second = (own, newest) if upgrade else (newest, own)
    async with AsyncExitStack() as stack:
        with GcsServer(ray=first) as server:
            port = server.port
            gcs = await stack.enter_async_context(
                connect(server.address, on_cluster_change="adopt")
            )
            there = numbers_of(server.version)
            entered = []
            for channel in CHANNELS:
                if channel.name == "node_liveness" and there < LIVENESS_SINCE:
                    continue
                for policy in POLICIES:
                    for raw in (True, False):
                        one = gcs.subscribe(channel.name, policy=policy, raw=raw)
                        entered.append((channel, raw, await stack.enter_async_context(one)))
            # So that readers of that release's messages are there, too.
            told = await CHANNELS[0].prepare(gcs, there)
            await told.tell()
            for channel, _, subscription in entered:
                if channel is CHANNELS[0]:
                    await _check(subscription, told.key, None)
            assert server.running
        with GcsServer(ray=second, port=port) as server:
            here = numbers_of(server.version)
            lacking = [one for one in entered if one[0].name == "node_liveness"]
            lacking = lacking if here < LIVENESS_SINCE else []
            for _, _, subscription in lacking:
                with pytest.raises(UnsupportedByServerError, match=r"2\.51"):
                    await subscription.next(PATIENCE)
                assert await subscription.next(PATIENCE) is None
            staying = [one for one in entered if one not in lacking]
            for _, _, subscription in staying:
                event = await subscription.next(PATIENCE)
                assert isinstance(event, Resync), event
                assert event.reason == "restarted"
            for channel in dict.fromkeys(channel for channel, _, _ in staying):
                told = await channel.prepare(gcs, here)
                await told.tell()
                for other, raw, subscription in staying:
                    if other is channel:
                        await _check(subscription, told.key, bytes if raw else channel.message)
            assert server.running
    assert (there if upgrade else here) == release


async def _check(subscription: Any, key: object, kind: type[object] | None) -> None:
    while True:
        event = await subscription.next(PATIENCE)
        assert not isinstance(event, Resync), event
        if event.key == key:
            assert kind is None or type(event.value) is kind
            return
