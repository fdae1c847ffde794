# SPDX-License-Identifier: Apache-2.0
"""Event loops: how they come and go, and what becomes of the calls in them."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

import pytest
from helpers import (
    LOOPS,
    PATIENCE,
    descriptors_flat,
    run_script_on,
    said_nothing,
)

import gcs_cffi
from gcs_cffi import _reactor

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from gcs_cffi import GcsClient
    from gcs_cffi.testing import GcsServer

    NewLoop = Callable[[], asyncio.AbstractEventLoop]

NOWHERE = "nowhere"


def run(new_loop: NewLoop, main: Coroutine[Any, Any, None]) -> None:
    """What asyncio.run() does, with a loop of the given kind."""
    loop = new_loop()
    try:
        loop.run_until_complete(main)
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()


async def use(address: str) -> None:
    async with gcs_cffi.connect(address) as gcs:
        assert await gcs.kv.get("nothing", namespace=NOWHERE) is None


def test_two_hundred_runs_in_a_row_leave_no_descriptor(
    server: GcsServer, new_loop: NewLoop
) -> None:
    run(new_loop, use(server.address))
    with descriptors_flat():
        for _ in range(200):
            run(new_loop, use(server.address))


def test_asyncio_run_works_again_and_again(server: GcsServer) -> None:
    asyncio.run(use(server.address))
    with descriptors_flat():
        for _ in range(200):
            asyncio.run(use(server.address))


def test_a_bare_close_of_the_loop_leaves_no_descriptor(
    server: GcsServer, new_loop: NewLoop
) -> None:
    def use_and_close() -> None:
        loop = new_loop()
        loop.run_until_complete(use(server.address))
        loop.close()

    use_and_close()
    # The last loop's queue goes when the next one makes its own, or a client closes.
    with descriptors_flat(allowed=1):
        for _ in range(50):
            use_and_close()


def test_a_closing_client_gives_up_what_closed_loops_left(server: GcsServer) -> None:
    gcs = asyncio.run(_connected(server.address))
    with descriptors_flat():
        loop = asyncio.new_event_loop()
        loop.run_until_complete(gcs.kv.get("nothing", namespace=NOWHERE))
        loop.close()
        asyncio.run(gcs.close())


async def _connected(address: str) -> GcsClient:
    return await gcs_cffi.connect(address)


def test_a_bare_close_under_pending_calls_says_nothing_and_leaks_nothing(
    own_server: GcsServer, new_loop: NewLoop, recwarn: pytest.WarningsRecorder
) -> None:
    gcs = asyncio.run(_connected(own_server.address))
    own_server.pause()
    problems: list[dict[str, Any]] = []
    with descriptors_flat(allowed=1):
        for _ in range(5):
            loop = new_loop()
            loop.set_exception_handler(lambda _, context: problems.append(context))
            calls = [gcs.kv.get(f"key {n}", namespace=NOWHERE) for n in range(10)]
            tasks = [loop.create_task(call) for call in calls]
            loop.run_until_complete(asyncio.sleep(0.02))
            assert not any(task.done() for task in tasks)
            loop.close()
            for task in tasks:
                task._log_destroy_pending = False  # type: ignore[attr-defined]
            del tasks, calls, loop
            gc.collect()
    own_server.resume()
    asyncio.run(gcs.close())
    assert problems == []
    assert [str(warning.message) for warning in recwarn] == []


def test_a_loop_that_is_dropped_goes_with_its_reactor(server: GcsServer) -> None:
    loop = asyncio.new_event_loop()
    loop.run_until_complete(use(server.address))
    gone = weakref.ref(loop)
    queue = _reactor.reactor_for(loop).queue
    held = [loop]
    del loop
    held.clear()  # the loop is in a cycle with what it watches
    with pytest.warns(ResourceWarning, match="unclosed event loop"):
        gc.collect()
    assert gone() is None
    assert queue.handle == 0


async def test_a_loop_for_each_test_a(gcs: GcsClient) -> None:
    assert await gcs.kv.get("nothing", namespace=NOWHERE) is None


async def test_a_loop_for_each_test_b(gcs: GcsClient) -> None:
    assert await gcs.kv.get("nothing", namespace=NOWHERE) is None


def test_two_loops_in_two_threads_share_a_client(server: GcsServer, namespace: str) -> None:
    gcs = asyncio.run(_connected(server.address))
    start = threading.Barrier(2)
    failures: list[BaseException] = []

    async def many(name: str) -> None:
        start.wait(PATIENCE)
        for round_ in range(20):
            keys = [f"{name} {round_} {number}" for number in range(50)]
            await asyncio.gather(
                *(gcs.kv.put(key, key.encode(), namespace=namespace) for key in keys)
            )
            values = await asyncio.gather(*(gcs.kv.get(key, namespace=namespace) for key in keys))
            assert values == [key.encode() for key in keys]

    def work(name: str) -> None:
        try:
            asyncio.run(many(name))
        except BaseException as error:  # noqa: BLE001 (shown by the test's own thread)
            failures.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in ("first", "second")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    asyncio.run(gcs.close())
    assert failures == []


def test_nothing_of_the_first_callers_context_lives_on(
    server: GcsServer, new_loop: NewLoop
) -> None:
    class Value:
        pass

    variable: contextvars.ContextVar[Value | None] = contextvars.ContextVar("v", default=None)
    gone: list[weakref.ref[Value]] = []

    async def first(gcs: GcsClient) -> None:
        value = Value()
        gone.append(weakref.ref(value))
        variable.set(value)
        await gcs.kv.get("nothing", namespace=NOWHERE)

    async def main() -> None:
        async with gcs_cffi.connect(server.address) as gcs:
            await asyncio.ensure_future(first(gcs))
            for _ in range(3):
                await gcs.kv.get("nothing", namespace=NOWHERE)
            gc.collect()
            assert gone[0]() is None
            assert variable.get() is None

    def connected_within_a_context() -> None:
        # The reactor itself is made by the first call of the loop, too.
        async def with_value() -> None:
            value = Value()
            gone.append(weakref.ref(value))
            variable.set(value)
            await use(server.address)

        async def outer() -> None:
            await asyncio.ensure_future(with_value())
            await asyncio.sleep(0)  # the loop itself holds the task that woke this one
            gc.collect()
            assert gone[-1]() is None

        run(new_loop, outer())

    run(new_loop, main())
    connected_within_a_context()


async def test_a_loop_that_shuts_down_lets_cleaning_generators_make_calls(
    server: GcsServer, namespace: str
) -> None:
    gcs = await gcs_cffi.connect(server.address)

    async def generator() -> Any:
        try:
            yield
        finally:
            await gcs.kv.put("cleaned", b"", namespace=namespace)

    loop = asyncio.get_running_loop()
    pending = generator()
    await pending.__anext__()
    await loop.shutdown_asyncgens()
    assert await gcs.kv.exists("cleaned", namespace=namespace)
    await gcs.close()


def test_exit_with_calls_pending_says_nothing(own_server: GcsServer, new_loop: NewLoop) -> None:
    script = """
import asyncio
import gcs_cffi
async def main():
    gcs = await gcs_cffi.connect(sys.argv[1])
    return gcs, [gcs.kv.get(f"key {n}", namespace="x") for n in range(100)]
"""
    for ending in (
        # Waiting coroutines that nobody ever runs on, at the end of the interpreter.
        """
gcs, calls = loop.run_until_complete(main())
async def start():
    for call in calls:
        call.send(None)
    await asyncio.sleep(0.05)
loop.run_until_complete(start())
""",
        # An exit from within the loop.
        """
async def leave():
    gcs, calls = await main()
    tasks = [asyncio.ensure_future(call) for call in calls]
    await asyncio.sleep(0)
    sys.exit(0)
loop.run_until_complete(leave())
""",
        # Closed under the calls.
        """
gcs, calls = loop.run_until_complete(main())
async def start():
    for call in calls:
        call.send(None)
loop.run_until_complete(start())
loop.close()
""",
    ):
        began = time.monotonic()
        done = run_script_on(new_loop, script + ending, own_server.address)
        # What asyncio itself says about its own tasks and loops is not ours.
        ours = [
            line
            for line in done.stderr.splitlines()
            if "gcs_cffi" in line and "Task was destroyed" not in line and "task: <Task" not in line
        ]
        assert (done.returncode, done.stdout, ours) == (0, "", [])
        assert time.monotonic() - began < PATIENCE


def test_finalizers_may_run_on_the_librarys_thread(server: GcsServer) -> None:
    script = """
import asyncio, gc, threading, warnings
import gcs_cffi
from gcs_cffi import _reactor
warnings.simplefilter("ignore")
seen = set()
wake = _reactor.Reactor._wake
def waking(reactor):
    seen.add(threading.current_thread() is threading.main_thread())
    doomed.clear()      # the last reference to a client, in a cycle of its own
    gc.collect()
    wake(reactor)
_reactor.Reactor._wake = waking
doomed = []
class Cycle:
    pass
async def main():
    async with gcs_cffi.connect(sys.argv[1]) as gcs:
        for _ in range(20):
            cycle = Cycle()
            cycle.self, cycle.client = cycle, await gcs_cffi.connect(sys.argv[1])
            doomed.append(cycle)
            del cycle
            assert await gcs.kv.get("nothing", namespace="nowhere") is None
loop.run_until_complete(main())
loop.close()
assert seen == {False}, seen
"""
    assert said_nothing(run_script_on(LOOPS["callback"], script, server.address))
