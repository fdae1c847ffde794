# SPDX-License-Identifier: Apache-2.0
"""Forks: the child gets errors at once and may make clients of its own; the parent goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from forking import FORKED
from helpers import run_script, run_script_on, said_nothing

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from gcs_cffi.testing import GcsServer

OPENING = (
    FORKED
    + """
import asyncio, gc
import gcs_cffi
warnings.filterwarnings("error", "a client of", ResourceWarning)
"""
)


def test_in_a_child_a_blocking_client_fails_at_once_and_a_new_one_works(
    server: GcsServer,
) -> None:
    script = """
gcs = gcs_cffi.sync.connect(sys.argv[1])
gcs.kv.put("key", b"value", namespace="fork")
def child():
    began = time.monotonic()
    for call in (lambda: gcs.kv.get("key", namespace="fork"), lambda: gcs.jobs.next_id()):
        try:
            call()
        except gcs_cffi.ForkedError:
            pass
        else:
            raise AssertionError
    assert time.monotonic() - began < 1
    assert gcs.state == "closed" and gcs.cluster_id is not None
    with gcs_cffi.sync.connect(sys.argv[1]) as own:
        assert own.kv.get("key", namespace="fork") == b"value"
    gcs.close()
for _ in range(3):
    forked(child)
    assert gcs.kv.get("key", namespace="fork") == b"value"
gcs.close()
"""
    assert said_nothing(run_script(OPENING + script, server.address))


def test_in_a_child_loops_and_clients_of_the_parent_are_left_alone(
    server: GcsServer, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    script = """
async def connected():
    gcs = await gcs_cffi.connect(sys.argv[1])
    await gcs.kv.put("key", b"value", namespace="fork")
    return gcs
gcs = loop.run_until_complete(connected())
async def own():
    try:
        await gcs.kv.get("key", namespace="fork")
    except gcs_cffi.ForkedError:
        pass
    else:
        raise AssertionError
    async with gcs_cffi.connect(sys.argv[1]) as mine:
        assert await mine.kv.get("key", namespace="fork") == b"value"
def child():
    global gcs, loop
    asyncio.run(own())
    del gcs         # its finalizer does nothing here, and says nothing
    gc.collect()
    if os.environ["TESTS_LOOP"] == "callback":
        # At the end asyncio's finalizer of the loop would take the parent's self-pipe out of the
        # epoll that both share, and call_soon_threadsafe would no longer wake the parent.
        os._exit(0)
for _ in range(3):
    forked(child)
    # The parent's loop is still woken.
    for _ in range(3):
        get = gcs.kv.get("key", namespace="fork")
        assert loop.run_until_complete(asyncio.wait_for(get, 5)) == b"value"
async def close():
    await gcs.close()
loop.run_until_complete(close())
loop.run_until_complete(loop.shutdown_asyncgens())
loop.close()
"""
    assert said_nothing(run_script_on(new_loop, OPENING + script, server.address))


@pytest.mark.parametrize("end", ["loop.close()", "del loop", "pass"])
def test_a_child_that_closes_the_parents_loop_does_not_deafen_the_parent(
    server: GcsServer, end: str
) -> None:
    script = f"""
loop = asyncio.new_event_loop()
async def connected():
    return await gcs_cffi.connect(sys.argv[1])
gcs = loop.run_until_complete(connected())
def child():
    global loop
    {end}
    gc.collect()
forked(child)
for _ in range(3):
    get = gcs.kv.get("nothing", namespace="nowhere")
    assert loop.run_until_complete(asyncio.wait_for(get, 5)) is None
loop.run_until_complete(gcs.close())
loop.close()
"""
    assert said_nothing(run_script(OPENING + script, server.address))


LOAD = """
async def under_load(gcs, act):
    "A thousand calls are always in flight while `act` runs."
    ended, stop = 0, False
    async def caller():
        nonlocal ended
        while not stop:
            assert await gcs.kv.get("key", namespace="fork") == b"value"
            ended += 1
    callers = [asyncio.ensure_future(caller()) for _ in range(1000)]
    async def more():
        "Waits until as many calls again have ended."
        goal = ended + 2000
        for _ in range(1000):
            if ended >= goal:
                return
            await asyncio.sleep(0.01)
        raise AssertionError(f"{ended} of {goal} calls ended within 10 s")
    await more()
    await act()
    await more()
    stop = True
    await asyncio.gather(*callers)
"""


def test_the_parent_does_not_notice_a_fork_with_a_thousand_calls_in_flight(
    server: GcsServer, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    script = """
def child():
    try:
        asyncio.run(gcs.kv.get("key", namespace="fork"))
    except gcs_cffi.ForkedError:
        pass
    else:
        raise AssertionError
    with gcs_cffi.sync.connect(sys.argv[1]) as own:
        assert own.kv.get("key", namespace="fork") == b"value"
    os._exit(0)     # it stands in the middle of the parent's loop
async def main():
    global gcs
    async with gcs_cffi.connect(sys.argv[1]) as gcs:
        await gcs.kv.put("key", b"value", namespace="fork")
        async def act():
            for _ in range(5):
                forked(child)
                await asyncio.sleep(0.02)
        await under_load(gcs, act)
        assert gcs.stats()["connects"] == 1 and gcs.stats()["failed"] == 0, gcs.stats()
loop.run_until_complete(main())
loop.run_until_complete(loop.shutdown_asyncgens())
loop.close()
"""
    assert said_nothing(run_script_on(new_loop, OPENING + LOAD + script, server.address))


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_processes_of_multiprocessing_make_clients_of_their_own(
    server: GcsServer, method: str
) -> None:
    script = f"""
import multiprocessing
WORK = '''
import gcs_cffi
with gcs_cffi.sync.connect(ADDRESS) as own:
    assert own.kv.get("key", namespace="fork") == b"value"
'''
async def run_processes():
    context = multiprocessing.get_context("{method}")
    code = WORK.replace("ADDRESS", repr(sys.argv[1]))
    processes = [context.Process(target=exec, args=(code,)) for _ in range(3)]
    for process in processes:
        process.start()
    # Not in a thread: a child that is forked off one fails at its end, whatever it did.
    while any(process.is_alive() for process in processes):
        await asyncio.sleep(0.01)
    assert [process.exitcode for process in processes] == [0] * 3
async def main():
    async with gcs_cffi.connect(sys.argv[1]) as gcs:
        await gcs.kv.put("key", b"value", namespace="fork")
        await under_load(gcs, run_processes)
        assert gcs.stats()["connects"] == 1 and gcs.stats()["failed"] == 0, gcs.stats()
if __name__ == "__main__":
    asyncio.run(main())
"""
    assert said_nothing(run_script(OPENING + LOAD + script, server.address, timeout=120))
