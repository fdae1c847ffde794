# SPDX-License-Identifier: Apache-2.0
"""Servers, clients and event loops for the tests.

Invariants:
- Neither tests nor servers see the user's RAY_* variables or home, where a token may lie.
- Every test that is async runs on each kind of event loop.
- Tests of the shared server keep to namespaces of their own.
"""

from __future__ import annotations

import signal
import uuid
from typing import TYPE_CHECKING

import pytest
from certificates import Authority, Everyone
from helpers import LOOPS, Peer
from isolation import user_hidden

import gcs_cffi
from gcs_cffi.testing import GcsServer

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import AsyncIterator, Callable, Iterator

    from gcs_cffi import GcsClient, sync


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Has each async test run on each kind of loop."""
    return LOOPS


@pytest.fixture(params=LOOPS)
def new_loop(request: pytest.FixtureRequest) -> Callable[[], asyncio.AbstractEventLoop]:
    """Makes an event loop, for tests that run their loops themselves; one kind after the other."""
    return LOOPS[request.param]


@pytest.fixture(scope="session", autouse=True)
def hide_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Hides the user's Ray settings and home."""
    with user_hidden(tmp_path_factory.mktemp("home")):
        yield


@pytest.fixture(scope="session", autouse=True)
def interrupts_arrive() -> Iterator[None]:
    """Has signals reach the processes that tests start.

    A shell's background jobs ignore SIGINT, and what nohup runs ignores SIGHUP.
    """
    interrupt = signal.signal(signal.SIGINT, signal.default_int_handler)
    hang_up = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGHUP, hang_up)


@pytest.fixture(scope="session")
def server(hide_user: None) -> Iterator[GcsServer]:
    """A gcs_server that all tests share; nobody stops or pauses it."""
    with GcsServer() as running:
        yield running


@pytest.fixture
def own_server(hide_user: None) -> Iterator[GcsServer]:
    """A gcs_server for one test, which may do to it what it likes."""
    with GcsServer() as running:
        yield running


@pytest.fixture
def namespace() -> str:
    """A namespace that no other test uses."""
    return f"test_{uuid.uuid4().hex}"


@pytest.fixture
async def gcs(server: GcsServer) -> AsyncIterator[GcsClient]:
    """A client of the shared server."""
    async with gcs_cffi.connect(server.address) as client:
        yield client


@pytest.fixture
def blocking_gcs(server: GcsServer) -> Iterator[sync.GcsClient]:
    """A blocking client of the shared server."""
    with gcs_cffi.sync.connect(server.address) as client:
        yield client


@pytest.fixture
def peer() -> Iterator[Callable[[Callable[[socket.socket], None]], Peer]]:
    """Starts peers that are no GCS."""
    peers: list[Peer] = []

    def start(serve: Callable[[socket.socket], None]) -> Peer:
        peers.append(Peer(serve))
        return peers[-1]

    yield start
    for each in peers:
        each.close()


@pytest.fixture(scope="module")
def everyone(tmp_path_factory: pytest.TempPathFactory) -> Everyone:
    folder = tmp_path_factory.mktemp("certificates")
    authority = Authority(folder / "ours", "test CA")
    stranger = Authority(folder / "theirs", "stranger CA")
    return Everyone(authority, stranger, authority.issue("server"), authority.issue("client"))


@pytest.fixture(scope="module")
def tls_server(hide_user: None, everyone: Everyone) -> Iterator[GcsServer]:
    with GcsServer(tls=everyone.server.files()) as running:
        yield running
