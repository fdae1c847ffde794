# SPDX-License-Identifier: Apache-2.0
"""What cannot be subscribed to: an error that says why, and a server that was not asked."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any

import pytest
from helpers import PATIENCE

import gcs_cffi
from gcs_cffi import (
    ActorID,
    ClientClosedError,
    ClusterChangedError,
    DeadlineExceededError,
    InvalidRequestError,
    JobID,
    Message,
    NodeID,
    Resync,
)

if TYPE_CHECKING:
    from gcs_cffi import GcsClient
    from gcs_cffi.testing import GcsServer

POLICIES: tuple[Any, ...] = ("wait", "drop_oldest", "drop_newest")


def commands(gcs: GcsClient) -> int:
    """How many command batches and polls the client has sent."""
    methods = gcs.stats()["methods"]
    return sum(sum(counts.values()) for path, counts in methods.items() if "GcsSubscriber" in path)


UNKNOWN = [
    "",
    "error",
    "ERRORS",
    "errors ",
    "x" * 100_000,
    "é",
    "GCS_ACTOR_CHANNE",
    "gcs_actor_channel",
    "WORKER_OBJECT_EVICTION",
    "WORKER_OBJECT_LOCATIONS_CHANNEL",
    "WORKER_REF_REMOVED_CHANNEL",
    "8",
]


@pytest.mark.parametrize("policy", POLICIES)
async def test_a_channel_that_is_not_for_subscribers_is_refused_here(
    server: GcsServer, policy: Any
) -> None:
    async with gcs_cffi.connect(server.address) as gcs:
        for name in UNKNOWN:
            subscription = gcs.subscribe(name, policy=policy)
            with pytest.raises(InvalidRequestError) as caught:
                await subscription.__aenter__()
            assert len(str(caught.value)) < 2000, name[:20]
        assert commands(gcs) == 0
        assert await gcs.kv.get("alive") is None
        assert gcs.stats()["not_taken"] == 0


KEYS: list[tuple[str, Any]] = [
    ("actors", b"x" * 15),
    ("actors", b"x" * 28),
    ("actors", JobID.from_int(1)),
    ("actors", NodeID(b"n" * 28)),
    ("actors", "f" * 32),  # hexadecimal digits are another length
    ("jobs", b"x" * 3),
    ("jobs", b"x" * 5),
    ("jobs", ActorID(b"a" * 16)),
    ("nodes", b"x" * 27),
    ("nodes", b"x" * 29),
    ("nodes", b"x" * 100_000),
    ("node_liveness", b"x" * 16),
    ("workers", b"x"),
    ("GCS_ACTOR_CHANNEL", b"x" * 17),
    ("GCS_NODE_INFO_CHANNEL", b"x" * 4),
]


@pytest.mark.parametrize(("channel", "key"), KEYS)
async def test_a_key_of_another_length_is_refused_here(
    server: GcsServer, channel: str, key: Any
) -> None:
    async with gcs_cffi.connect(server.address) as gcs:
        with pytest.raises(InvalidRequestError, match="bytes"):
            await gcs.subscribe(channel, key).__aenter__()
        assert commands(gcs) == 0
        assert gcs.stats()["not_taken"] == 0


WRONG: list[tuple[type[Exception], tuple[Any, ...], dict[str, Any]]] = [
    (TypeError, (), {}),
    (TypeError, (None,), {}),
    (TypeError, (b"errors",), {}),
    (TypeError, (8,), {}),
    (ValueError, ("errors\0",), {}),
    (ValueError, ("errors\0logs",), {}),
    (ValueError, ("\0",), {}),
    (TypeError, ("errors", 1), {}),
    (TypeError, ("errors", ["key"]), {}),
    (TypeError, ("errors", bytearray(b"key")), {}),
    (TypeError, ("errors", object()), {}),
    (TypeError, ("errors", None, True), {}),
    (TypeError, ("errors",), {"raw": None}),
    (TypeError, ("errors",), {"raw": "yes"}),
    (ValueError, ("errors",), {"policy": None}),
    (ValueError, ("errors",), {"policy": "WAIT"}),
    (ValueError, ("errors",), {"policy": 0}),
    (ValueError, ("errors",), {"policy": ""}),
    (TypeError, ("errors",), {"max_messages": True}),
    (TypeError, ("errors",), {"max_messages": None}),
    (TypeError, ("errors",), {"max_messages": 1.0}),
    (ValueError, ("errors",), {"max_messages": 0}),
    (ValueError, ("errors",), {"max_messages": -1}),
    (ValueError, ("errors",), {"max_messages": 1 << 63}),
    (TypeError, ("errors",), {"max_bytes": "1"}),
    (ValueError, ("errors",), {"max_bytes": -1}),
    (ValueError, ("errors",), {"max_bytes": 1 << 64}),
    (ValueError, ("errors",), {"timeout": -0.1}),
    (ValueError, ("errors",), {"timeout": math.nan}),
    (TypeError, ("errors",), {"timeout": "1"}),
    (TypeError, ("errors",), {"no_such_option": 1}),
]


@pytest.mark.parametrize(("error", "arguments", "options"), WRONG)
def test_arguments_that_cannot_be_are_refused_before_it_is_entered(
    blocking_gcs: gcs_cffi.sync.GcsClient,
    error: type[Exception],
    arguments: tuple[Any, ...],
    options: dict[str, Any],
) -> None:
    before = blocking_gcs.stats()["started"]
    with pytest.raises(error) as caught:
        blocking_gcs.subscribe(*arguments, **options)
    assert type(caught.value) is error
    assert str(caught.value)
    assert blocking_gcs.stats()["started"] == before


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("limits", [{"max_messages": 1}, {"max_bytes": 1}, {}], ids=repr)
@pytest.mark.parametrize("largest", [False, True], ids=["smallest", "largest"])
async def test_the_smallest_and_the_largest_limits_work(
    gcs: GcsClient,
    namespace: str,
    policy: Any,
    limits: dict[str, Any],
    largest: bool,
) -> None:
    """With room for one message alone the next may be dropped, which is told."""
    most: dict[str, Any] = dict.fromkeys(("max_messages", "max_bytes"), (1 << 63) - 1)
    chosen = most if largest else limits
    lost = 0
    async with gcs.subscribe("errors", namespace, policy=policy, **chosen) as errors:
        for number in range(5):
            await gcs.errors.publish("kind", str(number), key=namespace)
            event = await errors.next(PATIENCE)
            if isinstance(event, Resync):
                lost += event.lost
                continue
            assert isinstance(event, Message)
            assert event.value.error_message == str(number)
    assert lost < 5
    assert lost == 0 or (chosen is limits and chosen and policy != "wait")


async def test_a_key_may_have_any_bytes_where_its_publisher_chooses_it(gcs: GcsClient) -> None:
    for key in (b"\0", b"\0\0", b"a\0b", b"\xff" * 3, b"k" * 100_000):
        async with (
            gcs.subscribe("errors", key) as errors,
            gcs.subscribe("errors", key, policy="drop_oldest") as shared,
        ):
            await gcs.errors.publish("kind", "other", key=key + b"\0")
            await gcs.errors.publish("kind", "text", key=key)
            for subscription in (errors, shared):
                event = await subscription.next(PATIENCE)
                assert isinstance(event, Message)
                assert (event.key, event.value.error_message) == (key, "text")


@pytest.mark.parametrize("timeout", [0, 0.2])
@pytest.mark.parametrize("policy", POLICIES)
async def test_entering_ends_with_its_timeout_and_leaves_nothing(
    own_server: GcsServer, timeout: float, policy: Any
) -> None:
    async with gcs_cffi.connect(own_server.address) as gcs:
        own_server.pause()
        with pytest.raises(DeadlineExceededError):
            await gcs.subscribe("errors", policy=policy, timeout=timeout).__aenter__()
        entering = asyncio.ensure_future(gcs.subscribe("errors", policy=policy).__aenter__())
        await asyncio.sleep(0.05)
        entering.cancel()
        await asyncio.wait([entering])
        assert entering.cancelled()
        own_server.resume()
        assert await gcs.kv.get("alive") is None
        while gcs.stats()["not_taken"] > 0:  # noqa: ASYNC110 (the test's timeout bounds it)
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("close", [False, True], ids=["before", "meanwhile"])
async def test_of_a_closed_client_nothing_can_be_subscribed_to(
    own_server: GcsServer, close: bool
) -> None:
    gcs = await gcs_cffi.connect(own_server.address)
    subscription = gcs.subscribe("errors")
    if close:
        own_server.pause()
        entering = asyncio.ensure_future(subscription.__aenter__())
        await asyncio.sleep(0.05)
        await gcs.close()
        own_server.resume()
        with pytest.raises(ClientClosedError):
            await asyncio.wait_for(entering, PATIENCE)
    else:
        await gcs.close()
        with pytest.raises(ClientClosedError):
            await subscription.__aenter__()
    assert await subscription.next(1) is None if close else True


@pytest.mark.parametrize("policy", POLICIES)
async def test_a_new_cluster_ends_subscriptions_or_is_adopted_by_them(
    own_server: GcsServer, policy: Any
) -> None:
    def strict() -> Any:
        return gcs_cffi.connect(own_server.address, on_cluster_change="error")

    def adopting() -> Any:
        return gcs_cffi.connect(own_server.address, on_cluster_change="adopt")

    async with (
        strict() as first,
        adopting() as second,
        first.subscribe("errors", policy=policy) as ends,
        second.subscribe("errors", policy=policy) as goes_on,
    ):
        old = first.cluster_id.hex()
        waiting = asyncio.ensure_future(ends.next())
        own_server.kill()
        own_server.start()
        with pytest.raises(ClusterChangedError, match=old):
            await asyncio.wait_for(waiting, PATIENCE)
        assert await ends.next(1) is None
        with pytest.raises(ClusterChangedError):
            await first.subscribe("errors", policy=policy).__aenter__()
        event = await goes_on.next(PATIENCE)
        assert isinstance(event, Resync)
        assert event.reason == "restarted"
        await second.errors.publish("kind", "text")
        assert isinstance(await goes_on.next(PATIENCE), Message)
