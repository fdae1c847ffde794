# SPDX-License-Identifier: Apache-2.0
"""gcs_cffi.testing.GcsServer: a real server under control, by a process that stays alive."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import os
import signal
import socket
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gcs_cffi.testing import GcsServer, GcsServerError, _probe

if TYPE_CHECKING:
    from collections.abc import Iterator

RAY_VERSION = importlib.metadata.version("ray")


def answers(
    server: GcsServer,
    *,
    timeout: float = 5.0,
) -> bool:
    try:
        version = _probe.ray_version(
            "127.0.0.1", server.port, token=None, tls=None, timeout=timeout
        )
    except _probe.ProbeError:
        return False
    return version == RAY_VERSION


def accepts(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=5.0).close()
    except OSError:
        return False
    return True


def is_gone(pid: int) -> bool:
    """Whether the process ends within 10 s. One that its parent has only to take note of has."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state in "ZX":
            return True
        time.sleep(0.02)
    return False


def ended_by_itself(server: GcsServer) -> bool:
    """Whether SIGTERM was enough. How it ends then is its own affair: now and then it aborts."""
    assert "received SIGTERM" in server.log_text()
    return server.returncode not in {None, -signal.SIGKILL}


def arguments_of(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").decode().split("\0")


@pytest.fixture(scope="module")
def shared() -> Iterator[GcsServer]:
    """A server for the tests that only look at it."""
    with GcsServer() as server:
        yield server


def test_a_started_server_answers_and_knows_itself(shared: GcsServer) -> None:
    assert answers(shared)
    assert shared.running
    assert shared.returncode is None
    assert shared.version == RAY_VERSION
    assert shared.host == "127.0.0.1"
    assert shared.address == f"127.0.0.1:{shared.port}"
    assert arguments_of(shared.pid)[0].endswith("gcs_server")
    assert "GCS" in shared.log_text()


def test_leaving_the_with_ends_the_server_and_removes_its_folder() -> None:
    with GcsServer() as server:
        pid, folder = server.pid, server.folder
        assert folder.is_dir()
    assert is_gone(pid)
    assert not folder.exists()
    assert not server.running
    assert not accepts("127.0.0.1", server.port)
    assert "GCS" in server.log_text()


def test_an_exception_in_the_with_ends_the_server() -> None:
    server = GcsServer()
    with pytest.raises(ZeroDivisionError), server:
        raise ZeroDivisionError
    assert is_gone(server.pid)


def test_a_restart_keeps_the_port() -> None:
    with GcsServer() as server:
        port, pid = server.port, server.pid
        server.restart()
        assert server.port == port
        assert server.pid != pid
        assert is_gone(pid)
        assert answers(server)


def test_a_stopped_server_can_be_started_again() -> None:
    with GcsServer() as server:
        port = server.port
        server.stop()
        assert ended_by_itself(server)
        assert not server.running
        assert not accepts("127.0.0.1", port)
        assert server.folder.is_dir()
        server.stop()
        server.start()
        assert server.port == port
        assert answers(server)


def test_a_killed_server_can_be_started_again() -> None:
    with GcsServer() as server:
        port = server.port
        server.kill()
        assert server.returncode == -signal.SIGKILL
        assert not accepts("127.0.0.1", port)
        server.kill()
        server.start()
        assert server.port == port
        assert answers(server)


def test_a_paused_server_accepts_but_does_not_answer_until_it_is_resumed() -> None:
    with GcsServer() as server:
        server.pause()
        assert server.running
        assert accepts("127.0.0.1", server.port)
        assert not answers(server, timeout=0.5)
        server.resume()
        assert answers(server)


def test_a_paused_server_can_be_restarted_and_closed() -> None:
    with GcsServer() as server:
        server.pause()
        server.restart()
        assert answers(server)
        server.pause()
        pid = server.pid
    assert is_gone(pid)


def test_the_log_spans_restarts() -> None:
    with GcsServer() as server:
        first = server.log_text()
        server.restart()
        assert server.log_text().startswith(first)
        assert len(server.log_text()) > len(first)


def test_what_makes_no_sense_is_an_error() -> None:
    server = GcsServer()
    for attribute in ("port", "address", "pid", "version", "folder"):
        with pytest.raises(GcsServerError, match="started"):
            getattr(server, attribute)
    for action in (server.pause, server.resume):
        with pytest.raises(GcsServerError, match="does not run"):
            action()
    assert not server.running
    with server, pytest.raises(GcsServerError, match="runs already"):
        server.start()
    server.close()
    with pytest.raises(GcsServerError, match="closed"):
        server.start()


def test_a_server_that_was_started_can_be_entered() -> None:
    server = GcsServer()
    server.start()
    pid = server.pid
    with server:
        assert server.pid == pid
    assert is_gone(pid)


def test_a_server_that_ends_at_its_start_shows_its_log() -> None:
    server = GcsServer(config={"no_such_setting": 1})
    with pytest.raises(GcsServerError, match=r"ended with status(.|\n)*no_such_setting"), server:
        pass
    assert is_gone(server.pid)


def test_a_server_that_does_not_answer_in_time_is_an_error_and_ends() -> None:
    server = GcsServer(token="secret", env={"RAY_AUTH_TOKEN_PATH": "/nowhere"}, start_timeout=0.0)
    with pytest.raises(GcsServerError, match="did not answer within 0 s"), server:
        pass
    assert is_gone(server.pid)


def test_closing_ends_a_start_under_way() -> None:
    failures: list[Exception] = []

    def start() -> None:
        try:
            server.start()
        except GcsServerError as error:
            failures.append(error)

    # The server waits for a Redis that never says a word.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        server = GcsServer(redis=f"127.0.0.1:{silent.getsockname()[1]}", start_timeout=60.0)
        thread = threading.Thread(target=start)
        thread.start()
        connection = silent.accept()[0]
        began = time.monotonic()
        server.close()
        thread.join()
        connection.close()
    assert time.monotonic() - began < 10
    assert "closed while it was starting" in str(failures[0])
    assert is_gone(server.pid)


def test_a_start_from_a_thread_that_blocks_signals_leaves_the_server_stoppable() -> None:
    with contextlib.ExitStack() as stack:

        def start() -> None:
            signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.valid_signals()))
            stack.enter_context(server)

        server = GcsServer()
        thread = threading.Thread(target=start)
        thread.start()
        thread.join()
        # The thread that started it has ended, and the server must not have.
        assert answers(server)
        server.stop()
        assert ended_by_itself(server)


def test_an_unclosed_server_warns_and_ends() -> None:
    server = GcsServer()
    server.start()
    pid, folder = server.pid, server.folder
    servers = [server]
    del server
    with pytest.warns(ResourceWarning, match="unclosed <GcsServer"):
        servers.clear()
    assert is_gone(pid)
    assert not folder.exists()


def test_a_supervisor_that_was_killed_takes_the_server_with_it() -> None:
    with GcsServer() as server:
        pid, folder = server.pid, server.folder
        os.kill(parent_of(pid), signal.SIGKILL)
        assert is_gone(pid)
        with pytest.raises(GcsServerError, match="supervisor"):
            server.restart()
    assert not folder.exists()


def parent_of(pid: int) -> int:
    stat = Path(f"/proc/{pid}/stat").read_text()
    return int(stat.rpartition(")")[2].split()[1])


async def test_async_with_starts_and_ends_it_beside_the_loop() -> None:
    beats = 0

    async def beat() -> None:
        nonlocal beats
        while True:
            await asyncio.sleep(0.005)
            beats += 1

    heart = asyncio.create_task(beat())
    async with GcsServer() as server:
        assert answers(server)
    heart.cancel()
    assert is_gone(server.pid)
    assert beats >= 5


async def test_a_cancelled_start_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    started = False

    async def use() -> None:
        nonlocal started
        async with GcsServer():
            started = True
            await asyncio.sleep(60)

    cancelled_while_starting = 0
    for delay in (0.0, 0.02, 0.05, 0.1, 0.2, 0.4):
        started = False
        task = asyncio.create_task(use())
        await asyncio.sleep(delay)
        cancelled_while_starting += not started
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert os.listdir(tmp_path) == []
    assert cancelled_while_starting
