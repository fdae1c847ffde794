# SPDX-License-Identifier: Apache-2.0
"""When which fault begins and ends, and what is done to proxy and server then.

Invariants:
- One thread carries a timeline out, one step after the other. Before it ends, every fault is healed
  and the server runs.
- The times come from the seed alone, so that the same seed gives the same timeline; what comes by
  calls follows the load.
- A step that fails is kept as `error`: a fault that did not happen must not pass for one survived.
"""

from __future__ import annotations

import dataclasses
import heapq
import random
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Final

from chaos.proxy import Path
from chaos.workloads import SERVER_FAULTS

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from chaos.proxy import Direction, Proxy
    from chaos.workloads import Fault, Workload
    from gcs_cffi.testing import GcsServer

_TICK: Final = 0.01  # seconds
_SPREAD: Final = 0.2


class Timeline:
    """Carries out the faults of a workload, from `begin()` to `end()`.

    Args:
        workload: what to carry out.
        seed: of the times.
        server: the one to kill, pause and restart.
        proxy: the one to spoil; None without one.
        calls: how many calls have ended so far.
    """

    def __init__(
        self,
        workload: Workload,
        seed: int,
        server: GcsServer,
        proxy: Proxy | None,
        calls: Callable[[], int],
    ) -> None:
        self.happened: Counter[str] = Counter()
        """How often each kind of fault was begun."""
        self.log: list[tuple[float, str]] = []
        """What was done, by seconds from the start."""
        self.error: BaseException | None = None
        self._workload = workload
        self._random = random.Random(seed)
        self._server = server
        self._proxy = proxy
        self._calls = calls
        self._over = threading.Event()
        self.began = 0.0
        """When it was begun, by the monotonic clock."""
        self._thread = threading.Thread(target=self._run, name="faults")
        self._active: dict[int, Fault] = {}

    @property
    def owed(self) -> bool:
        """Whether faults that come by calls have not come as often as they must."""
        wanted: Counter[str] = Counter()
        for fault in self._workload.faults:
            wanted[fault.kind] += fault.times if fault.every_calls else 0
        return any(self.happened[kind] < count for kind, count in wanted.items())

    def begin(self) -> None:
        """Starts the clock."""
        self.began = time.monotonic()
        self._thread.start()

    def end(self, timeout: float) -> None:
        """Ends it early if it is not over, and heals everything."""
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join(timeout)
            if self._thread.is_alive():
                raise TimeoutError("the faults cannot be healed")
        if self.error is not None:
            raise RuntimeError(f"a fault could not be carried out: {self.error}") from self.error

    def _run(self) -> None:
        try:
            self._carry_out()
        except BaseException as error:  # noqa: BLE001 (kept for the thread that waits)
            self.error = error
        finally:
            try:
                self._heal_all()
            except BaseException as error:  # noqa: BLE001 (kept for the thread that waits)
                self.error = self.error or error

    def _carry_out(self) -> None:
        # Times of beginnings (of a fault, with how often it has come) and of ends.
        steps: list[tuple[float, int, str, Fault, int]] = []
        by_calls: list[tuple[int, Fault, int]] = []
        number = 0
        for fault in self._workload.faults:
            number += 1
            if fault.every_calls:
                by_calls.append((fault.every_calls, fault, 1))
            else:
                heapq.heappush(steps, (self._about(fault.at), number, "begin", fault, 1))
        while not self._over.wait(_TICK):
            now = time.monotonic() - self.began
            for entry in list(by_calls):
                wanted, fault, count = entry
                if self._calls() >= wanted:
                    by_calls.remove(entry)
                    number += 1
                    heapq.heappush(steps, (now, number, "begin", fault, count))
                    if not fault.times or count < fault.times:
                        by_calls.append((wanted + fault.every_calls, fault, count + 1))
            while steps and steps[0][0] <= now and not self._over.is_set():
                _, own, what, fault, count = heapq.heappop(steps)
                if what == "end":
                    self._heal(own, fault)
                    continue
                self._break(own, fault)
                if fault.lasts:
                    end = time.monotonic() - self.began + fault.lasts
                    heapq.heappush(steps, (end, own, "end", fault, count))
                if fault.every and (not fault.times or count < fault.times):
                    number += 1
                    again = now + self._about(fault.every)
                    heapq.heappush(steps, (again, number, "begin", fault, count + 1))

    def _about(self, seconds: float) -> float:
        return seconds * self._random.uniform(1 - _SPREAD, 1 + _SPREAD)

    def _note(self, what: str) -> None:
        self.log.append((time.monotonic() - self.began, what))

    def _break(self, number: int, fault: Fault) -> None:
        self._note(f"{fault.kind} begins")
        self.happened[fault.kind] += 1
        if fault.kind in SERVER_FAULTS:
            self._break_server(number, fault)
        else:
            self._break_network(number, fault)

    def _break_server(self, number: int, fault: Fault) -> None:
        if fault.kind == "pause":
            if self._server.running:
                self._server.pause()
                self._active[number] = fault
        elif fault.kind == "restart":
            self._server.restart()
        else:
            self._server.kill()
            if fault.lasts:
                self._active[number] = fault
            else:
                self._start_server()

    def _break_network(self, number: int, fault: Fault) -> None:
        proxy = self._proxy
        assert proxy is not None
        if fault.kind == "reset":
            proxy.reset()
        elif fault.kind == "reset_mid_frame":
            proxy.reset_mid_frame(fault.direction, fault.share)  # type: ignore[arg-type]
        else:
            self._active[number] = fault
            self._apply(newest=fault)

    def _heal(self, number: int, fault: Fault) -> None:
        self._note(f"{fault.kind} ends")
        if self._active.pop(number, None) is None:
            return
        if fault.kind == "pause":
            if self._server.running:
                self._server.resume()
        elif fault.kind == "kill":
            self._start_server()
        else:
            assert self._proxy is not None
            self._proxy.heal()
            self._apply(newest=None)

    def _apply(self, newest: Fault | None) -> None:
        """Has the proxy do what the faults under way say, all of them together."""
        proxy = self._proxy
        assert proxy is not None
        directions: tuple[Direction, ...] = ("up", "down")
        for direction in directions:
            for existing in (False, True):
                path = Path()
                for fault in self._active.values():
                    # Of connections that came later, some faults know nothing.
                    reached = not fault.existing_only or (existing and fault is newest)
                    if reached and fault.direction in (direction, "both"):
                        path = _spoil(path, fault)
                proxy.set_path(
                    direction,
                    path,
                    existing=existing,
                    arriving=not existing,
                )
        for fault in self._active.values():
            if fault.kind == "refuse":
                proxy.admit("refused")
            elif fault.kind == "silent":
                proxy.admit("silent")
            elif fault.kind == "limit":
                over: Any = fault.over_limit
                proxy.admit("served", limit=fault.limit, over_limit=over)

    def _start_server(self) -> None:
        if not self._server.running:
            self._server.start()
            self._note("the server answers again")

    def _heal_all(self) -> None:
        for number, fault in list(self._active.items()):
            self._heal(number, fault)
        if self._proxy is not None:
            self._proxy.heal()
        self._start_server()


def _spoil(path: Path, fault: Fault) -> Path:
    if fault.kind == "latency":
        return dataclasses.replace(path, latency=fault.latency, jitter=fault.jitter)
    if fault.kind == "throttle":
        return dataclasses.replace(path, rate=fault.rate)
    if fault.kind == "half_open":
        return dataclasses.replace(path, stalled=True)
    if fault.kind in ("one_way_loss", "black_hole"):
        return dataclasses.replace(path, dropped=True)
    return path
