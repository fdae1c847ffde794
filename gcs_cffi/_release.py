# SPDX-License-Identifier: Apache-2.0
"""Releases of Ray, and which of them have which method.

Invariant: nothing here imports protobuf.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from gcs_cffi import _native, _status
from gcs_cffi._method_table import ROWS
from gcs_cffi.errors import UnsupportedByServerError

SCHEMA_RELEASE: Final = (2, 60)
"""The release whose layout `gcs_cffi.messages` has."""

_NEWEST: Final = (1 << 20, 0)


class ReplacedError(Exception):
    """Another release has taken the place of the server that a call was written for."""


class Release(NamedTuple):
    """A release, as a server names it."""

    text: str
    """Such as "2.60.0"."""
    number: int
    """As the library takes it: major * 1 000 000 + minor * 1000 + patch; 0 if it has none."""

    @classmethod
    def parse(cls, text: str) -> Release:
        """A release of the text that a server calls itself by."""
        return cls(text, _native.ray_version_number(text))

    @property
    def pair(self) -> tuple[int, int]:
        """Major and minor; of a text that is no release the newest there can be."""
        if not self.number:
            return _NEWEST
        return self.number // 1_000_000, self.number // 1000 % 1000


class KnownMethod(NamedTuple):
    """A method of the record, capi/abi/methods.lock."""

    number: int
    path: str
    request: str
    """The full name of the message that it takes."""
    reply: str
    """The full name of the message that it gives."""
    read_only: bool
    first: tuple[int, int]
    last: tuple[int, int] | None
    """None: the newest release has it."""

    @property
    def service(self) -> str:
        """The full name of the service."""
        return self.path[1:].partition("/")[0]

    def is_in(self, release: Release) -> bool:
        """Whether the release has it."""
        return self.first <= release.pair and (self.last is None or release.pair <= self.last)


METHODS: Final = {row[1]: KnownMethod(*row) for row in ROWS}
"""The record, by path."""


def known(*names: str) -> tuple[KnownMethod, ...]:
    """Methods by "Service/Method" within ray.rpc; several are one method, which has moved."""
    return tuple(METHODS[f"/ray.rpc.{name}"] for name in names)


def choose(methods: tuple[KnownMethod, ...], release: Release, address: str) -> KnownMethod:
    """The one of them that the release has.

    Raises:
        UnsupportedByServerError: none; it names the first release that has one.
    """
    for method in methods:
        if method.is_in(release):
            return method
    oldest = min(methods, key=lambda method: method.first)
    newest = max(methods, key=lambda method: method.first)
    if release.pair < oldest.first:
        when = f"Ray has it from {_dotted(oldest.first)} on"
    else:
        when = f"Ray had it from {_dotted(oldest.first)} to {_dotted(newest.last or newest.first)}"
    raise unsupported(f"{newest.path[1:]}: {when}", release, newest.path, address)


def require(
    first: tuple[int, int], what: str, method: KnownMethod, release: Release, address: str
) -> None:
    """Checks that the release has a part of a method, which the record does not know.

    Args:
        first: the first release that has it.
        what: the argument that needs it.
        method: the method.
        release: the server's.
        address: the server's.

    Raises:
        UnsupportedByServerError: it is older.
    """
    if release.pair < first:
        message = f"{method.path[1:]}: Ray takes {what} from {_dotted(first)} on"
        raise unsupported(message, release, method.path, address)


def unsupported(what: str, release: Release, path: str, address: str) -> UnsupportedByServerError:
    """The error for what the server's release cannot do."""
    return UnsupportedByServerError(
        f"{what}; this server is Ray {release.text}",
        code=_status.UNSUPPORTED,
        method=path,
        address=address,
    )


def _dotted(pair: tuple[int, int]) -> str:
    return f"{pair[0]}.{pair[1]}"
