# SPDX-License-Identifier: Apache-2.0
"""What is run: a workload and its faults, as a TOML file in workloads/ declares them.

Invariants:
- A name that is not known, a number that cannot be, or a fault without its parameters is refused
  with the file's name: a misspelt fault would be one that never happens.
- A workload holds nothing but what its file says, so that file and seed are all that a run needs.
"""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from gcs_cffi.options import ClusterChange, Retry

FOLDER: Final = Path(__file__).parent / "workloads"

OPERATIONS: Final = frozenset(
    ("get", "put", "put_new", "delete", "multi_get", "next_id", "nodes", "raw_read", "raw_next_id")
)
"""put_new: put(overwrite=False) of a key that no other call uses; raw_*: `call()`, with `retry`."""

# What a fault does, and which parameters it needs to do anything at all.
NETWORK_FAULTS: Final[dict[str, frozenset[str]]] = {
    "latency": frozenset({"latency"}),
    "throttle": frozenset({"rate"}),
    "half_open": frozenset(),
    "one_way_loss": frozenset(),
    "black_hole": frozenset(),
    "reset": frozenset(),
    "reset_mid_frame": frozenset(),
    "refuse": frozenset(),
    "silent": frozenset(),
    "limit": frozenset({"limit"}),
}
SERVER_FAULTS: Final[dict[str, frozenset[str]]] = {
    "kill": frozenset(),  # SIGKILL; started again at the same port after `lasts`
    "restart": frozenset(),  # SIGTERM, and started again
    "pause": frozenset({"lasts"}),  # SIGSTOP, SIGCONT after `lasts`
}


@dataclass(frozen=True)
class Fault:
    """One fault, or one that comes again and again."""

    kind: str
    at: float = 0.0
    """Seconds from the load's start to the first one, give or take a fifth."""
    lasts: float = 0.0
    """Seconds until it is healed; 0 for those that are over at once."""
    every: float = 0.0
    """Seconds from one to the next, give or take a fifth; 0 for a single one."""
    every_calls: int = 0
    """Calls from one to the next, in place of seconds."""
    times: int = 0
    """How often at most, and how often at least if it comes by calls; 0 for no bound."""
    direction: str = "both"
    latency: float = 0.0
    jitter: float = 0.0
    rate: float = 0.0
    share: float = 1.0
    limit: int = 0
    over_limit: str = "refused"
    existing_only: bool = False
    """Of connections: whether those that come later are spared."""


@dataclass(frozen=True)
class Workload:
    """A load, the server that it goes to, and what happens meanwhile."""

    name: str
    about: str
    mix: dict[str, float]
    """The weight of each operation."""
    special: bool = False
    """Whether it is run only by its name."""
    duration: float = 8.0
    """Seconds of load."""
    calls: int = 0
    """How many calls in place of `duration`; then that is the longest that they may take."""
    backend: str = "memory"
    proxied: bool = True
    on_cluster_change: ClusterChange = "error"
    loops: tuple[str, ...] = ("asyncio",)
    """The event loops, each on a thread: asyncio, uvloop (asyncio where it is not installed)."""
    clients: int = 1
    """Clients of each loop."""
    in_flight: int = 16
    """Callers of each loop."""
    blocking_clients: int = 0
    blocking_threads: int = 0
    """Threads over all the blocking clients."""
    timeout: float = 20.0
    """What a call gets that has no deadline of its own; the client's."""
    deadline_share: float = 0.0
    deadline: tuple[float, float] = (0.0, 1.0)
    cancel_share: float = 0.0
    cancel_after: tuple[float, float] = (0.0, 0.05)
    retry: Retry = "safe"
    value_size: int = 100
    faults: tuple[Fault, ...] = ()

    @property
    def restarts(self) -> bool:
        """Whether the server's process ends meanwhile."""
        return any(fault.kind in ("kill", "restart") for fault in self.faults)

    @property
    def keeps_state(self) -> bool:
        """Whether what was stored must be there afterwards."""
        return self.backend == "redis" or not self.restarts

    def shortened(self, factor: float) -> Workload:
        """The same in a part of the time, faults and all."""
        faults = [
            dataclasses.replace(f, at=f.at * factor, lasts=f.lasts * factor, every=f.every * factor)
            for f in self.faults
        ]
        return dataclasses.replace(self, duration=self.duration * factor, faults=tuple(faults))


def names(*, special: bool = True) -> list[str]:
    """The workloads that there are, with or without those that are run only by their names."""
    every = sorted(path.stem for path in FOLDER.glob("*.toml"))
    return every if special else [name for name in every if not load(name).special]


def load(name: str) -> Workload:
    """Reads a workload.

    Raises:
        ValueError: there is none of that name, or its file says what cannot be.
    """
    path = FOLDER / f"{name}.toml"
    if not path.is_file():
        raise ValueError(f"there is no workload {name!r}; there are {', '.join(names())}")
    return parse(name, path.read_text())


def parse(name: str, text: str) -> Workload:
    """Reads a workload out of TOML; errors as in `load()`."""
    try:
        return from_dict({"name": name, **tomllib.loads(text)})
    except (ValueError, TypeError) as error:
        raise ValueError(f"workload {name}: {error}") from error


def from_dict(values: dict[str, Any]) -> Workload:
    """Makes a workload of what `dataclasses.asdict()` makes of one, or TOML; ValueError if none."""
    faults = tuple(_fault(each) for each in values.get("faults", ()))
    fields = _known(Workload, values) | {"faults": faults}
    for name in ("loops", "deadline", "cancel_after"):
        if name in fields:
            fields[name] = tuple(fields[name])
    made = Workload(**fields)
    _require(bool(made.mix) and OPERATIONS.issuperset(made.mix), f"mix has {list(made.mix)}")
    _require(made.backend in ("memory", "redis"), f"backend is {made.backend!r}")
    _require(made.on_cluster_change in ("error", "adopt"), "on_cluster_change")
    _require(made.retry in ("never", "safe", "always"), f"retry is {made.retry!r}")
    _require(set(made.loops) <= {"asyncio", "uvloop"}, f"loops are {made.loops}")
    _require(bool(made.loops) or made.blocking_threads > 0, "nobody calls")
    _require(made.blocking_clients <= made.blocking_threads, "blocking clients without a thread")
    _require(made.clients <= made.in_flight, "clients without a caller")
    _require(made.duration > 0 and made.timeout > 0, "duration and timeout are positive")
    _require(
        made.proxied or all(fault.kind in SERVER_FAULTS for fault in faults),
        "a fault of the network needs the proxy",
    )
    return made


def _fault(values: dict[str, Any]) -> Fault:
    made = Fault(**_known(Fault, values))
    needed = {**NETWORK_FAULTS, **SERVER_FAULTS}.get(made.kind)
    _require(needed is not None, f"there is no fault {made.kind!r}")
    for name in needed or ():
        _require(bool(getattr(made, name)), f"the fault {made.kind} needs {name}")
    _require(made.direction in ("up", "down", "both"), f"direction is {made.direction!r}")
    _require(not (made.every and made.every_calls), "every and every_calls exclude each other")
    _require(made.over_limit in ("refused", "silent"), f"over_limit is {made.over_limit!r}")
    return made


def _known(made: type, values: dict[str, Any]) -> dict[str, Any]:
    known = {field.name for field in dataclasses.fields(made)}
    _require(known.issuperset(values), f"unknown: {', '.join(sorted(set(values) - known))}")
    return dict(values)


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise ValueError(what)
