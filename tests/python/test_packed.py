# SPDX-License-Identifier: Apache-2.0
"""Packed records: what goes to the library and what comes from it, byte by byte."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest
from helpers import run_script
from hypothesis import given
from hypothesis import strategies as st

import gcs_cffi
from gcs_cffi import _arguments, _native, _packed, _status

if TYPE_CHECKING:
    from gcs_cffi.testing import GcsServer

SMALL = st.binary(max_size=100)


@given(name=SMALL, key=SMALL, body=SMALL)
def test_a_record_is_head_and_bytes_and_padding(name: bytes, key: bytes, body: bytes) -> None:
    record = _packed.pack_call(
        7, 8, _native.KV_PUT, _native.OVERWRITE, 9, name, key, body, 10, 2_060_000
    )
    stride, kind, flags, client, call_id, timeout, started, method, *sizes = (
        _native.CALL_RECORD.unpack_from(record)
    )
    assert stride == len(record)
    assert stride % 8 == 0
    assert (kind, flags) == (_native.KV_PUT, _native.OVERWRITE)
    assert (client, call_id, timeout, method) == (7, 8, 10, 9)
    assert started > 0
    assert sizes == [len(name), len(key), len(body), 2_060_000]
    tail = record[_native.CALL_RECORD.size :]
    assert tail[: len(name + key + body)] == name + key + body
    assert tail[len(name + key + body) :].strip(b"\0") == b""
    assert len(tail) - len(name + key + body) < 8


def test_a_big_body_goes_by_its_address() -> None:
    body = bytes(_packed.POINTER_SIZE)
    record = _packed.pack_call(1, 2, _native.KV_PUT, 0, 0, b"", b"key", body, 0)
    assert len(record) == _native.CALL_RECORD.size + 16
    fields = _native.CALL_RECORD.unpack_from(record)
    assert fields[2] & _native.BODY_POINTER
    assert fields[-2:] == (len(body), 0)
    assert record[-13:-5] == _native.address_of(body)
    inline = _packed.pack_call(1, 2, _native.KV_PUT, 0, 0, b"", b"key", body[1:], 0)
    assert len(inline) > _packed.POINTER_SIZE


@given(st.lists(SMALL))
def test_keys_survive_packing(keys: list[bytes]) -> None:
    assert _packed.unpack_keys(_packed.pack_keys(keys)) == keys


@given(st.dictionaries(SMALL, SMALL))
def test_pairs_are_unpacked(pairs: dict[bytes, bytes]) -> None:
    entries = b"".join(
        struct.pack("=II", len(key), len(value)) + key + value for key, value in pairs.items()
    )
    assert _packed.unpack_pairs(entries) == pairs


def test_results_are_those_of_their_kind() -> None:
    def result(kind: int, number: int = 0, body: bytes = b"") -> object:
        return _packed.result_of(kind, 0, 0, number, body)

    assert result(_native.CALL, body=b"reply") == b"reply"
    assert result(_native.KV_GET, body=b"value") == b"value"
    assert result(_native.KV_PUT, 1) is True
    assert result(_native.KV_PUT, 0) is False
    assert result(_native.KV_DELETE, 1) is True
    assert result(_native.KV_EXISTS, 0) is False
    assert result(_native.KV_DELETE_PREFIX, 12) == 12
    assert result(_native.CONNECT) is None
    assert _packed.result_of(_native.KV_GET, _status.RAY_NOT_FOUND, 0, 0, b"") is None


def test_a_failure_carries_what_the_event_says() -> None:
    report = b"/ray.rpc.S/M\0host:1\0it broke\0details\0with NUL"
    flags = _status.FLAG_RETRYABLE | _status.FLAG_MAYBE_EXECUTED
    with pytest.raises(gcs_cffi.UnavailableError) as caught:
        _packed.result_of(_native.KV_PUT, _status.UNAVAILABLE, flags, 0, report)
    error = caught.value
    assert (error.method, error.address, error.message) == ("/ray.rpc.S/M", "host:1", "it broke")
    assert error.details == b"details\0with NUL"
    assert error.retryable
    assert error.maybe_executed


@pytest.mark.parametrize("body", [b"\x01", b"\x01\0\0\0\x01\0\0"])
def test_an_event_that_cannot_be_read_is_an_error(body: bytes) -> None:
    with pytest.raises(gcs_cffi.GcsError, match="cannot be read"):
        _packed.result_of(_native.KV_MULTI_GET, 0, 0, 0, body)
    with pytest.raises(gcs_cffi.GcsError, match="cannot be read"):
        _packed.result_of(99, 0, 0, 0, body)


@given(st.floats(min_value=0, max_value=9e9))
def test_a_timeout_is_never_shorter_than_asked(seconds: float) -> None:
    assert _arguments.nanoseconds(seconds) >= seconds * 1e9 - 1
    assert (_arguments.nanoseconds(seconds) == 0) == (seconds == 0)


def test_ids_grow_and_are_never_given_twice() -> None:
    queues = [_native.Queue(capacity=1, arena_size=0) for _ in range(2)]
    given_out: set[int] = set()
    for queue in queues:
        last = 0
        for _ in range(10_000):  # over several blocks
            call_id = queue.next_id()
            assert call_id > last
            assert call_id not in given_out
            given_out.add(call_id)
            last = call_id
        queue.close()


def test_events_that_are_thrown_away_untaken_in_a_cycle_do_not_crash_the_interpreter(
    server: GcsServer,
) -> None:
    script = """
import gc, sys
from gcs_cffi import _native, sync

class Box:
    pass

with sync.connect(sys.argv[1]) as gcs:
    for _ in range(20):
        queue = _native.Queue(capacity=64, arena_size=65536)
        _native.client_watch(gcs._channel.handle, queue.next_id(), queue)
        status, events = queue.drain(5_000_000_000)
        assert status == 0
        box = Box()  # younger than what it holds: the collector comes to it later
        box.box, box.queue, box.events = box, queue, events
        del queue, events
        del box
        gc.collect()
print("alive")
"""
    done = run_script(script, server.address)
    assert (done.returncode, done.stdout) == (0, "alive\n"), done.stderr
