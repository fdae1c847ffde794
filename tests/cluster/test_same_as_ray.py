# SPDX-License-Identifier: Apache-2.0
"""Every accessor on a live cluster of three raylets, beside Ray 2.60's own clients.

Invariants:
- One cluster for all tests, in a child process with a home, a token and a temporary folder of its
  own; the test's process never imports Ray.
- What a test changes is its own: an actor, a group, a node, keys that no other test looks at.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

import gcs_cffi
from gcs_cffi import sync
from live.comparison import Clients, compare, tally
from live.ray_process import RayProcess
from live.readings import KEYS, KV, readings

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def ray_process() -> Iterator[RayProcess]:
    process = RayProcess()
    yield process
    process.end()


@pytest.fixture(scope="module")
def clients(ray_process: RayProcess) -> Iterator[Clients]:
    loop = asyncio.new_event_loop()

    async def connect() -> gcs_cffi.GcsClient:
        return await gcs_cffi.connect(ray_process.address, token=ray_process.token)

    awaited = loop.run_until_complete(connect())
    with sync.connect(ray_process.address, token=ray_process.token) as blocking:
        yield Clients(awaited, blocking, loop.run_until_complete)
    loop.run_until_complete(awaited.close())
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


def test_every_accessor_that_reads_gives_what_rays_own_clients_give(
    ray_process: RayProcess, clients: Clients
) -> None:
    for key, value in KEYS.items():
        clients.blocking.kv.put(key, value, namespace=KV)
    results = [
        result
        for reading in readings(ray_process.made, some_workers(clients))
        for result in compare(reading, clients, ray_process)
    ]
    print(f"\n{tally(results)}")
    wrong = [
        f"{each.name} beside {each.way}: {line}"
        for each in results
        for line in (each.differences + each.moved)[:20]
    ]
    assert not wrong, "\n".join(wrong)


def some_workers(clients: Clients) -> dict[str, bytes]:
    """A living and a dead worker, and a driver."""
    workers = clients.blocking.workers.list()
    return {
        "alive": next(bytes(key) for key, each in workers.items() if each.is_alive),
        "dead": next(bytes(key) for key, each in workers.items() if not each.is_alive),
    }
