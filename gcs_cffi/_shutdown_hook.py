# SPDX-License-Identifier: Apache-2.0
"""A word from an event loop that is shutting down: its asynchronous generators are closed then.

Invariant: such a generator is started without the loop, and stands at its `yield` until the loop
closes it, or `finish()` does.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import weakref
    from collections.abc import AsyncGenerator


class _Told(Protocol):
    def shut_down(self) -> None:
        """The loop is shutting down."""


async def until_shutdown(told: weakref.ref[_Told]) -> AsyncGenerator[None, None]:
    """Started in a loop, it is among the generators that the loop closes when it shuts down."""
    try:
        yield
    finally:
        alive = told()
        if alive is not None:
            alive.shut_down()


def start(generator: AsyncGenerator[None, None]) -> None:
    """Has it stand at its `yield`. In the running loop, whose generator it is from now on."""
    # Or the loop has warned that it is shut down, and warnings are errors.
    with suppress(StopIteration, ResourceWarning):
        generator.asend(None).send(None)


def finish(generator: AsyncGenerator[None, None]) -> None:
    """Closes it without the loop."""
    with suppress(StopIteration):  # it has ended
        generator.aclose().send(None)
