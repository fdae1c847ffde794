# SPDX-License-Identifier: Apache-2.0
"""A process ends in order, whatever its clients are doing at that moment.

Promise: whichever of the ways it takes, it has the exit status that it would have without us, says
nothing of ours on stderr, and is gone within `BOUND`. A call that a non-daemon thread is making
lasts to its timeout: Python itself waits for such threads.

The table is STATES x WAYS, each row a process of its own that runs `exiting.py`. Rows run side by
side, against one server, which is stopped (SIGSTOP), killed, or left alone under them.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

import exiting
import pytest
from helpers import Peer, unused_port

from gcs_cffi.testing import GcsServer

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

BOUND = 5.0  # seconds; it takes some 0.1 s on a quiet machine
PATIENCE = 40.0
SIDE_BY_SIDE = 12
STRAY = ("Exception ignored", "never retrieved", "never awaited", "destroyed", "Warning", "Fatal")

WAYS: dict[str, tuple[int, str]] = {
    "end of the script": (0, ""),
    "sys.exit": (3, ""),
    "exception": (1, "RuntimeError: the end"),
    "os._exit": (4, ""),
    "SIGTERM": (-signal.SIGTERM, ""),
    "Ctrl-C": (-signal.SIGINT, "KeyboardInterrupt"),
}
"""How a process ends, and what becomes of it: its status, and the last line of its traceback."""

STATES: dict[str, tuple[str, ...]] = {
    "calls pending": ("stopped", "killed"),
    "calls not handed over": ("stopped",),
    "answers arriving": ("there",),
    "connecting": ("nobody", "stopped"),
    "handshaking": ("silent",),
    "watching": ("there", "killed"),
    "watching by callback": ("there", "killed"),
    "unclosed": ("there",),
    "call in a daemon thread": ("stopped", "killed"),
    "call in a thread": ("stopped",),
    "connecting in a thread": ("nobody",),
    "handshaking in a thread": ("silent",),
    "watching in a thread": ("there",),
    "watching by callback of a thread": ("killed",),
    "unclosed, without a loop": ("there",),
    "child": ("stopped",),
}
"""What a process is doing at its end, and in what state the server is then."""

WITH_CLEANING = ("end of the script", "sys.exit", "exception", "Ctrl-C")
"""The ways on which Python, and asyncio, clean up: those matter on every kind of loop."""


class Row(NamedTuple):
    server: str
    state: str
    way: str
    loop: str

    def __str__(self) -> str:
        return f"{self.state}, server {self.server}, {self.way}, {self.loop}"


def rows() -> Iterator[Row]:
    for state, servers in STATES.items():
        loop = "asyncio" if state in exiting.ASYNC else "none"
        for server in servers:
            yield from (Row(server, state, way, loop) for way in WAYS)
        if loop != "none":
            for other in ("uvloop", "callback"):
                yield from (Row(servers[0], state, way, other) for way in WITH_CLEANING)


ROWS = list(rows())


@dataclass
class Outcome:
    """What became of a process."""

    status: int | None = None
    """Of the process, or of the child that it forked; None: it had to be killed."""
    stderr: str = ""
    seconds: float = 0.0
    """From the moment at which it set out to end."""


class Ending:
    """A process that is in a state and ends in a way."""

    def __init__(self, row: Row, address: str) -> None:
        self.row = row
        self.outcome = Outcome()
        code = "import sys; sys.path.insert(0, sys.argv.pop(1)); import exiting; exiting.main()"
        arguments = [os.path.dirname(__file__), row.state, row.way, row.loop, address]
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-c", code, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._killed = False
        self._watchdog = threading.Timer(PATIENCE, self._kill)
        self._watchdog.start()

    def wait_until_ready(self) -> None:
        self._line()

    def go(self) -> None:
        """Lets it end, and notes how it did."""
        self._tell()
        self._line()
        began = time.monotonic()
        if self.row.state == "child":
            status = self._line().removeprefix("child ").strip()
            self.outcome.status = int(status) if status else None
        else:
            self._process.wait()
            self.outcome.status = None if self._killed else self._process.returncode
        self.outcome.seconds = time.monotonic() - began

    def finish(self) -> None:
        """Waits until nothing is left of it; a parent has to have ended well."""
        if self.row.state == "child":
            self._tell()
        _, self.outcome.stderr = self._process.communicate()
        self._watchdog.cancel()
        if self.row.state == "child" and self._process.returncode != 0:
            self.outcome.status = None
            self.outcome.stderr += f"\nthe parent ended with {self._process.returncode}"

    def _tell(self) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write("\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it has failed: its stderr says why

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def _kill(self) -> None:
        self._killed = True
        self._process.kill()


def keep_silent(connection: socket.socket) -> None:
    while connection.recv(1 << 16):
        pass


def run_side_by_side(some: list[Row], server: GcsServer, address: str) -> dict[Row, Outcome]:
    """Has processes end while the server is in the state that their rows, all of them, name."""
    endings = [Ending(row, address) for row in some]
    with ThreadPoolExecutor(len(endings)) as threads:
        list(threads.map(Ending.wait_until_ready, endings))
        if some[0].server == "stopped":
            server.pause()
        elif some[0].server == "killed":
            server.kill()
        list(threads.map(Ending.go, endings))
        if some[0].server == "stopped":
            server.resume()
        elif some[0].server == "killed":
            server.start()
        list(threads.map(Ending.finish, endings))
    return {ending.row: ending.outcome for ending in endings}


@pytest.fixture(scope="module")
def outcomes(
    request: pytest.FixtureRequest, hide_user: None, interrupts_arrive: None
) -> dict[Row, Outcome]:
    """What became of the rows that were selected."""
    tests = [item for item in request.session.items if item.path == request.path]
    calls = [item.callspec for item in tests if hasattr(item, "callspec")]
    chosen = {call.params["row"] for call in calls if "row" in call.params}
    found: dict[Row, Outcome] = {}
    with GcsServer() as server, closing(Peer(keep_silent)) as silent:
        for kind, group in groupby(sorted(chosen), key=lambda row: row.server):
            waiting = list(group)
            address = server.address
            if kind == "nobody":
                address = f"127.0.0.1:{unused_port()}"
            elif kind == "silent":
                address = silent.address
            while waiting:
                some, waiting = waiting[:SIDE_BY_SIDE], waiting[SIDE_BY_SIDE:]
                found |= run_side_by_side(some, server, address)
    return found


@pytest.mark.timeout(240)  # the first one runs all of them
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_a_process_ends_as_it_would_without_us(row: Row, outcomes: dict[Row, Outcome]) -> None:
    outcome = outcomes[row]
    status, last_line = WAYS[row.way]
    lines = outcome.stderr.splitlines()
    assert outcome.status == status, outcome
    assert (lines[-1] if lines else "") == last_line, outcome
    assert not any(word in outcome.stderr for word in STRAY), outcome
    waits = row.state == "call in a thread" and row.way not in ("os._exit", "SIGTERM")
    assert outcome.seconds < BOUND + (exiting.CALL_TIMEOUT if waits else 0), outcome
