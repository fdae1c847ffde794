# SPDX-License-Identifier: Apache-2.0
"""Measures our subscribers beside Ray's own, in one interleaved run on a real gcs_server.

    ./dev bench pubsub [--rounds N]

Invariants:
- Started as a script, so that what is measured is the installed package.
- One subscriber measures at a time, each in a process of its own and on a server of its own: for
  one that went without a word a server keeps messages for five minutes, which slows it down more
  and more. Each round begins with another subscriber.
- A ratio is formed inside one round, and only then is its median taken.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # which -I has left out

from machine import OtherProcesses, describe_machine, machine_lines, versions_of
from report import Round, Spread, save
from subscriber import CONTENDERS
from worker_process import worker_environment

_SUBSCRIBER = Path(__file__).resolve().with_name("subscriber.py")
_LONGEST = 120.0
"""Seconds after which a measurement counts as stuck."""


@dataclass(frozen=True)
class Load:
    """What is published.

    Attributes:
        title: what the table says.
        messages: how many, in one measurement.
        per_publication: how many at a time.
        targets: what share of its baseline's CPU per message a contender may take.
    """

    title: str
    messages: int
    per_publication: int
    targets: dict[str, float]


LOADS = (
    Load("one message per poll", 2000, 1, {"ours": 1 / 3, "ours-blocking": 0.8}),
    Load(
        "100 messages per publication",
        50_000,
        100,
        {"ours": 1.0, "ours-raw": 0.5, "ours-blocking": 1.0, "ours-blocking-raw": 0.5},
    ),
)
BASELINES = {
    "ours": "ray",
    "ours-raw": "ray",
    "ours-blocking": "ray-blocking",
    "ours-blocking-raw": "ray-blocking",
}


def main(arguments: list[str]) -> int:
    """Runs the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="./dev bench pubsub", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="how often everything is measured")
    rounds = parser.parse_args(arguments).rounds
    from gcs_cffi.testing import GcsServer

    started = datetime.now(timezone.utc)
    machine = describe_machine()
    versions = versions_of(dict.fromkeys(["gcs-cffi", "ray", "grpcio"]))
    with GcsServer() as server:
        version = server.version
    print("\n".join(machine_lines(machine, versions, version)), flush=True)
    others = OtherProcesses([os.getpid()])
    with tempfile.TemporaryDirectory(prefix="gcs-cffi-bench-") as folder:
        results = {load.title: _measure(load, rounds, Path(folder)) for load in LOADS}
    share = others.share()
    report = {
        "started": started.isoformat(timespec="seconds"),
        "machine": machine,
        "share_of_other_processes": share,
        "versions": versions | {"gcs_server": version},
        "loads": results,
    }
    save(report, started, "pubsub")
    return 0


def _measure(load: Load, rounds: int, home: Path) -> dict[str, list[Round]]:
    names = list(CONTENDERS)
    measured: dict[str, list[Round]] = {name: [] for name in names}
    began = time.monotonic()
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            measured[name].append(_once(name, load, home))
        print(
            f"{load.title}: round {number + 1} of {rounds}, {time.monotonic() - began:.0f} s",
            file=sys.stderr,
            flush=True,
        )
    print("\n" + "\n".join(_table(load, measured)), flush=True)
    return measured


def _once(name: str, load: Load, home: Path) -> Round:
    from gcs_cffi.testing import GcsServer

    numbers = [str(load.messages), str(load.per_publication)]
    with GcsServer() as server:
        done = subprocess.run(
            [sys.executable, "-I", str(_SUBSCRIBER), name, server.address, *numbers],
            stdout=subprocess.PIPE,
            text=True,
            timeout=_LONGEST,
            check=True,
            env=worker_environment(home),
            cwd=home,
        )
    result: Round = json.loads(done.stdout.splitlines()[-1])
    return result


def _table(load: Load, measured: dict[str, list[Round]]) -> list[str]:
    lines = [f"{load.title}: median over the rounds (least-greatest)", ""]
    head = f"{'subscriber':<20}{'CPU us/message':<26}{'messages/s':<30}{'CPU, of Ray':<24}target"
    lines += [head, "-" * len(head)]
    for name, rounds in measured.items():
        cpu = Spread.of([one["cpu_us"] for one in rounds])
        speed = Spread.of([one["messages_per_second"] for one in rounds])
        line = f"{name:<20}{cpu.text():<26}{speed.text():<30}"
        baseline = BASELINES.get(name)
        if baseline is not None:
            pairs = zip(rounds, measured[baseline], strict=True)
            share = Spread.of([own["cpu_us"] / base["cpu_us"] for own, base in pairs])
            line += f"{share.text():<24}"
            target = load.targets.get(name)
            if target is not None:
                line += f"{target:.2f} {'met' if share.median <= target else 'NOT MET'}"
        lines.append(line.rstrip())
    return lines


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
