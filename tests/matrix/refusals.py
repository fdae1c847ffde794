# SPDX-License-Identifier: Apache-2.0
"""Whether a client's "this release of Ray cannot do that" is the one that the record asks for."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from method_record import Method, minor

from gcs_cffi import UnsupportedByServerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


class NotAsExpectedError(AssertionError):
    """An older release was not refused as it has to be."""


@dataclass(frozen=True)
class Since:
    """What only releases from one on can do: a whole method, or a part of one."""

    first: str
    """The first release that can, such as "2.41"."""
    part: str = ""
    """A part of a method, such as the name of an argument; empty for a whole method."""

    def lacking(self, release: tuple[int, ...]) -> bool:
        """Whether a release is too old for it."""
        return release[:2] < minor(self.first)


@contextmanager
def refused(
    since: Since,
    release: tuple[int, ...],
    record: Sequence[Method],
    on_refusal: Callable[[], None],
) -> Iterator[None]:
    """Expects of the block, on a release that is too old, the error that says so.

    Args:
        since: what the block needs.
        release: the server's release.
        record: every method of the GCS.
        on_refusal: called when the error came, and is as it has to be.

    Raises:
        NotAsExpectedError: the release is too old, and the block ended in another way.
    """
    if not since.lacking(release):
        yield
        return
    try:
        yield
    except UnsupportedByServerError as error:
        complaint = fault_of(error, since, record)
        if complaint:
            raise NotAsExpectedError(f"{complaint}: {error}") from error
        on_refusal()
    except Exception as error:
        raise NotAsExpectedError(
            f"UnsupportedByServerError was expected before {since.first}, and not "
            f"{type(error).__name__}: {error}"
        ) from error
    else:
        raise NotAsExpectedError(
            f"UnsupportedByServerError was expected before {since.first}, and none came"
        )


def fault_of(error: UnsupportedByServerError, since: Since, record: Sequence[Method]) -> str | None:
    """What is wrong with an error that refuses something; None if it says what it has to.

    Args:
        error: what the client raised.
        since: what was refused.
        record: every method of the GCS.
    """
    text = str(error)
    if not re.search(rf"(?<![\d.]){re.escape(since.first)}(\.0)?(?!\.?\d)", text):
        return f"the error does not name the first release, {since.first}"
    if since.part:
        return None if since.part in text else f"the error does not name {since.part!r}"
    named = [method for method in record if _names(error, method)]
    if not named:
        return "the error names no method of the record"
    if all(method.first != minor(since.first) for method in named):
        firsts = ", ".join(f"{method.path} is in {method.first}" for method in named)
        return f"the record says otherwise ({firsts})"
    return None


def _names(error: UnsupportedByServerError, method: Method) -> bool:
    short = method.path.rpartition("/")[2]
    text = f"{error.method} {error}"
    return method.path in text or (
        "/ray." not in text and re.search(rf"\b{short}\b", text) is not None
    )
