# SPDX-License-Identifier: Apache-2.0
"""Calls of any method: from names and a request to bytes, and from bytes to a reply.

Invariant: protobuf is imported only for a call that has a message or a dict in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from gcs_cffi import _arguments, _native, _status, messages
from gcs_cffi.errors import from_status

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from typing_extensions import Buffer

    from gcs_cffi.options import Retry

    MessageT = TypeVar("MessageT", bound=Message)

_RETRY: Final[dict[str | None, int]] = {
    None: 0,
    "safe": 0,
    "never": _native.RETRY_NEVER,
    "always": _native.RETRY_ALWAYS,
}
_WAIT: Final[dict[bool | None, int]] = {None: 0, True: _native.WAIT, False: _native.NO_WAIT}


class Method(NamedTuple):
    """A method as the library takes it."""

    number: int
    """The library's number for it; 0 if it has none."""
    name: bytes
    """The path, for a method without a number; else empty."""
    path: str


@lru_cache(maxsize=512)
def find(service: str, method: str) -> Method:
    """Finds a method. Raises TypeError and ValueError for names that cannot be."""
    path = _arguments.method_path(service, method)
    number = _native.method_number(path)
    return Method(number, b"" if number else path.encode(), path)


class Prepared(NamedTuple):
    """A call that is ready to go."""

    method: Method
    flags: int
    body: bytes
    reply_type: type[Message] | None
    """The class that the reply is read with; None gives bytes."""


def prepare(
    service: str,
    method: str,
    request: Buffer | Message | Mapping[str, Any],
    reply_type: type[Message] | None,
    retry: Retry | None,
    wait_for_ready: bool | None,
) -> Prepared:
    """Checks the arguments of `GcsClient.call()`, where they are explained."""
    found = find(service, method)
    if retry not in _RETRY:
        raise ValueError(f'retry is "never", "safe" or "always", not {retry!r}')
    if wait_for_ready is not None:
        _arguments.boolean(wait_for_ready, "wait_for_ready")
    flags = _RETRY[retry] | _WAIT[wait_for_ready]
    serialize = getattr(request, "SerializeToString", None)
    takes_bytes = serialize is None and not isinstance(request, Mapping)
    if takes_bytes and reply_type is None:
        return Prepared(found, flags, _request_bytes(request), None)
    full_service, _, name = found.path[1:].partition("/")
    types = messages.method_types(full_service, name)
    if types is not None and reply_type is not None:
        expected, got = types[1].DESCRIPTOR.full_name, reply_type.DESCRIPTOR.full_name
        if got != expected:
            raise TypeError(f"{found.path} gives a {expected}, not a {got}")
    if takes_bytes:
        return Prepared(found, flags, _request_bytes(request), reply_type)
    if types is None and (serialize is None or reply_type is None):
        what = "dicts" if serialize is None else "messages without a reply_type"
        raise ValueError(
            f"the messages of {found.path} are not known here, so that it takes no {what}: pass "
            "the serialized request as bytes, or a message together with a reply_type"
        )
    if types is None:
        return Prepared(found, flags, _serialized(request), reply_type)
    if serialize is None:
        request = types[0](**request)  # type: ignore[arg-type]
    else:
        expected = types[0].DESCRIPTOR.full_name
        got = request.DESCRIPTOR.full_name  # type: ignore[union-attr]
        if got != expected:
            raise TypeError(f"{found.path} takes a {expected}, not a {got}")
    return Prepared(found, flags, _serialized(request), reply_type or types[1])


def parse(reply_type: type[MessageT], body: bytes, path: str, address: str) -> MessageT:
    """Reads a reply.

    Raises:
        GcsError: these bytes are not such a message.
    """
    from google.protobuf.message import DecodeError

    try:
        return reply_type.FromString(body)
    except DecodeError as error:
        name = reply_type.DESCRIPTOR.full_name
        raise from_status(
            _status.INTERNAL,
            _status.FLAG_LOCAL | _status.FLAG_MAYBE_EXECUTED,
            f"the reply of {len(body)} bytes is not a {name}: {error}",
            path,
            address,
        ) from None


def _request_bytes(request: Any) -> bytes:
    if isinstance(request, str):
        raise TypeError("a request is bytes, a message or a dict, not str")
    try:
        return _arguments.value_bytes(request)
    except TypeError:
        kind = type(request).__name__
        raise TypeError(f"a request is bytes, a message or a dict, not {kind}") from None


def _serialized(request: Any) -> bytes:
    body: bytes = request.SerializeToString()
    return body
