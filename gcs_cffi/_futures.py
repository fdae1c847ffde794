# SPDX-License-Identifier: Apache-2.0
"""The ends of futures, and tasks that run as soon as what they await has ended.

A future's own way goes through `call_soon`: another iteration of the loop, with its poll, before
the task runs.

Invariants:
- A task that is run here runs in its own context, and only if it awaits the future and nothing else
  does.
- However that is interrupted, the future has ended, and the task runs or will run.
- All of it belongs to the thread of the loop.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from gcs_cffi import _native, _status
from gcs_cffi._packed import result_of
from gcs_cffi.errors import GcsError

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context

_PLAIN_KINDS: Final = frozenset({_native.CALL, _native.KV_GET})  # their result is the event's bytes


def end(
    future: asyncio.Future[Any], kind: int, status: int, flags: int, number: int, body: bytes
) -> None:
    """Gives a future the outcome that an event has, unless it is done."""
    if future.done():
        return  # cancelled, and its task has not run since
    try:
        if status == _status.OK and kind in _PLAIN_KINDS:
            future.set_result(body)
        else:
            future.set_result(result_of(kind, status, flags, number, body))
    except GcsError as error:
        # The traceback would tie the future and its exception into a cycle.
        future.set_exception(error.with_traceback(None))


def end_here(
    future: asyncio.Future[Any], kind: int, status: int, flags: int, number: int, body: bytes
) -> None:
    """The same of a future that one task awaits at most; that runs here and now."""
    direct = type(future) is asyncio.Future
    waiting = future._callbacks if direct else None  # noqa: SLF001 (nothing public tells)
    if not waiting:
        end(future, kind, status, flags, number, body)
        return
    wake, context = waiting[0]
    try:
        future.remove_done_callback(wake)
        end(future, kind, status, flags, number, body)
        context.run(wake, future)
    except BaseException:
        # From the task itself, or an interrupt that came before it ran.
        end(future, kind, status, flags, number, body)
        _wake_later(wake, future, context)
        raise


class IndirectWaiter(asyncio.Future[bool]):
    """What is awaited by asyncio on behalf of a task, which does not run where it ends."""


def end_wait(waiter: asyncio.Future[bool]) -> None:
    """Has whoever waits for events look again, unless that was said already."""
    if not waiter.done():
        waiter.set_result(True)


def end_wait_here(waiter: asyncio.Future[bool]) -> None:
    """The same; a task that awaits nothing else runs here and now."""
    waiting = waiter._callbacks if type(waiter) is asyncio.Future else None  # noqa: SLF001
    if not waiting:
        end_wait(waiter)
        return
    wake, context = waiting[0]
    try:
        waiter.remove_done_callback(wake)
        waiter.set_result(True)
        context.run(wake, waiter)
    except BaseException:
        end_wait(waiter)
        _wake_later(wake, waiter, context)
        raise


def _wake_later(
    wake: Callable[[asyncio.Future[Any]], object], future: asyncio.Future[Any], context: Context
) -> None:
    """Has a task run in another iteration of the loop, if it was not run yet."""
    if _still_waits(wake, future):
        future.get_loop().call_soon(wake, future, context=context)


def _still_waits(wake: object, future: asyncio.Future[Any]) -> bool:
    """Whether the task that `wake` wakes has not been run since it began to await the future."""
    task = getattr(wake, "__self__", None)
    return getattr(task, "_fut_waiter", None) is future
