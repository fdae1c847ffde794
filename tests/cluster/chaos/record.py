# SPDX-License-Identifier: Apache-2.0
"""What a run leaves to be judged: each call, what became of it, and the process around them.

Invariants:
- A call is written down before it is made and again each time that it ends, so that one that never
  ends, or ends twice, can be seen.
- A value names the call that put it, and nothing else: `read_value` tells which, or that it is
  damaged.

A line is `s NUMBER CALLER OPERATION KEYS TIMEOUT TIME` or `e NUMBER OUTCOME TIME MAYBE RESULT
CANCELLED_AT`, with "-" for what is not there. Times are of the worker's monotonic clock.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

NONE: Final = "none"
DAMAGED: Final = "damaged"
READS: Final = frozenset(("get", "multi_get", "nodes", "raw_read"))
TAKES_ID: Final = frozenset(("next_id", "raw_next_id"))


@dataclass
class End:
    """How a call ended."""

    outcome: str
    """ok, cancelled, or the name of the exception's class."""
    at: float
    maybe: bool = False
    """Whether it may have been carried out although it failed."""
    result: str = "-"
    cancelled_at: float | None = None


@dataclass
class Call:
    """A call that was made."""

    number: int
    caller: str
    operation: str
    keys: tuple[str, ...]
    timeout: float | None
    began: float
    ends: list[End] = field(default_factory=list)

    @property
    def uncertain(self) -> bool:
        """Whether it may have been carried out, or may not."""
        return not self.ends or any(end.outcome != "ok" and end.maybe for end in self.ends)


@dataclass
class Record:
    """A run."""

    calls: list[Call] = field(default_factory=list)
    before: dict[str, int] = field(default_factory=dict)
    """What the process had before the load: descriptors, threads, rss (bytes)."""
    after: dict[str, int] = field(default_factory=dict)
    """The same afterwards, with every client and loop closed."""
    left: list[str] = field(default_factory=list)
    """What descriptors refer to afterwards, and did not before."""
    pending: int = 0
    """Futures and records that reactors still held when their loops ended."""
    longest_turn: float = 0.0
    """Seconds that an event loop took at most to come round: how busy process and machine were."""
    completions: int = 0
    """How many completions were seen to leave the library."""
    ended_twice: int = 0
    """Ids for which the library sent more than one completion."""
    clients: list[dict[str, Any]] = field(default_factory=list)
    """The library's counters of each client, before it was closed; and `recovered`: whether a last
    call went through."""
    finished: bool = False
    """Whether the worker came to its own end."""
    exit_code: int | None = None
    stderr: str = ""
    stored: dict[str, str] | None = None
    """What the server had in the end, by key; None when that says nothing."""
    first_id: int | None = None
    last_id: int | None = None
    """The ids that were taken just before and just after the load; None where nothing follows."""
    restarts: bool = False
    keeps_state: bool = True
    adopts: bool = False
    may_repeat: bool = False
    """Whether calls that change something were made with retry="always"."""
    happened: dict[str, int] = field(default_factory=dict)
    """How often each fault came."""
    owed: bool = False
    """Whether faults that were due by calls have not come."""
    library: str = ""
    """The file of the library that the worker ran on."""
    wanted_library: str = ""
    """The one that it was to run on; empty for the package's own."""


def value_of(number: int, size: int) -> bytes:
    """The value that a call puts."""
    return (b"%d:" % number).ljust(size, b"v")


def read_value(value: bytes | None, size: int) -> str:
    """The number of the call that put a value; `NONE`, or `DAMAGED`."""
    if value is None:
        return NONE
    number = value.split(b":", 1)[0]
    if number.isdigit() and value == value_of(int(number), size):
        return number.decode()
    return DAMAGED


def start_line(call: Call) -> str:
    """The line for a call that is made."""
    keys = ",".join(call.keys) or "-"
    timeout = "-" if call.timeout is None else f"{call.timeout:.6f}"
    return f"s {call.number} {call.caller} {call.operation} {keys} {timeout} {call.began:.6f}\n"


def end_line(number: int, end: End) -> str:
    """The line for a call that has ended."""
    cancelled = "-" if end.cancelled_at is None else f"{end.cancelled_at:.6f}"
    return f"e {number} {end.outcome} {end.at:.6f} {int(end.maybe)} {end.result} {cancelled}\n"


def read_lines(lines: Iterable[str]) -> list[Call]:
    """The calls that lines tell of, in the order in which they were made.

    Raises:
        ValueError: a line that is none of ours, or an end without a call.
    """
    calls: dict[int, Call] = {}
    for line in lines:
        if not line.endswith("\n"):
            continue  # the process was killed while it wrote this one
        words = line.split()
        if len(words) != 7:
            raise ValueError(f"not a line of a record: {line!r}")
        number = int(words[1])
        if words[0] == "s":
            keys = () if words[4] == "-" else tuple(words[4].split(","))
            calls[number] = Call(
                number, words[2], words[3], keys, _number(words[5]), float(words[6])
            )
        elif number in calls:
            calls[number].ends.append(
                End(words[2], float(words[3]), words[4] == "1", words[5], _number(words[6]))
            )
        else:
            raise ValueError(f"call {number} has ended and was never made")
    return sorted(calls.values(), key=lambda call: call.began)


def _number(word: str) -> float | None:
    return None if word == "-" else float(word)
