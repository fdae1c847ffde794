# SPDX-License-Identifier: Apache-2.0
"""Packed records: calls on their way to the library, and what events carry, on its way back.

Invariant: pure functions over bytes. What they take and give is described in gcs_capi.h under
    "Packed submission and drain".
"""

from __future__ import annotations

import struct
from time import monotonic_ns
from typing import TYPE_CHECKING, Any, Final, get_args

from gcs_cffi import _native, _status, options
from gcs_cffi.errors import from_status
from gcs_cffi.options import StateChange

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gcs_cffi.errors import GcsError
    from gcs_cffi.options import State

POINTER_SIZE: Final = 16384
"""Bodies of so many bytes go by address: who packs one keeps it alive until it is handed over."""

STATES: Final[tuple[State, ...]] = get_args(options.State)
"""The states of a client, by the library's number."""

_HEAD: Final = _native.CALL_RECORD.size
_PADDING: Final = [bytes(-size & 7) for size in range(8)]
_pack = _native.CALL_RECORD.pack
_length = struct.Struct("=I")
_lengths = struct.Struct("=II")


def pack_call(
    client: int,
    call_id: int,
    kind: int,
    flags: int,
    method: int,
    name: bytes,
    key: bytes,
    body: bytes,
    timeout: int,
    ray_version: int = 0,
) -> bytes:
    """A call as a record; `name` is the namespace, or the path of a method without a number.

    `ray_version` is the release of Ray that the body was encoded for, as a number; 0 is any.
    """
    body_size = len(body)
    if body_size >= POINTER_SIZE:
        flags |= _native.BODY_POINTER
        body = _native.address_of(body)
    tail = b"".join((name, key, body))
    size = len(tail)
    return (
        _pack(
            _HEAD + (size + 7 & -8), kind, flags, client, call_id, timeout, monotonic_ns(), method,
            len(name), len(key), body_size, ray_version,
        )
        + tail
        + _PADDING[size & 7]
    )  # fmt: skip


def pack_cancel(client: int, call_id: int) -> bytes:
    """The record that cancels a call which was handed over before."""
    return _pack(_HEAD, _native.CANCEL, 0, client, call_id, 0, 0, 0, 0, 0, 0, 0)


def cancelled_client(record: bytes) -> int:
    """The client of a record that cancels."""
    client: int = _native.CALL_RECORD.unpack_from(record)[3]
    return client


def pack_keys(keys: Iterable[bytes]) -> bytes:
    """The keys of a KV_MULTI_GET."""
    return b"".join([part for key in keys for part in (_length.pack(len(key)), key)])


def unpack_keys(entries: bytes) -> list[bytes]:
    """The entries of a KV_KEYS event."""
    keys = []
    offset = 0
    while offset < len(entries):
        (size,) = _length.unpack_from(entries, offset)
        offset += 4 + size
        keys.append(entries[offset - size : offset])
    return keys


def unpack_pairs(entries: bytes) -> dict[bytes, bytes]:
    """The entries of a KV_MULTI_GET event."""
    pairs = {}
    offset = 0
    while offset < len(entries):
        key_size, value_size = _lengths.unpack_from(entries, offset)
        offset += 8 + key_size + value_size
        value = offset - value_size
        pairs[entries[value - key_size : value]] = entries[value:offset]
    return pairs


_RESULTS: Final[dict[int, Callable[[int, bytes], Any]]] = {
    _native.CALL: lambda _, body: body,
    _native.KV_GET: lambda _, body: body,
    _native.KV_MULTI_GET: lambda _, body: unpack_pairs(body),
    _native.KV_PUT: lambda number, _: bool(number),
    _native.KV_DELETE: lambda number, _: bool(number),
    _native.KV_DELETE_PREFIX: lambda number, _: number,
    _native.KV_EXISTS: lambda number, _: bool(number),
    _native.KV_KEYS: lambda _, body: unpack_keys(body),
    _native.CONNECT: lambda _number, _body: None,
}


def result_of(kind: int, status: int, flags: int, number: int, body: bytes) -> Any:
    """What the event that ends a call means to the caller.

    Raises:
        GcsError: the call failed, or the event cannot be read.
    """
    if status == _status.RAY_NOT_FOUND and kind == _native.KV_GET:
        return None
    if status != _status.OK:
        raise failure(status, flags, body)
    try:
        return _RESULTS[kind](number, body)
    except (LookupError, struct.error) as error:
        raise from_status(
            _status.INTERNAL,
            _status.FLAG_LOCAL | _status.FLAG_MAYBE_EXECUTED,
            f"an event of kind {kind} cannot be read: {error!r}",
        ) from None


def state_change(number: int, report: bytes) -> StateChange:
    """The number and the text of a state event."""
    return StateChange(STATES[number], event_text(report))


def event_text(report: bytes) -> str:
    """What an event that carries text says."""
    return _parts(report)[2].decode("utf-8", "replace")


def _parts(report: bytes) -> list[bytes]:
    """Method, address, message and details of an event that carries text."""
    return (report.split(b"\0", 3) + [b""] * 4)[:4]


def failure(status: int, flags: int, report: bytes) -> GcsError:
    """The error that an event with another status than OK carries."""
    method, address, message, details = _parts(report)
    return from_status(
        status,
        flags,
        message.decode("utf-8", "replace"),
        method.decode("utf-8", "replace"),
        address.decode("utf-8", "replace"),
        details,
    )
