# SPDX-License-Identifier: Apache-2.0
"""The proxy of the chaos runs does what it says, and workloads say what can be.

Here a plain TCP server stands behind it: what the bytes mean is for the runs themselves.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from chaos import workloads
from chaos.proxy import Path, Proxy
from chaos.workloads import NETWORK_FAULTS, SERVER_FAULTS

if TYPE_CHECKING:
    from collections.abc import Iterator

PATIENCE = 5.0
QUIET = 0.3  # seconds in which nothing must come
FRAME = b"\x00\x00\x14\x00\x00\x00\x00\x00\x01" + b"x" * 20
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


@pytest.fixture
def echo() -> Iterator[str]:
    """The address of a server that sends back what it gets, after the preface of HTTP/2."""
    listener = socket.create_server(("127.0.0.1", 0))
    threads = []

    def serve(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            while data := connection.recv(65536):
                connection.sendall(data)

    def accept() -> None:
        with suppress(OSError):
            while True:
                thread = threading.Thread(target=serve, args=(listener.accept()[0],))
                threads.append(thread)
                thread.start()

    threads.append(threading.Thread(target=accept))
    threads[0].start()
    host, port = listener.getsockname()
    yield f"{host}:{port}"
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()


@pytest.fixture
def proxy(echo: str) -> Iterator[Proxy]:
    with Proxy(echo, seed=1) as running:
        yield running


def connect(proxy: Proxy) -> socket.socket:
    host, _, port = proxy.address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=PATIENCE)


def exchange(connection: socket.socket, data: bytes) -> bytes:
    connection.sendall(data)
    got = b""
    while len(got) < len(data):
        part = connection.recv(65536)
        if not part:
            break
        got += part
    return got


def until_reset(connection: socket.socket) -> bytes:
    got = b""
    while True:
        try:
            part = connection.recv(65536)
        except ConnectionResetError:
            return got
        assert part, "an end, and no reset"
        got += part


def hears_nothing(connection: socket.socket) -> bool:
    connection.settimeout(QUIET)
    try:
        connection.recv(1)
    except TimeoutError:
        return True
    finally:
        connection.settimeout(PATIENCE)
    return False


def test_bytes_pass_in_order_and_the_end_too(proxy: Proxy) -> None:
    data = os.urandom(1 << 20)
    with connect(proxy) as connection:
        sender = threading.Thread(target=connection.sendall, args=(data,))
        sender.start()
        got = b""
        while len(got) < len(data):
            got += connection.recv(65536)
        sender.join()
        assert got == data
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1) == b""
    assert proxy.counts["accepted"] == 1


def test_latency_and_throttle_take_their_time(proxy: Proxy) -> None:
    with connect(proxy) as connection:
        proxy.set_path("up", Path(latency=0.2, jitter=0.1))
        began = time.monotonic()
        assert exchange(connection, b"hello") == b"hello"
        assert 0.2 <= time.monotonic() - began < PATIENCE
        proxy.set_path("up", Path())
        proxy.set_path("down", Path(rate=10_000))
        began = time.monotonic()
        assert exchange(connection, b"x" * 5000) == b"x" * 5000
        assert 0.4 <= time.monotonic() - began < PATIENCE
        proxy.heal()
        began = time.monotonic()
        assert exchange(connection, b"hello") == b"hello"
        assert time.monotonic() - began < 0.2


@pytest.mark.parametrize("direction", ["up", "down"])
def test_a_half_open_connection_goes_on_without_loss(proxy: Proxy, direction: str) -> None:
    with connect(proxy) as connection:
        proxy.set_path(direction, Path(stalled=True))  # type: ignore[arg-type]
        connection.sendall(b"hello")
        assert hears_nothing(connection)
        assert proxy.connections() == 1
        proxy.heal()
        assert connection.recv(5) == b"hello"


@pytest.mark.parametrize("direction", ["up", "down", "both"])
def test_a_connection_that_lost_bytes_never_goes_on(proxy: Proxy, direction: str) -> None:
    with connect(proxy) as connection, connect(proxy) as other:
        assert exchange(other, b"hello") == b"hello"
        proxy.set_path(direction, Path(dropped=True), arriving=False)  # type: ignore[arg-type]
        connection.sendall(b"hello")
        assert hears_nothing(connection)
        with connect(proxy) as late:
            assert exchange(late, b"spared") == b"spared"
        proxy.heal()
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
        assert exchange(other, b"lost nothing") == b"lost nothing"


@pytest.mark.parametrize("direction", ["up", "down"])
def test_a_reset_comes_inside_of_a_frame(proxy: Proxy, direction: str) -> None:
    with connect(proxy) as connection:
        if direction == "up":
            assert exchange(connection, PREFACE + FRAME) == PREFACE + FRAME
        else:
            assert exchange(connection, FRAME) == FRAME
        proxy.reset_mid_frame(direction)  # type: ignore[arg-type]
        connection.sendall(FRAME * 3)
        got = until_reset(connection)
        assert len(got) < 3 * len(FRAME)
        assert direction == "up" or len(got) % len(FRAME) != 0
    assert proxy.counts["cut"] == 1


def test_new_connections_are_refused_left_alone_or_counted(proxy: Proxy) -> None:
    with connect(proxy) as first:
        assert exchange(first, b"served") == b"served"
        proxy.admit("refused")
        with pytest.raises(ConnectionRefusedError):
            connect(proxy)
        assert exchange(first, b"old") == b"old"
        proxy.admit("silent")
        with connect(proxy) as silent:
            silent.sendall(b"hello")
            assert hears_nothing(silent)
            proxy.heal()
            with pytest.raises(ConnectionResetError):
                silent.recv(1)
        proxy.admit("served", limit=2)
        with connect(proxy) as second:
            assert exchange(second, b"two") == b"two"
            # The reset may come as early as that.
            with pytest.raises(ConnectionError), connect(proxy) as third:
                exchange(third, b"three")
        assert proxy.reset() >= 1
        with pytest.raises(ConnectionResetError):
            first.recv(1)
        proxy.heal()
        with connect(proxy) as again:
            assert exchange(again, b"again") == b"again"


def test_a_server_that_is_not_there_is_a_reset(echo: str) -> None:
    gone = socket.create_server(("127.0.0.1", 0))
    port = gone.getsockname()[1]
    gone.close()
    with Proxy(f"127.0.0.1:{port}", seed=1) as proxy:
        try:
            connection = connect(proxy)
        except ConnectionResetError:
            return  # it came while connect() was returning
        with connection:
            assert until_reset(connection) == b""


def test_closing_leaves_nothing(echo: str) -> None:
    before = len(os.listdir("/proc/self/fd")), threading.active_count()
    with Proxy(echo, seed=1) as proxy, connect(proxy) as connection:
        assert exchange(connection, b"hello") == b"hello"
        proxy.set_path("both", Path(stalled=True))
        connection.sendall(b"hello")
        proxy.close()
    deadline = time.monotonic() + PATIENCE  # for the server's side of the connection
    while (len(os.listdir("/proc/self/fd")), threading.active_count()) != before:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_every_fault_is_in_some_workload() -> None:
    used = {f.kind for name in workloads.names() for f in workloads.load(name).faults}
    assert used == set(NETWORK_FAULTS) | set(SERVER_FAULTS)


def test_every_operation_loop_and_choice_is_in_some_workload() -> None:
    every = [workloads.load(name) for name in workloads.names()]
    assert {name for each in every for name in each.mix} == workloads.OPERATIONS
    assert {kind for each in every for kind in each.loops} == {"asyncio", "uvloop"}
    assert {each.retry for each in every} == {"never", "safe", "always"}
    assert {each.backend for each in every} == {"memory", "redis"}
    assert {each.on_cluster_change for each in every} == {"error", "adopt"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        'about = "x"\nmix = { git = 1 }',
        'about = "x"\nmix = { get = 1 }\ndurashun = 1',
        'about = "x"\nmix = { get = 1 }\nloops = []',
        'about = "x"\nmix = { get = 1 }\nbackend = "disk"',
        'about = "x"\nmix = { get = 1 }\n[[faults]]\nkind = "earthquake"',
        'about = "x"\nmix = { get = 1 }\n[[faults]]\nkind = "latency"',
        'about = "x"\nmix = { get = 1 }\n[[faults]]\nkind = "pause"',
        'about = "x"\nmix = { get = 1 }\nproxied = false\n[[faults]]\nkind = "reset"',
    ],
)
def test_a_workload_that_cannot_be_is_refused_by_its_name(text: str) -> None:
    with pytest.raises(ValueError, match="workload odd"):
        workloads.parse("odd", text)
