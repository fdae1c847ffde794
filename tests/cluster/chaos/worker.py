# SPDX-License-Identifier: Apache-2.0
"""The process that makes a workload's calls: started by runner.py, with what it needs in JSON.

It talks to the runner in lines of JSON on stdout: `ready` (warmed up and measured), `calls` (so
many have ended), `over` (no more are made), `done` (the summary). Its stdin says `go`, `stop` for
an early end, and `close` when the faults are healed; when it ends, so does the worker.

Invariants:
- Everything is done once before the load, as the load does it, and closed again: what the process
  has then is what it must have afterwards.
- Nothing is ever written to stderr here: what appears there is a finding.
- It ends by itself within a bounded time, whatever the calls do.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Final

import gcs_cffi
from chaos.callers import (
    NAMESPACE,
    WARM_NAMES,
    Caller,
    Log,
    call_blocking,
    keep_calling,
)
from chaos.memory import resident
from chaos.workloads import from_dict
from gcs_cffi import _native, _reactor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from chaos.workloads import Workload

WARM_UP: Final = 0.7  # seconds
_PULSE: Final = 0.02  # seconds
_SETTLE: Final = 8.0  # seconds until what was closed must be gone
_RECOVERY: Final = 15.0  # seconds for the last call of each client
_SLACK: Final = 10.0  # seconds beyond the timeout after which a call counts as one that never ends

_ended: Final = bytearray()
"""How many completions came for each id."""


class Load:
    """One run of all the callers, on their threads.

    Args:
        workload: what they do.
        address: where the clients go.
        seed: of what the callers do.
        folder: where the records are written; None for none.
        more: whether there is more to do, asked before each call.
    """

    def __init__(
        self,
        workload: Workload,
        address: str,
        seed: str,
        folder: str | None,
        more: Callable[[], bool],
    ) -> None:
        self.clients: list[dict[str, Any]] = []
        self.pending = 0
        self.longest_turn = 0.0
        self.logs: list[Log] = []
        self.idle = threading.Event()
        self.may_close = threading.Event()
        self.errors: list[BaseException] = []
        self._workload = workload
        self._address = address
        self._seed = seed
        self._folder = folder
        self._more = more
        self._threads: list[threading.Thread] = []
        self._busy = 0
        self._lock = threading.Lock()

    def start(self) -> None:
        """Starts the threads."""
        load = self._workload
        for number, kind in enumerate(load.loops):
            self._add(self._run_loop, kind, number)
        for client in range(load.blocking_clients):
            threads = range(client, load.blocking_threads, load.blocking_clients)
            self._add(self._run_blocking, list(threads))
        for thread in self._threads:
            thread.start()

    def finish(self) -> None:
        """Waits for the threads' end."""
        for thread in self._threads:
            thread.join(self._workload.timeout + 3 * _RECOVERY + _SLACK)
            if thread.is_alive():
                self.errors.append(TimeoutError(f"thread {thread.name} does not end"))

    def ended(self) -> int:
        """How many calls have ended."""
        return sum(log.ended for log in self.logs)

    def _add(self, work: Callable[..., None], *arguments: Any) -> None:
        def run() -> None:
            try:
                work(*arguments)
            except BaseException as error:  # noqa: BLE001 (kept for the main thread)
                self.errors.append(error)
                self.idle.set()

        self._busy += 1
        self._threads.append(threading.Thread(target=run))

    def _new_log(self) -> Log:
        with self._lock:
            number = len(self.logs)
            path = os.devnull if self._folder is None else f"{self._folder}/calls-{number}"
            out = open(path, "w", buffering=1 << 16)  # noqa: SIM115 (whose thread closes it)
            self.logs.append(Log(out, number, self._workload))
            return self.logs[-1]

    def _caller(self, log: Log, name: str, can_cancel: bool) -> Caller:
        # Keys of the warm-up are not those of the load.
        name = name if self._folder is not None else WARM_NAMES + name
        return Caller(name, f"{self._seed}/{name}", log, can_cancel)

    def _wait_until_closable(self) -> None:
        with self._lock:
            self._busy -= 1
            if not self._busy:
                self.idle.set()
        self.may_close.wait()

    def _must_fail(self, error: gcs_cffi.GcsError) -> bool:
        """Whether the last call had to fail, since the cluster is another one now."""
        load = self._workload
        changed = load.restarts and not load.keeps_state and load.on_cluster_change == "error"
        return changed and isinstance(error, gcs_cffi.ClusterChangedError)

    # ---- event loops

    def _run_loop(self, kind: str, number: int) -> None:
        loop = new_loop(kind)
        try:
            loop.run_until_complete(self._call_on_loop(number))
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            loop.close()

    async def _call_on_loop(self, number: int) -> None:
        load, log = self._workload, self._new_log()
        clients = [
            await gcs_cffi.connect(
                self._address,
                token="",
                timeout=load.timeout,
                on_cluster_change=load.on_cluster_change,
                connect_timeout=_RECOVERY,
            )
            for _ in range(load.clients)
        ]
        try:
            callers = [
                asyncio.ensure_future(
                    keep_calling(
                        clients[n % len(clients)],
                        self._caller(log, f"l{number}c{n}", True),
                        load,
                        self._more,
                    )
                )
                for n in range(load.in_flight)
            ]
            while self._more():
                began = time.monotonic()
                await asyncio.sleep(_PULSE)
                turn = time.monotonic() - began - _PULSE
                self.longest_turn = max(self.longest_turn, turn)
            _, late = await asyncio.wait(callers, timeout=load.timeout + _SLACK)
            for task in late:
                task.cancel()
            await asyncio.gather(*callers, return_exceptions=True)
            for task in callers:
                if not task.cancelled() and task.exception() is not None:
                    self.errors.append(task.exception() or AssertionError())
            await asyncio.to_thread(self._wait_until_closable)
            for gcs in clients:
                try:
                    await gcs.kv.get("last", namespace=NAMESPACE, timeout=_RECOVERY)
                    recovered = True
                except gcs_cffi.GcsError as error:
                    recovered = self._must_fail(error)
                self.clients.append(await asyncio.to_thread(counters, gcs, recovered))
            reactor = _reactor.reactor_for(asyncio.get_running_loop())
            self.pending += len(reactor.pending) + len(reactor.batch) + len(reactor.lent)
        finally:
            for gcs in clients:
                await gcs.close()
            log.close()

    # ---- threads that wait

    def _run_blocking(self, numbers: list[int]) -> None:
        load = self._workload
        gcs = gcs_cffi.sync.connect(
            self._address,
            token="",
            timeout=load.timeout,
            on_cluster_change=load.on_cluster_change,
            connect_timeout=_RECOVERY,
        )
        with gcs:
            threads = [threading.Thread(target=self._call_blocking, args=(gcs, n)) for n in numbers]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self._wait_until_closable()
            try:
                gcs.kv.get("last", namespace=NAMESPACE, timeout=_RECOVERY)
                recovered = True
            except gcs_cffi.GcsError as error:
                recovered = self._must_fail(error)
            self.clients.append(counters(gcs, recovered))

    def _call_blocking(self, gcs: gcs_cffi.sync.GcsClient, number: int) -> None:
        log = self._new_log()
        caller = self._caller(log, f"b{number}", False)
        try:
            while self._more():
                call_blocking(gcs, caller, self._workload)
        except BaseException as error:  # noqa: BLE001 (kept for the main thread)
            self.errors.append(error)
        log.close()


def new_loop(kind: str) -> asyncio.AbstractEventLoop:
    """An event loop; asyncio's where uvloop is not installed."""
    if kind == "uvloop":
        try:
            import uvloop
        except ImportError:
            pass
        else:
            made: asyncio.AbstractEventLoop = uvloop.new_event_loop()
            return made
    return asyncio.SelectorEventLoop()


def counters(gcs: Any, recovered: bool) -> dict[str, Any]:
    """The library's counters of a client, once the calls that were cancelled have left it."""
    deadline = time.monotonic() + _SETTLE
    while True:
        found: dict[str, Any] = json.loads(_native.client_stats(gcs._channel.handle))
        if not found["pending"] or time.monotonic() > deadline:
            return {**found, "recovered": recovered}
        time.sleep(0.02)


def count_completions() -> None:
    """Has each completion that leaves the library counted: a second one would be dropped unseen."""
    drain = _native.Queue.drain
    lock = threading.Lock()

    def counting(self: _native.Queue, timeout: int) -> tuple[int, Iterator[tuple[int, ...]]]:
        status, events = drain(self, timeout)
        taken = list(events)
        with lock:
            for call_id, _, kind, *_ in taken:
                if kind != _native.LOG and call_id < 1 << 32:
                    if call_id >= len(_ended):
                        _ended.extend(bytes(call_id + 4096 - len(_ended)))
                    _ended[call_id] = min(255, _ended[call_id] + 1)
        return status, iter(taken)

    _native.Queue.drain = counting  # type: ignore[method-assign]


def measure() -> dict[str, int]:
    """What the process has."""
    return {
        "descriptors": len(os.listdir("/proc/self/fd")),
        "threads": len(os.listdir("/proc/self/task")),
        "rss": resident(),
    }


def settled(goal: dict[str, int] | None) -> dict[str, int]:
    """What the process has once no more goes away; with a goal, once it is reached."""
    deadline = time.monotonic() + _SETTLE
    found = measure()
    while time.monotonic() < deadline:
        time.sleep(0.1 if goal else 0.3)
        again = measure()
        if goal:
            if all(again[name] <= goal[name] for name in ("descriptors", "threads")):
                return again
        elif all(again[name] == found[name] for name in ("descriptors", "threads")):
            return again
        found = again
    return found


def open_files() -> list[str]:
    """What the descriptors of this process refer to."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the one that lists the folder
            found.append(f"{name} -> {os.readlink(f'/proc/self/fd/{name}')}")
    return sorted(found)


def mapped_library() -> str:
    """The file of the library that this process runs on."""
    with open("/proc/self/maps") as maps:
        found = {line.split()[-1] for line in maps if "libgcs_capi" in line}
    return " ".join(sorted(found))


def tell(**what: Any) -> None:
    """Says something to the runner."""
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def main(spec: str) -> None:
    """Runs the load that a JSON object describes."""
    # Without a handler, warnings of lost connections, which are to be expected, go to stderr.
    logging.getLogger("gcs_cffi").addHandler(logging.NullHandler())
    given = json.loads(spec)
    workload = from_dict(given["workload"])
    until = time.monotonic() + WARM_UP
    warm = Load(workload, given["address"], "warm", None, lambda: time.monotonic() < until)
    warm.start()
    warm.may_close.set()
    warm.finish()
    if warm.errors:
        raise warm.errors[0]
    count_completions()
    before, files = settled(None), open_files()
    commands = iter(sys.stdin)
    tell(say="ready", before=before, library=mapped_library())
    if next(commands, "") != "go\n":
        return

    stopping = threading.Event()

    def listen() -> None:
        for line in commands:
            if line == "stop\n":
                stopping.set()
            elif line == "close\n":
                load.may_close.set()
        stopping.set()
        load.may_close.set()

    end = time.monotonic() + workload.duration

    def more() -> bool:
        if stopping.is_set() or time.monotonic() >= end:
            return False
        return not workload.calls or load.ended() < workload.calls or hold.is_set()

    hold = threading.Event()  # faults that come by calls are still owed
    load = Load(workload, given["address"], given["seed"], given["folder"], more)
    if any(fault.every_calls for fault in workload.faults):
        hold.set()
    load.start()
    # A daemon: it stands in a read that nothing but the runner ends.
    threading.Thread(target=listen, daemon=True).start()
    while not load.idle.wait(0.1):
        tell(say="calls", count=load.ended())
    tell(say="over", count=load.ended())
    load.finish()
    before["threads"] += 1  # the one that listens
    after = settled(before)
    after["threads"] -= 1
    before["threads"] -= 1
    if load.errors:
        raise load.errors[0]
    tell(
        say="done",
        after=after,
        left=sorted(set(open_files()) - set(files)),
        clients=load.clients,
        pending=load.pending,
        longest_turn=load.longest_turn,
        completions=sum(_ended),
        ended_twice=sum(count > 1 for count in _ended),
    )
