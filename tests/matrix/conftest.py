# SPDX-License-Identifier: Apache-2.0
"""Servers, clients and marks for the tests on every release; the package says how to use them.

Invariants:
- Neither tests nor servers see the user's RAY_* variables or home.
- All tests of a process run on the release that GCS_CFFI_GCS_SERVER names. GCS_CFFI_MATRIX_REPORT
  names the file for what became of them.
"""

from __future__ import annotations

import asyncio
import os
import re
import uuid
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from isolation import user_hidden
from method_record import Method, recorded_methods

import gcs_cffi
from gcs_cffi.testing import GcsServer
from matrix.forms import FORMS, Form, connected, public_methods
from matrix.outcomes import Run
from matrix.refusals import Since, refused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator, Iterator

    from gcs_cffi import GcsClient

REPORT_VARIABLE = "GCS_CFFI_MATRIX_REPORT"
HEALTH = ("grpc.health.v1.Health", "Check")
SERVING = b"\x08\x01"
"""grpc.health.v1.HealthCheckResponse: field 1 is 1."""
RUN = pytest.StashKey[Run]()

Connect = Callable[..., AbstractAsyncContextManager["GcsClient"]]
Expected = Callable[..., AbstractContextManager[None]]


def pytest_configure(config: pytest.Config) -> None:
    """Makes room for what becomes of the tests."""
    config.stash[RUN] = Run()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Notes that the test is to run."""
    item.config.stash[RUN].expect(item)
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Expects of a test with the mark `since`, on an older release, that it is refused."""
    mark = item.get_closest_marker("since")
    if mark is None:
        return (yield)
    with _expecting(item, Since(*mark.args, **mark.kwargs)):
        yield
    return None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Notes how a part of the test has ended."""
    report = yield
    item.config.stash[RUN].report(report)
    return report


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Writes what became of the tests."""
    path = os.environ.get(REPORT_VARIABLE)
    if path:
        run = session.config.stash[RUN]
        run.exit_status = int(exitstatus)
        run.write(Path(path))


def _expecting(item: pytest.Item, since: Since) -> AbstractContextManager[None]:
    run = item.config.stash[RUN]
    release = numbers_of(run.release)
    return refused(since, release, recorded_methods(), partial(run.refused, item.nodeid))


def numbers_of(release: str) -> tuple[int, ...]:
    """The numbers of a release: (2, 40, 0)."""
    numbers = re.match(r"\d+(\.\d+)+", release)
    assert numbers, f"the server gives no release, but {release!r}"
    return tuple(int(number) for number in numbers[0].split("."))


@pytest.fixture(scope="session", autouse=True)
def hide_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Hides the user's Ray settings and home."""
    with user_hidden(tmp_path_factory.mktemp("home")):
        yield


@pytest.fixture(scope="session")
def server(hide_user: None, pytestconfig: pytest.Config) -> Iterator[GcsServer]:
    """A gcs_server that all tests share; nobody stops or pauses it."""

    async def methods(address: str) -> list[str]:
        async with gcs_cffi.connect(address) as client:
            return public_methods(client)

    with GcsServer() as running:
        run = pytestconfig.stash[RUN]
        run.release = running.version
        # A loop of its own: asyncio.run() would leave the thread without one.
        loop = asyncio.new_event_loop()
        try:
            run.public = loop.run_until_complete(methods(running.address))
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            loop.close()
        yield running


@pytest.fixture(scope="session", autouse=True)
def release(server: GcsServer) -> tuple[int, ...]:
    """The server's release of Ray: (2, 40, 0)."""
    return numbers_of(server.version)


@pytest.fixture(autouse=True)
def server_lives(server: GcsServer) -> Iterator[None]:
    """Sees to it that no test ends the server that all share."""
    yield
    assert server.running, server.log_text()[-2000:]


@pytest.fixture
def own_server(hide_user: None) -> Iterator[GcsServer]:
    """A gcs_server of the same release for one test, which may do to it what it likes."""
    with GcsServer() as running:
        yield running


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest) -> Form:
    """Which client the test gets."""
    chosen: Form = request.param
    return chosen


@pytest.fixture
def connect(form: Form) -> Connect:
    """Makes clients: `async with connect(address) as gcs`, with the options of `connect()`."""
    return partial(connected, form)


@pytest.fixture
async def gcs(server: GcsServer, connect: Connect) -> AsyncIterator[GcsClient]:
    """A client of the shared server, which has to be alive in the end."""
    async with connect(server.address) as client:
        yield client
        async with connect(server.address) as another:
            assert await another.call(*HEALTH, timeout=10) == SERVING, server.log_text()[-2000:]


@pytest.fixture
def expected(request: pytest.FixtureRequest, release: tuple[int, ...]) -> Expected:
    """`with expected("2.41"):` and `with expected("2.10", part="deadline"):`, as the mark since."""

    def expect(first: str, part: str = "") -> AbstractContextManager[None]:
        return _expecting(request.node, Since(first, part))

    return expect


@pytest.fixture
def namespace() -> str:
    """A namespace that no other test uses."""
    return f"test_{uuid.uuid4().hex}"


@pytest.fixture
def unique() -> Callable[[int], bytes]:
    """Gives so many bytes, for an id that no other test uses."""
    return os.urandom


@pytest.fixture(scope="session")
def record() -> list[Method]:
    """Every method of the GCS, and the releases that have it."""
    return recorded_methods()
