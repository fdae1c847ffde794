# SPDX-License-Identifier: Apache-2.0
"""A table of the GCS, and every change of it: `watch()` of nodes, actors and jobs.

Invariants:
- What was subscribed to is confirmed before the table is read, and a `Resync` is told when it is
  confirmed again: no change falls between the two.
- What was taken from the subscription is kept until it has been dealt with: whoever stops waiting,
  by cancellation or a timeout, loses nothing.
- However it is left, the library is told.
"""

from __future__ import annotations

import math
from asyncio import sleep  # blocking: from time import sleep
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, TypeVar

from gcs_cffi import _merging
from gcs_cffi._arguments import Deadline, nanoseconds
from gcs_cffi._published import Change, Message
from gcs_cffi._streams import LOSSLESS, Turn, expired, taken
from gcs_cffi.errors import ClientClosedError, GcsError
from gcs_cffi.ids import ActorID, JobID, NodeID
from gcs_cffi.pubsub import Subscription

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from typing_extensions import Self

    from gcs_cffi._channel import Channel
    from gcs_cffi.actors import Actors
    from gcs_cffi.jobs import Jobs
    from gcs_cffi.nodes import Nodes

__all__ = ["Watch"]

IdT = TypeVar("IdT", bound=bytes)
ValueT = TypeVar("ValueT")

_FIRST_READING: Final = 5.0
_LONGEST_READING: Final = 300.0
_SHORTEST_READING: Final = 1.0
"""Seconds that a reading may take, and then twice as many, since it waits for the GCS as well."""
_PAUSE: Final = 0.05
"""Seconds between two looks at a connection that is not there."""


class Watch(Generic[IdT, ValueT]):
    """A table of the GCS and its changes; `gcs.nodes.watch()`, and that of actors and jobs.

    Enter it, and iterate: `async with gcs.nodes.watch() as nodes:` and then `async for change in
    nodes:`. First come the entries that are there, each as a `Change` from None, then the changes,
    none of them missed and none twice, over restarts of the GCS, too: when something may have been
    missed, the table is read again, and what is different is given. While the GCS is away, that
    waits. Only one at a time may wait for the next change.

    The messages that it gives are the ones that it holds: they are not to be changed.

    What a GCS forgets, the oldest of the dead beyond its limits, it tells nobody: it is gone from
    here when the table is read next, which is also when the dead have become twice as many.

    Attributes:
        current: the entries by their ids; a view, which changes while somebody waits for the next
            change. It has what was read when the watch was entered, and may be ahead of what was
            iterated; when there is nothing to iterate it is what `list()` gives.
    """

    __slots__ = (
        "_accessor",
        "_changes",
        "_channel",
        "_closed",
        "_events",
        "_holding",
        "_is_due",
        "_reading",
        "_subscription",
        "_timeout",
        "_turn",
        "current",
    )

    _name: ClassVar[str]  # of the table, and of its channel
    _kind: ClassVar[type[_merging.Kind]]

    def __init__(
        self,
        channel: Channel,
        accessor: Any,
        timeout: float | None,
        max_messages: int,
        max_bytes: int,
    ) -> None:
        """Made by the accessor."""
        self._channel = channel
        self._accessor = accessor
        self._timeout = timeout
        self._subscription = Subscription(
            channel, self._name, None, False, "wait", max_messages, max_bytes, timeout
        )
        self._holding: _merging.Holding[IdT, ValueT] = _merging.Holding(self._kind())
        self.current: Mapping[IdT, ValueT] = self._holding.current
        self._changes: deque[Change[IdT, ValueT]] = deque()
        self._events: list[tuple[IdT, Any]] = []  # that have not been dealt with
        self._is_due = False  # the table is to be read, after those
        self._closed = False
        self._turn: Turn = {}
        self._reading = _FIRST_READING

    async def _list(self, timeout: float) -> Mapping[IdT, Any]:
        """Reads the table."""
        raise NotImplementedError

    async def _get(self, keys: list[IdT], timeout: float) -> dict[IdT, Any]:
        """Reads some entries of it; those that it does not have are missing."""
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        """Subscribes, waits until the server has it, and reads the table.

        RPCs: GcsSubscriberCommandBatch, the accessor's listing, and what these need.

        Raises:
            RuntimeError: it was entered before.
            DeadlineExceededError: the timeout expired.
            GcsError: the client is closed, or the GCS refuses.
        """
        deadline = Deadline(self._timeout, self._channel.default_timeout)
        await self._subscription.__aenter__()
        try:
            self._is_due = True
            left = deadline.left_seconds()
            await self._deal(None if left is None else monotonic() + left, 0.0)
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Ends the watch."""
        await self.close()

    def __aiter__(self) -> Self:
        """Itself."""
        return self

    async def __anext__(self) -> Change[IdT, ValueT]:
        """Waits for the next change; the iteration ends with the watch, and with the client.

        Raises:
            RuntimeError: it was not entered, or in another event loop; or somebody else waits.
            ClusterChangedError: the GCS has come back as another cluster.
            GcsError: the GCS refuses what it accepted before.
        """
        change = await self.next()
        if change is None:
            raise StopAsyncIteration
        return change

    async def next(self, timeout: float | None = None) -> Change[IdT, ValueT] | None:
        """Waits for the next change.

        Args:
            timeout: in seconds; None for none, 0 for what has arrived already. Where an entry or
                the table has to be read for it, up to a second more.

        Returns:
            The change; None when the watch has ended.

        Raises:
            TimeoutError: the timeout expired; nothing is lost.
            RuntimeError, GcsError: as the iteration does.
        """
        if timeout is not None:
            nanoseconds(timeout)  # which checks it
        if not self._changes:
            turn, mark = self._turn, object()
            try:
                # In a forked child what waits is not here, as the subscription will say.
                if turn.setdefault(None, mark) is not mark and self._channel.is_usable:
                    raise taken("change")
                await self._fill(timeout)
            except LOSSLESS:
                raise
            except BaseException:
                self._is_due = True  # the table has what was taken
                raise
            finally:
                try:
                    if turn[None] is mark:
                        del turn[None]
                except KeyError:
                    pass
        return self._changes.popleft() if self._changes else None

    async def close(self) -> None:
        """Ends the watch: what has not been taken is dropped. Again does nothing."""
        self._closed = True
        await self._subscription.close()
        self._changes.clear()
        self._events.clear()

    async def _fill(self, timeout: float | None) -> None:
        """Waits until there are changes, or the end."""
        end = None if timeout is None else monotonic() + timeout
        while not self._changes and not self._closed:
            if self._events or self._is_due:
                try:
                    await self._deal(end, _SHORTEST_READING)
                except ClientClosedError:
                    return
                continue
            try:
                left = None if end is None else max(0, end - monotonic())
                event = await self._subscription.next(left)
            except TimeoutError as error:
                if timeout is None or isinstance(error, GcsError):
                    raise
                raise expired(f"change of the table of {self._name}", timeout) from None
            if event is None:
                return
            while isinstance(event, Message):
                self._events.append((event.key, event.value))
                event = self._subscription.next_ready()
            self._is_due = event is not None

    async def _deal(self, end: float | None, at_least: float) -> None:
        """Makes changes of what has arrived, and of what has to be read for that."""
        while self._events or self._is_due:
            while self._channel.state in ("connecting", "lost"):
                if self._closed:
                    return
                if end is not None and end <= monotonic():
                    raise self._expired()
                await sleep(_PAUSE)
            limit = self._reading
            if end is not None:
                limit = min(limit, max(at_least, end - monotonic()))
            try:
                await self._deal_once(limit)
            except GcsError as error:
                if not error.retryable or self._closed:
                    raise
                if end is not None and end <= monotonic():
                    raise
                if isinstance(error, TimeoutError):
                    self._reading = min(_LONGEST_READING, 2 * self._reading)
                else:
                    await sleep(_PAUSE)
            else:
                self._reading = _FIRST_READING

    async def _deal_once(self, timeout: float) -> None:
        if self._events:
            events = [*self._events]
            unclear: dict[IdT, Any] = dict.fromkeys(self._holding.unclear(events))
            if unclear:
                found = await self._get(list(unclear), timeout)
                unclear = {key: found.get(key) for key in unclear}
            if self._closed:
                return
            self._changes.extend(self._holding.apply(events, unclear))
            self._events.clear()
            self._is_due = self._is_due or self._holding.forgotten
        elif self._is_due:
            table = await self._list(timeout)
            if self._closed:
                return
            self._changes.extend(self._holding.read(table))
            self._is_due = False

    def _expired(self) -> Exception:
        return TimeoutError(f"the table of {self._name} could not be read within the timeout")

    def __repr__(self) -> str:
        """The table."""
        return f"<gcs_cffi.Watch of {self._name!r}>"


class NodesWatch(Watch[NodeID, Any]):
    """Of nodes."""

    __slots__ = ()

    _name = "nodes"
    _kind = _merging.Nodes
    _accessor: Nodes

    async def _list(self, timeout: float) -> Mapping[NodeID, Any]:
        return await self._accessor.list(timeout=timeout)

    async def _get(self, keys: list[NodeID], timeout: float) -> dict[NodeID, Any]:
        return {**await self._accessor.list(node_ids=keys, timeout=timeout)}


class JobsWatch(Watch[JobID, Any]):
    """Of jobs."""

    __slots__ = ()

    _name = "jobs"
    _kind = _merging.Jobs
    _accessor: Jobs

    async def _list(self, timeout: float) -> Mapping[JobID, Any]:
        return await self._accessor.list(
            skip_submission_info=True, skip_is_running_tasks=True, timeout=timeout
        )


class ActorsWatch(Watch[ActorID, Any]):
    """Of actors."""

    __slots__ = ()

    _name = "actors"
    _kind = _merging.Actors
    _accessor: Actors

    async def _list(self, timeout: float) -> Mapping[ActorID, Any]:
        return await self._accessor.list(timeout=timeout)

    async def _get(self, keys: list[ActorID], timeout: float) -> dict[ActorID, Any]:
        # Measured: one of them takes as long as some forty in a list.
        if len(keys) > 4 and len(self.current) < 40 * len(keys):
            return {**await self._accessor.list(timeout=timeout)}
        found = {}
        end = monotonic() + timeout
        for key in keys:
            left = max(0, end - monotonic()) if math.isfinite(timeout) else timeout
            actor = await self._accessor.get(key, timeout=left)
            if actor is not None:
                found[key] = actor
        return found
