# SPDX-License-Identifier: Apache-2.0
"""What the GCS publishes, as it happens: `gcs.subscribe()`.

Invariants:
- A subscription lasts until it is left, its client is closed, or an error ends it. Restarts of the
  GCS and lost connections do not: where something may have been missed, a `Resync` stands among the
  messages.
- What is held for a consumer that does not take it is bounded, here and in the library together.
- However it is left, the library is told.
- An interrupt (an exception of a signal handler's) takes one event at most, the one that was just
  being returned: the last steps from one place to the next are completed when one cuts them short.
"""

from __future__ import annotations

import math
import sys
import warnings
from collections import deque
from functools import partial
from itertools import repeat
from typing import TYPE_CHECKING, Any, Final, get_args

from gcs_cffi import _status
from gcs_cffi._arguments import Deadline, boolean, integer, nanoseconds, text
from gcs_cffi._native_subscriptions import (
    ENDS_SIZE,
    MESSAGE,
    REASONS,
    Policy,
    Run,
    Topic,
    ends_of_one,
    grant,
)
from gcs_cffi._packed import event_text
from gcs_cffi._published import MESSAGES, Message, Resync, key_of, unknown_channel
from gcs_cffi._release import known
from gcs_cffi._streams import Turn, taken
from gcs_cffi._typed import reader_of
from gcs_cffi.errors import InvalidRequestError, from_status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from types import TracebackType

    from typing_extensions import Self

    from gcs_cffi._channel import Channel, Stream
    from gcs_cffi._streams import StreamEvent
    from gcs_cffi.ids import AnyID

__all__ = ["Subscription"]

MAX_MESSAGES: Final = 1000
MAX_BYTES: Final = 64 << 20
_MOST: Final = (1 << 63) - 1
_POLL: Final = known(
    "ControlPlanePubSubGcsService/GcsSubscriberPoll", "InternalPubSubGcsService/GcsSubscriberPoll"
)
_message: Final = partial(tuple.__new__, Message)


class Subscription:
    """What is published on a channel, as it happens; `gcs.subscribe()` of a client.

    Enter it, and iterate: `async with gcs.subscribe("errors") as events:` and then `async for event
    in events:`. An event is a `Message` or a `Resync`. Once it is entered, everything that is
    published arrives, each message once and in order, or a `Resync` stands where it may be missing.
    Only one at a time may wait for the next event.

    Attributes:
        channel: the channel's name.
    """

    __slots__ = (
        "_channel",
        "_due",
        "_due_bytes",
        "_key_type",
        "_read",
        "_ready",
        "_run",
        "_stream",
        "_taken",
        "_taken_bytes",
        "_timeout",
        "_topic",
        "_turn",
        "channel",
    )

    def __init__(
        self,
        channel: Channel,
        name: str,
        key: bytes | str | AnyID | None,
        raw: bool,
        policy: Policy,
        max_messages: int,
        max_bytes: int,
        timeout: float | None,
    ) -> None:
        """Made by the client."""
        self.channel = text(name, "channel")
        if "\0" in name:
            raise ValueError("there is no NUL in a channel's name")
        self._channel = channel
        self._timeout = timeout
        message, self._key_type = MESSAGES.get(name, ("", bytes))
        self._read: Callable[[bytes], Any] | str = message
        if boolean(raw, "raw") or not message:
            self._read = bytes
        if policy not in get_args(Policy):
            raise ValueError(f"policy is one of {', '.join(get_args(Policy))}, not {policy!r}")
        held = integer(max_messages, "max_messages", 1, _MOST)
        size = integer(max_bytes, "max_bytes", 1, _MOST)
        # Under a policy that drops, half of it is the library's to drop from.
        kept, kept_size = (0, 0) if policy == "wait" else (held // 2, size // 2)
        credit = (held - kept, size - kept_size)
        # What was taken is given back when it is worth it.
        self._due, self._due_bytes = ((part + 1) // 2 for part in credit)
        self._topic = Topic(
            name, key_of(name, key), policy, nanoseconds(timeout), *credit, kept, kept_size
        )
        self._taken = self._taken_bytes = 0
        self._ready: deque[Message | Resync] = deque()
        self._run: Run | None = None  # that has not been read to its end
        self._stream: Stream | None = None
        self._turn: Turn = {}

    async def __aenter__(self) -> Self:
        """Subscribes, and waits until the server has it. RPCs: GcsSubscriberCommandBatch, and more.

        Raises:
            RuntimeError: it was entered before.
            InvalidRequestError: there is no such channel, or a key has the wrong length.
            UnsupportedByServerError: the server's release of Ray lacks the channel.
            DeadlineExceededError: the timeout expired.
            GcsError: the client is closed, or the GCS refuses.
        """
        if self._stream is not None:
            raise RuntimeError("it can be entered once: make another one")
        deadline = Deadline(self._timeout, self._channel.default_timeout)
        turn, mark = self._turn, object()
        stream: Stream | None = None
        try:
            if turn.setdefault(None, mark) is not mark:
                raise RuntimeError("somebody enters it already")
            stream = self._stream = await self._channel.subscribe(self._topic)
            while not stream.events:
                if not await stream.wait():
                    raise self._channel.closed_error()
            stream.events.popleft()
            await self._reader(deadline)
        except BaseException as error:
            if stream is not None:
                stream.close()
            if isinstance(error, InvalidRequestError) and self.channel not in MESSAGES:
                raise unknown_channel(error) from None
            raise
        finally:
            try:
                if turn[None] is mark:
                    del turn[None]
            except KeyError:
                pass
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Ends the subscription."""
        await self.close()

    def __aiter__(self) -> Self:
        """Itself."""
        return self

    async def __anext__(self) -> Message | Resync:
        """Waits for the next event; the iteration ends with the subscription, and its client.

        Raises:
            RuntimeError: it was not entered, or in another event loop; or somebody else waits.
            ClusterChangedError: the GCS has come back as another cluster. Like each error that ends
                the subscription it is raised once; then the iteration ends.
            GcsError: the GCS has refused for a minute what it had accepted before, or has published
                what cannot be read.
        """
        event = self._ready.popleft() if self._ready else await self._next(None)
        if event is None:
            raise StopAsyncIteration
        return event

    async def next(self, timeout: float | None = None) -> Message | Resync | None:
        """Waits for the next event.

        Args:
            timeout: in seconds; None for none, 0 for what is there already.

        Returns:
            The event; None when the subscription has ended, by an error that was raised, too.

        Raises:
            TimeoutError: the timeout expired; as after a cancellation nothing is lost.
            RuntimeError, GcsError: as the iteration does.
        """
        if timeout is not None:
            nanoseconds(timeout)  # which checks it
        return self._ready.popleft() if self._ready else await self._next(timeout)

    def next_ready(self) -> Message | Resync | None:
        """The next event that came with the last one; None if `next()` has to look for one."""
        return self._ready.popleft() if self._ready else None

    async def close(self) -> None:
        """Ends the subscription: what has not been taken is dropped. Again does nothing."""
        if self._stream is not None:
            self._stream.close()
            self._ready.clear()
            self._run = None

    async def _next(self, timeout: float | None) -> Message | Resync | None:
        """Waits for the next event; None at the end."""
        stream = self._stream
        if stream is None:
            raise RuntimeError("enter it first: what is not entered has no events")
        turn, mark = self._turn, object()
        try:
            # Maybe it is what a signal handler has interrupted; in a forked child it is not here.
            if turn.setdefault(None, mark) is not mark and not stream.inherited:
                raise taken()
            if self._taken >= self._due or self._taken_bytes >= self._due_bytes:
                self._give_back(stream)
            while True:
                if self._ready:
                    return self._ready.popleft()
                if self._run is not None:
                    await self._read_messages(self._run)
                elif stream.events:
                    self._take(stream.events)
                elif not await stream.wait(timeout):
                    return None
        except BaseException:
            if turn.get(None) is mark:
                stream.stop_waiting()
            raise
        finally:
            try:
                if turn[None] is mark:
                    del turn[None]
            except KeyError:
                pass

    def _take(self, events: deque[StreamEvent]) -> None:
        """Has the first of what the library handed over: messages, or a resync."""
        event = events[0]
        kind, flags, number, body = event
        count, size = 1, 0
        run: Run | None = None
        ready: tuple[Message | Resync, ...] = ()
        if kind == MESSAGE:
            count, size = number, len(body) - number * ENDS_SIZE
            read = self._read
            if number == 1 and read.__class__ is not str:
                # The long way would cost one message at a time a twentieth more.
                key_end, _ = ends_of_one(body)
                try:
                    value = read(body[key_end:])  # type: ignore[operator]
                    ready = (_message((self._key_type(body[ENDS_SIZE:key_end]), value)),)
                except Exception:  # noqa: BLE001 (it is told on the long way)
                    pass
            if not ready:
                run = Run.of(body, number)
        else:
            reason = REASONS[flags]
            if reason == "restarted" and self._read is not bytes:
                self._read = MESSAGES[self.channel][0]  # of another server, maybe
            ready = (Resync(reason, number, event_text(body)),)
        credit = (count + self._taken, size + self._taken_bytes)
        try:
            self._settle(run, ready, credit, event)
        except BaseException:  # an interrupt, anywhere in there
            self._settle(run, ready, credit, event)
            raise

    def _settle(
        self,
        run: Run | None,
        ready: Sequence[Message | Resync],
        credit: tuple[int, int],
        event: StreamEvent | None,
    ) -> None:
        """Has what is to be read, what was read, and what it was taken from no more.

        Again does nothing.
        """
        if ready and not (self._ready and self._ready[-1] is ready[-1]):
            self._ready += ready
        self._run = run
        self._taken, self._taken_bytes = credit
        if event is not None and self._stream is not None:
            events = self._stream.events
            if events and events[0] is event:
                del events[0]

    async def _read_messages(self, run: Run) -> None:
        """Makes messages of the bytes of a run of them."""
        read = self._read if callable(self._read) else await self._reader(None)
        keys: Iterable[Any]
        values: Iterable[Any]
        key_type = self._key_type
        ready: list[Message] = []
        rest: Run | None = None
        failure: Exception | None = None
        try:
            if self._topic.key:  # it is that of each
                keys = repeat(key_type(self._topic.key))
            else:
                keys = run.keys() if key_type is bytes else map(key_type, run.keys())
            values = run.messages() if read is bytes else map(read, run.messages())
            ready.extend(map(_message, zip(keys, values, strict=False)))
        except Exception as error:  # noqa: BLE001 (protobuf, and what a peer made of it)
            # What cannot be read is told when what came before it has been taken.
            failure = None if ready else error
            rest = run.after(len(ready) or 1)
        credit = (self._taken, self._taken_bytes)
        try:
            self._settle(rest, ready, credit, None)
        except BaseException:
            self._settle(rest, ready, credit, None)
            raise
        if failure is not None:
            text = f"what was published on {self.channel!r} cannot be read: {failure!r}"
            raise from_status(
                _status.INTERNAL, _status.FLAG_LOCAL, text, _POLL[0].path, self._channel.address
            ) from None

    async def _reader(self, deadline: Deadline | None) -> Callable[[bytes], Any]:
        """What makes messages of bytes, as the server at hand lays them out.

        `deadline`: of entering; None after a restart.
        """
        if isinstance(self._read, str):
            channel = self._channel
            if deadline is None:
                if channel.server is not None:  # another may have taken its place
                    channel.forget_server(channel.server)
                deadline = Deadline(math.inf, 0)
            self._read = await reader_of(channel, _POLL, self._read, deadline)
        return self._read

    def _give_back(self, stream: Stream) -> None:
        """Lets the library hand over as much more as was taken."""
        # In this order: an interrupt in between must not take credit away for ever.
        grant(self._channel.handle, stream.id, self._taken, self._taken_bytes)
        self._taken = self._taken_bytes = 0

    def __del__(self, ending: Callable[[], bool] = sys.is_finalizing) -> None:
        """Ends it, and warns: what is not left goes on to be held."""
        stream = getattr(self, "_stream", None)
        if stream is None or ending() or not self._channel.is_usable or not stream.is_open:
            return
        stream.close()
        warnings.warn(
            f"a subscription to {self.channel!r} was never left: use `with` or `async with`",
            ResourceWarning,
            stacklevel=2,
            source=self,
        )

    def __repr__(self) -> str:
        """The channel and the key."""
        key = f", key={self._topic.key!r}" if self._topic.key else ""
        return f"<gcs_cffi.Subscription to {self.channel!r}{key}>"
