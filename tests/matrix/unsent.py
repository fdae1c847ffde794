# SPDX-License-Identifier: Apache-2.0
"""Arguments that are refused before anything is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from gcs_cffi import GcsClient

Wrong = tuple[type[Exception], tuple[Any, ...], dict[str, Any]]
"""The error, and what the method is called with."""


async def check_unsent(
    gcs: GcsClient, method: Callable[..., Coroutine[Any, Any, Any]], wrong: list[Wrong]
) -> None:
    """Calls a method with one set of arguments after the other, each of which must be refused.

    Args:
        gcs: the client that the method is of.
        method: the method.
        wrong: what it is called with.
    """
    await gcs.get_ray_version()  # so that the client need not ask in between
    before = _counts(gcs)
    for error, positional, named in wrong:
        raised: Exception | None = None
        try:
            await method(*positional, **named)
        except Exception as any_error:  # noqa: BLE001 (whatever it is, it is told)
            raised = any_error
        # Not a subclass: a GcsError may be a ValueError, and comes out of a call.
        assert type(raised) is error, f"{positional} {named}: {raised!r}"
        assert str(raised)
    assert _counts(gcs) == before


def _counts(gcs: GcsClient) -> tuple[int, int]:
    stats = gcs.stats()
    return stats["started"], stats["refused"]
