# SPDX-License-Identifier: Apache-2.0
"""Headings, tables and a progress bar, for people who look at a terminal or at a file.

Invariants:
- Nothing is overwritten but on a terminal; elsewhere a progress bar is the one line that it ends
  as.
- Only characters that the output can encode are written.
"""

from __future__ import annotations

import shutil
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from typing_extensions import Self

_BAR = 32
_INDENT = "  "


def heading(title: str, remark: str = "") -> None:
    """Starts a section."""
    print(f"\n{title}" + (f"  ({remark})" if remark else ""), flush=True)


def pairs(*rows: tuple[str, object]) -> None:
    """Shows names and what they are."""
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"{_INDENT}{name:<{width}}  {value}")


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Shows rows under their columns' names."""
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    line = _rule()
    print(
        _INDENT
        + "  ".join(
            f"{name:<{width}}" for name, width in zip(columns, widths, strict=True)
        ).rstrip()
    )
    print(_INDENT + "  ".join(line * width for width in widths))
    for row in rows:
        cells = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        print(_INDENT + "  ".join(cells).rstrip())


class Progress:
    """A progress bar; enter it with `with`.

    Args:
        what: what is counted.
        total: the count at the end.
    """

    def __init__(self, what: str, total: int) -> None:
        self._what = what
        self._total = total
        self._shown = 0
        self._began = time.monotonic()
        self._live = sys.stdout.isatty()

    def show(self, count: int) -> None:
        """Shows how far it has come."""
        self._shown = count
        if self._live:
            columns = shutil.get_terminal_size().columns
            print("\r" + self._line()[: columns - 1], end="", flush=True)

    def __enter__(self) -> Self:
        self.show(0)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # What is shown last stays, on a line of its own.
        print("" if self._live else self._line(), flush=True)

    def _line(self) -> str:
        done = self._shown / self._total
        full, empty = ("█", "░") if _can_show("█░") else ("#", ".")
        filled = round(done * _BAR)
        bar = full * filled + empty * (_BAR - filled)
        seconds = time.monotonic() - self._began
        counts = f"{self._shown:,} of {self._total:,} {self._what}"
        return f"{_INDENT}{bar} {done:4.0%}  {counts}  {seconds:.1f} s"


def _rule() -> str:
    return "─" if _can_show("─") else "-"


def _can_show(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True
