# SPDX-License-Identifier: Apache-2.0
"""A passive GCS answers questions and takes nothing: who waits for a server waits for it, too."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

import gcs_cffi
from gcs_cffi import DeadlineExceededError, GcsStatusError
from gcs_cffi.testing import GcsServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from gcs_cffi import GcsClient

PASSIVE = 1038


@pytest.fixture(scope="module")
def passive_address() -> Iterator[str]:
    """The address of a passive server beside an active one, which has made the cluster."""
    with (
        GcsServer(redis=True) as active,
        GcsServer(
            redis=active.redis_address, env={"RAY_ENABLE_GCS_LEADER_ELECTION": "1"}
        ) as passive,
    ):
        yield passive.address


@pytest_asyncio.fixture
async def passive(passive_address: str) -> AsyncIterator[GcsClient]:
    """A client of it."""
    async with gcs_cffi.connect(passive_address) as gcs:
        yield gcs


async def test_what_changes_something_waits_until_its_deadline(passive: GcsClient) -> None:
    began = time.monotonic()
    with pytest.raises(DeadlineExceededError, match="passive") as caught:
        await passive.kv.put(b"key", b"value", timeout=1.5)
    assert 1.4 < time.monotonic() - began < 4
    assert caught.value.retryable
    assert not caught.value.maybe_executed
    assert passive.stats()["sent_again"] > 1


async def test_who_does_not_wait_is_told_at_once(passive: GcsClient) -> None:
    with pytest.raises(GcsStatusError, match="passive") as caught:
        await passive.call("JobInfoGcsService", "GetNextJobID", {}, wait_for_ready=False)
    assert caught.value.code == PASSIVE
    assert caught.value.retryable


async def test_what_waits_does_not_hold_up_what_is_answered(passive: GcsClient) -> None:
    waiting = asyncio.ensure_future(passive.kv.put(b"key", b"value", timeout=5))
    await asyncio.sleep(0.3)
    for _ in range(20):
        assert await passive.kv.get(b"nothing", timeout=2) is None
    assert not waiting.done()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
