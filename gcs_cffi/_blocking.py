# SPDX-License-Identifier: Apache-2.0
"""A client's calls for threads that wait: the counterpart of `_channel`, without an event loop.

Invariants:
- A call has a completion queue to itself while it lasts, so that threads, and signal handlers that
  make calls of their own, never take each other's completions. Queues are kept for the next calls.
- The wait is cut into slices: a signal that another thread of the process received is seen at the
  end of one.
- However a wait is left, the call has ended, or its queue is closed, which cancels it.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from contextlib import closing
from functools import partial, wraps
from itertools import islice
from time import monotonic
from typing import TYPE_CHECKING, Any, Concatenate, Final, ParamSpec, TypeVar

from gcs_cffi import _log, _native, _native_subscriptions, _status
from gcs_cffi._arguments import Deadline
from gcs_cffi._handle import ClientHandle
from gcs_cffi._packed import pack_call, result_of, state_change
from gcs_cffi._reactor import retire_closed_loops
from gcs_cffi._release import ReplacedError
from gcs_cffi._streams import check_callback, check_end, expired
from gcs_cffi.errors import from_status

P = ParamSpec("P")
T = TypeVar("T")

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gcs_cffi._native_subscriptions import Topic
    from gcs_cffi._streams import Begin, StreamEvent
    from gcs_cffi.options import ClientOptions, StateChange

_SLICE: Final = 50_000_000  # nanoseconds
_DRAIN_EVENTS: Final = 64
_STREAM_EVENTS: Final = 256
_DRAIN_BYTES: Final = 64 * 1024
_KEPT: Final = 8

_idle: list[_native.Queue] = []


def redone(
    method: Callable[Concatenate[Any, P], T],
) -> Callable[Concatenate[Any, P], T]:
    """Has an accessor's method that looks at the server's release done anew for another one.

    Such a method hands the server that it looked at to each `call()`, as `written_for`.
    """

    @wraps(method)
    def again(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> T:
        timeout: Any = kwargs.get("timeout")
        kwargs["timeout"] = Deadline.of(timeout, self._channel.default_timeout)
        while True:
            try:
                return method(self, *args, **kwargs)
            except ReplacedError:
                continue

    return again


class Stream:
    """Events that come one after the other, with one id.

    One thread at a time may wait, since they share the queue's memory, and whoever has the stream
    sees to that; any may close it.

    Args:
        begin: what makes the library send them.
        what: one of them, in the words of errors.

    Attributes:
        id: the library's number of the stream.
        events: those that have not been taken.
        closed: whether somebody has ended it.
    """

    __slots__ = ("_end", "_ended", "_queue", "_what", "closed", "events", "id")

    def __init__(self, begin: Begin, what: str) -> None:
        self.events: deque[StreamEvent] = deque()
        self._what = what
        self._ended = False
        self._end: tuple[int, int, bytes] | None = None  # that has not been told
        self.closed = False
        self._queue = _native.Queue(capacity=_STREAM_EVENTS, arena_size=_DRAIN_BYTES)
        self.id = self._queue.next_id()
        try:
            begin(self.id, self._queue)
        except BaseException:
            self._queue.close()
            raise

    @property
    def is_open(self) -> bool:
        """Whether it has neither ended, as far as it is known, nor been closed."""
        return not self._ended

    @property
    def inherited(self) -> bool:
        """Whether this is a forked child, and the stream its parent's."""
        return self._queue.inherited

    def wait(self, timeout: float | None = None) -> bool:
        """Waits until there is something in `events`; False at the end, and from then on.

        Args:
            timeout: in seconds; None for none.

        Raises:
            TimeoutError: the timeout expired.
            GcsError: the stream has ended although nobody ended it; told once.
        """
        if timeout is None:
            while not self.events and not self._ended:
                self._drain(_SLICE)
        elif not self.events and not self._ended:
            self._wait(timeout)
        if self.closed:  # what came while another thread did that is not for anybody any more
            return False
        if self.events:
            return True
        end, self._end = self._end, None
        if end is not None:
            check_end(*end)
        return False

    def stop_waiting(self) -> None:
        """Nothing is left of a wait that has ended by an error."""

    def _wait(self, timeout: float) -> None:
        end = monotonic() + timeout
        while not self.events and not self._ended:
            left = max(0.0, end - monotonic())
            self._drain(int(min(_SLICE, left * 1e9)))  # 0 takes what has arrived
            if left == 0 and not self.events and not self._ended:
                raise expired(self._what, timeout)

    def _drain(self, patience: int) -> None:
        queue = self._queue
        before = len(self.events)
        try:
            status, records = queue.drain(patience)
            if status == _status.OK:
                self._take(records)
            elif status in (_status.CLOSED, _status.BAD_HANDLE):
                self._ended = True
            elif status not in (_status.DEADLINE, _status.INTERRUPTED):
                text = _status.cannot("wait for events", status)
                raise from_status(status, _status.FLAG_LOCAL, text)
            queue.report.count = 0
        except BaseException:
            # An interrupt may come anywhere; what it has cut short is completed.
            self._take(islice(queue.drained(), len(self.events) - before, None))
            queue.report.count = 0
            raise
        if queue.report.log_waiting:
            _log.emit_kept()

    def _take(self, records: Iterable[tuple[int, ...]]) -> None:
        """Appends events. May be done again with those that are not among them yet."""
        arena = self._queue.arena
        append = self.events.append
        buffers = []
        for _, status, kind, flags, number, offset, size, buffer in records:
            body = arena[offset : offset + size]
            if buffer:
                body = _native.copy_of_buffer(buffer)
                buffers.append(buffer)
            if status == _status.OK:
                append((kind, flags, number, body))
            else:
                self._end = (status, flags, body)
                self._ended = True
        # Not before: taken again, a buffer that is gone would be read.
        for buffer in buffers:
            _native.free_buffer(buffer)

    def close(self) -> None:
        """Ends the stream. Again does nothing."""
        self.closed = self._ended = True
        self._queue.close()  # which cancels it


class Channel(ClientHandle):
    """A client's connection, as its accessors use it. Any thread may call."""

    __slots__ = ()

    @classmethod
    def connect(cls, settings: ClientOptions) -> Channel:
        """Makes a client and connects it. RPC: NodeInfoGcsService.GetClusterId."""
        _log.follow_level()
        retire_closed_loops()  # the log's records might go to one of them
        handle = _native.client_create(settings)
        try:
            queue = _take_queue()
            call_id = queue.next_id()
            _native.client_connect(handle, call_id, queue, settings.connect_timeout)
            _wait(queue, call_id)
            return cls(handle, settings)
        except BaseException:
            _native.client_close(handle)
            raise

    def request(
        self,
        kind: int,
        flags: int,
        method: int,
        name: bytes,
        key: bytes,
        body: bytes,
        timeout: int,
        ray_version: int = 0,
    ) -> Any:
        """Makes a call, and gives its result. The arguments are those of a packed record."""
        client = self.handle
        if not client:
            raise self.closed_error()
        queue = _take_queue()
        call_id = queue.next_id()
        record = pack_call(
            client, call_id, kind, flags, method, name, key, body, timeout, ray_version
        )
        status = queue.submit(record)
        if status != _status.OK:
            queue.close()
            raise from_status(status, _status.FLAG_LOCAL, "the library refused the call")
        return _wait(queue, call_id)

    def begin_asking(self, _deadline: Deadline) -> bool | None:
        """Threads do not wait for each other here: what two of them learn is the same."""
        return True

    def end_asking(self, _asked: bool) -> None:
        """The counterpart of `begin_asking()`."""

    def watch(self) -> Stream:
        """The states of the client, as a stream."""
        return self._stream(partial(_native.client_watch, self.handle), "state")

    def subscribe(self, topic: Topic) -> Stream:
        """What is published about a topic, as a stream."""
        begin = partial(_native_subscriptions.subscribe, self.handle, topic)
        return self._stream(begin, f"event of {topic.channel!r}")

    def _stream(self, begin: Begin, what: str) -> Stream:
        if not self.handle:
            raise self.closed_error()
        return Stream(begin, what)

    def watch_with(self, callback: Callable[[StateChange], object]) -> Stream:
        """The same, each handed to a function, in a thread of its own."""
        check_callback(callback)
        stream = self.watch()

        def tell() -> None:
            with closing(stream):
                while stream.wait():
                    event = stream.events.popleft()
                    try:
                        callback(state_change(event[2], event[3]))
                    except Exception as error:  # noqa: BLE001 (as of a thread's function)
                        thread = threading.current_thread()
                        told = type(error), error, error.__traceback__, thread
                        threading.excepthook(threading.ExceptHookArgs(told))

        threading.Thread(target=tell, name="gcs_cffi state", daemon=True).start()
        return stream

    def close(self) -> None:
        """Ends the client, and gives up what belonged to closed loops."""
        self.post_close()
        retire_closed_loops()


def _take_queue() -> _native.Queue:
    try:
        return _idle.pop()
    except IndexError:
        return _native.Queue(capacity=_DRAIN_EVENTS, arena_size=_DRAIN_BYTES)


def _wait(queue: _native.Queue, call_id: int) -> Any:
    """Waits for a call's end, and gives its result or raises its error."""
    ended = None
    try:
        while ended is None:
            status, events = queue.drain(_SLICE)
            if status == _status.OK:
                ended = _find(queue, events, call_id)
            elif status not in (_status.DEADLINE, _status.INTERRUPTED):
                raise from_status(status, _status.FLAG_LOCAL, "the call cannot be waited for")
    except BaseException:
        queue.close()  # which cancels the call
        raise
    if queue.report.log_waiting:
        _log.emit_kept()
    if len(_idle) < _KEPT:
        _idle.append(queue)
    else:
        queue.close()
    return result_of(*ended)


def _find(
    queue: _native.Queue, events: Iterable[tuple[int, ...]], call_id: int
) -> tuple[int, int, int, int, bytes] | None:
    """What ends the call, as `result_of()` takes it, if it is among the events."""
    found = None
    for event_id, status, kind, flags, number, offset, size, buffer in events:
        body = _native.take_buffer(buffer) if buffer else queue.arena[offset : offset + size]
        if event_id == call_id:
            found = (kind, status, flags, number, body)
    return found


def _after_fork_in_child() -> None:
    _idle.clear()


os.register_at_fork(after_in_child=_after_fork_in_child)
