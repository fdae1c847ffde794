# SPDX-License-Identifier: Apache-2.0
"""One run of a workload: the server, the proxy, the faults, the worker, the verdicts, the tally.

Invariants:
- Name and seed are all that a run depends on, besides the machine: they are printed first.
- The worker is a process of its own, so that what it loses, prints or dies of shows.
- A run ends within a bounded time, and leaves no process: a worker that does not end is killed,
  which the oracles then see.
"""

from __future__ import annotations

import dataclasses
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from chaos.callers import NAMESPACE, WARM_NAMES
from chaos.faults import Timeline
from chaos.oracles import Limits, Verdict, judge
from chaos.proxy import Proxy
from chaos.record import Record, read_lines, read_value
from chaos.workloads import Workload
from gcs_cffi import sync
from gcs_cffi.testing import GcsServer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import Self

_WORKER: Final = (
    "import sys; sys.path.insert(0, sys.argv[1]); from chaos.worker import main; main(sys.argv[2])"
)
_READY: Final = 90.0  # seconds until the worker is warmed up
_HEALED: Final = 60.0
_CLOSED: Final = 90.0  # beyond what the workload itself may take
_KEYS_AT_ONCE: Final = 500


@dataclass(frozen=True)
class Options:
    """What does not belong to the workload: where and how strictly it is run."""

    limits: Limits = field(default_factory=Limits)
    preload: str = ""
    """LD_PRELOAD of the worker: another build of the library, after its sanitizer's runtime."""
    env: Mapping[str, str] = field(default_factory=dict)
    """More for the worker's environment."""

    @property
    def library(self) -> str:
        """The library among what is preloaded; empty if there is none."""
        files = self.preload.replace(":", " ").split()
        return next((os.path.realpath(f) for f in files if "libgcs_capi" in f), "")


@dataclass
class Result:
    """What came of a run."""

    workload: Workload
    seed: int
    record: Record
    verdicts: dict[str, Verdict]
    log: list[tuple[float, str]]
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether no oracle failed."""
        return not any(verdict.failures for verdict in self.verdicts.values())

    @property
    def lost(self) -> int:
        """How many acknowledged values were not there."""
        return len(self.verdicts["nothing is lost"].failures)

    @property
    def executed_twice(self) -> int:
        """How many times something ran that must not have run."""
        return len(self.verdicts["mutating calls run at most once"].failures)

    def tally(self) -> str:
        """What became of the calls, and what the oracles say."""
        ends = Counter(end.outcome for call in self.record.calls for end in call.ends)
        sums = {
            "calls": len(self.record.calls),
            "ok": ends.pop("ok", 0),
            "retried": _sum(self.record.clients, "sent_again"),
            "cancelled": ends.pop("cancelled", 0),
            **dict(sorted(ends.items())),
            "never ended": sum(not call.ends for call in self.record.calls),
            "lost": "not judged" if self.verdicts["nothing is lost"].skipped else self.lost,
            "executed twice": (
                "not judged"
                if self.verdicts["mutating calls run at most once"].skipped
                else self.executed_twice
            ),
            "connections": _sum(self.record.clients, "connects"),
            "faults": ", ".join(f"{kind} {n}" for kind, n in self.record.happened.items()),
            "worst over a deadline": f"{_worst(self.record) * 1e3:.0f} ms",
            "longest turn of a loop": f"{self.record.longest_turn * 1e3:.0f} ms",
            "library": self.record.library,
        }
        lines = [f"  {name:<22} {value}" for name, value in sums.items()]
        lines += [f"  {name:<32} {verdict.text()}" for name, verdict in self.verdicts.items()]
        outcome = "passed" if self.passed else "FAILED"
        lines.append(f"{outcome}: {self.workload.name}, seed {self.seed}, {self.seconds:.1f} s")
        return "\n".join(lines)


def run(workload: Workload, seed: int, options: Options | None = None) -> Result:
    """Runs a workload, and judges it."""
    options = options or Options()
    began = time.monotonic()
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="gcs-cffi-chaos-"))
        server = stack.enter_context(GcsServer(redis=True if workload.backend == "redis" else None))
        proxy = stack.enter_context(Proxy(server.address, seed)) if workload.proxied else None
        address = server.address if proxy is None else proxy.address
        worker = stack.enter_context(_Worker(workload, address, seed, Path(folder), options))
        record = Record(
            restarts=workload.restarts,
            keeps_state=workload.keeps_state,
            adopts=workload.on_cluster_change == "adopt",
            wanted_library=options.library,
            may_repeat=workload.retry == "always" and "raw_next_id" in workload.mix,
        )
        timeline = Timeline(workload, seed, server, proxy, lambda: worker.calls)
        stack.callback(_end_quietly, timeline)
        _drive(worker, record, timeline, server)
        record.exit_code = worker.end()
        record.stderr = worker.stderr()
        record.calls = worker.recorded()
        record.happened = {f.kind: timeline.happened[f.kind] for f in workload.faults}
        record.owed = timeline.owed
        if workload.keeps_state:
            _read_back(server, record, workload)
        return Result(
            workload,
            seed,
            record,
            judge(record, options.limits),
            timeline.log,
            time.monotonic() - began,
        )


def _drive(worker: _Worker, record: Record, timeline: Timeline, server: GcsServer) -> None:
    load = worker.workload
    ready = worker.wait("ready", _READY)
    if ready is None:
        return
    record.before, record.library = ready["before"], ready["library"]
    if load.keeps_state:
        record.first_id = _take_id(server)
    timeline.begin()
    worker.say("go")
    deadline = time.monotonic() + load.duration + load.timeout + _CLOSED
    by_calls = any(fault.every_calls for fault in load.faults)
    over = None
    while over is None and worker.alive and time.monotonic() < deadline:
        over = worker.wait("over", 0.1)
        enough = by_calls and worker.calls >= load.calls and not timeline.owed
        if over is None and (enough or timeline.error is not None):
            worker.say("stop")
        if over is None and time.monotonic() - timeline.began > load.duration:
            timeline.end(_HEALED)  # calls that wait for the end of a fault can end
    timeline.end(_HEALED)
    worker.say("close")
    done = worker.wait("done", load.timeout + _CLOSED)
    if done is not None:
        record.finished = True
        record.after = done["after"]
        record.left = done["left"]
        record.clients = done["clients"]
        record.pending = done["pending"]
        record.longest_turn = done["longest_turn"]
        record.completions = done["completions"]
        record.ended_twice = done["ended_twice"]
    if load.keeps_state:
        # Nothing of the worker's is under way any more: its sockets are closed.
        time.sleep(0.5)
        record.last_id = _take_id(server)


def _end_quietly(timeline: Timeline) -> None:
    with suppress(RuntimeError, TimeoutError):
        timeline.end(_HEALED)


def _take_id(server: GcsServer) -> int:
    with sync.connect(server.address, token="", connect_timeout=30.0) as gcs:
        return gcs.jobs.next_id(timeout=30.0).to_int()


def _read_back(server: GcsServer, record: Record, workload: Workload) -> None:
    stored: dict[str, str] = {}
    with sync.connect(server.address, token="", connect_timeout=30.0) as gcs:
        keys = gcs.kv.keys(namespace=NAMESPACE, timeout=60.0)
        for begin in range(0, len(keys), _KEYS_AT_ONCE):
            part = keys[begin : begin + _KEYS_AT_ONCE]
            for key, value in gcs.kv.multi_get(part, namespace=NAMESPACE, timeout=60.0).items():
                if not key.startswith(WARM_NAMES.encode()):
                    stored[key.decode()] = read_value(value, workload.value_size)
    record.stored = stored


def _sum(clients: list[dict[str, Any]], name: str) -> object:
    known = [client[name] for client in clients if name in client]
    return sum(known) if known else "not counted by the library"


def _worst(record: Record) -> float:
    late = [
        end.at - call.began - call.timeout
        for call in record.calls
        for end in call.ends
        if call.timeout is not None
    ]
    return max([0.0, *late])


class _Worker:
    """The process that makes the calls."""

    def __init__(
        self, workload: Workload, address: str, seed: int, folder: Path, options: Options
    ) -> None:
        self.workload = workload
        self.calls = 0
        self._folder = folder
        self._said: queue.Queue[dict[str, Any]] = queue.Queue()
        spec = {
            "workload": dataclasses.asdict(workload),
            "address": address,
            "seed": str(seed),
            "folder": str(folder),
        }
        env = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        env |= {"HOME": str(folder), **options.env}
        if options.preload:
            env["LD_PRELOAD"] = options.preload
        home = str(Path(__file__).resolve().parents[1])
        command = [sys.executable, "-I", "-c", _WORKER, home, json.dumps(spec)]
        with (folder / "stderr").open("wb") as stderr:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, env=env
            )
        self._reader = threading.Thread(target=self._read, name="worker's words")
        self._reader.start()

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def say(self, word: str) -> None:
        """Tells the worker something; one that is gone does not hear it."""
        assert self._process.stdin is not None
        with suppress(OSError, ValueError):
            self._process.stdin.write(word.encode() + b"\n")
            self._process.stdin.flush()

    def wait(self, word: str, timeout: float) -> dict[str, Any] | None:
        """What the worker says next under a name; None if it does not, or ends."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                said = self._said.get(timeout=max(0.0, min(0.1, deadline - time.monotonic())))
            except queue.Empty:
                if time.monotonic() >= deadline or not self._reader.is_alive():
                    return None
                continue
            if said["say"] == word:
                return said

    def end(self) -> int | None:
        """Waits for the process's end, which is due; gives its status, None if it was killed."""
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.close()
        try:
            return self._process.wait(20.0)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            return None

    def stderr(self) -> str:
        """What it has printed."""
        return (self._folder / "stderr").read_text(errors="replace")

    def recorded(self) -> list[Any]:
        """The calls that it has written down."""

        def lines() -> Any:
            for path in sorted(self._folder.glob("calls-*")):
                with path.open() as calls:
                    yield from calls

        return read_lines(lines())

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with suppress(ValueError):
                said = json.loads(line)
                if said["say"] == "calls":
                    self.calls = said["count"]
                else:
                    self._said.put(said)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.alive:
            self._process.kill()
        self._process.wait()
        self._reader.join(10.0)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
