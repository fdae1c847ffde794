# SPDX-License-Identifier: Apache-2.0
"""A client's calls on asyncio: one coroutine that every public method awaits.

Invariants:
- A channel belongs to no loop: a call goes through the reactor of the loop that it runs in.
- Between a call and its end stands one bare future. Whoever stops waiting for it takes the call
  back, and returns without waiting for the library.
"""

from __future__ import annotations

from asyncio import get_running_loop
from typing import TYPE_CHECKING, Any

from gcs_cffi import _log, _native
from gcs_cffi._handle import ClientHandle
from gcs_cffi._packed import POINTER_SIZE, pack_call
from gcs_cffi._reactor import Reactor, reactor_for, retire_closed_loops

if TYPE_CHECKING:
    from gcs_cffi.options import ClientOptions


class Channel(ClientHandle):
    """A client's connection, as its accessors use it.

    Args:
        handle: the number of the library's client; this object's from now on.
        reactor: the one of the loop that is most likely to make calls.
    """

    __slots__ = ("_reactor",)

    def __init__(self, handle: int, reactor: Reactor) -> None:
        super().__init__(handle)
        self._reactor = reactor

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
                _native.client_connect(handle, call_id, reactor.queue)
                await future
            finally:
                reactor.pending.pop(call_id, None)
        except BaseException:
            _native.client_close(handle)
            raise
        return cls(handle, reactor)

    async def request(
        self,
        kind: int,
        flags: int,
        method: int,
        name: bytes,
        key: bytes,
        body: bytes,
        timeout: int,
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
        record = pack_call(client, call_id, kind, flags, method, name, key, body, timeout)
        future = reactor.pending[call_id] = loop.create_future()
        reactor.batch[call_id] = record
        if len(body) >= POINTER_SIZE:
            reactor.lent.append(body)
        if not reactor.scheduled:
            reactor.schedule(loop)
        try:
            return await future
        except BaseException:
            reactor.cancel(client, call_id)
            raise

    async def close(self) -> None:
        """Ends the client, and gives up what belonged to closed loops."""
        self.post_close()
        retire_closed_loops()
