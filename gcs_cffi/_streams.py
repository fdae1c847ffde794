# SPDX-License-Identifier: Apache-2.0
"""What streams of events have in common, on asyncio and without it."""

from __future__ import annotations

from asyncio import CancelledError
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Final, Protocol

from gcs_cffi import _status
from gcs_cffi._packed import failure
from gcs_cffi.errors import GcsError

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Callable

    from gcs_cffi import _native

    Begin = Callable[[int, _native.Queue], None]
    """Has the library begin a stream with this id, whose events come to this queue."""

_ORDERLY: Final = frozenset({_status.OK, _status.CLOSED, _status.CANCELLED})


LOSSLESS: Final = (TimeoutError, GcsError, CancelledError)
"""What ends a wait for an event without taking one; an exception of a signal handler's may."""

StreamEvent = tuple[int, int, int, bytes]
"""One event of a stream: its kind, flags, number and bytes, as the library's header has them."""


class Taker(Protocol):
    """A stream: who takes the events of an id to which more than one comes."""

    waiter: Future[bool] | None

    def take(self, kind: int, status: int, flags: int, number: int, body: bytes) -> None:
        """Gets an event."""

    def has(self, body: bytes) -> bool:
        """Whether the event that it got last has these bytes, this very object."""


def check_end(status: int, flags: int, report: bytes) -> None:
    """Raises unless a stream that ends like this was ended by its client or its user.

    Raises:
        GcsError: the library has ended it.
    """
    if status not in _ORDERLY:
        raise failure(status, flags, report)


def expired(what: str, timeout: float) -> TimeoutError:
    """The error of whoever has waited for so many seconds."""
    return TimeoutError(f"no {what} within {float(timeout):g} s")


Turn = dict[None, object]
"""Who waits, one at a time: whoever puts the mark in, by `setdefault()`, and takes it out again, by
itself. Any thread, and any handler of a signal: each of these is one step of the interpreter's, and
between the look at the mark and its removal is no call, behind which an interrupt might come."""


def taken(what: str = "event") -> RuntimeError:
    """The error of a second one that would wait."""
    return RuntimeError(f"somebody waits for the next {what} already")


def check_callback(callback: object) -> None:
    """Refuses what cannot be told anything.

    Raises:
        TypeError: it is not callable, or gives a coroutine, which nobody would run.
    """
    if not callable(callback):
        raise TypeError(f"the callback is a function, not {type(callback).__name__}")
    if iscoroutinefunction(callback):
        raise TypeError("the callback is an ordinary function; start a task in it where one is due")
