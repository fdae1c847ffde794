# SPDX-License-Identifier: Apache-2.0
"""What `connect()` gives: a client to be.

Invariant: nothing is begun before it is awaited or entered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator
    from types import TracebackType

    from typing_extensions import Never

    from gcs_cffi.client import GcsClient

__all__ = ["Connecting"]


class Connecting:
    """A connection to be made: await it, or enter it."""

    __slots__ = ("_client", "_open")

    def __init__(self, open_client: Callable[[], Coroutine[Any, Any, GcsClient]]) -> None:
        """Made by `connect()`."""
        self._open = open_client
        self._client: GcsClient | None = None

    def __reduce__(self) -> Never:
        """Holds a token, which is not to be written down."""
        raise TypeError("connect() is to be called in the process that uses its client")

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Never:
            """Says what is missing, where a client was meant."""
            hint = "await it, or use `async with connect(...)`; gcs_cffi.sync is for threads"
            raise AttributeError(f"connect() gives no client yet, and so no {name!r}: {hint}")

        def __enter__(self) -> Never:
            """Says that this is the other kind of block."""
            raise TypeError("use `async with connect(...)`, or connect() of gcs_cffi.sync")

        def __exit__(self, *exc: object) -> None:
            """The counterpart of `__enter__()`."""

    def __await__(self) -> Generator[Any, None, GcsClient]:
        """Connects, and gives the client."""
        return self._open().__await__()

    async def __aenter__(self) -> GcsClient:
        """Connects, and gives the client, which is closed when the block ends."""
        if self._client is not None:
            raise RuntimeError("this was entered before: each block needs a connect() of its own")
        self._client = await self._open()
        return self._client

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Closes the client."""
        if self._client is not None:
            await self._client.close()
