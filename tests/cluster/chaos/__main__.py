# SPDX-License-Identifier: Apache-2.0
"""`./dev chaos`: workload after workload, each with a seed that follows from the first one.

Invariants:
- The seed is printed before anything runs; `--workload NAME --seed S --once` runs that one again.
- It ends with 0 only if at least one workload ran and no oracle failed.
"""

from __future__ import annotations

import argparse
import dataclasses
import random
import secrets
import sys
import time
import traceback
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


def main(arguments: list[str]) -> int:
    """Runs what the arguments say, and gives the process's exit status."""
    from chaos import workloads
    from chaos.oracles import Limits
    from chaos.runner import Options

    limits = Limits()
    parser = argparse.ArgumentParser(prog="./dev chaos", description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="how long (default: 10)")
    parser.add_argument("--seed", type=int, help="the first seed (default: by chance)")
    parser.add_argument("--workload", action="append", choices=workloads.names(), metavar="NAME")
    parser.add_argument("--once", action="store_true", help="each workload once, with this seed")
    parser.add_argument("--list", action="store_true", help="say which workloads there are")
    parser.add_argument(
        "--deadline-slack",
        type=float,
        default=limits.deadline_slack,
        metavar="SECONDS",
        help="by how much a call may outlive its deadline (default: %(default)s; sanitizers: 1)",
    )
    parser.add_argument(
        "--rss-growth",
        type=int,
        default=limits.rss_growth >> 20,
        metavar="MIB",
        help="how much memory may be left (default: %(default)s; sanitizers keep what is freed)",
    )
    parser.add_argument(
        "--preload",
        default="",
        metavar="FILES",
        help="another build of the library: LD_PRELOAD of the process that makes the calls, a "
        "sanitizer's runtime first, then libgcs_capi.so.1",
    )
    parser.add_argument(
        "--env",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="for that process, such as ASAN_OPTIONS=detect_leaks=0",
    )
    given = parser.parse_args(arguments)
    if given.list:
        for name in workloads.names():
            print(f"{name:<20} {workloads.load(name).about}")
        return 0
    options = Options(
        limits=dataclasses.replace(
            limits, deadline_slack=given.deadline_slack, rss_growth=given.rss_growth << 20
        ),
        preload=given.preload,
        env=dict(pair.partition("=")[::2] for pair in given.env),
    )
    return _run_on(given, options)


def _passes(name: str, seed: int, options: Any) -> bool:
    from chaos import workloads
    from chaos.runner import run

    try:
        result = run(workloads.load(name), seed, options)
    except Exception:  # noqa: BLE001 (whatever it was, the next workload is still to be run)
        traceback.print_exc()
        return False
    print(result.tally(), flush=True)
    if not result.passed:
        for at, what in result.log:
            print(f"    {at:7.2f} s  {what}", flush=True)
    return result.passed


def _run_on(given: Any, options: Any) -> int:
    from chaos import workloads

    seed = secrets.randbits(32) if given.seed is None else given.seed
    names = given.workload or workloads.names(special=False)
    print(f"seed {seed}", flush=True)
    seeds = random.Random(seed)
    until = time.monotonic() + given.minutes * 60
    failed, count = [], 0
    while True:
        for name in names:
            own = seed if given.once else seeds.getrandbits(32)
            print(f"\n{name}, seed {own}: --workload {name} --seed {own} --once", flush=True)
            count += 1
            if not _passes(name, own, options):
                failed.append(f"--workload {name} --seed {own} --once")
            if not given.once and time.monotonic() >= until:
                break
        else:
            if not given.once:
                continue
        break
    print(f"\n{count} runs, {len(failed)} failed" + "".join(f"\n  {each}" for each in failed))
    return 1 if failed or not count else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
