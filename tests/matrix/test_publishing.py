# SPDX-License-Identifier: Apache-2.0
"""gcs.errors, gcs.logs and resource usage on every release: it arrives as it was published."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING

import pytest

from gcs_cffi import JobID, messages
from matrix.foreign import foreign
from matrix.subscribing import Subscriber
from matrix.unsent import check_unsent

if TYPE_CHECKING:
    from gcs_cffi import GcsClient

ERRORS, LOGS = "RAY_ERROR_INFO_CHANNEL", "RAY_LOG_CHANNEL"
USAGE = "RAY_NODE_RESOURCE_USAGE_CHANNEL"


@pytest.mark.method("errors.publish")
async def test_an_error_that_is_published_arrives(gcs: GcsClient, release: tuple[int, ...]) -> None:
    subscriber = Subscriber(gcs, release)
    job = JobID(os.urandom(4))
    key = job.hex().encode()
    await subscriber.subscribe(ERRORS, key)
    before = time.time()
    await gcs.errors.publish("worker_crash", "é crashed", job_id=job)
    arrived = await subscriber.next()
    assert arrived.channel_type == messages.RAY_ERROR_INFO_CHANNEL
    assert arrived.key_id == key
    assert arrived.WhichOneof("inner_message") == "error_info_message"
    error = arrived.error_info_message
    assert (error.job_id, error.type, error.error_message) == (job, "worker_crash", "é crashed")
    assert before <= error.timestamp <= time.time()


@pytest.mark.method("errors.publish")
async def test_an_error_is_found_by_its_key(gcs: GcsClient, release: tuple[int, ...]) -> None:
    subscriber = Subscriber(gcs, release)
    text, raw = os.urandom(8).hex(), os.urandom(28)
    for key in (text.encode(), raw):
        await subscriber.subscribe(ERRORS, key)
    await gcs.errors.publish("other", "of no interest", key="another key")
    await gcs.errors.publish("first", "1", key=text)
    assert (await subscriber.next()).error_info_message.type == "first"
    await gcs.errors.publish("second", "2", key=raw, job_id=JobID.from_int(7))
    second = await subscriber.next()
    assert second.key_id == raw
    assert second.error_info_message.job_id == JobID.from_int(7)


@pytest.mark.method("errors.publish")
async def test_an_error_of_no_job_is_of_the_nil_job(
    gcs: GcsClient, release: tuple[int, ...]
) -> None:
    subscriber = Subscriber(gcs, release)
    await subscriber.subscribe(ERRORS, b"ffffffff")
    await gcs.errors.publish("kind", "message")
    arrived = await subscriber.next()
    assert arrived.key_id == b"ffffffff"
    assert JobID(arrived.error_info_message.job_id) == JobID.nil()


@pytest.mark.method("errors.report_job_error")
async def test_an_error_that_is_reported_arrives(gcs: GcsClient, release: tuple[int, ...]) -> None:
    subscriber = Subscriber(gcs, release)
    job = JobID(os.urandom(4))
    key = job.hex().encode()
    await subscriber.subscribe(ERRORS, key)
    before = time.time()
    await gcs.errors.report_job_error("kind", "what", job_id=job)
    arrived = await subscriber.next()
    assert (arrived.channel_type, arrived.key_id) == (messages.RAY_ERROR_INFO_CHANNEL, key)
    error = arrived.error_info_message
    assert (error.job_id, error.type, error.error_message) == (job, "kind", "what")
    assert before <= error.timestamp <= time.time()


@pytest.mark.method("logs.publish")
async def test_lines_that_are_published_arrive(gcs: GcsClient, release: tuple[int, ...]) -> None:
    job = os.urandom(4).hex()
    batch = messages.LogBatch(
        ip="127.0.0.1",
        pid="raylet",
        job_id=job,
        is_error=True,
        lines=["first", "", "zweite Zeile: ü"],
        actor_name="Counter",
        task_name="count",
    )
    fields = {field.name: value for field, value in batch.ListFields()}
    subscriber = Subscriber(gcs, release)
    await subscriber.subscribe(LOGS, job.encode())
    for passed in (batch, foreign(batch), fields):
        await gcs.logs.publish(passed)
        arrived = await subscriber.next()
        assert arrived.channel_type == messages.RAY_LOG_CHANNEL
        assert arrived.key_id == job.encode()
        assert arrived.WhichOneof("inner_message") == "log_batch_message"
        assert arrived.log_batch_message == batch


@pytest.mark.method("logs.publish")
async def test_lines_are_found_by_their_key(gcs: GcsClient, release: tuple[int, ...]) -> None:
    subscriber = Subscriber(gcs, release)
    text, raw = os.urandom(8).hex(), os.urandom(28)
    for key in (text.encode(), raw):
        await subscriber.subscribe(LOGS, key)
    await gcs.logs.publish({"lines": ["other"]}, key=b"another key")
    await gcs.logs.publish({"lines": ["first"]}, key=text)
    assert (await subscriber.next()).log_batch_message.lines == ["first"]
    await gcs.logs.publish({"lines": ["second"]}, key=raw)
    assert (await subscriber.next()).key_id == raw


@pytest.mark.method("errors.publish", "logs.publish")
async def test_errors_and_logs_do_not_mix(gcs: GcsClient, release: tuple[int, ...]) -> None:
    subscriber = Subscriber(gcs, release)
    key = os.urandom(8).hex()
    await subscriber.subscribe(LOGS, key.encode())
    await gcs.errors.publish("kind", "message", key=key)
    await gcs.logs.publish({"lines": ["line"]}, key=key)
    assert (await subscriber.next()).log_batch_message.lines == ["line"]


@pytest.mark.method("resources.publish_usage")
async def test_usage_that_is_published_arrives(gcs: GcsClient, release: tuple[int, ...]) -> None:
    subscriber = Subscriber(gcs, release)
    text, raw = os.urandom(8).hex(), os.urandom(28)
    for key in (text.encode(), raw):
        await subscriber.subscribe(USAGE, key)
    await gcs.resources.publish_usage("{}", key="another key")
    await gcs.resources.publish_usage('{"cpu": 1.5, "ü": "é"}', key=text)
    arrived = await subscriber.next()
    assert arrived.channel_type == messages.RAY_NODE_RESOURCE_USAGE_CHANNEL
    assert arrived.key_id == text.encode()
    assert arrived.WhichOneof("inner_message") == "node_resource_usage_message"
    assert arrived.node_resource_usage_message.json == '{"cpu": 1.5, "ü": "é"}'
    usage = {"cpu": 1.5, "mem": [1, 2], "ü": None}
    await gcs.resources.publish_usage(usage, key=raw)
    arrived = await subscriber.next()
    assert arrived.key_id == raw
    assert json.loads(arrived.node_resource_usage_message.json) == usage


@pytest.mark.method("resources.publish_usage")
async def test_usage_that_cannot_be_published_is_refused_here(gcs: GcsClient) -> None:
    await check_unsent(gcs, gcs.resources.publish_usage, [
        (TypeError, (), {"key": "key"}),
        (TypeError, ("{}",), {}),
        (TypeError, (b"{}",), {"key": "key"}),
        (TypeError, (["cpu"],), {"key": "key"}),
        (TypeError, ({"cpu": object()},), {"key": "key"}),
        (TypeError, ("{}",), {"key": 5}),
        (ValueError, ("{}",), {"key": "key", "timeout": -1}),
    ])  # fmt: skip


@pytest.mark.method("errors.publish", "errors.report_job_error", "logs.publish")
async def test_nobody_need_listen(gcs: GcsClient) -> None:
    await gcs.errors.publish("kind", "")
    await gcs.errors.report_job_error("kind", "", job_id=JobID.from_int(1))
    await gcs.logs.publish({})


@pytest.mark.method("errors.publish", "errors.report_job_error", "logs.publish")
async def test_what_cannot_be_published_is_refused_here(gcs: GcsClient) -> None:
    await check_unsent(gcs, gcs.errors.publish, [
        (TypeError, (b"kind", "message"), {}),
        (TypeError, ("kind", b"message"), {}),
        (TypeError, ("kind", None), {}),
        (TypeError, ("kind", "message"), {"key": 5}),
        (TypeError, ("kind", "message"), {"key": ["key"]}),
        (TypeError, ("kind", "message"), {"job_id": "abcd"}),
        (ValueError, ("kind", "message"), {"job_id": b"abc"}),
        (ValueError, ("kind", "message"), {"timeout": -1}),
    ])  # fmt: skip
    await check_unsent(gcs, gcs.errors.report_job_error, [
        (TypeError, (b"kind", "message"), {"job_id": b"abcd"}),
        (TypeError, ("kind", 1), {"job_id": b"abcd"}),
        (TypeError, ("kind", "message"), {"job_id": None}),
        (TypeError, ("kind", "message"), {"job_id": 1}),
        (ValueError, ("kind", "message"), {"job_id": b""}),
        (ValueError, ("kind", "message"), {"job_id": b"abcde"}),
    ])  # fmt: skip
    await check_unsent(gcs, gcs.logs.publish, [
        (TypeError, (None,), {}),
        (TypeError, ("line",), {}),
        (TypeError, (messages.PubMessage(),), {}),
        (TypeError, (foreign(messages.PubMessage()),), {}),
        (TypeError, ({"pid": 1},), {}),
        (ValueError, ({"no such field": 1},), {}),
        (TypeError, ({},), {"key": 5}),
        (TypeError, ({},), {"key": ["key"]}),
    ])  # fmt: skip
