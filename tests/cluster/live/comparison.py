# SPDX-License-Identifier: Apache-2.0
"""Compares one reading: ours by the async client, Ray's, and ours by the blocking client.

Invariants:
- A field counts as compared only if all three say the same of it.
- A field in which our two readings differ has moved meanwhile, and is compared anew. So a race is
  never a difference, and an async and a blocking accessor that disagree never go unseen: what keeps
  moving is a failure.
- What `live.varies` lists only grows: Ray's must lie between ours. It is counted apart.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

from gcs_cffi import GcsClient, sync
from gcs_cffi.errors import GcsError
from live.plain import leaves, plain
from live.ray_process import RayProcess

LEGEND = (
    "Ray's ways: *_accessor is its GlobalStateAccessor, *_state_api the data source of its state "
    "API, *_stub a stub\ngenerated from its protocol, ray_* its public functions; what is left is "
    "its GcsClient, blocking or async."
)
TRIES = 8
PAUSE_SECONDS = 0.5


def same(value: Any) -> Any:
    """The value."""
    return value


@dataclass
class Reading:
    """One accessor with its arguments, and each of Ray's ways to the same."""

    accessor: str
    arguments: dict[str, Any]
    ways: dict[str, dict[str, Any]]
    note: str = ""
    ours_as: Callable[[Any], Any] = plain
    theirs_as: Callable[[Any], Any] = same

    @property
    def name(self) -> str:
        """The accessor, and what is special about this reading."""
        return f"{self.accessor} ({self.note})" if self.note else self.accessor


@dataclass
class Compared:
    """What came of one reading and one of Ray's ways."""

    name: str
    way: str
    entries: int = 0
    fields: int = 0
    varying: int = 0
    tries: int = 0
    differences: list[str] = field(default_factory=list)
    moved: list[str] = field(default_factory=list)


@dataclass
class Clients:
    """Both of our clients, on the live cluster."""

    awaited: GcsClient
    blocking: sync.GcsClient
    run: Callable[[Coroutine[Any, Any, Any]], Any]

    def read_async(self, reading: Reading) -> Any:
        """What the async accessor gives, as plain values."""
        accessor = attrgetter(reading.accessor)(self.awaited)
        return reading.ours_as(self.run(asyncio.wait_for(accessor(**reading.arguments), 30)))

    def read_blocking(self, reading: Reading) -> Any:
        """What the blocking accessor gives."""
        return reading.ours_as(attrgetter(reading.accessor)(self.blocking)(**reading.arguments))


def compare(reading: Reading, clients: Clients, ray: RayProcess) -> list[Compared]:
    """Compares a reading with each of Ray's ways; again, while something moves."""
    results = []
    for way, arguments in reading.ways.items():
        result = Compared(reading.name, way)
        for attempt in range(1, TRIES + 1):
            try:
                before = clients.read_async(reading)
                theirs = reading.theirs_as(ray.ask(way, **arguments))
                after = clients.read_blocking(reading)
            except (AssertionError, AttributeError, TypeError, ValueError, GcsError) as error:
                # One that fails does not hide the others.
                result.differences = [f"{type(error).__name__}: {error}"]
                break
            result = compare_once(reading.name, way, before, theirs, after)
            result.tries = attempt
            if not result.differences and not result.moved:
                break
            clients.run(asyncio.sleep(PAUSE_SECONDS))
        results.append(result)
    return results


def compare_once(name: str, way: str, before: Any, theirs: Any, after: Any) -> Compared:
    """Compares plain values: ours, Ray's, and ours again."""
    entries = len(theirs) if isinstance(theirs, (dict, list)) else int(theirs is not None)
    result = Compared(name, way, entries)
    sides = [dict(leaves(each)) for each in (before, theirs, after)]
    for path in sorted(set().union(*sides)):
        found = [side.get(path) for side in sides]
        if all(leaf is not None and leaf.varies for leaf in found):
            values = [leaf.value for leaf in found if leaf is not None]
            if values == sorted(values):
                result.varying += 1
            else:
                result.differences.append(f"{path}: not in order, ours, Ray's, ours: {values}")
        elif found[0] != found[2]:
            result.moved.append(f"{path}: {found[0]} -> {found[2]}")
        elif found[0] != found[1]:
            result.differences.append(f"{path}: ours {found[0]}, Ray's {found[1]}")
        else:
            result.fields += 1
    return result


def tally(results: list[Compared]) -> str:
    """A table of what was compared: a line for each accessor and each of Ray's ways."""
    names = {each.name.partition(" ")[0]: None for each in results}
    line = "{:<40} {:<26} {:>8} {:>8} {:>8} {:>8} {:>7}".format
    head = line("accessor", "Ray's way", "readings", "entries", "fields", "varying", "differ")
    lines = [head, "-" * len(head)]
    for name in names:
        of_name = [each for each in results if each.name.partition(" ")[0] == name]
        for way in {each.way: None for each in of_name}:
            of_way = [each for each in of_name if each.way == way]
            lines.append(line(name, way, len(of_way), *_sums(of_way)))
    lines.append(line(f"{len(names)} accessors", "", len(results), *_sums(results)))
    retried = sum(each.tries > 1 for each in results)
    lines.append(LEGEND)
    lines.append(f"each read by the async and by the blocking client; {retried} read anew")
    return "\n".join(lines)


def _sums(results: list[Compared]) -> list[int]:
    return [
        sum(each.entries for each in results),
        sum(each.fields for each in results),
        sum(each.varying for each in results),
        sum(len(each.differences) + len(each.moved) for each in results),
    ]
