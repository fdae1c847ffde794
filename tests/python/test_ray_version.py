# SPDX-License-Identifier: Apache-2.0
"""Calls that were made for one release of Ray, and how else a release shows, on a real server."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

import gcs_cffi
from gcs_cffi import _native, _packed, _release, _status
from gcs_cffi._gcs_capi import lib

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gcs_cffi import sync

KEYS = "/ray.rpc.InternalKVGcsService/InternalKVKeys"
SECOND = 1_000_000_000


class Calls:
    """Makes calls as records, with a queue of its own."""

    def __init__(self, queue: _native.Queue) -> None:
        self._queue = queue

    def start(self, gcs: sync.GcsClient, ray_version: int) -> None:
        record = _packed.pack_call(
            gcs._channel.handle, self._queue.next_id(), _native.CALL, 0,
            _release.METHODS[KEYS].number, b"", b"", b"", 30 * SECOND, ray_version,
        )  # fmt: skip
        assert self._queue.submit(record) == _status.OK

    def result(self) -> Any:
        status, events = self._queue.drain(60 * SECOND)
        assert status == _status.OK
        ((_, status, kind, flags, number, offset, size, buffer),) = events
        body = bytes(self._queue.arena[offset : offset + size])
        if buffer:
            body = _native.take_buffer(buffer)
        return _packed.result_of(kind, status, flags, number, body)


@pytest.fixture
def calls() -> Iterator[Calls]:
    queue = _native.Queue(capacity=8, arena_size=65536)
    yield Calls(queue)
    queue.close()


def number(version: str) -> int:
    return int(lib.gcs_ray_version_number(version.encode()))


@contextmanager
def refused(server: str, request: str) -> Iterator[None]:
    """What is raised when the server is another release than the request was made for."""
    with pytest.raises(gcs_cffi.UnsupportedByServerError) as caught:
        yield
    assert caught.value.code == _status.UNSUPPORTED
    assert caught.value.retryable
    assert not caught.value.maybe_executed
    said = f"the server is Ray {server} now, and the request was made for Ray {request}"
    assert caught.value.message == said


def test_a_call_is_sent_to_the_release_that_it_was_made_for(
    blocking_gcs: sync.GcsClient, namespace: str, calls: Calls
) -> None:
    blocking_gcs.kv.put(b"a key for one release", b"value", namespace=namespace)
    calls.start(blocking_gcs, number(ray_version(blocking_gcs)))
    assert b"a key for one release" in calls.result()


def test_a_call_that_was_made_for_another_release_is_not_sent(
    blocking_gcs: sync.GcsClient, calls: Calls
) -> None:
    calls.start(blocking_gcs, number("2.9.3"))
    with refused(ray_version(blocking_gcs), "2.9.3"):
        calls.result()


def ray_version(gcs: sync.GcsClient) -> str:
    version: str = gcs.call("NodeInfoGcsService", "CheckAlive", {}).ray_version
    return version


def test_a_status_of_rays_that_comes_as_an_abort_is_one(blocking_gcs: sync.GcsClient) -> None:
    request = {"node_id": bytes(28), "resources": {"CPU": 1}}
    with pytest.raises(gcs_cffi.GcsStatusError, match="is not alive") as caught:
        blocking_gcs.call("AutoscalerStateService", "ResizeRayletResourceInstances", request)
    assert caught.value.code_name == "RAY_NOT_FOUND"
    assert caught.value.details.decode() == caught.value.message
    assert not caught.value.maybe_executed


def test_of_a_method_that_the_server_lacks_the_releases_are_told(
    blocking_gcs: sync.GcsClient,
) -> None:
    with pytest.raises(gcs_cffi.UnsupportedByServerError, match=r"from 2\.9 to 2\.55") as caught:
        blocking_gcs.call("JobInfoGcsService", "ReportJobError", b"")
    assert caught.value.code == 12
