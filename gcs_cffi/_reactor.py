# SPDX-License-Identifier: Apache-2.0
"""One reactor for each event loop: the calls that wait in it, and their way there and back.

Calls of one iteration of the loop are collected in `batch` and handed over at its end, all at once.
Completions come to the reactor's queue; the loop watches its descriptor, or is woken by
call_soon_threadsafe, and drains it.

Invariants:
- A reactor is used by its loop's thread only, but for what its docs say otherwise.
- An id is in `pending` from the call to its end, and in `batch` until the hand-over; ids in `batch`
  grow.
- A reactor holds its loop weakly, and the loop holds what watches the queue, so that a loop that is
  dropped goes with everything here, unless a task waits in it. The one other path from here to the
  loop, the asynchronous generator that it closes when it shuts down, hangs on its own reader.
- The reader is removed, on its own loop, before the queue is closed; a closed loop has none any
  more.
- What runs in the loop on our behalf runs in an empty context: the first caller's would live on in
  it. A task that is woken runs in its own.
- Events taken from the queue are in `_events` until they are delivered: an interrupt (Ctrl-C, or a
  task that exits) ends a delivery, and the next one goes on where it stood. One in the few
  instructions between `pending` and its future loses that call's end, as it can lose callbacks of
  asyncio's. Events of streams are not delivered twice, and lost only while their bytes, if they are
  many, are just being copied.
- When the interpreter ends, nothing is done: the library ends by itself, and half of this is gone.
- In a forked child, reactors of the parent are left alone: their loops share descriptors with it.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import sys
import threading
import weakref
from collections import deque
from contextlib import suppress
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from gcs_cffi import _log, _native, _status, options
from gcs_cffi._futures import end, end_here, end_wait, end_wait_here
from gcs_cffi._packed import cancelled_client, event_text, pack_cancel
from gcs_cffi._shutdown_hook import finish, start, until_shutdown
from gcs_cffi.errors import from_status

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Iterator

    from gcs_cffi._streams import Taker

_DRAIN_EVENTS: Final = 1024
_DRAIN_BYTES: Final = 256 * 1024
_DRAINS_PER_WAKE: Final = 4  # more events than these take are left for the loop's next iteration

_lock = threading.RLock()
_reactors: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Reactor] = (
    weakref.WeakKeyDictionary()
)
# Loops that have closed their asynchronous generators, and would complain about another one.
_shut_down: weakref.WeakSet[asyncio.AbstractEventLoop] = weakref.WeakSet()


def reactor_for(loop: asyncio.AbstractEventLoop) -> Reactor:
    """The reactor of the running loop; made when there is none."""
    with _lock:
        reactor = _reactors.get(loop)
        if reactor is None:
            retire_closed_loops()
            reactor = _reactors[loop] = Reactor(loop)
        return reactor


def retire_closed_loops() -> None:
    """Gives up the reactors whose loops were closed without a word to us. Any thread."""
    with _lock:
        for loop, reactor in list(_reactors.items()):
            if loop.is_closed():
                reactor.retire()


class Reactor:
    """What one event loop needs to make calls.

    Attributes:
        loop: the loop, weakly; gives None as well once the reactor is retired.
        queue: where completions come to.
        pending: the future of each call that has not ended.
        streams: who takes the events of an id to which more than one comes.
        batch: the records to hand over at the end of this iteration, by id; a cancellation has the
            negative id.
        inherited: whether this is a forked child, and the loop its parent's.
        lent: bodies that records in `batch` point to.
        scheduled: whether `flush` will run in this iteration.
    """

    __slots__ = (
        "__weakref__",
        "_cancels",
        "_context",
        "_descriptor",
        "_events",
        "_shutdown_hook",
        "_woken",
        "batch",
        "inherited",
        "lent",
        "loop",
        "pending",
        "queue",
        "scheduled",
        "streams",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        gone = partial(_loop_is_gone, weakref.ref(self))
        self.loop: Callable[[], asyncio.AbstractEventLoop | None] = weakref.ref(loop, gone)
        self.pending: dict[int, asyncio.Future[Any]] = {}
        self.streams: dict[int, Taker] = {}
        self.batch: dict[int, bytes] = {}
        self.lent: list[bytes] = []
        self.scheduled = self.inherited = False
        self._cancels = False  # a flush was scheduled for cancellations, and has not begun
        self._context = contextvars.Context()  # not one for all: two threads cannot be in the same
        self._descriptor: int | None = None
        self._events: Iterator[tuple[int, ...]] | None = None
        self._woken: deque[Taker] = deque()  # whose waiters are to be woken
        self._shutdown_hook: weakref.ref[AsyncGenerator[None, None]] | None = None
        self.queue = self._watched_queue(loop) or self._waking_queue()
        _log.follow_level()
        _log.attach(self.queue)

    # ---- towards the library
    # --------------------------------------------------------------------------------

    def schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        """Has the batch handed over behind what the loop already has to run."""
        # In this order: an interrupt in between costs an idle flush, and not every later call.
        loop.call_soon(self.flush, context=self._context)
        self.scheduled = True

    def flush(self) -> None:
        """Hands the batch over."""
        self.scheduled = self._cancels = False
        batch = self.batch
        if not batch:
            return
        lent = self.lent
        self.batch, self.lent = {}, []
        try:
            status = self.queue.submit(b"".join(self._without_cancelled(batch)))
        except BaseException as error:
            message = f"the calls could not be handed to the library: {error!r}"
            self._fail(batch, _status.INTERNAL, message)
            if not isinstance(error, Exception):
                raise
            return
        lent.clear()  # not before: records point into them
        if status != _status.OK:
            self._fail(batch, status, "the library refused the calls of this iteration altogether")
            for call_id, record in batch.items():
                if call_id < 0:
                    _native.cancel(cancelled_client(record), -call_id)

    def _without_cancelled(self, batch: dict[int, bytes]) -> list[bytes]:
        """The records to hand over: a call whose task was cancelled meanwhile is not among them."""
        pending = self.pending
        records = []
        for call_id, record in batch.items():
            future = pending.get(call_id)
            if future is not None and future.cancelled():
                del pending[call_id]
            else:
                records.append(record)
        return records

    def cancel(
        self, client: int, call_id: int, ending: Callable[[], bool] = sys.is_finalizing
    ) -> None:
        """Ends a call that nobody waits for any more; one that has ended already is left alone."""
        # At the interpreter's end coroutines are thrown away when half of it is gone.
        if self.pending.pop(call_id, None) is None or ending():
            return
        in_batch = self.batch.pop(call_id, None) is not None  # then it never reached the library
        loop = self.loop()
        if loop is None or loop.is_closed() or loop is not _running_loop():
            # A coroutine that is thrown away, which may happen anywhere.
            if not in_batch:
                _native.cancel(client, call_id)
            return
        if not in_batch:
            self.batch[-call_id] = pack_cancel(client, call_id)
        # Even if one is scheduled: KeyboardInterrupt may have ended that before its first line, and
        # it is then that tasks are cancelled.
        if not self._cancels:
            self.schedule(loop)
            self._cancels = True

    # ---- from the library
    # -----------------------------------------------------------------------------------

    def drain(self, _shutdown_hook: object = None) -> None:
        """Takes completions out of the queue, and ends their futures. The loop calls it."""
        loop = self.loop()
        queue = self.queue
        if loop is None or self.inherited:
            return
        report = queue.report
        # The calls that woken tasks make are handed over below, all at once.
        self.scheduled = True
        wakes = not loop.get_debug()  # there the loop says which callback was slow: the task's own
        try:
            if self._events is not None or self._woken:  # an interrupt has left them
                self._deliver(wakes)
            for _ in range(_DRAINS_PER_WAKE):
                status, self._events = queue.drain(0)
                report.count = 0
                if status != _status.OK:
                    self._break(status)
                    return
                self._deliver(wakes)
                if not report.more:
                    break
            else:
                # A descriptor stays readable; a wake function is called for an empty queue only.
                if self._descriptor is None:
                    loop.call_soon(self.drain, context=self._context)
        except BaseException:
            if report.count:
                self._events = queue.drained()
                report.count = 0
            loop.call_soon(self.drain, context=self._context)
            raise
        finally:
            self.scheduled = self._cancels = False
            if self.batch:
                try:
                    self.flush()
                except BaseException:
                    if self.batch:  # an interrupt came before it had begun
                        self.schedule(loop)
                    raise

    def _deliver(self, wakes: bool) -> None:
        """Ends the futures of the events that are left of a drain, and wakes who waits for others.

        `wakes`: their tasks run here and now, not in another iteration of the loop.
        """
        take = self.pending.pop
        streams = self.streams
        woken = self._woken
        finish = end_here if wakes else end
        arena = self.queue.arena
        in_hand: tuple[int, ...] | None = None
        body: bytes | None = None
        stream: Taker | None = None
        try:
            for record in self._events or ():
                stream, body, in_hand = None, None, record
                call_id, status, kind, flags, number, offset, size, buffer = record
                body = _native.take_buffer(buffer) if buffer else arena[offset : offset + size]
                future = take(call_id, None)
                if future is not None:
                    finish(future, kind, status, flags, number, body)
                elif (stream := streams.get(call_id)) is not None:
                    stream.take(kind, status, flags, number, body)
                    if stream.waiter is not None and not (woken and woken[-1] is stream):
                        woken.append(stream)
                elif kind == _native.LOG:
                    _log.emit(number, event_text(body))
                in_hand = None
        except BaseException:
            if in_hand is not None:
                self._complete(in_hand, body, stream or streams.get(in_hand[0]))
            raise
        self._events = None
        # Once, when all that a drain has brought are there.
        wake = end_wait_here if wakes else end_wait
        while woken:
            stream = woken[0]
            waiter = stream.waiter
            if waiter is not None:
                wake(waiter)
                if stream.waiter is waiter:  # it knows the loop, which is not to be held
                    stream.waiter = None
            woken.popleft()

    def _complete(self, record: tuple[int, ...], body: bytes | None, stream: Taker | None) -> None:
        """Has a stream get the event that an interrupt has cut short, once."""
        if stream is None:
            return
        call_id, status, kind, flags, number, _, _, buffer = record
        is_open = call_id in self.streams  # then its end was not taken
        if is_open and not buffer and (body is None or not stream.has(body)):
            self._events = chain((record,), self._events or ())
            return
        if is_open and body is not None and not stream.has(body):
            stream.take(kind, status, flags, number, body)
        self._woken.append(stream)

    def _wake(self) -> None:
        """On the library's thread: has the loop drain the queue."""
        loop = self.loop()
        if loop is not None:
            with suppress(RuntimeError):  # closed: nobody waits any more
                loop.call_soon_threadsafe(self.drain, context=self._context)

    # ---- life and death
    # -------------------------------------------------------------------------------------

    def retire(self) -> None:
        """Gives the queue up. On the loop's thread, or when the loop is closed."""
        loop = self.loop()
        self.loop = _no_loop
        if loop is None or self.queue.inherited:
            return
        with _lock:
            if _reactors.get(loop) is self:
                del _reactors[loop]
        if not loop.is_closed():
            if self._descriptor is not None:
                loop.remove_reader(self._descriptor)
            self._end_shutdown_hook()
            self._fail(list(self.pending), _status.CLOSED, "the event loop is shutting down")
        self._give_up(alive=not loop.is_closed())

    def _give_up(self, *, alive: bool) -> None:
        """`alive`: the loop can still run who waits for a stream."""
        self.pending.clear()
        for stream in list(self.streams.values()):
            stream.take(0, _status.CLOSED, _status.FLAG_LOCAL, 0, b"")
            waiter, stream.waiter = stream.waiter, None
            if waiter is not None and alive and not waiter.done():
                waiter.set_result(False)
        self.streams.clear()
        self.batch.clear()
        _log.detach(self.queue)
        self.queue.close()

    def shut_down(self) -> None:
        """The loop is shutting down; what is still pending keeps the reactor until it is closed."""
        self._shutdown_hook = None
        loop = self.loop()
        if loop is not None and not self.queue.inherited:
            _shut_down.add(loop)
        if not self.pending and not self.streams:
            self.retire()

    def _watched_queue(self, loop: asyncio.AbstractEventLoop) -> _native.Queue | None:
        if options.wake_mode() != "fd" and not _native.wakes_ended:
            return None
        queue = _native.Queue(capacity=_DRAIN_EVENTS, arena_size=_DRAIN_BYTES)
        hook = until_shutdown(weakref.ref(self))
        descriptor = queue.fd()
        try:
            self._context.run(loop.add_reader, descriptor, self.drain, hook)
        except NotImplementedError:
            queue.close()
            return None
        self._descriptor = descriptor
        if loop not in _shut_down and not getattr(loop, "_asyncgens_shutdown_called", False):
            start(hook)
            self._shutdown_hook = weakref.ref(hook)
        return queue

    def _waking_queue(self) -> _native.Queue:
        this = weakref.WeakMethod(self._wake)

        def wake() -> None:
            method = this()
            if method is not None:
                method()

        return _native.Queue(capacity=_DRAIN_EVENTS, arena_size=_DRAIN_BYTES, wake=wake)

    def _end_shutdown_hook(self) -> None:
        hook = self._shutdown_hook() if self._shutdown_hook is not None else None
        self._shutdown_hook = None
        if hook is not None:
            finish(hook)

    def _break(self, status: int) -> None:
        """The queue does not work any more: without this the loop would be woken for ever."""
        if self._left_behind():
            return
        self._fail(list(self.pending), status, "completions cannot be taken from the library")
        self.retire()

    def _left_behind(self) -> bool:
        """Whether the interpreter ends while a daemon thread runs this loop, for a moment more.

        Its calls never end then: errors would end the thread, which would print them.
        """
        ends = _native.wakes_ended and self._descriptor is None
        return ends and threading.current_thread() is not threading.main_thread()

    def _fail(self, call_ids: Iterable[int], status: int, message: str) -> None:
        if self._left_behind():
            return
        for call_id in call_ids:
            future = self.pending.pop(call_id, None)
            if future is not None and not future.done():
                future.set_exception(from_status(status, _status.FLAG_LOCAL, message))

    def __del__(self, ending: Callable[[], bool] = sys.is_finalizing) -> None:
        queue = None if ending() else getattr(self, "queue", None)
        if queue is not None and not queue.inherited:
            _log.detach(queue)
            queue.close()


def _loop_is_gone(
    reactor: weakref.ref[Reactor], _: object, ending: Any = sys.is_finalizing
) -> None:
    """A loop was thrown away; a client that was used in it may hold its reactor for long."""
    alive = None if ending() else reactor()
    if alive is not None and hasattr(alive, "queue") and not alive.queue.inherited:
        alive._give_up(alive=False)  # noqa: SLF001 (of this module)


def _no_loop() -> None:
    return None


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _after_fork_in_child() -> None:
    global _lock, _reactors  # noqa: PLW0603 (what is the parent's is never looked at again)
    _lock = threading.RLock()
    # A generator that is thrown away would have its loop close it; that may just be thrown away
    # too, and say that this was never awaited.
    hooks = []
    for reactor in _reactors.values():
        reactor.inherited = True
        hooks.append(reactor._shutdown_hook)  # noqa: SLF001
    _inherited.extend([_reactors, [hook() for hook in hooks if hook is not None]])
    _reactors = weakref.WeakKeyDictionary()


# Kept, so that a child runs no finalizer of what it inherited.
_inherited: list[object] = []

os.register_at_fork(after_in_child=_after_fork_in_child)
