# SPDX-License-Identifier: Apache-2.0
"""Subscriptions of processes that fork, end, and are interrupted; and of loops that are not theirs.

`own_server` is one that nobody else publishes to.
"""

from __future__ import annotations

import asyncio
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest
from forking import FORKED
from helpers import PATIENCE, run_script, run_script_on, said_nothing
from interrupting import COMPANIES, ctrl_c_ends

import gcs_cffi

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcs_cffi import GcsClient
    from gcs_cffi.testing import GcsServer

POLICIES: tuple[Any, ...] = ("wait", "drop_oldest", "drop_newest")
OPEN = """
import asyncio, gc, os, sys, time
import gcs_cffi
held = []
def enter(gcs):
    for policy in ("wait", "drop_oldest", "drop_newest"):
        for channel in ("errors", "nodes"):
            held.append(gcs.subscribe(channel, policy=policy))
"""

# ---- Forks --------------------------------------------------------------------------------------


def test_in_a_child_a_subscription_fails_at_once_and_the_parents_goes_on(
    own_server: GcsServer,
) -> None:
    script = """
gcs = gcs_cffi.sync.connect(sys.argv[1])
enter(gcs)
for each in held:
    each.__enter__()
def child():
    for each in held:
        began = time.monotonic()
        try:
            each.next(5)
        except gcs_cffi.ForkedError:
            pass
        else:
            raise AssertionError(each)
        assert time.monotonic() - began < 1
        each.close()
    try:
        gcs.subscribe("errors").__enter__()
    except gcs_cffi.ForkedError:
        pass
    else:
        raise AssertionError
    with gcs_cffi.sync.connect(sys.argv[1]) as own, own.subscribe("errors", "child") as mine:
        own.errors.publish("kind", "of the child", key="child")
        assert mine.next(10).value.error_message == "of the child"
for number in range(3):
    forked(child)
    gcs.errors.publish("kind", str(number), key="parent")
    for each in held:
        if each.channel == "errors":
            while (event := each.next(10)).key != b"parent":
                pass
            assert event.value.error_message == str(number), event
gcs.close()
"""
    assert said_nothing(run_script(OPEN + FORKED + script, own_server.address))


def test_in_a_child_of_a_loop_the_subscription_is_left_alone(
    own_server: GcsServer, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    script = """
async def begin():
    gcs = await gcs_cffi.connect(sys.argv[1])
    enter(gcs)
    for each in held:
        await each.__aenter__()
    return gcs
gcs = loop.run_until_complete(begin())
async def own():
    try:
        await gcs.subscribe("errors").__aenter__()
    except gcs_cffi.ForkedError:
        pass
    else:
        raise AssertionError
    async with gcs_cffi.connect(sys.argv[1]) as mine, mine.subscribe("errors", "child") as errors:
        await mine.errors.publish("kind", "text", key="child")
        assert (await errors.next(10)).value.error_message == "text"
def child():
    asyncio.run(own())
    os._exit(0)
forked(child)
async def go_on():
    await gcs.errors.publish("kind", "7", key="parent")
    for each in held:
        if each.channel == "errors":
            while (event := await each.next(10)).key != b"parent":
                pass
            assert event.value.error_message == "7", event
    await gcs.close()
loop.run_until_complete(go_on())
loop.run_until_complete(loop.shutdown_asyncgens())
loop.close()
"""
    assert said_nothing(run_script_on(new_loop, OPEN + FORKED + script, own_server.address))


def test_in_a_child_the_loop_of_the_parent_does_not_wait_for_ever(own_server: GcsServer) -> None:
    script = """
loop = asyncio.new_event_loop()
async def begin():
    gcs = await gcs_cffi.connect(sys.argv[1])
    return gcs, await gcs.subscribe("errors").__aenter__(), await gcs.nodes.watch().__aenter__()
gcs, errors, nodes = loop.run_until_complete(begin())
async def refused():
    for ask in (errors.__anext__, errors.next, lambda: errors.next(0), nodes.next):
        try:
            await ask()
        except gcs_cffi.ForkedError:
            pass
        else:
            raise AssertionError(ask)
def child():
    loop.run_until_complete(refused())
    os._exit(0)
forked(child)
async def leave():
    await errors.close()
    await nodes.close()
    await gcs.close()
loop.run_until_complete(leave())
loop.run_until_complete(loop.shutdown_asyncgens())
loop.close()
"""
    assert said_nothing(run_script(OPEN + FORKED + script, own_server.address))


# ---- The end of a process -----------------------------------------------------------------------


@pytest.mark.parametrize("server_is", ["there", "stopped", "killed"])
@pytest.mark.parametrize("waits", [True, False], ids=["in a daemon thread", "idle"])
def test_a_process_that_ends_with_open_subscriptions_says_nothing(
    own_server: GcsServer, server_is: str, waits: bool
) -> None:
    script = """
import threading, warnings
warnings.filterwarnings("ignore", "unclosed", ResourceWarning)
gcs = gcs_cffi.sync.connect(sys.argv[1], on_cluster_change="adopt")
enter(gcs)
for each in held:
    each.__enter__()
    if sys.argv[2] == "True":
        threading.Thread(target=each.next, daemon=True).start()
os.kill(int(sys.argv[3]), int(sys.argv[4]))
time.sleep(0.3)
"""
    number = {"there": 0, "stopped": signal.SIGSTOP, "killed": signal.SIGKILL}[server_is]
    arguments = (own_server.address, str(waits), str(own_server.pid), str(int(number)))
    began = time.monotonic()
    try:
        assert said_nothing(run_script(OPEN + script, *arguments))
        assert time.monotonic() - began < PATIENCE
    finally:
        if server_is == "stopped":
            own_server.resume()


def test_a_loop_that_ends_with_open_subscriptions_says_nothing(
    own_server: GcsServer, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    script = """
import warnings
warnings.filterwarnings("ignore", "unclosed", ResourceWarning)
waiting = []
async def begin():
    gcs = await gcs_cffi.connect(sys.argv[1])
    held.append(gcs)
    enter(gcs)
    for each in held[1:]:
        await each.__aenter__()
        waiting.append(asyncio.ensure_future(each.next()))
    await asyncio.sleep(0.05)
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
loop.run_until_complete(begin())
loop.run_until_complete(loop.shutdown_asyncgens())
loop.close()
"""
    assert said_nothing(run_script_on(new_loop, OPEN + script, own_server.address))


# ---- Ctrl-C -------------------------------------------------------------------------------------

ENTERING = """
def wait():
    gcs.subscribe("errors", "nobody", timeout=60).__enter__()
"""
WAITING = """
errors = gcs.subscribe("errors", "nobody").__enter__()
def wait():
    try:
        errors.next()
    finally:
        errors.close()
"""


@pytest.mark.parametrize("company", COMPANIES)
@pytest.mark.parametrize("code", [ENTERING, WAITING], ids=["entering", "waiting"])
def test_ctrl_c_ends_a_wait_within_100_ms_and_leaves_nothing(
    own_server: GcsServer, company: str, code: str
) -> None:
    assert ctrl_c_ends(own_server, company, code, "not_taken")


# ---- Loops --------------------------------------------------------------------------------------


def test_one_whose_loop_has_ended_says_so_and_does_not_seem_to_be_over(
    own_server: GcsServer, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    async def begin(gcs: GcsClient) -> tuple[gcs_cffi.Subscription, Any]:
        errors = await gcs.subscribe("errors", "key").__aenter__()
        return errors, await gcs.nodes.watch().__aenter__()

    async def go_on(gcs: GcsClient, errors: gcs_cffi.Subscription, nodes: Any) -> None:
        for entered in (errors, nodes):
            with pytest.raises(RuntimeError, match=r"event loop .* has ended"):
                await entered.next(1)
            await entered.close()
            assert await entered.next(1) is None
        await gcs.close()

    def run(coroutine: Any) -> Any:
        loop = new_loop()
        try:
            result = loop.run_until_complete(coroutine)
            loop.run_until_complete(loop.shutdown_asyncgens())
            return result
        finally:
            loop.close()

    async def connect() -> GcsClient:
        return await gcs_cffi.connect(own_server.address)

    gcs = run(connect())
    run(go_on(gcs, *run(begin(gcs))))


def test_another_loop_may_not_wait_and_the_own_one_still_does(
    own_server: GcsServer, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    own, other = new_loop(), new_loop()

    async def begin() -> tuple[GcsClient, list[gcs_cffi.Subscription]]:
        gcs = await gcs_cffi.connect(own_server.address)
        entered = [gcs.subscribe("errors", "key", policy=policy) for policy in POLICIES]
        for subscription in entered:
            await subscription.__aenter__()
        return gcs, entered

    async def go_on(gcs: GcsClient, entered: list[gcs_cffi.Subscription]) -> None:
        await gcs.errors.publish("kind", "text", key="key")
        for subscription in entered:
            assert isinstance(await subscription.next(PATIENCE), gcs_cffi.Message)
        await gcs.close()
        for subscription in entered:
            assert await subscription.next(PATIENCE) is None

    try:
        gcs, entered = own.run_until_complete(begin())
        for subscription in entered:
            with pytest.raises(RuntimeError, match=r"event loop .* is another one"):
                other.run_until_complete(subscription.next(1))
        own.run_until_complete(go_on(gcs, entered))
        for loop in (own, other):
            loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        own.close()
        other.close()
