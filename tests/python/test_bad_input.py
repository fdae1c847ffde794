# SPDX-License-Identifier: Apache-2.0
"""What wrong input gets: an error that says what is wrong, before anything is sent."""

from __future__ import annotations

import asyncio
import math
import time
from typing import TYPE_CHECKING, Any

import pytest

import gcs_cffi

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcs_cffi import GcsClient
    from gcs_cffi.testing import GcsServer

WRONG_TYPES: list[Any] = [5, None, 1.5, ["key"], object(), bytearray(b"key")]
WRONG_TIMEOUTS: list[Any] = ["1", b"1", [1], object(), True, False, 1j]


# ---- Arguments ----------------------------------------------------------------------------------


def calls_with(gcs: GcsClient, key: Any) -> list[Callable[[], Any]]:
    return [
        lambda: gcs.kv.get(key),
        lambda: gcs.kv.put(key, b""),
        lambda: gcs.kv.delete(key),
        lambda: gcs.kv.delete_prefix(key),
        lambda: gcs.kv.exists(key),
        lambda: gcs.kv.keys(key),
        lambda: gcs.kv.multi_get([key]),
        lambda: gcs.kv.get("key", namespace=key),
        lambda: gcs.kv.put("key", b"", namespace=key),
    ]


@pytest.fixture
def nothing_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails the test if a batch is handed to the library."""

    def submit(*arguments: object) -> int:
        raise AssertionError("something was sent")

    monkeypatch.setattr("gcs_cffi._native.Queue.submit", submit)


@pytest.mark.parametrize("key", WRONG_TYPES, ids=repr)
async def test_a_key_or_namespace_of_a_wrong_type_is_a_type_error(
    gcs: GcsClient, nothing_sent: None, key: Any
) -> None:
    for call in calls_with(gcs, key):
        with pytest.raises(TypeError):
            await call()


@pytest.mark.parametrize("value", ["text", 5, None, [1], object()], ids=repr)
async def test_a_value_that_is_not_bytes_like_is_a_type_error(
    gcs: GcsClient, nothing_sent: None, value: Any
) -> None:
    with pytest.raises(TypeError, match="bytes-like"):
        await gcs.kv.put("key", value)


async def test_flags_and_lists_of_a_wrong_type_are_type_errors(
    gcs: GcsClient, nothing_sent: None
) -> None:
    for call in (
        lambda: gcs.kv.put("key", b"", overwrite=1),  # type: ignore[arg-type]
        lambda: gcs.kv.keys("a", all_namespaces="yes"),  # type: ignore[arg-type]
        lambda: gcs.kv.delete_prefix("a", all_namespaces=None),  # type: ignore[arg-type]
        lambda: gcs.kv.multi_get("key"),
        lambda: gcs.kv.multi_get(b"key"),  # type: ignore[type-var]
        lambda: gcs.kv.multi_get(None),  # type: ignore[arg-type]
    ):
        with pytest.raises(TypeError):
            await call()


@pytest.mark.parametrize("timeout", WRONG_TIMEOUTS, ids=repr)
async def test_a_timeout_that_is_no_number_is_a_type_error(
    gcs: GcsClient, nothing_sent: None, timeout: Any
) -> None:
    for call in (
        lambda: gcs.kv.get("key", timeout=timeout),
        lambda: gcs.jobs.next_id(timeout=timeout),
        lambda: gcs.nodes.list(timeout=timeout),
        lambda: gcs.get_ray_version(timeout=timeout),
        lambda: gcs.call("NodeInfoGcsService", "CheckAlive", timeout=timeout),
    ):
        with pytest.raises(TypeError, match="timeout"):
            await call()
    for name in ("timeout", "connect_timeout", "tcp_user_timeout"):
        with pytest.raises(TypeError, match=name):
            gcs_cffi.connect("127.0.0.1:1", **{name: timeout})


@pytest.mark.parametrize("timeout", [-1, -1e-9, -math.inf, math.nan], ids=repr)
async def test_a_timeout_that_is_negative_or_nan_is_a_value_error(
    gcs: GcsClient, nothing_sent: None, timeout: float
) -> None:
    with pytest.raises(ValueError, match="timeout"):
        await gcs.kv.get("key", timeout=timeout)
    for name in ("timeout", "connect_timeout", "tcp_user_timeout"):
        with pytest.raises(ValueError, match=name):
            gcs_cffi.connect("127.0.0.1:1", **{name: timeout})  # type: ignore[arg-type]


async def test_a_timeout_of_0_has_expired_at_once(gcs: GcsClient, namespace: str) -> None:
    for call in (
        lambda: gcs.kv.put("key", b"", namespace=namespace, timeout=0),
        lambda: gcs.nodes.list(timeout=0.0),
        lambda: gcs.call("NodeInfoGcsService", "CheckAlive", timeout=0),
    ):
        began = time.monotonic()
        with pytest.raises(gcs_cffi.DeadlineExceededError) as caught:
            await call()
        assert isinstance(caught.value, asyncio.TimeoutError)
        assert isinstance(caught.value, TimeoutError)
        assert time.monotonic() - began < 0.5
    assert await gcs.kv.exists("key", namespace=namespace) is False


@pytest.mark.parametrize("timeout", [None, math.inf, 1e300, 10**400, 5, 0.5], ids=str)
async def test_timeouts_of_every_size_work(gcs: GcsClient, timeout: float | None) -> None:
    assert await gcs.kv.get("nothing", namespace="nowhere", timeout=timeout) is None


async def test_a_timeout_runs_from_the_call_and_ends_it_in_time(own_server: GcsServer) -> None:
    async with gcs_cffi.connect(own_server.address, timeout=0.3) as gcs:
        own_server.pause()
        for timeout, expected in ((None, 0.3), (0.1, 0.1)):
            began = time.monotonic()
            with pytest.raises(gcs_cffi.DeadlineExceededError) as caught:
                await gcs.kv.get("key", namespace="some", timeout=timeout)
            assert expected <= time.monotonic() - began < expected + 1
            assert caught.value.method == "/ray.rpc.InternalKVGcsService/InternalKVGet"
            assert caught.value.maybe_executed
        # The loop is busy between the call and its hand-over: that counts, too.
        call = asyncio.ensure_future(gcs.kv.get("key", namespace="some", timeout=0.2))
        await asyncio.sleep(0)
        time.sleep(0.3)  # noqa: ASYNC251
        began = time.monotonic()
        with pytest.raises(gcs_cffi.DeadlineExceededError):
            await call
        assert time.monotonic() - began < 0.15
        own_server.resume()


@pytest.mark.parametrize("key", [b"@namespace_", b"@namespace_some:key", "@namespace_x"])
async def test_a_key_of_rays_own_namespaces_is_refused_here(
    gcs: GcsClient, namespace: str, key: bytes | str
) -> None:
    for call in (
        lambda: gcs.kv.get(key),
        lambda: gcs.kv.put(key, b""),
        lambda: gcs.kv.delete(key),
        lambda: gcs.kv.delete_prefix(key),
        lambda: gcs.kv.exists(key),
        lambda: gcs.kv.keys(key),
        lambda: gcs.kv.multi_get(["good", key]),
    ):
        with pytest.raises(gcs_cffi.InvalidRequestError, match="@namespace_") as caught:
            await call()
        assert isinstance(caught.value, ValueError)
        assert not caught.value.maybe_executed
    # Within a namespace the server itself refuses to store it.
    with pytest.raises(gcs_cffi.GcsStatusError, match="@namespace_") as by_server:
        await gcs.kv.put(key, b"", namespace=namespace)
    assert by_server.value.code_name == "RAY_KEY_ERROR"


async def test_options_that_cannot_be_are_refused() -> None:
    connect: Any = gcs_cffi.connect
    impossible: tuple[dict[str, object], ...] = (
        {"on_cluster_change": "ignore"},
        {"cluster_id": "12"},
        {"cluster_id": b"12"},
        {"max_send_message": 0},
        {"max_receive_message": -1},
        {"token": "a\0b"},
    )
    wrong: tuple[dict[str, object], ...] = (
        {"token": 5},
        {"cluster_id": 5},
        {"wait_for_ready": "yes"},
        {"max_send_message": 1.5},
        {"max_send_message": True},
        {"timeouts": 5},
    )
    for arguments in impossible:
        with pytest.raises(ValueError):  # noqa: PT011 (the texts differ)
            connect("127.0.0.1:1", **arguments)
    for arguments in wrong:
        with pytest.raises(TypeError):
            connect("127.0.0.1:1", **arguments)


async def test_a_request_over_the_limit_is_refused_here(server: GcsServer) -> None:
    async with gcs_cffi.connect(server.address, max_send_message=100_000) as gcs:
        with pytest.raises(gcs_cffi.LimitExceededError) as caught:
            await gcs.kv.put("key", bytes(200_000), namespace="some")
        assert not caught.value.maybe_executed
        assert await gcs.kv.get("key", namespace="some") is None


async def test_a_reply_over_the_limit_fails_that_call_alone(
    gcs: GcsClient, server: GcsServer, namespace: str
) -> None:
    await gcs.kv.put("big", bytes(200_000), namespace=namespace)
    await gcs.kv.put("small", b"value", namespace=namespace)
    async with gcs_cffi.connect(server.address, max_receive_message=100_000) as limited:
        with pytest.raises(gcs_cffi.LimitExceededError):
            await limited.kv.get("big", namespace=namespace)
        assert await limited.kv.get("small", namespace=namespace) == b"value"
