# SPDX-License-Identifier: Apache-2.0
"""The client under faults that take minutes: `./dev chaos --long`, and no part of `./dev test`.

Invariant: each is bounded in time, and prints the figures that it judges.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from chaos import workloads
from chaos.proxy import Path, Proxy
from chaos.record import READS
from chaos.runner import run

import gcs_cffi
from gcs_cffi import _native
from gcs_cffi.testing import GcsServer

if TYPE_CHECKING:
    from chaos.runner import Result

pytestmark = pytest.mark.long

IDLE = 300.0  # seconds
SOON = 0.25  # seconds that a call may take on a connection that is there
CALLERS = 32
DEADLINE = 11.0  # seconds; a connection that is silent for 10 s becomes suspect with the next one


def run_and_show(name: str) -> Result:
    seed = secrets.randbits(32)
    print(f"./dev chaos --once --workload {name} --seed {seed}")
    result = run(workloads.load(name), seed)
    print(result.tally())
    assert result.passed, result.tally()
    return result


@pytest.mark.timeout(330)
def test_an_outage_of_90_seconds_ends_calls_on_time_and_lets_the_others_wait() -> None:
    result = run_and_show("long_outage")
    at = {what: moment for moment, what in result.log}
    away = at["the server answers again"] - at["kill begins"]
    assert away >= 90
    own = [call for call in result.record.calls if call.timeout == result.workload.timeout]
    waited = [call for call in own if call.ends[0].at - call.began > 60]
    assert len(waited) >= 10
    assert {call.ends[0].outcome for call in waited} == {"ok"}
    # Sent before the kill; those that only read are sent again.
    assert all(call.ends[0].outcome == "ok" for call in own if call.operation in READS)
    expired = [c for c in result.record.calls if c.ends[0].outcome == "DeadlineExceededError"]
    assert len(expired) > 100


@pytest.mark.timeout(600)
def test_ten_kills_during_200000_calls_lose_nothing_and_do_nothing_twice() -> None:
    result = run_and_show("ten_kills")
    assert len(result.record.calls) >= 200_000
    assert result.record.happened["kill"] == 10
    assert result.lost == 0
    assert result.executed_twice == 0


@pytest.mark.timeout(90)
async def test_new_calls_pass_a_black_hole_on_a_second_connection() -> None:
    """The connection is not lost: it is just that nothing comes any more."""
    ends: Counter[str] = Counter()
    with GcsServer() as server, Proxy(server.address, seed=1) as proxy:
        async with gcs_cffi.connect(proxy.address, token="", tcp_user_timeout=60.0) as gcs:
            await gcs.kv.put("key", b"value")
            until = time.monotonic() + 2 * DEADLINE

            async def call() -> None:
                while time.monotonic() < until:
                    try:
                        await gcs.kv.get("key", timeout=DEADLINE)
                        ends["ok"] += 1
                    except gcs_cffi.GcsError as error:
                        ends[type(error).__name__] += 1

            callers = [asyncio.ensure_future(call()) for _ in range(CALLERS)]
            await asyncio.sleep(1.0)
            before = ends["ok"]
            assert before > 0
            proxy.set_path("both", Path(dropped=True), arriving=False)
            await asyncio.sleep(DEADLINE + 2.0)
            began = time.monotonic()
            assert await gcs.kv.get("key", timeout=5.0) == b"value"
            assert time.monotonic() - began < SOON
            await asyncio.gather(*callers)
            print(dict(ends), dict(proxy.counts))
            assert ends["ok"] > 2 * before
            assert proxy.counts["accepted"] == 2


@pytest.mark.timeout(IDLE + 60)
async def test_five_idle_minutes_cost_no_connection_and_no_delay(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with GcsServer() as server, caplog.at_level(logging.INFO, logger="gcs_cffi"):
        async with gcs_cffi.connect(server.address, token="") as gcs:
            assert await gcs.kv.put("key", b"value")
            await asyncio.sleep(IDLE)
            assert gcs.state == "ready"
            began = time.monotonic()
            assert await gcs.kv.get("key") == b"value"
            took = time.monotonic() - began
            stats = json.loads(_native.client_stats(gcs._channel.handle))
    print(f"the call after {IDLE:.0f} idle seconds took {took * 1e3:.1f} ms; {stats}")
    assert took < SOON
    assert stats["connects"] == 1
    assert not [record.getMessage() for record in caplog.records]
