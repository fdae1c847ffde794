# SPDX-License-Identifier: Apache-2.0
"""What a process of test_exit.py does: it gets into a state, and then ends in a way.

Arguments: the state, the way, the kind of event loop ("none": no loop), the server's address. It
says "ready" when the server may be spoiled, waits for a line, and says "ending" right before the
end.
"""

from __future__ import annotations

import asyncio
import math
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from helpers import LOOPS

import gcs_cffi
from gcs_cffi import TlsConfig, sync

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

CALL_TIMEOUT = 1.0  # seconds; of a call that a thread makes for which the process waits
LONG = 600.0
SOON = 0.05

held: list[Any] = []
"""What lives until the interpreter takes the module apart."""


def say(word: str) -> None:
    print(word, flush=True)


def wait_for_go() -> None:
    say("ready")
    sys.stdin.readline()


def end(way: str) -> None:
    """Ends the process, unless that is done by returning, or by Ctrl-C."""
    if way == "Ctrl-C":
        return
    say("ending")
    if way == "sys.exit":
        sys.exit(3)
    if way == "exception":
        raise RuntimeError("the end")
    if way == "os._exit":
        os._exit(4)
    if way == "SIGTERM":
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(LONG)


def interrupt() -> None:
    """As a terminal does at Ctrl-C."""
    say("ending")
    os.kill(os.getpid(), signal.SIGINT)


# ---- On an event loop ---------------------------------------------------------------------------


async def get(gcs: gcs_cffi.GcsClient, number: int = 0) -> bytes | None:
    return await gcs.kv.get(f"key {number}", namespace="exit", timeout=LONG)


async def calls_pending(address: str) -> None:
    gcs = await gcs_cffi.connect(address)
    wait_for_go()
    held.extend(asyncio.ensure_future(get(gcs, number)) for number in range(50))
    put = gcs.kv.put("key", bytes(1 << 20), namespace="exit", timeout=math.inf)
    held.append(asyncio.ensure_future(put))
    await asyncio.sleep(SOON)
    assert not any(task.done() for task in held)


async def calls_not_handed_over(address: str) -> None:
    gcs = await gcs_cffi.connect(address)
    wait_for_go()
    held.extend(asyncio.ensure_future(get(gcs, number)) for number in range(50))
    await asyncio.sleep(0)


async def answers_arriving(address: str) -> None:
    gcs = await gcs_cffi.connect(address)
    wait_for_go()
    held.extend(asyncio.ensure_future(get(gcs, number)) for number in range(200))
    await get(gcs)  # what comes next runs while the others' answers are handed out


async def connecting(address: str) -> None:
    wait_for_go()
    held.append(asyncio.ensure_future(gcs_cffi.connect(address, connect_timeout=math.inf)))
    await asyncio.sleep(SOON)
    assert not held[0].done()


async def handshaking(address: str) -> None:
    wait_for_go()
    attempt = gcs_cffi.connect(address, connect_timeout=math.inf, tls=TlsConfig())
    held.append(asyncio.ensure_future(attempt))
    await asyncio.sleep(SOON)
    assert not held[0].done()


async def watching(address: str) -> None:
    gcs = await gcs_cffi.connect(address)

    async def watch() -> None:
        async with gcs.watch_state() as changes:
            async for change in changes:
                seen.append(change)

    seen: list[object] = []
    held.append(asyncio.ensure_future(watch()))
    wait_for_go()
    while not seen:  # noqa: ASYNC110 (there is nothing else that tells)
        await asyncio.sleep(0)


async def watching_by_callback(address: str) -> None:
    gcs = await gcs_cffi.connect(address)
    seen: list[object] = []
    gcs.on_state_change(seen.append)
    wait_for_go()
    while not seen:  # noqa: ASYNC110 (there is nothing else that tells)
        await asyncio.sleep(0)


async def unclosed(address: str) -> None:
    gcs = await gcs_cffi.connect(address)
    held.append(gcs)
    await get(gcs)
    wait_for_go()


async def on_loop(enter: Callable[[str], Awaitable[None]], way: str, address: str) -> None:
    await enter(address)
    if way == "Ctrl-C":
        asyncio.get_running_loop().call_later(SOON, interrupt)
        await asyncio.gather(*(each for each in held if isinstance(each, asyncio.Future)))
        await asyncio.sleep(LONG)
    end(way)


def run(kind: str, main: Coroutine[Any, Any, None]) -> None:
    """What asyncio.run() does, on a loop of the given kind."""
    if sys.version_info >= (3, 11):
        with asyncio.Runner(loop_factory=LOOPS[kind]) as runner:
            runner.run(main)
    else:
        asyncio.get_event_loop_policy()._loop_factory = LOOPS[kind]  # type: ignore[attr-defined]
        asyncio.run(main)


ASYNC: dict[str, Callable[[str], Awaitable[None]]] = {
    "calls pending": calls_pending,
    "calls not handed over": calls_not_handed_over,
    "answers arriving": answers_arriving,
    "connecting": connecting,
    "handshaking": handshaking,
    "watching": watching,
    "watching by callback": watching_by_callback,
    "unclosed": unclosed,
}


# ---- In threads ---------------------------------------------------------------------------------
# Each enters its state, and returns what else the main thread does at Ctrl-C.


def call(gcs: sync.GcsClient, timeout: float = LONG) -> None:
    with suppress(gcs_cffi.DeadlineExceededError):
        gcs.kv.get("key", namespace="exit", timeout=timeout)


def in_thread(work: Callable[[], object], daemon: bool = True) -> Callable[[], object]:
    held.append(threading.Thread(target=work, daemon=daemon))
    held[-1].start()
    time.sleep(SOON)
    assert held[-1].is_alive()
    return work


def call_in_daemon_thread(address: str) -> Callable[[], object]:
    gcs = sync.connect(address)
    wait_for_go()
    return in_thread(lambda: call(gcs))


def call_in_thread(address: str) -> Callable[[], object]:
    gcs = sync.connect(address)
    wait_for_go()
    in_thread(lambda: call(gcs, CALL_TIMEOUT), daemon=False)
    return lambda: call(gcs)


def connecting_in_thread(address: str) -> Callable[[], object]:
    wait_for_go()
    return in_thread(lambda: sync.connect(address, connect_timeout=math.inf))


def handshaking_in_thread(address: str) -> Callable[[], object]:
    wait_for_go()
    return in_thread(lambda: sync.connect(address, connect_timeout=math.inf, tls=TlsConfig()))


def watching_in_thread(address: str) -> Callable[[], object]:
    gcs = sync.connect(address)
    wait_for_go()

    def watch() -> None:
        with gcs.watch_state() as changes:
            for _ in changes:
                pass

    return in_thread(watch)


def watching_by_callback_of_thread(address: str) -> Callable[[], object]:
    gcs = sync.connect(address)
    told = threading.Event()
    gcs.on_state_change(lambda _: told.set())
    assert told.wait(LONG)
    wait_for_go()
    return lambda: time.sleep(LONG)


def unclosed_without_loop(address: str) -> Callable[[], object]:
    held.append(sync.connect(address))
    call(held[-1])
    wait_for_go()
    return lambda: time.sleep(LONG)


def without_loop(enter: Callable[[str], Callable[[], object]], way: str, address: str) -> None:
    goes_on = enter(address)
    if way == "Ctrl-C":
        timer = threading.Timer(SOON, interrupt)
        timer.daemon = True
        timer.start()
        goes_on()
    end(way)


BLOCKING: dict[str, Callable[[str], Callable[[], object]]] = {
    "call in a daemon thread": call_in_daemon_thread,
    "call in a thread": call_in_thread,
    "connecting in a thread": connecting_in_thread,
    "handshaking in a thread": handshaking_in_thread,
    "watching in a thread": watching_in_thread,
    "watching by callback of a thread": watching_by_callback_of_thread,
    "unclosed, without a loop": unclosed_without_loop,
}


# ---- In a forked child --------------------------------------------------------------------------


def in_child(way: str, address: str) -> None:
    """A child ends while its parent has a call pending, a watch, and a loop with a client.

    Then all of that still works in the parent, which says how the child has ended.
    """
    loop = asyncio.new_event_loop()
    async_gcs = loop.run_until_complete(_connected(address))
    gcs = sync.connect(address)
    stop = gcs.on_state_change(held.append)
    waiting = threading.Thread(target=call, args=(gcs,), daemon=True)
    wait_for_go()
    waiting.start()
    time.sleep(SOON)
    assert waiting.is_alive()
    child = os.fork()
    if child == 0:
        if way == "Ctrl-C":
            interrupt()
            time.sleep(LONG)
        end(way)
        return
    _, status = os.waitpid(child, 0)
    say(f"child {os.waitstatus_to_exitcode(status)}")
    sys.stdin.readline()  # the server goes on
    waiting.join(LONG)
    assert gcs.kv.get("nothing", namespace="exit") is None
    assert loop.run_until_complete(asyncio.wait_for(get(async_gcs), LONG)) is None
    stop()
    gcs.close()
    loop.run_until_complete(async_gcs.close())
    loop.close()


async def _connected(address: str) -> gcs_cffi.GcsClient:
    return await gcs_cffi.connect(address)


def main() -> None:
    """Does what the command line says."""
    state, way, kind, address = sys.argv[1:]
    if state == "child":
        in_child(way, address)
    elif kind == "none":
        without_loop(BLOCKING[state], way, address)
    else:
        run(kind, on_loop(ASYNC[state], way, address))
