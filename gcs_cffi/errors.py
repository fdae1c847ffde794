# SPDX-License-Identifier: Apache-2.0
"""What calls raise: always a `GcsError`, which is Python's own kind of error too where one fits.

Invariants:
- An error is made of numbers and text only, so that it survives pickle and copy, in another process
  too.
- The numbers choose the class (`from_status`); texts are for people and may change.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from gcs_cffi import _status

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "AuthenticationError",
    "ClientClosedError",
    "ClusterChangedError",
    "ConnectionLostError",
    "DeadlineExceededError",
    "ForkedError",
    "GcsError",
    "GcsStatusError",
    "InvalidRequestError",
    "LimitExceededError",
    "RpcError",
    "UnavailableError",
    "UnsupportedByServerError",
]

if sys.version_info >= (3, 11):
    _TimeoutError = TimeoutError
else:
    import asyncio

    class _TimeoutError(TimeoutError, asyncio.TimeoutError):
        """Both of what 3.11 made one: asyncio's own timeouts are caught by either name there."""


class GcsError(Exception):
    """A call to the GCS failed."""

    message: str
    """What happened, without the names that `str()` adds."""
    code: int
    """1 to 16: the gRPC status that the server sent. 1000 + n: Ray's own status code n, out of the
    reply. Negative: raised on this side. 0: none of these."""
    method: str
    """The RPC's path, such as "/ray.rpc.JobInfoGcsService/GetNextJobID"; empty if there is none."""
    address: str
    """The server's "host:port"; empty if there is none."""
    retryable: bool
    """Whether it was not the call's own fault, so that the same call may succeed later. Whether it
    is safe to make it again is another question: it is if the call only reads, or if
    `maybe_executed` is False."""
    maybe_executed: bool
    """Whether the server may have carried the request out all the same. A call that is cancelled
    (CancelledError) does not say it: it may have been."""
    details: bytes
    """What the server sent beside its status (the grpc-status-details-bin trailer); mostly empty.
    Ray puts text there."""

    def __init__(
        self,
        message: str = "",
        *,
        code: int = 0,
        method: str = "",
        address: str = "",
        retryable: bool = False,
        maybe_executed: bool = False,
        details: bytes | str = b"",
    ) -> None:
        """Sets the attributes of the same names.

        Args:
            message: what happened, to what, and what to do.
            code: a status of the library.
            method: the RPC's path, or empty.
            address: the server's "host:port", or empty.
            retryable: whether the same call may succeed later.
            maybe_executed: whether the server may have carried the request out.
            details: what the server sent beside its status; a str is taken as UTF-8.
        """
        self.message = message
        self.code = code
        self.method = method
        self.address = address
        self.retryable = retryable
        self.maybe_executed = maybe_executed
        self.details = details.encode() if isinstance(details, str) else bytes(details)
        super().__init__(self._text())

    @property
    def code_name(self) -> str:
        """The name of `code`, such as "UNIMPLEMENTED", "RAY_NOT_FOUND" or "GCS_DEADLINE"."""
        return _status.status_name(self.code)

    def _text(self) -> str:
        text = self.message
        if self.code:
            text = f"{self.code_name}: {text}" if text else self.code_name
        details = _readable(self.details)
        if details and details not in text:
            text = f"{text}: {details}"
        where = " at ".join(
            part for part in (self.method, self.address) if part and part not in text
        )
        return f"{text} [{where}]" if where else text

    def __str__(self) -> str:
        """The message, with the name of the code, the method and the address."""
        return str(self.args[0]) if self.args else ""

    def __reduce__(
        self,
    ) -> tuple[
        Callable[[type[GcsError], tuple[object, ...]], GcsError],
        tuple[type[GcsError], tuple[object, ...]],
        dict[str, object],
    ]:
        """The class, the text and the attributes: the default would keep the text alone."""
        return _restore, (type(self), self.args), self.__dict__.copy()


class RpcError(GcsError):
    """The server answered with a gRPC status that is not OK; `code` is that status."""


class GcsStatusError(GcsError):
    """The GCS looked at the request, and replied with a status of Ray's own that is not OK."""

    @property
    def ray_code(self) -> int:
        """Ray's own number of the status: `code` without the 1000."""
        return self.code - _status.RAY


class UnavailableError(GcsError, ConnectionError):
    """No connection could be made, or the server says that it cannot serve now."""


class ConnectionLostError(UnavailableError):
    """The connection went away under the call."""


class DeadlineExceededError(GcsError, _TimeoutError):
    """The call's timeout expired, here or on the server."""


class ClusterChangedError(GcsError):
    """The GCS at this address is not the one that the client first spoke to: its state is gone."""


class AuthenticationError(GcsError):
    """The token is wrong or missing."""


class InvalidRequestError(GcsError, ValueError):
    """Refused before anything was sent: the request makes no sense, or would harm the server."""


class LimitExceededError(GcsError):
    """A limit of the client: the size of a message, or the number of pending calls."""


class UnsupportedByServerError(GcsError):
    """This server's release of Ray cannot do it.

    It lacks the method (`code` is 12), or it is not the release that the request was encoded for.
    """


class ClientClosedError(GcsError):
    """The client was closed, before the call or under it."""


class ForkedError(GcsError):
    """The client was made before a fork, and this is the child: make a new one here."""


_CLASS_BY_CODE: dict[int, type[GcsError]] = {
    _status.INVALID_ARGUMENT: InvalidRequestError,
    _status.BAD_HANDLE: ClientClosedError,
    _status.CLOSED: ClientClosedError,
    _status.DEADLINE: DeadlineExceededError,
    _status.CONNECTION_LOST: ConnectionLostError,
    _status.CLUSTER_CHANGED: ClusterChangedError,
    _status.FORKED: ForkedError,
    _status.LIMIT: LimitExceededError,
    _status.UNSUPPORTED: UnsupportedByServerError,
    _status.UNAVAILABLE: UnavailableError,
    _status.GRPC_CANCELLED: UnavailableError,  # by the server, which is about to end
    _status.GRPC_DEADLINE_EXCEEDED: DeadlineExceededError,
    _status.GRPC_UNIMPLEMENTED: UnsupportedByServerError,
    _status.GRPC_UNAVAILABLE: UnavailableError,
    _status.GRPC_UNAUTHENTICATED: AuthenticationError,
}


def from_status(
    status: int,
    flags: int,
    message: str,
    method: str = "",
    address: str = "",
    details: bytes | str = b"",
) -> GcsError:
    """Makes the error for a status of the library. The class follows from the two numbers alone.

    Args:
        status: how the call ended; not 0.
        flags: GCS_FLAG_* of gcs_capi.h.
        message: what happened, to what, and what to do.
        method: the RPC's path, or empty.
        address: the server's address, or empty.
        details: what the server sent beside its status, or empty.

    Raises:
        ValueError: `status` is 0, which is no failure.
    """
    if status == _status.OK:
        raise ValueError("status 0 is success: there is no error to make of it")
    return _class_for(status, flags)(
        message,
        code=status,
        method=method,
        address=address,
        retryable=bool(flags & _status.FLAG_RETRYABLE),
        maybe_executed=bool(flags & _status.FLAG_MAYBE_EXECUTED),
        details=details,
    )


def _class_for(status: int, flags: int) -> type[GcsError]:
    if flags & _status.FLAG_AUTH:
        return AuthenticationError
    if status in _CLASS_BY_CODE:
        return _CLASS_BY_CODE[status]
    if flags & _status.FLAG_TIMEOUT:
        return DeadlineExceededError
    if status > _status.RAY:
        return GcsStatusError
    return RpcError if status > 0 else GcsError


def _readable(details: bytes) -> str:
    """The details as text, or nothing when they are not meant for people."""
    try:
        text = details.decode().strip()
    except UnicodeDecodeError:
        return ""
    return text if text.isprintable() else ""


def _restore(cls: type[GcsError], args: tuple[object, ...]) -> GcsError:
    error: GcsError = cls.__new__(cls)
    error.args = args
    return error
