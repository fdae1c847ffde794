# SPDX-License-Identifier: Apache-2.0
"""The part of a client that the library knows: its handle, and what can be asked about it.

Invariants:
- A handle is closed exactly once, by `close()` or by the finalizer, which only posts it.
- The finalizer may run on any thread, the library's included, at any point: it takes no lock and
  calls nothing that waits.
- In a forked child the finalizer does nothing: the client is the parent's. Nor does it when the
  interpreter ends: the library ends by itself.
- A handle is never pickled: in another process the number stands for something else.
"""

from __future__ import annotations

import json
import sys
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from gcs_cffi import _native, _status
from gcs_cffi._packed import STATES
from gcs_cffi.errors import ClientClosedError, from_status
from gcs_cffi.ids import ClusterID

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Never

    from gcs_cffi._server import Server
    from gcs_cffi.errors import GcsError
    from gcs_cffi.options import ClientOptions, State

_DEFAULT_TIMEOUT: Final = 60_000_000_000


class ClientHandle:
    """A client of the library.

    Args:
        handle: the library's number for it; this object's from now on.
        settings: what it was made with.

    Attributes:
        handle: the library's number for it; 0 once closed.
        address: the address that it goes to.
        default_timeout: of a call that names none, in nanoseconds, as the library takes it.
        server: what is known about the server; None until that was needed.
    """

    __slots__ = (
        "__weakref__",
        "_cluster_id",
        "_process",
        "address",
        "default_timeout",
        "handle",
        "server",
    )

    def __init__(self, handle: int, settings: ClientOptions) -> None:
        self.handle = 0  # until the rest is there: whoever made it closes it meanwhile
        self._process = _native.process()
        self._cluster_id: ClusterID | None = None
        self.server: Server | None = None
        self.default_timeout = settings.timeout
        if self.default_timeout == _native.TIMEOUT_DEFAULT:
            self.default_timeout = _DEFAULT_TIMEOUT
        self.address = _native.client_address(handle)
        self.handle = handle
        self._learn_cluster_id()

    @property
    def cluster_id(self) -> ClusterID | None:
        """The cluster's id, or None while it is not known."""
        if self.handle and not self._inherited:
            self._learn_cluster_id()
        return self._cluster_id

    @property
    def state(self) -> State:
        """What the client is doing."""
        if not self.handle or self._inherited:
            return "closed"
        try:
            return STATES[_native.client_state(self.handle)]
        except ClientClosedError:  # by another thread, just now
            return "closed"

    def stats(self) -> dict[str, Any]:
        """What the library counts of the client."""
        if not self.handle:
            raise self.closed_error()
        counters: dict[str, Any] = json.loads(_native.client_stats(self.handle))
        return counters

    def forget_server(self, server: Server) -> None:
        """Forgets what is known about the server, unless that is of another one already."""
        if self.server is server:
            self.server = None

    def closed_error(self) -> GcsError:
        """What a call gets after `close()`."""
        message = f"the client of {self.address} is closed: make a new one with connect()"
        return from_status(_status.CLOSED, _status.FLAG_LOCAL, message, address=self.address)

    def post_close(self) -> None:
        """Ends the client, and what is pending with it. Never blocks; again does nothing."""
        handle, self.handle = self.handle, 0
        if handle:
            _native.client_close(handle)

    def _learn_cluster_id(self) -> None:
        with suppress(ClientClosedError):  # by another thread, just now
            text = _native.client_cluster_id(self.handle)
            if text:
                self._cluster_id = ClusterID.from_hex(text)

    @property
    def _inherited(self) -> bool:
        return self._process is not _native.process()

    @property
    def is_usable(self) -> bool:
        """Whether it is neither closed nor another process's."""
        return bool(self.handle) and not self._inherited

    def __reduce__(self) -> Never:
        """Clients do not go to other processes, nor are they copied."""
        raise TypeError("a client belongs to its process: pass its address on, and connect there")

    def __del__(self, ending: Callable[[], bool] = sys.is_finalizing) -> None:
        handle = self.handle
        if not handle or ending() or self._inherited:
            return
        self.handle = 0
        _native.client_close(handle)
        warnings.warn(
            f"a client of {self.address} was never closed: use `with`, `async with` or close()",
            ResourceWarning,
            stacklevel=2,
            source=self,
        )
