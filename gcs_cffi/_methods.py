# SPDX-License-Identifier: Apache-2.0
"""Calls of any method: from names and a request to bytes, and from bytes to a reply.

Invariant: protobuf is imported only for a call that has a message or a dict in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from gcs_cffi import _arguments, _native, _release, _status, messages
from gcs_cffi.errors import from_status

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from typing_extensions import Buffer

    from gcs_cffi._layout import Translator
    from gcs_cffi._release import KnownMethod
    from gcs_cffi.ids import BaseID
    from gcs_cffi.options import Retry

    IdT = TypeVar("IdT", bound=BaseID)
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
    known = _release.METHODS.get(path)
    return Method(0, path.encode(), path) if known is None else Method(known.number, b"", path)


class Prepared(NamedTuple):
    """A call whose arguments were checked."""

    method: Method
    flags: int
    request: Any
    """Bytes; or a message of the bundled schema, or, for a method whose messages it lacks, what
    was passed."""
    known: KnownMethod | None
    """The method, if the bundled schema has its messages."""
    reply_type: type[Message] | None
    """Another class than the bundled schema's, which the reply is read with as it is."""
    is_raw: bool
    """Whether the request goes through as it is, and the reply comes back so."""


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
    takes_bytes = not isinstance(request, Mapping) and not hasattr(request, "SerializeToString")
    if takes_bytes:
        body = _request_bytes(request)
        if reply_type is None:
            return Prepared(found, flags, body, None, None, is_raw=True)
    known = _known_with_messages(found.path)
    if reply_type is not None and known is not None:
        got = getattr(getattr(reply_type, "DESCRIPTOR", None), "full_name", repr(reply_type))
        if got != known.reply:
            raise TypeError(f"{found.path} gives a {known.reply}, not a {got}")
        if reply_type is messages.message_class(known.reply):
            reply_type = None
    if takes_bytes:
        return Prepared(found, flags, body, known, reply_type, is_raw=known is None)
    message: Any = request
    if known is not None:
        cls = messages.message_class(known.request)
        message = bundled(cls, message, f"the request of {found.path}")
    return Prepared(found, flags, message, known, reply_type, is_raw=False)


def bundled(
    cls: type[MessageT], value: Message | Mapping[str, Any], what: str = "the request"
) -> MessageT:
    """A value as a message of the bundled schema.

    Args:
        cls: the message.
        value: such a message; the same message of another schema, such as Ray's; or its fields.
        what: the value's name, for errors.

    Raises:
        TypeError: another message, or something else altogether.
        ValueError: a field that the bundled schema lacks, or a value that cannot be.
    """
    if isinstance(value, Mapping):
        return _from_fields(cls, value, what)
    if isinstance(value, cls):
        return value
    if isinstance(value, type):
        raise TypeError(f"{what} is a message, not the class {value.__name__}: make one of it")
    name = cls.DESCRIPTOR.full_name
    theirs: Any = getattr(value, "DESCRIPTOR", None)
    got = getattr(theirs, "full_name", type(value).__name__)
    if got != name:
        raise TypeError(f"{what} is a {name} or a dict of its fields, not a {got}")

    def missing(field: Any) -> None:
        full_name = f"{field.containing_type.name}.{field.name}"
        raise ValueError(f"{what} has the field {full_name}, which is not known here")

    translator = _foreign_layouts()
    made = cls()
    ours: Any = cls.DESCRIPTOR
    if translator.is_interchangeable(theirs, ours):
        made.MergeFromString(value.SerializePartialToString())
    else:
        translator.translate(value, made, missing)
    return made


def _from_fields(cls: type[MessageT], fields: Mapping[str, Any], what: str) -> MessageT:
    try:
        return cls(**fields)
    except (TypeError, ValueError) as error:
        # protobuf does not say which field it is about.
        for name, value in fields.items():
            try:
                cls(**{name: value})
            except (TypeError, ValueError) as wrong:
                raise type(wrong)(f"{what}: the field {name!r}: {wrong}") from None
        raise type(error)(f"{what}: {error}") from None


def reflected_request(path: str, cls: type[Message], request: Message | Mapping[str, Any]) -> bytes:
    """The same for a class that the server's own description made, as bytes.

    Raises:
        TypeError: another message.
        ValueError: a field that it lacks, or a value that cannot be.
    """
    if isinstance(request, Mapping):
        return _from_fields(cls, request, f"the request of {path}").SerializeToString()
    expected, got = cls.DESCRIPTOR.full_name, request.DESCRIPTOR.full_name
    if got != expected:
        raise TypeError(f"{path} takes a {expected}, not a {got}")
    return request.SerializeToString()


@lru_cache(maxsize=1)
def _foreign_layouts() -> Translator:
    from gcs_cffi._layout import Translator

    return Translator()


@lru_cache(maxsize=512)
def _known_with_messages(path: str) -> KnownMethod | None:
    known = _release.METHODS.get(path)
    if known is not None:
        try:
            messages.message_class(known.request)
            messages.message_class(known.reply)
        except LookupError:
            return None
    return known


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


def id_of(cls: type[IdT], raw: bytes) -> IdT:
    """An id out of a reply; an absent one is nil.

    Raises:
        GcsError: it has another length than such an id.
    """
    if not raw:
        return cls.nil()
    try:
        return cls(raw)
    except ValueError as error:
        text = f"the reply holds an id that is none: {error}"
        raise from_status(_status.INTERNAL, _status.FLAG_LOCAL, text) from None


def _request_bytes(request: Any) -> bytes:
    if isinstance(request, str):
        raise TypeError("a request is bytes, a message or a dict, not str")
    try:
        return _arguments.value_bytes(request)
    except TypeError:
        kind = type(request).__name__
        raise TypeError(f"a request is bytes, a message or a dict, not {kind}") from None
