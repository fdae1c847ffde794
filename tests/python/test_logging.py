# SPDX-License-Identifier: Apache-2.0
"""The library's log comes out of logging.getLogger("gcs_cffi"), on a thread of Python's."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
from typing import TYPE_CHECKING

import pytest
from helpers import PATIENCE, run_script, run_script_on, said_nothing, unused_port

import gcs_cffi

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcs_cffi import GcsClient
    from gcs_cffi.testing import GcsServer


@pytest.fixture
def debug(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Records everything."""
    caplog.set_level(logging.DEBUG, logger="gcs_cffi")
    return caplog


async def lose_and_find(gcs: GcsClient, server: GcsServer) -> None:
    server.stop()
    with pytest.raises(gcs_cffi.GcsError):
        await gcs.kv.get("key", namespace="some", timeout=0.3)


async def until_logged(log: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    async def some() -> None:
        while not any(record.name == "gcs_cffi" for record in log.records):  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    await asyncio.wait_for(some(), PATIENCE)
    return [record for record in log.records if record.name == "gcs_cffi"]


async def test_a_lost_connection_is_logged_with_its_address(
    own_server: GcsServer, debug: pytest.LogCaptureFixture
) -> None:
    async with gcs_cffi.connect(own_server.address) as gcs:
        await lose_and_find(gcs, own_server)
        records = await until_logged(debug)
    assert any(own_server.address in record.getMessage() for record in records)
    assert all(record.getMessage().isprintable() for record in records)
    assert {record.thread for record in records} == {threading.get_ident()}
    assert {record.levelno for record in records} <= {10, 20, 30, 40}


async def test_records_below_the_loggers_level_are_not_made(
    own_server: GcsServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, logger="gcs_cffi")
    async with gcs_cffi.connect(own_server.address) as gcs:
        await lose_and_find(gcs, own_server)
        await asyncio.sleep(0.2)
    assert [record for record in caplog.records if record.name == "gcs_cffi"] == []


def test_a_blocking_call_brings_the_records_out_when_no_loop_does(
    own_server: GcsServer, debug: pytest.LogCaptureFixture
) -> None:
    with gcs_cffi.sync.connect(own_server.address) as gcs:
        own_server.stop()
        for _ in range(3):
            with pytest.raises(gcs_cffi.GcsError):
                gcs.kv.get("key", namespace="some", timeout=0.2)
    records = [record for record in debug.records if record.name == "gcs_cffi"]
    assert any(own_server.address in record.getMessage() for record in records)


def test_the_records_find_the_loop_that_is_left(
    own_server: GcsServer, debug: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with gcs_cffi.connect(own_server.address) as gcs:
            # A newer loop, on another thread, takes the records, and ends.
            await asyncio.to_thread(asyncio.run, _get(gcs))
            await lose_and_find(gcs, own_server)
            await until_logged(debug)

    asyncio.run(main())


def test_a_loop_that_is_gone_takes_no_records_with_it(
    server: GcsServer,
    own_server: GcsServer,
    new_loop: Callable[[], asyncio.AbstractEventLoop],
    debug: pytest.LogCaptureFixture,
) -> None:
    """Although a client that was used in it lives."""
    loop = new_loop()
    gcs = loop.run_until_complete(gcs_cffi.connect(server.address).__aenter__())
    loop.close()
    del loop
    gc.collect()
    with gcs_cffi.sync.connect(own_server.address) as other:
        own_server.stop()
        with pytest.raises(gcs_cffi.GcsError):
            other.kv.get("key", namespace="some", timeout=0.3)
        with pytest.raises(gcs_cffi.GcsError):
            other.kv.get("key", namespace="some", timeout=0.1)
    messages = [record.getMessage() for record in debug.records if record.name == "gcs_cffi"]
    asyncio.run(gcs.close())
    assert any(own_server.address in message for message in messages)


async def _get(gcs: GcsClient) -> None:
    await gcs.kv.get("key", namespace="some")


def test_nothing_is_printed_when_logging_is_not_set_up(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    address = f"127.0.0.1:{unused_port()}"
    script = """
import asyncio
import gcs_cffi
async def main():
    try:
        await gcs_cffi.connect(sys.argv[1], connect_timeout=0.5)
    except gcs_cffi.UnavailableError:
        pass
loop.run_until_complete(main())
loop.close()
"""
    assert said_nothing(run_script_on(new_loop, script, address))
    blocking = """
import sys
import gcs_cffi
try:
    gcs_cffi.sync.connect(sys.argv[1], connect_timeout=0.5)
except gcs_cffi.UnavailableError:
    pass
"""
    assert said_nothing(run_script(blocking, address))
