# SPDX-License-Identifier: Apache-2.0
"""The client under faults, in short: each workload once, and what a restart and a cancel must do.

Invariants:
- Each test is bounded in time, altogether by about two minutes on a quiet machine.
- A failure shows the seed, and the command that runs the same workload again.
"""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import io
import json
import os
import secrets
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from chaos import runner, workloads
from chaos.callers import Caller, Log
from chaos.memory import resident
from chaos.oracles import Limits, judge
from chaos.runner import Options, run

import gcs_cffi
from gcs_cffi import _native, _reactor
from gcs_cffi.errors import ClusterChangedError
from gcs_cffi.testing import GcsServer

SHORT = 0.4  # of a workload's time
VERY_SHORT = 0.3  # not every fault comes in it
CANCELLED = 20_000
AT_ONCE = 2_000
VALUE = 1_000  # bytes
MOST_LEFT = 4 << 20  # bytes; a leak of each call's value alone would be five times as much
PATIENCE = 10.0


@pytest.mark.timeout(100)
@pytest.mark.parametrize("name", workloads.names(special=False))
def test_a_workload_under_faults_holds_every_promise(name: str) -> None:
    seed = secrets.randbits(32)
    print(f"./dev chaos --once --workload {name} --seed {seed}")
    result = run(workloads.load(name).shortened(SHORT), seed)
    print(result.tally())
    assert result.passed, result.tally()


@pytest.mark.timeout(60)
def test_what_a_worker_prints_to_stderr_fails_the_run() -> None:
    workload = workloads.load("slow_network").shortened(VERY_SHORT)
    result = run(workload, 1, Options(env={"LD_PRELOAD": "/nonexistent/library.so"}))
    assert result.verdicts["stderr is empty"].failures
    assert not result.passed


@pytest.mark.timeout(60)
@pytest.mark.parametrize("death", ["os.abort", "lambda: os._exit(0)"])
def test_a_worker_that_dies_fails_the_run(death: str, monkeypatch: pytest.MonkeyPatch) -> None:
    doomed = f"import os, threading; threading.Timer(2.5, {death}).start(); {runner._WORKER}"
    monkeypatch.setattr(runner, "_WORKER", doomed)
    result = run(workloads.load("slow_network").shortened(SHORT), 1)
    assert result.verdicts["process lives"].failures
    assert not result.passed


@pytest.mark.timeout(60)
def test_a_client_that_repeats_what_may_have_run_is_seen_to() -> None:
    """What `retry="safe"` prevents happens with "always", and the ids that are gone show it."""
    workload = dataclasses.replace(
        workloads.load("resets").shortened(SHORT),
        backend="memory",
        retry="always",
        mix={"raw_next_id": 1.0},
    )
    result = run(workload, 1)
    assert result.verdicts["mutating calls run at most once"].skipped
    result.record.may_repeat = False
    verdict = judge(result.record, Limits())["mutating calls run at most once"]
    assert "too many" in verdict.text()


@pytest.mark.timeout(60)
def test_a_slack_that_cannot_be_held_fails_the_run() -> None:
    workload = workloads.load("slow_network").shortened(VERY_SHORT)
    result = run(workload, 1, Options(limits=Limits(deadline_slack=-1.0)))
    assert result.verdicts["calls end on time"].failures
    assert not result.passed
    assert "FAILED" in result.tally()


@pytest.mark.timeout(60)
def test_a_new_cluster_is_an_error_that_names_both_or_is_adopted() -> None:
    with GcsServer() as server:
        strict = gcs_cffi.sync.connect(server.address, token="")
        adopting = gcs_cffi.sync.connect(server.address, token="", on_cluster_change="adopt")
        with strict, adopting:
            old = strict.cluster_id
            assert old is not None
            assert adopting.kv.put("key", b"value")
            server.kill()
            server.start()
            assert adopting.kv.get("key") is None
            new = adopting.cluster_id
            assert new is not None
            assert new != old
            for _ in range(2):
                with pytest.raises(ClusterChangedError) as caught:
                    strict.kv.get("key")
                assert old.hex() in str(caught.value)
                assert new.hex() in str(caught.value)
            assert adopting.kv.put("key", b"value")


def counts(gcs: gcs_cffi.GcsClient) -> dict[str, int]:
    gc.collect()
    reactor = _reactor.reactor_for(asyncio.get_running_loop())
    stats: dict[str, Any] = json.loads(_native.client_stats(gcs._channel.handle))
    return {
        "futures": sum(isinstance(each, asyncio.Future) for each in gc.get_objects()),
        "pending": len(reactor.pending) + len(reactor.batch) + len(reactor.lent),
        "in the library": stats["pending"],
        "unaccounted": stats["started"] - stats["completed"] - stats["failed"],
        "descriptors": len(os.listdir("/proc/self/fd")),
    }


async def settled(gcs: gcs_cffi.GcsClient, goal: dict[str, int] | None) -> dict[str, int]:
    deadline = time.monotonic() + PATIENCE
    while True:
        found = counts(gcs)
        quiet = not (found["in the library"] or found["unaccounted"])
        if time.monotonic() > deadline or (quiet and goal in (None, found)):
            return found
        await asyncio.sleep(0.05)


async def cancel_many(gcs: gcs_cffi.GcsClient, count: int) -> None:
    """Cancels calls that have just been made, that wait for a stream, and that are sent."""
    for begin in range(0, count, AT_ONCE):
        tasks = [
            asyncio.ensure_future(gcs.kv.put(f"{n}", bytes(VALUE), timeout=60))
            for n in range(begin, begin + AT_ONCE)
        ]
        await asyncio.sleep((0, 0.02, 0.1)[begin // AT_ONCE % 3])
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ends)


@pytest.mark.timeout(90)
async def test_20000_cancelled_calls_leave_nothing() -> None:
    async with GcsServer() as server, gcs_cffi.connect(server.address, token="") as gcs:
        server.pause()  # so that not one of them has an answer
        await cancel_many(gcs, 3 * AT_ONCE)
        server.resume()
        await gcs.kv.get("x")
        before, memory = await settled(gcs, None), resident()
        server.pause()
        await cancel_many(gcs, CANCELLED)
        server.resume()
        await gcs.kv.get("x")
        after = await settled(gcs, before)
        assert after == before
        assert resident() - memory < MOST_LEFT


def test_a_caller_does_what_its_seed_says() -> None:
    workload = workloads.load("slow_network")

    def done(seed: str) -> list[str]:
        out = io.StringIO()
        caller = Caller("a", seed, Log(out, 0, workload), can_cancel=True)
        cancels = [caller.next().cancel_after for _ in range(500)]
        return [line.rsplit(" ", 1)[0] for line in out.getvalue().splitlines()] + [str(cancels)]

    assert done("one") == done("one")
    assert done("one") != done("two")


@pytest.mark.timeout(60)
def test_the_same_seed_runs_the_same_workload_and_is_printed() -> None:
    script = Path(__file__).parent / "chaos"
    done = subprocess.run(
        [sys.executable, "-I", script, "--once", "--seed", "77", "--workload", "other_cluster"],
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("seed 77\n")
    assert "--workload other_cluster --seed 77 --once" in done.stdout
    assert "passed: other_cluster, seed 77" in done.stdout
