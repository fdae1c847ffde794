# SPDX-License-Identifier: Apache-2.0
"""The process of one contender: connects once, then measures whenever it is told to.

Started as `python -I worker.py CONTENDER`. A line of JSON on standard input is a command, a line
of JSON on the standard output that it was started with is the answer: {"ok": ...} or {"error":
text}. The end of the input ends the process, in the middle of a command too, however its parent
ended.

Invariants:
- What a client prints goes to standard error; nothing but answers reaches the pipe.
- Between measurements the loop only waits for a line, so that an idle worker takes nothing from the
  one that is being measured.
- What the measuring itself costs is the same for every contender: one clock reading, one append to
  an array and one check of the value per call (together about 0.5 us).
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import sys
import time
import traceback
from array import array
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))  # which -I has left out

from contenders import CONTENDERS, OPERATIONS, Contender, Operation

_LONGEST_CALL = 30.0
"""Seconds after which a call that does not end fails the measurement."""


async def measure(operation: Operation, in_flight: int, seconds: float) -> dict[str, float]:
    """Keeps `in_flight` calls pending for `seconds`, and waits for the last of them.

    Every call that was begun counts, and so does the time and the CPU until the last has ended.

    Returns:
        calls; seconds; cpu_us: CPU of all threads of this process per call; p50_us and p99_us.

    Raises:
        RuntimeError: a call gave a wrong value, or did not end.
    """
    clock = time.perf_counter_ns
    call, is_right = operation.call, operation.is_right
    latencies = array("q")
    record = latencies.append

    async def caller() -> None:
        begun = clock()
        while begun < deadline:
            value = await call()
            ended = clock()
            record(ended - begun)
            if not is_right(value):
                raise RuntimeError(f"a call gave a wrong value: {value!r:.200}")
            begun = ended

    gc.collect()
    cpu_before = time.process_time_ns()
    start = clock()
    deadline = start + round(seconds * 1e9)
    callers = [asyncio.ensure_future(caller()) for _ in range(in_flight)]
    try:
        _, pending = await asyncio.wait(
            callers, timeout=seconds + _LONGEST_CALL, return_when=asyncio.FIRST_EXCEPTION
        )
        elapsed = clock() - start
        cpu = time.process_time_ns() - cpu_before
        for done in callers:
            if done.done():
                done.result()
        if pending:
            raise RuntimeError(
                f"{len(pending)} of {in_flight} callers had a call that did not end within "
                f"{_LONGEST_CALL:g} s"
            )
    finally:
        for task in callers:
            task.cancel()
    calls = len(latencies)
    ordered = sorted(latencies)
    return {
        "calls": calls,
        "seconds": elapsed / 1e9,
        "calls_per_second": calls / (elapsed / 1e9),
        "cpu_us": cpu / calls / 1e3,
        "p50_us": ordered[calls // 2] / 1e3,
        "p99_us": ordered[calls * 99 // 100] / 1e3,
    }


class Worker:
    """Answers the commands."""

    def __init__(self, contender: Contender) -> None:
        self._contender = contender
        self._operation: Operation | None = None

    async def connect(self, address: str) -> None:
        """Connects the contender."""
        await self._contender.connect(address)

    async def prepare(self, operation: str, value_size: int) -> None:
        """Makes ready what the measurements from here on repeat."""
        self._operation = await OPERATIONS[operation](self._contender, value_size)

    async def measure(self, in_flight: int, warm_up: float, seconds: float) -> dict[str, float]:
        """Measures, after `warm_up` seconds of the same that do not count."""
        if self._operation is None:
            raise RuntimeError("nothing was prepared that could be measured")
        await measure(self._operation, in_flight, warm_up)
        return await measure(self._operation, in_flight, seconds)

    async def close(self) -> None:
        """Closes the contender."""
        await self._contender.close()


class Input(asyncio.Protocol):
    """The lines of standard input; its end cancels the task that is given."""

    def __init__(self, reading: asyncio.Task[None]) -> None:
        self.lines: asyncio.Queue[bytes] = asyncio.Queue()
        self._reading = reading
        self._received = b""

    def data_received(self, data: bytes) -> None:
        *lines, self._received = (self._received + data).split(b"\n")
        for line in lines:
            self.lines.put_nowait(line)

    def connection_lost(self, exc: Exception | None) -> None:
        self._reading.cancel()


async def serve(worker: Worker, answers: int) -> None:
    """Answers commands until the end of the input cancels it."""
    this = asyncio.current_task()
    assert this is not None
    commands_in = Input(this)
    await asyncio.get_running_loop().connect_read_pipe(lambda: commands_in, sys.stdin)
    commands: dict[str, Callable[..., Awaitable[Any]]] = {
        "connect": worker.connect,
        "prepare": worker.prepare,
        "measure": worker.measure,
        "close": worker.close,
    }
    while True:
        request = json.loads(await commands_in.lines.get())
        answer: dict[str, Any]
        try:
            answer = {"ok": await commands[request.pop("do")](**request)}
        except Exception:  # noqa: BLE001 - whatever it is, the parent is to show it
            answer = {"error": traceback.format_exc()}
        os.write(answers, json.dumps(answer).encode() + b"\n")


def main() -> None:
    """Runs the contender that the command line names."""
    answers = os.dup(1)
    os.dup2(2, 1)
    contender = CONTENDERS[sys.argv[1]]()
    loop = contender.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        with contextlib.suppress(asyncio.CancelledError):
            loop.run_until_complete(serve(Worker(contender), answers))
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()


if __name__ == "__main__":
    main()
