# SPDX-License-Identifier: Apache-2.0
"""Calls that were made for one release of Ray, and how else a release shows, on a real server."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

import gcs_cffi
from gcs_cffi import _native, _packed, _status
from gcs_cffi._gcs_capi import lib
from gcs_cffi.testing import GcsServer, GcsServerError
from gcs_cffi.testing._locate import find_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gcs_cffi import sync

KEYS = "/ray.rpc.InternalKVGcsService/InternalKVKeys"
OLD = "2.40.0"
SECOND = 1_000_000_000


class Calls:
    """Makes calls as records, with a queue of its own."""

    def __init__(self, queue: _native.Queue) -> None:
        self._queue = queue

    def start(self, gcs: sync.GcsClient, ray_version: int) -> None:
        record = _packed.pack_call(
            gcs._channel.handle, self._queue.next_id(), _native.CALL, 0,
            _native.method_number(KEYS), b"", b"", b"", 30 * SECOND, ray_version,
        )  # fmt: skip
        assert self._queue.submit(record) == _status.OK

    def result(self) -> Any:
        status, events = self._queue.drain(60 * SECOND)
        assert status == _status.OK
        ((_, status, kind, flags, number, offset, size, _),) = events
        body = bytes(self._queue.arena[offset : offset + size])
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
    blocking_gcs: sync.GcsClient, calls: Calls
) -> None:
    calls.start(blocking_gcs, number(ray_version(blocking_gcs)))
    assert b"ray_cluster_id" in calls.result()


def test_a_call_that_was_made_for_another_release_is_not_sent(
    blocking_gcs: sync.GcsClient, calls: Calls
) -> None:
    calls.start(blocking_gcs, number("2.9.3"))
    with refused(ray_version(blocking_gcs), "2.9.3"):
        calls.result()


def test_a_server_that_came_back_as_another_release_does_not_get_what_waits(
    hide_user: None, calls: Calls
) -> None:
    try:
        find_server(OLD)
    except GcsServerError as error:
        pytest.skip(f"there is no second release on this machine: {error}")
    with GcsServer(ray=OLD) as old:
        port = int(old.address.rpartition(":")[2])
        gcs = gcs_cffi.sync.connect(old.address, on_cluster_change="adopt")
        calls.start(gcs, number(OLD))
        assert b"ray_cluster_id" in calls.result()
    with gcs:
        calls.start(gcs, number(OLD))
        with GcsServer(port=port):
            with refused(ray_version(gcs), OLD):
                calls.result()
            calls.start(gcs, number(ray_version(gcs)))
            assert b"ray_cluster_id" in calls.result()


def ray_version(gcs: sync.GcsClient) -> str:
    version: str = gcs.call("NodeInfoGcsService", "CheckAlive", {}).ray_version
    return version


def test_a_status_of_rays_that_comes_as_an_abort_is_one(blocking_gcs: sync.GcsClient) -> None:
    request = {
        "subscriber_id": bytes(28),
        "commands": [{"channel_type": "RAY_ERROR_INFO_CHANNEL", "subscribe_message": {}}],
    }
    with pytest.raises(gcs_cffi.GcsStatusError, match="RAY_ERROR_INFO_CHANNEL") as caught:
        blocking_gcs.call("ControlPlanePubSubGcsService", "GcsSubscriberCommandBatch", request)
    assert caught.value.code_name == "RAY_INVALID_ARGUMENT"
    assert caught.value.details.decode() == caught.value.message
    assert not caught.value.maybe_executed


def test_of_a_method_that_the_server_lacks_the_releases_are_told(
    blocking_gcs: sync.GcsClient,
) -> None:
    with pytest.raises(gcs_cffi.UnsupportedByServerError, match=r"from 2\.9 to 2\.55") as caught:
        blocking_gcs.call("JobInfoGcsService", "ReportJobError", b"")
    assert caught.value.code == 12
