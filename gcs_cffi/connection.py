# SPDX-License-Identifier: Apache-2.0
"""The states of a connection, watched.

Invariant: a watch gives the present state, then every change in order, until it is closed or the
    client is; however it is left, the library is told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcs_cffi._packed import state_change
from gcs_cffi._streams import Turn, taken

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from gcs_cffi._channel import Channel, Stream
    from gcs_cffi.options import StateChange

__all__ = ["StateWatch"]


class StateWatch:
    """The states of a client's connection, one after the other; `gcs.watch_state()`.

    Enter it, and iterate. Only one at a time may wait for the next state.
    """

    __slots__ = ("_channel", "_stream", "_turn")

    def __init__(self, channel: Channel) -> None:
        """Made by the client."""
        self._channel = channel
        self._stream: Stream | None = None
        self._turn: Turn = {}

    async def __aenter__(self) -> Self:
        """Begins to watch.

        Raises:
            ClientClosedError: the client is closed.
            RuntimeError: the watch was entered before.
        """
        if self._stream is not None:
            raise RuntimeError("a watch can be entered once: make another one")
        self._stream = await self._channel.watch()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Ends the watch."""
        if self._stream is not None:
            self._stream.close()

    def __aiter__(self) -> Self:
        """Itself."""
        return self

    async def __anext__(self) -> StateChange:
        """Waits for the next state; the iteration ends with the watch, and with the client.

        Raises:
            RuntimeError: the watch was not entered, or somebody else waits.
        """
        stream = self._stream
        if stream is None:
            raise RuntimeError("a watch is entered before it is iterated: use `with`")
        turn, mark = self._turn, object()
        try:
            if turn.setdefault(None, mark) is not mark and not stream.inherited:
                raise taken("state")
            while not stream.events:
                if not await stream.wait():
                    raise StopAsyncIteration
            _, _, number, report = stream.events.popleft()
            return state_change(number, report)
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
