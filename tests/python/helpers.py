# SPDX-License-Identifier: Apache-2.0
"""What several tests need: waiting, descriptors, scripts, secrets, and peers that are no GCS."""

from __future__ import annotations

import asyncio
import copy
import json
import os
import pickle
import socket
import subprocess
import sys
import threading
import time
import traceback
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import uvloop

from gcs_cffi import _native, _reactor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gcs_cffi import GcsClient, sync

PATIENCE = 10.0  # seconds; for what takes milliseconds on a quiet machine


class LoopWithoutReaders(asyncio.SelectorEventLoop):
    """A loop that cannot watch descriptors, as Windows' cannot: it is woken by callback."""

    def add_reader(self, fd: Any, callback: Any, *args: Any) -> None:  # type: ignore[override]
        """Refuses."""
        raise NotImplementedError


LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.SelectorEventLoop,
    "uvloop": uvloop.new_event_loop,
    "callback": LoopWithoutReaders,
}


def wait_until(condition: Callable[[], bool], what: str, timeout: float = PATIENCE) -> None:
    """Waits for something that another thread or process does."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout} s: {what}"
        time.sleep(0.01)


def open_descriptors() -> set[str]:
    """What the descriptors of this process refer to, each by number and target."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # the one that lists the folder
            found.add(f"{name} -> {os.readlink(f'/proc/self/fd/{name}')}")
    return found


@contextmanager
def descriptors_flat(allowed: int = 0) -> Iterator[None]:
    """Fails unless, a moment after the block, no more descriptors are open than before it."""
    before = open_descriptors()
    yield
    after: set[str] = set()

    def settled() -> bool:
        after.clear()
        after.update(open_descriptors())
        return len(after) <= len(before) + allowed

    deadline = time.monotonic() + PATIENCE
    while not settled():
        assert time.monotonic() < deadline, f"left open: {sorted(after - before)}"
        time.sleep(0.02)


def run_script(
    code: str,
    *arguments: str,
    timeout: float = 60.0,
    env: dict[str, str] | None = None,
    options: tuple[str, ...] = (),
) -> subprocess.CompletedProcess[str]:
    """Runs Python code in a process of its own, which sees the installed package only."""
    return subprocess.run(
        [sys.executable, "-I", *options, "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env={**os.environ, **(env or {})},
    )


SCRIPT_LOOP = """
import os, sys
sys.path.insert(0, os.environ["TESTS_FOLDER"])
from helpers import LOOPS
loop = LOOPS[os.environ["TESTS_LOOP"]]()
"""
"""Opens a script that `run_script_on()` runs: makes `loop`."""


def run_script_on(
    new_loop: Callable[[], asyncio.AbstractEventLoop], code: str, *arguments: str
) -> subprocess.CompletedProcess[str]:
    """Runs Python code that has an event loop of the given kind in `loop`."""
    kind = next(name for name, factory in LOOPS.items() if factory is new_loop)
    env = {"TESTS_FOLDER": os.path.dirname(__file__), "TESTS_LOOP": kind}
    return run_script(SCRIPT_LOOP + code, *arguments, env=env)


def said_nothing(done: subprocess.CompletedProcess[str]) -> bool:
    """Whether a script ended well, and without a word."""
    outcome = (done.returncode, done.stdout, done.stderr)
    assert outcome == (0, "", ""), f"status {done.returncode}\n{done.stdout}\n{done.stderr}"
    return True


async def finished(*tasks: asyncio.Task[object]) -> list[object]:
    """Results and exceptions of tasks, which must end soon."""
    done, pending = await asyncio.wait(tasks, timeout=PATIENCE)
    assert not pending, f"{len(pending)} of {len(tasks)} tasks never end"
    assert len(done) == len(tasks)
    return [task.exception() or task.result() for task in tasks]


async def quiet_reactor() -> _reactor.Reactor:
    """The loop's reactor, with no flush on its way: what is called next waits in the batch."""
    reactor = _reactor.reactor_for(asyncio.get_running_loop())
    while reactor.scheduled:  # noqa: ASYNC110 (there is nothing to wait for)
        await asyncio.sleep(0)
    return reactor


def pending_in_library(gcs: GcsClient | sync.GcsClient) -> int:
    """How many calls of a client the library has not ended."""
    pending: int = json.loads(_native.client_stats(gcs._channel.handle))["pending"]
    return pending


def shown_by(error: BaseException, secret: str) -> list[str]:
    """Where an error shows a secret, such as a token."""
    chain = [error, *(each for each in (error.__cause__, error.__context__) if each is not None)]
    views = {
        "str": str(error),
        "repr": repr(error),
        "args": ascii(error.args),
        "attributes": ascii(vars(error)),
        "pickle": pickle.dumps(error, protocol=0).decode("latin-1"),
        "copy": ascii(vars(copy.copy(error))),
        "traceback": "".join(traceback.format_exception_only(type(error), error)),
        "chain": ascii([(each, each.args, vars(each)) for each in chain]),
    }
    forms = {secret, ascii(secret)[1:-1], secret.encode("utf-8", "replace").decode("latin-1")}
    return [name for name, text in views.items() if any(form in text for form in forms)]


class Peer:
    """Something that listens, on loopback, and is no GCS.

    Args:
        serve: gets each connection, on a thread of its own; it is closed when this returns.
    """

    def __init__(self, serve: Callable[[socket.socket], None]) -> None:
        self.accepted = 0
        self._serve = serve
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._connections: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def address(self) -> str:
        host, port = self._listener.getsockname()
        return f"{host}:{port}"

    def left_alone(self) -> bool:
        """Whether, before long, the other side has ended every connection."""
        for thread in self._threads[1:]:
            thread.join(PATIENCE)
        return not any(thread.is_alive() for thread in self._threads[1:])

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            self._connections.append(connection)
            thread = threading.Thread(target=self._run, args=(connection,), daemon=True)
            thread.start()
            self._threads.append(thread)  # started: whoever sees it may join it

    def _run(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            self._serve(connection)

    def close(self) -> None:
        """Ends all of it."""
        # Closing alone does not wake a thread that stands in accept() or recv().
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()


def unused_port() -> int:
    """A port of loopback at which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
