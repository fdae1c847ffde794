# SPDX-License-Identifier: Apache-2.0
"""What a job's errors and logs are found by, and what becomes of a subscription that is dropped."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from typing import TYPE_CHECKING, Any

import pytest
from helpers import PATIENCE

from gcs_cffi import GcsClient, JobID, Message, NodeID, sync

if TYPE_CHECKING:
    from gcs_cffi.testing import GcsServer


class ForeignID:
    """An id of another package."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw

    def binary(self) -> bytes:
        return self.raw


@pytest.mark.parametrize("kind", [JobID, ForeignID])
async def test_a_jobs_errors_and_logs_are_found_by_its_id(gcs: GcsClient, kind: Any) -> None:
    job = JobID(os.urandom(4))
    async with (
        gcs.subscribe("errors", kind(bytes(job))) as errors,
        gcs.subscribe("logs", kind(bytes(job))) as logs,
    ):
        await gcs.errors.publish("kind", "text", job_id=job)
        await gcs.logs.publish({"job_id": job, "lines": ["line"]})
        for events in (errors, logs):
            event = await events.next(PATIENCE)
            assert isinstance(event, Message)
            assert event.key == job.hex().encode()
            assert event.value.job_id in (bytes(job), job.hex())


@pytest.mark.parametrize("kind", [bytes, bytes.hex, JobID, ForeignID])
async def test_logs_take_a_jobs_id_in_every_form(gcs: GcsClient, kind: Any) -> None:
    job = JobID(os.urandom(4))
    async with gcs.subscribe("logs", job) as logs:
        await gcs.logs.publish({"job_id": kind(bytes(job)), "lines": ["line"]})
        event = await logs.next(PATIENCE)
        assert isinstance(event, Message)
        assert event.value.job_id == job.hex()


@pytest.mark.parametrize(
    ("fields", "error", "text"),
    [
        ({"job_id": b"12345"}, ValueError, "JobID"),
        ({"job_id": 5}, TypeError, "JobID"),
        ({"lines": "line"}, TypeError, "a list of str"),
    ],
)
async def test_logs_refuse_what_nobody_would_find(
    gcs: GcsClient, fields: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        await gcs.logs.publish(fields)


async def test_bytes_are_the_key_that_they_are(gcs: GcsClient) -> None:
    key = os.urandom(4)
    async with gcs.subscribe("errors", key) as errors:
        await gcs.errors.publish("kind", "text", key=key)
        event = await errors.next(PATIENCE)
        assert isinstance(event, Message)
        assert event.key == key


async def test_an_id_of_a_table_stays_one(gcs: GcsClient) -> None:
    node = NodeID(os.urandom(28))
    async with gcs.subscribe("nodes", ForeignID(bytes(node))) as nodes:
        await gcs.nodes.register(
            {"node_id": node, "node_manager_address": "127.0.0.1", "node_manager_port": 1}
        )
        event = await nodes.next(PATIENCE)
        assert isinstance(event, Message)
        assert event.key == node


async def test_one_that_is_dropped_ends_with_a_warning(gcs: GcsClient) -> None:
    async def drop() -> None:
        await gcs.subscribe("errors").__aenter__()
        await gcs.nodes.watch().__aenter__()
        gc.collect()

    with pytest.warns(ResourceWarning, match="was never left"):
        await drop()
    end = time.monotonic() + PATIENCE
    while gcs.stats()["not_taken"] > 0:
        assert time.monotonic() < end, gcs.stats()
        await asyncio.sleep(0.01)


def drop(gcs: sync.GcsClient) -> None:
    gcs.subscribe("errors").__enter__()
    gc.collect()


def test_a_blocking_one_that_is_dropped_ends_with_a_warning(server: GcsServer) -> None:
    with sync.connect(server.address) as gcs:
        with pytest.warns(ResourceWarning, match="'errors' was never left"):
            drop(gcs)
        end = time.monotonic() + PATIENCE
        while gcs.stats()["not_taken"] > 0:
            assert time.monotonic() < end, gcs.stats()
            time.sleep(0.01)
