# SPDX-License-Identifier: Apache-2.0
"""Measures our client beside Ray's own and grpc.aio, in one interleaved run on a real gcs_server.

    ./dev bench [--quick]

Invariants:
- Started as a script, so that this folder and never the source tree is on the module path: what is
  measured is the installed package.
- One contender measures at a time, each in a process of its own that stays connected; in each round
  each of them is measured at each level, and each round begins with another one.
- Server, workers and folders are gone when this ends, whichever way it does.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from types import FrameType

sys.path.insert(0, str(Path(__file__).resolve().parent))  # which -I has left out

from contenders import BASELINE, CONTENDERS, OPTIONAL
from machine import OtherProcesses, describe_machine, machine_lines, versions_of
from report import LevelResult, save, table
from scenarios import SCENARIOS, Scenario
from worker_process import BenchError, WorkerProcess

_ANSWER_GRACE = 90.0
"""Seconds over the measuring itself after which a worker counts as stuck."""
_LOG_SHOWN = 2000
"""Characters of the server's log, if it ends."""


@dataclass(frozen=True)
class Plan:
    """How long to measure.

    Attributes:
        rounds: how often everything is measured; odd, so that the median is a measurement.
        seconds: how long one measurement lasts.
        warm_up: seconds of the same calls before each measurement that do not count.
    """

    rounds: int
    seconds: float
    warm_up: float


QUICK = Plan(rounds=7, seconds=0.6, warm_up=0.1)
FULL = Plan(rounds=11, seconds=2.0, warm_up=0.25)


def main(arguments: list[str]) -> int:
    """Runs the command line; returns the exit status."""
    options = _parse(arguments)
    default = QUICK if options.quick else FULL
    plan = Plan(
        rounds=options.rounds or default.rounds,
        seconds=options.seconds or default.seconds,
        warm_up=default.warm_up,
    )
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGHUP, _end)
    try:
        names, left_out = _choose(options.client or list(CONTENDERS))
        for text in left_out:
            print(f"left out: {text}")
        scenarios = [SCENARIOS[name] for name in options.scenario or SCENARIOS]
        _run(scenarios, names, plan, "quick" if options.quick else "full")
    except BenchError as error:
        print(f"the bench failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="./dev bench",
        description="Calls per second, latency and client CPU per call of our client, Ray's own "
        "and grpc.aio, interleaved in one run on a real gcs_server.",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help=f"{QUICK.rounds} rounds of {QUICK.seconds:g} s per measurement; without it "
        f"{FULL.rounds} of {FULL.seconds:g} s",
    )
    parser.add_argument("--rounds", type=_positive(int), help="how many rounds")
    parser.add_argument("--seconds", type=_positive(float), help="how long a measurement lasts")
    parser.add_argument(
        "--scenario", action="append", choices=SCENARIOS, help="only this one; may be repeated"
    )
    parser.add_argument(
        "--client", action="append", choices=CONTENDERS, help="only this one; may be repeated"
    )
    return parser.parse_args(arguments)


def _positive(kind: Callable[[str], float]) -> Callable[[str], float]:
    def number(text: str) -> float:
        value = kind(text)
        if not 0 < value <= 1000:
            raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1000")
        return value

    return number


def _choose(wanted: list[str]) -> tuple[list[str], list[str]]:
    """The contenders that can run, and a line for each optional one that cannot.

    Raises:
        BenchError: one that is not optional cannot run.
    """
    names, left_out = [], []
    for name in dict.fromkeys(wanted):
        missing = CONTENDERS[name].missing()
        text = f"{CONTENDERS[name].title} ({', '.join(missing)} not installed beside this Python)"
        if not missing:
            names.append(name)
        elif name in OPTIONAL:
            left_out.append(text)
        else:
            raise BenchError(f"cannot measure {text}: ./dev bench installs what is needed")
    if not names:
        raise BenchError("there is nothing to measure: every client named was left out")
    return names, left_out


def _run(scenarios: list[Scenario], names: list[str], plan: Plan, kind: str) -> None:
    from gcs_cffi.testing import GcsServer, GcsServerError

    started = datetime.now(timezone.utc)
    machine = describe_machine()
    packages = dict.fromkeys(package for name in names for package in CONTENDERS[name].packages)
    versions = versions_of(packages)
    try:
        with GcsServer() as server:
            lines = machine_lines(machine, versions, server.version) + _plan_lines(plan, names)
            print("\n".join(lines), flush=True)
            home = server.folder / "home-of-clients"
            home.mkdir()
            try:
                with _workers(names, server.address, home) as workers:
                    others = OtherProcesses(
                        [os.getpid(), server.pid, *(worker.pid for worker in workers.values())]
                    )
                    results = {one.name: _measure(one, workers, plan) for one in scenarios}
                    share = others.share()
            except BenchError as error:
                if server.running:
                    raise
                log = server.log_text()[-_LOG_SHOWN:]
                raise BenchError(f"the server has ended: {error}\nIts log:\n{log}") from error
    except GcsServerError as error:
        raise BenchError(f"the server for it: {error}") from error
    report = {
        "started": started.isoformat(timespec="seconds"),
        "kind": kind,
        "machine": machine,
        "share_of_other_processes": share,
        "versions": versions | {"gcs_server": server.version},
        "plan": vars(plan),
        "baseline": BASELINE if BASELINE in names else None,
        "scenarios": [
            {
                "name": scenario.name,
                "title": scenario.title,
                "levels": [result.as_json() for result in results[scenario.name]],
            }
            for scenario in scenarios
        ],
    }
    save(report, started, kind)


@contextmanager
def _workers(names: list[str], address: str, home: Path) -> Iterator[dict[str, WorkerProcess]]:
    """A connected worker for each contender; they have to end well if all else went well."""
    with ExitStack() as stack:
        workers = {name: stack.enter_context(WorkerProcess(name, home)) for name in names}
        for worker in workers.values():
            worker.ask("connect", address=address)
        yield workers
        for worker in workers.values():
            worker.end()


def _plan_lines(plan: Plan, names: list[str]) -> list[str]:
    lines = [
        f"run       {plan.rounds} rounds of {plan.seconds:g} s per client and level, in turns",
        "CPU       of all threads of the client, what measures included (under 1 us per call)",
    ]
    if BASELINE in names:
        lines.append(f"baseline  {CONTENDERS[BASELINE].title}; ratios are formed inside each round")
    return lines


def _measure(
    scenario: Scenario, workers: dict[str, WorkerProcess], plan: Plan
) -> list[LevelResult]:
    """All rounds of one scenario, and its table."""
    names = list(workers)
    results = [LevelResult(level, names) for level in scenario.levels]
    for worker in workers.values():
        worker.ask("prepare", operation=scenario.operation, value_size=scenario.value_size)
    began = time.monotonic()
    for number in range(plan.rounds):
        _progress(f"{scenario.title}: round {number + 1} of {plan.rounds}", began)
        first = number % len(names)
        for result in results:
            for name in names[first:] + names[:first]:
                measured = workers[name].ask(
                    "measure",
                    in_flight=result.level.in_flight,
                    warm_up=plan.warm_up,
                    seconds=plan.seconds,
                    timeout=plan.warm_up + plan.seconds + _ANSWER_GRACE,
                )
                result.rounds[name].append(measured)
    _progress(f"{scenario.title}: {plan.rounds} rounds", began)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    print("\n" + "\n".join(table(scenario, results)), flush=True)
    return results


def _progress(text: str, began: float) -> None:
    """Shows how far the run is: in place on a terminal, else a line each."""
    text = f"{text}, {time.monotonic() - began:.0f} s"
    if sys.stderr.isatty():
        print(f"\r{text}\x1b[K", end="", file=sys.stderr, flush=True)
    else:
        print(text, file=sys.stderr, flush=True)


def _end(number: int, frame: FrameType | None) -> None:
    """Ends the run by an exception, so that everything is cleaned up."""
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
