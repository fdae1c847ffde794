# SPDX-License-Identifier: Apache-2.0
"""A TCP proxy on loopback that does to connections what networks do, and no server can be made to.

Invariants:
- One thread of its own with one event loop, where all of its state is touched; the public methods
  may be called from any other thread, and return when what they ask for is in effect.
- Bytes that are forwarded are forwarded in order. A connection of which a byte was thrown away
  never goes on: it is reset when the network heals, as a retransmission that comes too late is.
- All that is left to chance comes from the seed.
- `close()` leaves no descriptor, task or thread.
"""

from __future__ import annotations

import asyncio
import functools
import random
import socket
import struct
import threading
from collections import Counter, deque
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from gcs_cffi.testing._ports import free_port

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from types import TracebackType
    from typing import Any, TypeVar

    from typing_extensions import Self

    T = TypeVar("T")

Direction = Literal["up", "down", "both"]
"""To the server, to the client, or each of them."""
Arrivals = Literal["served", "refused", "silent"]
"""What a new connection gets: the server, a refusal, or nothing at all for as long as it waits."""

_HOST: Final = "127.0.0.1"
_CHUNK: Final = 64 * 1024
_MOST_QUEUED: Final = 256 * 1024
_PREFACE: Final = 24  # bytes that a client of HTTP/2 sends before its first frame
_FRAME_HEAD: Final = 9
_PATIENCE: Final = 10.0  # seconds; for what the proxy's thread does at once


@dataclass(frozen=True)
class Path:
    """The state of one direction of a connection; as it stands here, nothing is wrong with it."""

    latency: float = 0.0
    """Seconds that each byte is under way."""
    jitter: float = 0.0
    """Seconds that it takes longer at most."""
    rate: float = 0.0
    """Bytes per second; 0 for no bound."""
    stalled: bool = False
    """Half-open: nothing is forwarded, nothing is lost, and the sockets stay."""
    dropped: bool = False
    """What comes is thrown away; the sender's kernel has it acknowledged all the same."""


class _Frames:
    """Where a stream of bytes stands in the frames of HTTP/2."""

    def __init__(self, preface: int) -> None:
        self._left = preface
        self._head = b""

    def advance(self, data: bytes) -> list[int]:
        """Counts bytes in; gives the places in them that lie inside of a frame, one for each."""
        places = []
        position = 0
        while position < len(data):
            if self._left:
                step = min(self._left, len(data) - position)
                if step > 1:
                    places.append(position + step // 2)
                self._left -= step
                position += step
                continue
            part = data[position : position + _FRAME_HEAD - len(self._head)]
            if len(self._head) + len(part) > 1:
                places.append(position + len(part) - (len(self._head) + len(part) == _FRAME_HEAD))
            self._head += part
            position += len(part)
            if len(self._head) == _FRAME_HEAD:
                self._left = int.from_bytes(self._head[:3], "big")
                self._head = b""
        return [place for place in places if 0 < place < len(data)]


class _Lane:
    """One direction of a connection: a reader, a queue of what is under way, a writer."""

    def __init__(self, link: _Link, direction: str, source: socket.socket, sink: socket.socket):
        self.path = link.proxy.paths[direction]
        self.direction = direction
        self.lost = 0
        self.cut_next = False
        self._link = link
        self._source = source
        self._sink = sink
        self._frames = _Frames(_PREFACE if direction == "up" else 0)
        self._under_way: deque[tuple[float, bytes]] = deque()
        self._queued = 0
        self._last_due = 0.0
        self.changed = asyncio.Event()

    async def read(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            while self._queued >= _MOST_QUEUED:
                await self._change()
            data = await loop.sock_recv(self._source, _CHUNK)
            path = self.path
            delay = path.latency + path.jitter * self._link.proxy.random.random()
            # Jitter reorders packets, never the bytes of a connection.
            self._last_due = max(self._last_due, loop.time() + delay)
            self._under_way.append((self._last_due, data))
            self._queued += len(data)
            self.changed.set()
            if not data:
                return

    async def write(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            while not self._under_way or (self.path.stalled and not self.path.dropped):
                await self._change()
            due, data = self._under_way[0]
            if due > loop.time():
                await asyncio.sleep(due - loop.time())
                continue  # it may have been stalled meanwhile
            self._under_way.popleft()
            self._queued -= len(data)
            self.changed.set()
            if self.path.dropped or self.lost:
                self.lost += max(1, len(data))  # the end is lost too
                self._link.proxy.counts["dropped"] += len(data)
                if not data:
                    return
                continue
            if not data:
                self._sink.shutdown(socket.SHUT_WR)
                return
            await self._forward(data)

    async def _forward(self, data: bytes) -> None:
        loop = asyncio.get_running_loop()
        proxy = self._link.proxy
        places = self._frames.advance(data)
        if self.cut_next and places:
            await loop.sock_sendall(self._sink, data[: proxy.random.choice(places)])
            proxy.counts["cut"] += 1
            raise ConnectionResetError
        rate = self.path.rate
        step = max(1, int(rate / 50)) if rate else len(data)
        for begin in range(0, len(data), step):
            if rate:
                await asyncio.sleep(step / rate)
            await loop.sock_sendall(self._sink, data[begin : begin + step])
        proxy.counts[self.direction] += len(data)

    async def _change(self) -> None:
        self.changed.clear()
        await self.changed.wait()


class _Link:
    """One connection: the client's socket, the server's, and a lane each way."""

    def __init__(self, proxy: Proxy, client: socket.socket) -> None:
        self.proxy = proxy
        self.client = client
        self.server: socket.socket | None = None
        self.lanes: list[_Lane] = []
        self.task: asyncio.Task[None] | None = None

    async def run(self, silent: bool) -> None:
        """Serves until both sides have ended, or one was lost."""
        try:
            if silent:
                await asyncio.Event().wait()
            self.server = _new_socket()
            await asyncio.get_running_loop().sock_connect(self.server, self.proxy.target)
            self.lanes = [
                _Lane(self, "up", self.client, self.server),
                _Lane(self, "down", self.server, self.client),
            ]
            work = [
                asyncio.ensure_future(part) for x in self.lanes for part in (x.read(), x.write())
            ]
            try:
                await asyncio.gather(*work)
            finally:
                for task in work:
                    task.cancel()
                await asyncio.gather(*work, return_exceptions=True)
        except (OSError, asyncio.CancelledError):
            # However it was lost, the other side hears of it as a reset.
            _reset_on_close(self.client)
            if self.server is not None:
                _reset_on_close(self.server)
        finally:
            self.client.close()
            if self.server is not None:
                self.server.close()

    @property
    def broken(self) -> bool:
        """Whether it can never go on: bytes are missing, or nobody serves it."""
        return self.server is None or any(lane.lost for lane in self.lanes)


class Proxy:
    """Forwards connections to a server, with `with`, until it is told otherwise.

    Args:
        target: "host:port" of the server, by number.
        seed: of all that is left to chance.
    """

    def __init__(self, target: str, seed: int) -> None:
        host, _, port = target.rpartition(":")
        self.target = (host, int(port))
        self.random = random.Random(seed)
        self.counts: Counter[str] = Counter()
        """accepted, refused, silent, cut (mid-frame), and bytes: up, down, dropped."""
        self.paths = {"up": Path(), "down": Path()}
        self._arrivals: Arrivals = "served"
        self._limit: int | None = None
        self._over_limit: Arrivals = "refused"
        self._links: dict[_Link, None] = {}
        self._listener = _new_socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind((_HOST, free_port(_HOST)))
        self._loop = asyncio.new_event_loop()
        self._listening = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="proxy")

    @property
    def address(self) -> str:
        """ "host:port", for a client."""
        host, port = self._listener.getsockname()
        return f"{host}:{port}"

    def set_path(
        self, direction: Direction, path: Path, *, existing: bool = True, arriving: bool = True
    ) -> None:
        """Puts a direction of the connections that there are, and of those to come, in a state."""
        self._call(self._set_path(direction, path, existing, arriving))

    def admit(
        self, arrivals: Arrivals, *, limit: int | None = None, over_limit: Arrivals = "refused"
    ) -> None:
        """Says what new connections get, and those beyond a number of connections."""
        self._call(self._admit(arrivals, limit, over_limit))

    def reset(self) -> int:
        """Resets each connection now; gives how many."""
        return self._call(self._reset(list(self._links)))

    def reset_mid_frame(self, direction: Direction, share: float = 1.0) -> None:
        """Resets connections inside of a frame that is forwarded next.

        Args:
            direction: the way of that frame.
            share: how many of the connections, by chance; at least one.
        """
        self._call(self._reset_mid_frame(direction, share))

    def heal(self) -> None:
        """Ends every fault. Connections that have lost bytes are reset, others go on."""
        self._call(self._heal())

    def connections(self) -> int:
        """How many connections there are."""
        return self._call(self._count())

    def close(self) -> None:
        """Ends it, with a reset of each connection. The second time does nothing."""
        if self._loop.is_closed():
            return
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(_PATIENCE)
            assert not self._thread.is_alive()

    def __enter__(self) -> Self:
        self._thread.start()
        self._call(self._admit("served", None, "refused"))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_PATIENCE)

    def _run(self) -> None:
        accepting = self._loop.create_task(self._accept())
        try:
            self._loop.run_forever()
            accepting.cancel()
            self._loop.run_until_complete(asyncio.gather(accepting, return_exceptions=True))
            self._loop.run_until_complete(self._reset(list(self._links)))
        finally:
            self._listener.close()
            self._loop.close()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._listening.wait()
            try:
                client, _ = await loop.sock_accept(self._listener)
            except OSError:  # it does not listen any more
                await asyncio.sleep(0.001)
                continue
            client.setblocking(False)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            arrivals = self._arrivals
            if self._limit is not None and len(self._links) >= self._limit:
                arrivals = self._over_limit
            self.counts["accepted" if arrivals == "served" else arrivals] += 1
            if arrivals == "refused":
                _reset_on_close(client)
                client.close()
                continue
            link = _Link(self, client)
            self._links[link] = None
            link.task = loop.create_task(link.run(arrivals == "silent"))
            link.task.add_done_callback(functools.partial(self._ended, link))

    def _ended(self, link: _Link, _: object) -> None:
        self._links.pop(link)
        link.client.close()  # a task that is cancelled before its first step has not

    async def _set_path(
        self, direction: Direction, path: Path, existing: bool, arriving: bool
    ) -> None:
        for name in _directions(direction):
            if arriving:
                self.paths[name] = path
            for lane in (lane for link in self._links for lane in link.lanes if existing):
                if lane.direction == name:
                    lane.path = path
                    lane.changed.set()

    async def _admit(self, arrivals: Arrivals, limit: int | None, over_limit: Arrivals) -> None:
        self._arrivals, self._limit, self._over_limit = arrivals, limit, over_limit
        if arrivals != "refused":
            self._listener.listen(128)
            self._listening.set()
        elif self._listening.is_set():
            # On Linux a listener that is shut down keeps its port, refuses, and can listen again.
            self._listening.clear()
            self._listener.shutdown(socket.SHUT_RD)

    async def _reset_mid_frame(self, direction: Direction, share: float) -> None:
        links = [link for link in self._links if link.lanes]
        count = max(1, round(share * len(links))) if links else 0
        for link in self.random.sample(links, count):
            for lane in link.lanes:
                lane.cut_next |= lane.direction in _directions(direction)

    async def _heal(self) -> None:
        await self._set_path("both", Path(), existing=True, arriving=True)
        await self._admit("served", None, "refused")
        for link in self._links:
            for lane in link.lanes:
                lane.cut_next = False
        await self._reset([link for link in self._links if link.broken])

    async def _reset(self, links: list[_Link]) -> int:
        tasks = [link.task for link in links if link.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return len(tasks)

    async def _count(self) -> int:
        return len(self._links)


def _directions(direction: Direction) -> tuple[str, ...]:
    return ("up", "down") if direction == "both" else (direction,)


def _new_socket() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    made.setblocking(False)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def _reset_on_close(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
