# SPDX-License-Identifier: Apache-2.0
"""A client's calls on asyncio: one coroutine that every public method awaits.

Invariants:
- A channel belongs to no loop: a call goes through the reactor of the loop that it runs in.
- Between a call and its end stands one bare future. Whoever stops waiting for it takes the call
  back, and returns without waiting for the library.
"""

from __future__ import annotations

from asyncio import Future, get_running_loop, wait
from collections import deque
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

from gcs_cffi import _log, _native, _native_subscriptions, _status
from gcs_cffi._arguments import Deadline
from gcs_cffi._futures import IndirectWaiter, end_wait
from gcs_cffi._handle import ClientHandle
from gcs_cffi._packed import POINTER_SIZE, pack_call, state_change
from gcs_cffi._reactor import Reactor, reactor_for, retire_closed_loops
from gcs_cffi._release import ReplacedError
from gcs_cffi._streams import check_callback, check_end, expired
from gcs_cffi.errors import from_status

P = ParamSpec("P")
T = TypeVar("T")

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Awaitable, Callable, Coroutine

    from gcs_cffi._native_subscriptions import Topic
    from gcs_cffi._streams import Begin, StreamEvent
    from gcs_cffi.options import ClientOptions, StateChange


def redone(
    method: Callable[Concatenate[Any, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, T]]:
    """Has an accessor's method that looks at the server's release done anew for another one.

    Such a method hands the server that it looked at to each `call()`, as `written_for`.
    """

    @wraps(method)
    async def again(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> T:
        timeout: Any = kwargs.get("timeout")
        kwargs["timeout"] = Deadline.of(timeout, self._channel.default_timeout)
        while True:
            try:
                return await method(self, *args, **kwargs)
            except ReplacedError:
                continue

    return again


class Stream:
    """Events that come one after the other, with one id. Belongs to the loop that it was made in.

    Args:
        client: the library's number of the client.
        reactor: the running loop's.
        begin: what makes the library send them.
        what: one of them, in the words of errors.
        callback: gets each event, in the loop, soon after it has come.

    Attributes:
        id: the library's number of the stream.
        events: those that have not been taken.
        waiter: what somebody waits for; None or done if nobody does.
    """

    __slots__ = (
        "_callback",
        "_client",
        "_closed",
        "_end",
        "_reactor",
        "_what",
        "events",
        "id",
        "waiter",
    )

    def __init__(
        self,
        client: int,
        reactor: Reactor,
        begin: Begin,
        what: str,
        callback: Callable[[StreamEvent], object] | None = None,
    ) -> None:
        self._client = client
        self._what = what
        self._reactor = reactor
        self.events: deque[StreamEvent] = deque()
        self.waiter: Future[bool] | None = None
        self._end: tuple[int, int, bytes] | None = None
        self._closed = False
        self._callback = callback
        self.id = reactor.queue.next_id()
        reactor.streams[self.id] = self
        try:
            begin(self.id, reactor.queue)
        except BaseException:
            del reactor.streams[self.id]
            raise

    @property
    def is_open(self) -> bool:
        """Whether it has neither ended nor been closed."""
        return self.id in self._reactor.streams

    @property
    def inherited(self) -> bool:
        """Whether this is a forked child, and the stream its parent's."""
        return self._reactor.queue.inherited

    def wait(self, timeout: float | None = None) -> Awaitable[bool]:
        """Waits until `events` or the end is worth another look; False at the end, from then on.

        One task at a time may wait, and whoever has the stream sees to that.

        Args:
            timeout: in seconds; None for none.

        Raises:
            TimeoutError: the timeout expired.
            RuntimeError: this is not the event loop of its own.
            ForkedError: this is a forked child.
            GcsError: the stream has ended although nobody ended it; told once.
        """
        loop = get_running_loop()
        reactor = self._reactor
        if (reactor.inherited or reactor.loop() is not loop) and not self._closed:
            raise self._elsewhere()
        if timeout is not None or self.events or self._end is not None:
            return self._wait(loop, timeout)
        # No coroutine around it: this is the way of each message that comes alone.
        waiter = self.waiter = Future(loop=loop)
        return waiter

    async def _wait(self, loop: AbstractEventLoop, timeout: float | None) -> bool:
        if self.events:
            return True
        if self._end is not None:
            end, self._end = self._end, (_status.OK, 0, b"")
            check_end(*end)
            return False
        waiter = self.waiter = IndirectWaiter(loop=loop)
        if not (await wait({waiter}, timeout=timeout))[0]:
            raise expired(self._what, timeout or 0)
        return waiter.result()

    def stop_waiting(self) -> None:
        """A wait has ended by an error: what was awaited would keep the loop alive."""
        self.waiter = None

    def _elsewhere(self) -> Exception:
        """What is raised in another event loop than its own."""
        reactor = self._reactor
        if reactor.queue.inherited:
            text = _status.cannot("wait for events", _status.FORKED)
            return from_status(_status.FORKED, _status.FLAG_LOCAL, text)
        loop = reactor.loop()
        state = "has ended" if loop is None or loop.is_closed() else "is another one"
        return RuntimeError(f"the event loop that this was entered in {state}: enter one here")

    def close(self) -> None:
        """Ends the stream: what has not been taken is dropped. Again does nothing."""
        self._closed = True
        if self._reactor.streams.pop(self.id, None) is not None:
            _native.cancel(self._client, self.id)
        self.events.clear()
        self._end = (_status.OK, 0, b"")
        waiter, self.waiter = self.waiter, None
        if waiter is not None:
            end_wait(waiter)

    def take(self, kind: int, status: int, flags: int, number: int, body: bytes) -> None:
        """Gets an event of the library's. For the reactor."""
        if status != _status.OK:
            self._end = (status, flags, body)
            self._reactor.streams.pop(self.id, None)
        else:
            self.events.append((kind, flags, number, body))
            loop = self._reactor.loop() if self._callback is not None else None
            if loop is not None:
                loop.call_soon(self._tell, loop)

    def has(self, body: bytes) -> bool:
        """Whether the last of `events` has these bytes, this very object. For the reactor."""
        return bool(self.events) and self.events[-1][3] is body

    def _tell(self, loop: AbstractEventLoop) -> None:
        if self._callback is not None and self.events:
            event = self.events.popleft()
            if self.events:  # an interrupt may have come before it was called for one
                loop.call_soon(self._tell, loop)
            self._callback(event)


class Channel(ClientHandle):
    """A client's connection, as its accessors use it.

    Args:
        handle: the number of the library's client; this object's from now on.
        settings: what it was made with.
        reactor: the one of the loop that is most likely to make calls.
    """

    __slots__ = ("_asking", "_reactor")

    def __init__(self, handle: int, settings: ClientOptions, reactor: Reactor) -> None:
        super().__init__(handle, settings)
        self._reactor = reactor
        self._asking: WeakKeyDictionary[AbstractEventLoop, Future[None]] = WeakKeyDictionary()

    @classmethod
    async def connect(cls, settings: ClientOptions) -> Channel:
        """Makes a client and connects it. RPC: NodeInfoGcsService.GetClusterId."""
        loop = get_running_loop()
        _log.follow_level()
        reactor = reactor_for(loop)
        handle = _native.client_create(settings)
        try:
            call_id = reactor.queue.next_id()
            reactor.pending[call_id] = future = loop.create_future()
            try:
                _native.client_connect(handle, call_id, reactor.queue, settings.connect_timeout)
                await future
            finally:
                reactor.pending.pop(call_id, None)
            return cls(handle, settings, reactor)
        except BaseException:
            _native.client_close(handle)
            raise

    async def request(
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
        loop = get_running_loop()
        reactor = self._reactor
        if reactor.loop() is not loop:
            reactor = self._reactor = reactor_for(loop)
        call_id = reactor.queue.next_id()
        try:
            if len(body) >= POINTER_SIZE:
                reactor.lent.append(body)  # before there is a record that points to it
            record = pack_call(
                client, call_id, kind, flags, method, name, key, body, timeout, ray_version
            )
            future = reactor.pending[call_id] = loop.create_future()
            reactor.batch[call_id] = record
            if not reactor.scheduled:
                reactor.schedule(loop)
            return await future
        except BaseException:
            reactor.cancel(client, call_id)
            raise

    async def begin_asking(self, deadline: Deadline) -> Future[None] | None:
        """Waits until no other task of this loop asks the server about itself.

        Returns:
            What `end_asking()` takes when this task has asked; None if the deadline came first.
        """
        loop = get_running_loop()
        while (other := self._asking.get(loop)) is not None:
            done, _ = await wait({other}, timeout=deadline.left_seconds())
            if not done:
                return None
        asking = self._asking[loop] = loop.create_future()
        return asking

    def end_asking(self, asked: Future[None]) -> None:
        """Lets the next task ask. Also when the task is thrown away, with no loop running."""
        loop = asked.get_loop()
        self._asking.pop(loop, None)
        if not loop.is_closed():
            asked.set_result(None)

    async def watch(self) -> Stream:
        """The states of the client, as a stream. Of the running loop."""
        return self._stream(partial(_native.client_watch, self.handle), "state")

    def watch_with(self, callback: Callable[[StateChange], object]) -> Stream:
        """The same, each handed to a function in the running loop."""
        check_callback(callback)
        begin = partial(_native.client_watch, self.handle)
        return self._stream(
            begin, "state", lambda event: callback(state_change(event[2], event[3]))
        )

    async def subscribe(self, topic: Topic) -> Stream:
        """What is published about a topic, as a stream. Of the running loop."""
        begin = partial(_native_subscriptions.subscribe, self.handle, topic)
        return self._stream(begin, f"event of {topic.channel!r}")

    def _stream(
        self, begin: Begin, what: str, callback: Callable[[StreamEvent], object] | None = None
    ) -> Stream:
        if not self.handle:
            raise self.closed_error()
        return Stream(self.handle, reactor_for(get_running_loop()), begin, what, callback)

    async def close(self) -> None:
        """Ends the client, and gives up what belonged to closed loops."""
        self.post_close()
        retire_closed_loops()
