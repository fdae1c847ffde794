# SPDX-License-Identifier: Apache-2.0
"""What streams of events have in common, on asyncio and without it."""

from __future__ import annotations

from inspect import iscoroutinefunction
from typing import Final

from gcs_cffi import _status
from gcs_cffi.errors import from_status

_ORDERLY: Final = frozenset({_status.OK, _status.CLOSED, _status.CANCELLED})


def check_end(status: int) -> None:
    """Raises unless a stream that ends with this status was ended by its client or its user.

    Raises:
        GcsError: the library has ended it.
    """
    if status not in _ORDERLY:
        raise from_status(status, _status.FLAG_LOCAL, "the library has ended the watch")


def check_callback(callback: object) -> None:
    """Refuses what cannot be told anything.

    Raises:
        TypeError: it is not callable, or gives a coroutine, which nobody would run.
    """
    if not callable(callback):
        raise TypeError(f"the callback is a function, not {type(callback).__name__}")
    if iscoroutinefunction(callback):
        raise TypeError("the callback is an ordinary function; start a task in it where one is due")
