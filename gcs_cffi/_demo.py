# SPDX-License-Identifier: Apache-2.0
"""`python -m gcs_cffi demo`: the client at work on a real GCS.

Invariants:
- A cluster that is shown is left as it was found: keys go into two namespaces that nobody else has,
  and are deleted however the demo ends. Job ids alone cannot be given back.
- A server that was started for the demo ends with it, and so does its folder. Only such a one is
  killed and started again, in the middle of a load of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import signal
import sys
import time
from typing import TYPE_CHECKING, Any

import gcs_cffi
from gcs_cffi._terminal import Progress, heading, pairs, table
from gcs_cffi.testing import GcsServer, GcsServerError

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from gcs_cffi import GcsClient

_VALUE_SIZE = 100
_JOBS = 3
_SHOWN_NODES = 20
_LOAD_BEFORE = 0.3  # seconds of load before the server is killed, and once it answers again
_LOAD_AFTER = 0.3


def main(address: str | None, *, gets: int, in_flight: int) -> int:
    """Runs the demo, and gives the process's exit status.

    Args:
        address: "host:port" of a running cluster, or "auto" to find it; None starts a server.
        gets: how many values to get at the end.
        in_flight: how many of these gets run at once.
    """
    try:
        asyncio.run(_run(address, gets, in_flight))
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("\ninterrupted", file=sys.stderr)
        return 130
    except (gcs_cffi.GcsError, GcsServerError, ValueError) as error:
        print(f"\nthe demo failed: {error}", file=sys.stderr)
        return 1
    return 0


async def _run(address: str | None, gets: int, in_flight: int) -> None:
    # Before Python 3.11 an interrupt is raised wherever the loop happens to be, and may tear what
    # it finds there.
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, task.cancel)
    if address is not None:
        await _show(None if address == "auto" else address, None, gets, in_flight)
        return
    began = time.perf_counter()
    print("starting a gcs_server: in memory, on loopback ...", flush=True)
    async with GcsServer() as server:
        about = f"gcs_server (process {server.pid}), up in {time.perf_counter() - began:.1f} s"
        await _show(server.address, about, gets, in_flight, server)
    print("\nthe gcs_server has ended, and its folder is gone")


async def _show(
    address: str | None, about: str | None, gets: int, in_flight: int, own: GcsServer | None = None
) -> None:
    began = time.perf_counter()
    # A server that was started here asks for no token, and gets none that lies around; and it keeps
    # its state in memory, so that it will come back from its end as another cluster.
    connecting = gcs_cffi.connect(
        address,
        token=None if own is None else "",
        on_cluster_change="error" if own is None else "adopt",
    )
    async with connecting as gcs:
        took = time.perf_counter() - began
        heading("Cluster")
        pairs(
            ("server", about or "a running cluster"),
            ("address", gcs.address),
            ("cluster id", gcs.cluster_id),
            ("Ray version", await gcs.get_ray_version()),
            ("connected in", f"{took * 1e3:.1f} ms"),
            ("client", f"gcs_cffi {gcs_cffi.__version__}"),
        )
        name = f"gcs_cffi_demo_{secrets.token_hex(6)}"
        namespaces = f"{name}_red", f"{name}_blue"
        try:
            await _show_kv(gcs, *namespaces)
            await _show_jobs(gcs)
            await _show_nodes(gcs)
            await _show_gets(gcs, namespaces[0], gets, in_flight)
            if own is not None:
                await _show_restart(gcs, own, namespaces[1], in_flight)
        finally:
            await _clean_up(gcs, namespaces)
    if own is None:
        print(f"\nthe cluster is as it was, but for {_JOBS} job ids: those cannot be given back")


async def _show_kv(gcs: GcsClient, red: str, blue: str) -> None:
    kv = gcs.kv
    rows: list[tuple[str, str]] = []

    async def show(text: str, call: Awaitable[Any]) -> None:
        rows.append((text, _returned(await call)))

    heading("Key-value store", "in two namespaces, red and blue")
    for place, namespace in (("red", red), ("blue", blue)):
        await show(
            f'put("greeting", b"hello, {place}", {place})',
            kv.put("greeting", f"hello, {place}".encode(), namespace=namespace),
        )
    await show('put("greeting", b"hi", red)', kv.put("greeting", b"hi", namespace=red))
    await show(
        'put("greeting", b"no", red, overwrite=False)',
        kv.put("greeting", b"no", namespace=red, overwrite=False),
    )
    await show('get("greeting", red)', kv.get("greeting", namespace=red))
    await show('get("greeting", blue)', kv.get("greeting", namespace=blue))
    await show('get("nothing", red)', kv.get("nothing", namespace=red))
    await show('exists("greeting", red)', kv.exists("greeting", namespace=red))
    for number in range(3):
        key = f"item/{number}"
        await show(f'put("{key}", b"{number}", red)', kv.put(key, b"%d" % number, namespace=red))
    await show('keys("item/", red)', _sorted(kv.keys("item/", namespace=red)))
    await show('keys("", blue)', _sorted(kv.keys("", namespace=blue)))
    wanted = ["item/0", "item/2", "nothing"]
    await show(f"multi_get({wanted}, red)", kv.multi_get(wanted, namespace=red))
    await show('delete("greeting", red)', kv.delete("greeting", namespace=red))
    await show('delete("greeting", red)', kv.delete("greeting", namespace=red))
    await show('delete_prefix("item/", red)', kv.delete_prefix("item/", namespace=red))
    await show('delete_prefix("item/", blue)', kv.delete_prefix("item/", namespace=blue))
    await show('get("greeting", blue)', kv.get("greeting", namespace=blue))
    table(("call", "returned"), rows)
    print("  a put tells whether the key is new; a delete, whether there was one")


async def _show_jobs(gcs: GcsClient) -> None:
    heading("Job ids", "jobs.next_id()")
    ids = [await gcs.jobs.next_id() for _ in range(_JOBS)]
    table(("job id", "number"), [(job.hex(), str(job.to_int())) for job in ids])


async def _show_nodes(gcs: GcsClient) -> None:
    heading("Nodes", "nodes.list()")
    nodes = await gcs.nodes.list()
    if not nodes:
        print("  none: a gcs_server on its own has no nodes")
        return
    rows = [
        (
            f"{node_id.hex()[:12]}...",
            "dead" if node.state == node.DEAD else "alive",
            "yes" if node.is_head_node else "",
            f"{node.node_manager_address}:{node.node_manager_port}",
            f"{node.resources_total.get('CPU', 0):g}",
            f"{node.resources_total.get('memory', 0) / 2**30:.1f} GiB",
        )
        for node_id, node in list(nodes.items())[:_SHOWN_NODES]
    ]
    table(("node id", "state", "head", "address", "CPUs", "memory"), rows)
    if len(nodes) > len(rows):
        print(f"  and {len(nodes) - len(rows)} more")


async def _show_gets(gcs: GcsClient, namespace: str, gets: int, in_flight: int) -> None:
    at_once = min(in_flight, gets)
    heading("Speed", f"{gets:,} gets of {_VALUE_SIZE} bytes, {at_once} in flight")
    key = b"value"
    value = secrets.token_bytes(_VALUE_SIZE)
    where = namespace.encode()
    await gcs.kv.put(key, value, namespace=where)
    times: list[float] = []
    left = iter(range(gets))

    async def worker() -> None:
        get, clock, note = gcs.kv.get, time.perf_counter, times.append
        for _ in left:
            began = clock()
            if await get(key, namespace=where) != value:
                raise ValueError("a get returned another value than was put")
            note(clock() - began)

    with Progress("gets", gets) as progress:
        ticking = asyncio.ensure_future(_tick(progress, times))
        began, cpu = time.perf_counter(), time.process_time()
        workers = [asyncio.ensure_future(worker()) for _ in range(in_flight)]
        try:
            await asyncio.gather(*workers)
        finally:
            took, cpu = time.perf_counter() - began, time.process_time() - cpu
            for task in (*workers, ticking):
                task.cancel()
            await asyncio.gather(*workers, ticking, return_exceptions=True)
        progress.show(gets)
    times.sort()
    pairs(
        ("all of it took", f"{took:.2f} s"),
        ("calls per second", f"{gets / took:,.0f}"),
        ("p50", f"{times[len(times) // 2] * 1e3:.2f} ms, with {at_once} in the server's queue"),
        ("p99", f"{times[len(times) * 99 // 100] * 1e3:.2f} ms"),
        ("client CPU", f"{cpu / gets * 1e6:.1f} us per call"),
    )


async def _show_restart(gcs: GcsClient, server: GcsServer, namespace: str, in_flight: int) -> None:
    heading("Restart", f"kill -9 and a new start under {in_flight} gets in flight")
    key = b"value"
    where = namespace.encode()
    await gcs.kv.put(key, b"kept in memory", namespace=where)
    old = gcs.cluster_id
    values = nothing = made = 0
    failures: list[gcs_cffi.GcsError] = []
    longest = 0.0
    over = False

    async def worker() -> None:
        nonlocal values, nothing, made, longest
        while not over:
            made += 1
            began = time.perf_counter()
            try:
                if await gcs.kv.get(key, namespace=where) is None:
                    nothing += 1
                else:
                    values += 1
            except gcs_cffi.GcsError as error:
                failures.append(error)
            longest = max(longest, time.perf_counter() - began)

    workers = [asyncio.ensure_future(worker()) for _ in range(in_flight)]
    try:
        await asyncio.sleep(_LOAD_BEFORE)
        killed = time.perf_counter()
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)
        away = time.perf_counter() - killed
        await asyncio.sleep(_LOAD_AFTER)
        over = True
        await asyncio.gather(*workers)
    finally:
        for task in workers:
            task.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    table(
        ("gets", "number"),
        [
            ("answered with the value", f"{values:,}"),
            ("answered that there is none: the new server's memory is empty", f"{nothing:,}"),
            ("failed", f"{len(failures):,}"),
            ("made", f"{made:,}, every one answered" if made == values + nothing else f"{made:,}"),
        ],
    )
    pairs(
        ("server away", f"{away:.2f} s (its process is {server.pid} now)"),
        ("longest get", f"{longest:.2f} s"),
        ("cluster id before", old),
        ("and now", gcs.cluster_id),
    )
    if failures:
        raise failures[0]
    if not values or not nothing or gcs.cluster_id == old:
        raise ValueError("the restart did not come in the middle of the load")


async def _tick(progress: Progress, times: list[float]) -> None:
    while True:
        progress.show(len(times))
        await asyncio.sleep(0.1)


async def _clean_up(gcs: GcsClient, namespaces: tuple[str, str]) -> None:
    """Deletes the demo's keys, also when it is cancelled; a server that is gone has none."""
    for namespace in namespaces:
        with contextlib.suppress(gcs_cffi.GcsError):
            await gcs.kv.delete_prefix("", namespace=namespace, timeout=5)


async def _sorted(keys: Awaitable[list[bytes]]) -> list[bytes]:
    return sorted(await keys)


def _returned(result: object) -> str:
    if isinstance(result, list):
        return "[" + ", ".join(map(repr, result)) + "]"
    return repr(result)
