# SPDX-License-Identifier: Apache-2.0
"""capi/abi/methods.lock, read: every unary method of the GCS, and the releases that have it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

LOCK = Path(__file__).parents[2] / "capi" / "abi" / "methods.lock"
PACKAGE = "ray.rpc"


class Method(NamedTuple):
    """A line of the record."""

    number: int
    path: str
    request: str
    """The full name of the message, with a dot in front, as descriptors have it."""
    reply: str
    read_only: bool
    status_field: int | None
    """The number of the reply's field with the status."""
    first: tuple[int, int]
    """The first release of Ray that has it."""
    last: tuple[int, int] | None
    """The last one; None if the newest has it."""

    def is_in(self, release: tuple[int, ...]) -> bool:
        """Whether a release of Ray has it."""
        return self.first <= release[:2] and (self.last is None or release[:2] <= self.last)


def recorded_methods() -> list[Method]:
    """The lines of the record, in order."""
    rows = [line.split() for line in LOCK.read_text().splitlines() if not line.startswith("#")]
    return [_method(*row) for row in rows if row]


def minor(text: str) -> tuple[int, int]:
    """The numbers of a release such as "2.41"."""
    major, _, rest = text.partition(".")
    return int(major), int(rest)


def _method(
    number: str,
    path: str,
    request: str,
    reply: str,
    effect: str,
    status: str,
    first: str,
    last: str,
) -> Method:
    return Method(
        int(number),
        path,
        _full_name(request),
        _full_name(reply),
        effect == "read-only",
        None if status == "-" else int(status),
        minor(first),
        None if last == "-" else minor(last),
    )


def _full_name(name: str) -> str:
    return name if name.startswith(".") else f".{PACKAGE}.{name}"
