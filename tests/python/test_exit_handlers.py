# SPDX-License-Identifier: Apache-2.0
"""What runs, and what is said, while an interpreter ends with clients in it.

Promises:
- Handlers of `atexit` may use clients, old and new, with and without a loop, whether they were
  registered before or after the package was imported, and however loops are woken.
  Only a loop that is woken by callback, and was in use before the exit, is at its end for those
  that were registered before: its calls fail with ClientClosedError.
- What a handler leaves pending does not disturb the end.
- A client that was closed says nothing, whatever is asked of warnings; one that was dropped
  unclosed gives a ResourceWarning, which Python shows only where it is asked for; one that is kept
  to the end gives none.
- Threads that still make calls when the interpreter ends do not disturb it.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import pytest
from helpers import run_script, said_nothing

if TYPE_CHECKING:
    from gcs_cffi.testing import GcsServer

BOUND = 10.0  # seconds; for a script as a whole

HANDLERS = """
import atexit, sys, traceback
import asyncio
async def fresh():
    async with gcs_cffi.connect(sys.argv[1]) as gcs:
        assert await gcs.kv.get("key", namespace="handlers") == b"value"
def use(when):
    try:
        assert kept.kv.get("key", namespace="handlers") == b"value"
        with gcs_cffi.sync.connect(sys.argv[1]) as gcs:
            assert gcs.kv.get("key", namespace="handlers") == b"value"
            with gcs.watch_state() as changes:
                assert next(iter(changes)).state == "ready"
        asyncio.run(fresh())
        asyncio.run(fresh())
        said.append(when)
    except BaseException:
        traceback.print_exc()
    if when == "before":
        print(*said)
said = []
atexit.register(use, "before")
import gcs_cffi
atexit.register(use, "after")
kept = gcs_cffi.sync.connect(sys.argv[1])
kept.kv.put("key", b"value", namespace="handlers")
"""


@pytest.mark.parametrize("wake", ["fd", "callback"])
@pytest.mark.parametrize("used", ["", "asyncio.run(fresh())"], ids=["unused", "used"])
def test_handlers_registered_before_and_after_the_import_use_clients(
    server: GcsServer, wake: str, used: str
) -> None:
    began = time.monotonic()
    done = run_script(HANDLERS + used, server.address, env={"GCS_CFFI_WAKE": wake})
    assert (done.returncode, done.stdout, done.stderr) == (0, "after before\n", "")
    assert time.monotonic() - began < BOUND


OLD_LOOP = """
import asyncio, atexit, sys, traceback
def use(when):
    try:
        get = gcs.kv.get("nothing", namespace="handlers", timeout=5)
        said.append((when, loop.run_until_complete(get)))
    except gcs_cffi.GcsError as error:
        said.append((when, type(error).__name__))
    except BaseException:
        traceback.print_exc()
    if when == "before":
        print(said)
        loop.run_until_complete(gcs.close())
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
said = []
atexit.register(use, "before")
import gcs_cffi
atexit.register(use, "after")
loop = asyncio.new_event_loop()
async def connected():
    return await gcs_cffi.connect(sys.argv[1])
gcs = loop.run_until_complete(connected())
"""


@pytest.mark.parametrize("wake", ["fd", "callback"])
def test_handlers_use_a_loop_that_has_made_calls_before(server: GcsServer, wake: str) -> None:
    began = time.monotonic()
    done = run_script(OLD_LOOP, server.address, env={"GCS_CFFI_WAKE": wake})
    before = None if wake == "fd" else "ClientClosedError"
    said = f"{[('after', None), ('before', before)]}\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, said, "")
    assert time.monotonic() - began < BOUND


LEAVING = """
import asyncio, atexit, sys
def leave():
    loop = asyncio.new_event_loop()
    kept.append(loop)
    loop.run_until_complete(start())
async def start():
    gcs = await gcs_cffi.connect(sys.argv[1])
    gcs.on_state_change(kept.append)
    for number in range(2000):
        call = gcs.kv.get(f"key {number}", namespace="handlers")
        call.send(None)
        kept.append(call)
    await asyncio.sleep(float(sys.argv[2]))
kept = []
if sys.argv[3] == "before":
    atexit.register(leave)
import gcs_cffi
if sys.argv[3] == "after":
    atexit.register(leave)
"""


@pytest.mark.parametrize("wake", ["fd", "callback"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_what_a_handler_leaves_pending_does_not_disturb_the_end(
    server: GcsServer, wake: str, when: str
) -> None:
    env = {"GCS_CFFI_WAKE": wake}
    for number in range(10 if wake == "callback" else 2):
        delay = str(number * 0.001)  # the answers come at other moments of the end each time
        assert said_nothing(run_script(LEAVING, server.address, delay, when, env=env))


def test_a_loop_without_readers_is_refused_when_its_wake_ups_have_ended(server: GcsServer) -> None:
    script = """
import asyncio, atexit, sys
class Loop(asyncio.SelectorEventLoop):
    def add_reader(self, *arguments):
        raise NotImplementedError
def use():
    loop = Loop()
    try:
        loop.run_until_complete(connected())
    except gcs_cffi.ClientClosedError as error:
        assert "the interpreter is ending" in str(error), error
        print("refused")
    loop.close()
atexit.register(use)
import gcs_cffi
async def connected():
    await gcs_cffi.connect(sys.argv[1])
"""
    done = run_script(script, server.address)
    assert (done.returncode, done.stdout, done.stderr) == (0, "refused\n", "")


@pytest.mark.parametrize("wake", ["fd", "callback"])
def test_a_handler_may_close_what_the_program_has_left_open(server: GcsServer, wake: str) -> None:
    script = """
import asyncio, atexit, sys
import gcs_cffi
async def main():
    gcs = await gcs_cffi.connect(sys.argv[1])
    atexit.register(lambda: asyncio.run(gcs.close()))
    blocking = gcs_cffi.sync.connect(sys.argv[1])
    atexit.register(blocking.close)
    await gcs.kv.get("nothing", namespace="handlers")
asyncio.run(main())
"""
    options = ("-X", "dev", "-W", "error")
    done = run_script(script, server.address, env={"GCS_CFFI_WAKE": wake}, options=options)
    assert said_nothing(done)


WELL_BEHAVED = """
import asyncio, sys
import gcs_cffi
async def main():
    async with gcs_cffi.connect(sys.argv[1]) as gcs, gcs.watch_state() as changes:
        stop = gcs.on_state_change(lambda change: None)
        await asyncio.gather(*(gcs.kv.get(f"{n}", namespace="handlers") for n in range(50)))
        task = asyncio.ensure_future(gcs.kv.get("nothing", namespace="handlers"))
        await asyncio.sleep(0)
        task.cancel()
        await anext(changes)
        stop()
asyncio.run(main())
with gcs_cffi.sync.connect(sys.argv[1]) as gcs, gcs.watch_state() as changes:
    gcs.kv.get("nothing", namespace="handlers")
    next(iter(changes))
"""


@pytest.mark.parametrize("wake", ["fd", "callback"])
def test_a_program_that_closes_its_clients_says_nothing_in_development_mode(
    server: GcsServer, wake: str
) -> None:
    options = ("-X", "dev", "-W", "error")
    done = run_script(WELL_BEHAVED, server.address, env={"GCS_CFFI_WAKE": wake}, options=options)
    assert said_nothing(done)


DROPPED = """
import asyncio, sys
import gcs_cffi
async def main():
    gcs = await gcs_cffi.connect(sys.argv[1])
    await gcs.kv.get("nothing", namespace="handlers")
asyncio.run(main())
gcs = gcs_cffi.sync.connect(sys.argv[1])
del gcs
kept_to_the_end = gcs_cffi.sync.connect(sys.argv[1])
"""


def test_dropped_clients_give_a_warning_only_where_it_is_asked_for(server: GcsServer) -> None:
    assert said_nothing(run_script(DROPPED, server.address))
    done = run_script(DROPPED, server.address, options=("-W", "always::ResourceWarning"))
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.count(f"ResourceWarning: a client of {server.address} was never closed") == 2
    assert "Exception ignored" not in done.stderr


@pytest.mark.parametrize("wake", ["fd", "callback"])
def test_threads_that_make_calls_and_loops_to_the_last_do_not_disturb_the_end(
    server: GcsServer, wake: str
) -> None:
    script = """
import asyncio, sys, threading, time
import gcs_cffi
def calls():
    with gcs_cffi.sync.connect(sys.argv[1]) as gcs:
        while True:
            gcs.kv.get("nothing", namespace="handlers")
def connects():
    while True:
        gcs_cffi.sync.connect(sys.argv[1]).close()
async def many():
    async with gcs_cffi.connect(sys.argv[1]) as gcs:
        async def caller():
            while True:
                await gcs.kv.get("nothing", namespace="handlers")
        await asyncio.gather(*(caller() for _ in range(20)))
for work in (calls, connects, lambda: asyncio.run(many())):
    threading.Thread(target=work, daemon=True).start()
time.sleep(0.2)
sys.exit(3)
"""
    for _ in range(5 if wake == "callback" else 2):
        began = time.monotonic()
        done = run_script(script, server.address, env={"GCS_CFFI_WAKE": wake})
        assert (done.returncode, done.stdout, done.stderr) == (3, "", ""), sys.version
        assert time.monotonic() - began < BOUND
