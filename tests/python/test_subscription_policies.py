# SPDX-License-Identifier: Apache-2.0
"""What docs/subscriptions.md says of a slow consumer: what is held, and in which order it comes."""

from __future__ import annotations

import asyncio
import os
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from helpers import PATIENCE, run_script

from gcs_cffi import JobID, NodeID, Resync

if TYPE_CHECKING:
    from gcs_cffi import GcsClient, sync
    from gcs_cffi.testing import GcsServer

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "subscriptions.md"
ADDRESS = "127.0.0.1:6379"
COUNT = 100


@pytest.mark.parametrize(
    ("policy", "limits", "expected"),
    [
        ("wait", {"max_messages": 10}, [*range(COUNT)]),
        ("drop_oldest", {"max_messages": 10}, [*range(5), "90 dropped", *range(95, 100)]),
        ("drop_newest", {"max_messages": 10}, [*range(10), "90 dropped"]),
        ("drop_oldest", {"max_messages": 3}, [0, 1, "97 dropped", 99]),
        ("drop_newest", {"max_messages": 3}, [0, 1, 2, "97 dropped"]),
        ("drop_oldest", {"max_messages": 1}, [0, "99 dropped"]),
    ],
)
def test_the_half_that_was_handed_over_comes_first(
    blocking_gcs: sync.GcsClient,
    namespace: str,
    policy: Any,
    limits: dict[str, Any],
    expected: list[Any],
) -> None:
    with (
        blocking_gcs.subscribe("errors", namespace, policy=policy, **limits) as slow,
        # With `slow` this shares a poll, or it has its own, like that one.
        blocking_gcs.subscribe(
            "errors", namespace, policy="drop_newest" if policy != "wait" else "wait"
        ) as quick,
    ):
        for number in range(COUNT):
            blocking_gcs.errors.publish("kind", str(number), key=namespace)
        for _ in range(COUNT):
            assert quick.next(PATIENCE) is not None
        heard: list[Any] = []
        while len(heard) < len(expected):
            event = slow.next(PATIENCE)
            if isinstance(event, Resync):
                heard.append(f"{event.lost} {event.reason}")
            else:
                assert event is not None
                heard.append(int(event.value.error_message))
        assert heard == expected
        with pytest.raises(TimeoutError):
            slow.next(0.2)


def examples() -> list[str]:
    """The programs of the page."""
    return re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def test_the_example_of_a_jobs_errors_works(
    server: GcsServer, blocking_gcs: sync.GcsClient, capsys: pytest.CaptureFixture[str]
) -> None:
    job = JobID(os.urandom(4))
    program: dict[str, Any] = {}
    exec(examples()[0].replace("timeout=10", "timeout=1"), program)
    follow = program["print_errors_of_a_job"]
    printed = ""
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(follow, server.address, job.hex())
        while "kind" not in printed:
            assert not following.done(), following.exception()
            blocking_gcs.errors.publish("kind", "text", job_id=job)
            blocking_gcs.errors.publish("kind", "of another", job_id=JobID(os.urandom(4)))
            time.sleep(0.1)
            printed += capsys.readouterr().out
        following.result(PATIENCE)
    printed += capsys.readouterr().out
    assert set(printed.splitlines()) == {"kind text"}


async def test_the_example_of_nodes_works(
    gcs: GcsClient, capsys: pytest.CaptureFixture[str]
) -> None:
    node = NodeID(os.urandom(28))
    program: dict[str, Any] = {}
    exec(examples()[1], program)
    following = asyncio.ensure_future(program["print_nodes"](gcs))
    printed = ""
    while "nodes" not in printed:
        await asyncio.sleep(0.01)
        printed += capsys.readouterr().out
    await gcs.nodes.register(
        {"node_id": node, "node_manager_address": "127.0.0.1", "node_manager_port": 1}
    )
    while node.hex() not in printed:
        await asyncio.sleep(0.01)
        printed += capsys.readouterr().out
    following.cancel()
    assert f"{node.hex()} is new" in printed


def test_the_example_of_workers_works(server: GcsServer) -> None:
    example = examples()[2]
    assert example.count(ADDRESS) == 1
    program = example.replace(ADDRESS, server.address).replace("asyncio.run(main())", "")
    meanwhile = """
async def both():
    task = asyncio.ensure_future(main())
    async with gcs_cffi.connect(ADDRESS) as gcs:
        worker, node = os.urandom(28), os.urandom(28)
        address = {"worker_id": worker, "node_id": node}
        await gcs.workers.add({"worker_address": address, "is_alive": True})
        await asyncio.sleep(1)
        await gcs.workers.report_failure({"worker_address": address})
        await asyncio.sleep(1)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled(), task.exception()
    print(gcs_cffi.WorkerID(worker).hex())
import os
asyncio.run(both())
"""
    done = run_script(program + meanwhile.replace("ADDRESS", repr(server.address)))
    assert (done.returncode, done.stderr) == (0, "")
    told, worker = done.stdout.splitlines()
    assert told == f"{worker} has died"
