# SPDX-License-Identifier: Apache-2.0
"""gcs.workers on every release."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import pytest

import gcs_cffi
from gcs_cffi import WorkerID, messages
from matrix.arguments import (
    KINDS,
    Kind,
    OtherID,
    check_counts,
    check_ids,
    check_messages,
    check_timeouts,
    check_truth,
    made,
    node_field,
    refused_before_sending,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcs_cffi import GcsClient
    from gcs_cffi.testing import GcsServer
    from matrix.conftest import Connect

NAME = "ray.rpc.WorkerTableData"
NOT_FOUND = 17


def fields_of(worker: bytes, node: bytes, node_field: str = "node_id") -> dict[str, Any]:
    """What a worker says about itself."""
    return {
        "is_alive": True,
        "worker_address": {
            "worker_id": worker,
            node_field: node,
            "ip_address": "127.0.0.1",
            "port": 4321,
        },
        "worker_type": messages.DRIVER,
        "worker_info": {"node_ip_address": b"127.0.0.1", "binary": bytes(range(256))},
        "pid": 4711,
        "start_time_ms": 1_700_000_000_000,
        "worker_launch_time_ms": 1_700_000_000_001,
        "worker_launched_time_ms": 1_700_000_000_002,
    }


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.method("workers.add", "workers.get", "workers.list")
async def test_a_worker_that_was_added_is_read_back_as_it_was_given(
    gcs: GcsClient, release: tuple[int, ...], unique: Callable[[int], bytes], kind: Kind
) -> None:
    worker, node = unique(28), unique(28)
    fields = fields_of(worker, node, node_field(kind, release))
    await gcs.workers.add(made(kind, NAME, **fields))
    found = await gcs.workers.get(worker)
    assert type(found) is messages.WorkerTableData
    assert found == messages.WorkerTableData(**fields_of(worker, node))
    assert await gcs.workers.get(OtherID(worker)) == found
    listed = await gcs.workers.list()
    assert {type(key) for key in listed} == {WorkerID}
    assert listed[WorkerID(worker)] == found
    assert type(listed[WorkerID(worker)]) is messages.WorkerTableData


@pytest.mark.method("workers.add")
async def test_a_worker_that_is_added_again_takes_the_place_of_the_first(
    gcs: GcsClient, unique: Callable[[int], bytes]
) -> None:
    worker = unique(28)
    address = {"worker_id": worker, "node_id": unique(28)}
    await gcs.workers.add({"worker_address": address, "is_alive": True, "pid": 1})
    again = messages.WorkerTableData(worker_address=address, is_alive=True, start_time_ms=2)
    await gcs.workers.add(again)
    assert await gcs.workers.get(worker) == again


@pytest.mark.method("workers.get")
async def test_an_unknown_worker_is_none(gcs: GcsClient, unique: Callable[[int], bytes]) -> None:
    assert await gcs.workers.get(WorkerID(unique(28))) is None


@pytest.mark.method("workers.list")
async def test_workers_are_listed_by_every_filter_and_their_combinations(
    own_server: GcsServer, connect: Connect, unique: Callable[[int], bytes]
) -> None:
    workers = {}
    for living, paused in ((True, 0), (True, 2), (False, 0), (False, 1), (True, 0)):
        worker = WorkerID(unique(28))
        workers[worker] = (living, paused > 0)
        data = {"worker_address": {"worker_id": worker}, "is_alive": living}
        async with connect(own_server.address) as gcs:
            await gcs.workers.add({**data, "num_paused_threads": paused})
    async with connect(own_server.address) as gcs:
        for is_alive, has_paused, limit in product(
            (None, True, False), (None, True, False), (None, 0, 1, 2, 100)
        ):
            expected = {
                worker
                for worker, (alive, paused) in workers.items()
                if is_alive in (None, alive) and has_paused in (None, paused)
            }
            found = await gcs.workers.list(
                is_alive=is_alive, has_paused_threads=has_paused, limit=limit
            )
            asked = (is_alive, has_paused, limit)
            assert found.keys() <= expected, asked
            assert len(found) == min(len(expected), 1000 if limit is None else limit), asked
            assert all(data.is_alive is workers[key][0] for key, data in found.items())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.method("workers.report_failure")
async def test_a_worker_that_failed_is_kept_with_the_reason(
    gcs: GcsClient, release: tuple[int, ...], unique: Callable[[int], bytes], kind: Kind
) -> None:
    worker, node = WorkerID(unique(28)), unique(28)
    await gcs.workers.add(fields_of(worker, node))
    failure = {
        "worker_address": {"worker_id": worker, node_field(kind, release): node},
        "exit_type": messages.INTENDED_USER_EXIT,
        "exit_detail": "ended by a test",
        "end_time_ms": 1_700_000_000_003,
    }
    await gcs.workers.report_failure(made(kind, NAME, **failure))
    found = await gcs.workers.get(worker)
    assert found is not None
    assert not found.is_alive
    assert found.exit_type == messages.INTENDED_USER_EXIT
    assert found.exit_detail == "ended by a test"
    assert found.end_time_ms == 1_700_000_000_003
    assert found.pid == 4711, "what was known before is gone"
    assert worker in await gcs.workers.list(is_alive=False)
    assert worker not in await gcs.workers.list(is_alive=True)


@pytest.mark.method("workers.report_failure")
async def test_a_failure_is_reported_twice_and_of_an_unknown_worker(
    gcs: GcsClient, unique: Callable[[int], bytes]
) -> None:
    worker = WorkerID(unique(28))
    address = {"worker_id": worker, "node_id": unique(28)}
    for detail in ("first", "second"):
        await gcs.workers.report_failure(
            {"worker_address": address, "exit_type": "SYSTEM_ERROR", "exit_detail": detail}
        )
        found = await gcs.workers.get(worker)
        assert found is not None
        assert not found.is_alive
        assert found.exit_type == messages.SYSTEM_ERROR
        assert found.exit_detail == detail


@pytest.mark.method("workers.update_debugger_port")
async def test_the_debuggers_port_is_noted(gcs: GcsClient, unique: Callable[[int], bytes]) -> None:
    worker = unique(28)
    await gcs.workers.add(fields_of(worker, unique(28)))
    before = await gcs.workers.get(worker)
    assert before is not None
    for given, port in ((worker, 65535), (OtherID(worker), 1), (WorkerID(worker), 0)):
        await gcs.workers.update_debugger_port(given, port)
        found = await gcs.workers.get(worker)
        assert found is not None
        assert found.debugger_port == port
        found.ClearField("debugger_port")
        before.ClearField("debugger_port")
        assert found == before


@pytest.mark.method("workers.update_paused_threads")
async def test_paused_threads_are_counted(gcs: GcsClient, unique: Callable[[int], bytes]) -> None:
    worker = WorkerID(unique(28))
    await gcs.workers.add(fields_of(worker, unique(28)))
    for delta, count in ((3, 3), (-1, 2), (0, 2), (-2, 0)):
        await gcs.workers.update_paused_threads(OtherID(worker), delta)
        found = await gcs.workers.get(worker)
        assert found is not None
        assert found.num_paused_threads == count
        assert (worker in await gcs.workers.list(has_paused_threads=True)) is (count > 0)
        assert (worker in await gcs.workers.list(has_paused_threads=False)) is (count == 0)


@pytest.mark.method("workers.update_debugger_port", "workers.update_paused_threads")
async def test_nothing_is_noted_of_an_unknown_worker(
    gcs: GcsClient, unique: Callable[[int], bytes]
) -> None:
    worker = WorkerID(unique(28))
    for call in (gcs.workers.update_debugger_port, gcs.workers.update_paused_threads):
        with pytest.raises(gcs_cffi.GcsStatusError, match=worker.hex()) as caught:
            await call(worker, 1)
        assert caught.value.ray_code == NOT_FOUND
    assert await gcs.workers.get(worker) is None


@pytest.mark.method("workers.get", "workers.list")
async def test_what_cannot_be_asked_is_refused_before_it_is_sent(gcs: GcsClient) -> None:
    await check_ids(gcs, 28, gcs.workers.get)
    await check_timeouts(gcs, gcs.workers.get, b"x" * 28)
    await check_counts(gcs, lambda wrong: gcs.workers.list(limit=wrong))
    await check_truth(gcs, lambda wrong: gcs.workers.list(is_alive=wrong))
    await check_truth(gcs, lambda wrong: gcs.workers.list(has_paused_threads=wrong))
    await check_timeouts(gcs, gcs.workers.list)


@pytest.mark.method("workers.add", "workers.report_failure")
async def test_what_is_no_worker_is_refused_before_it_is_sent(gcs: GcsClient) -> None:
    for call in (gcs.workers.add, gcs.workers.report_failure):
        await check_messages(gcs, call, messages.GcsNodeInfo(), {"pid": "x"})
        with refused_before_sending(gcs, TypeError):
            await call({"worker_address": {"worker_id": "x" * 28}})
        await check_timeouts(gcs, call, {})


@pytest.mark.method("workers.update_debugger_port", "workers.update_paused_threads")
async def test_what_cannot_be_noted_is_refused_before_it_is_sent(gcs: GcsClient) -> None:
    worker = b"x" * 28
    for call, low, high in (
        (gcs.workers.update_debugger_port, -1, 65536),
        (gcs.workers.update_paused_threads, -(1 << 31) - 1, 1 << 31),
    ):
        await check_ids(gcs, 28, call, 1)
        for wrong in (low, high):
            with refused_before_sending(gcs, ValueError):
                await call(worker, wrong)
        for strange in ("1", 1.0, None, True):
            with refused_before_sending(gcs, TypeError):
                await call(worker, strange)  # type: ignore[arg-type]
        await check_timeouts(gcs, call, worker, 1)
