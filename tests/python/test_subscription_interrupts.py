# SPDX-License-Identifier: Apache-2.0
"""Exceptions of signal handlers, at any moment of a wait for events.

Promise: each takes one event at most, the one that was just being returned; the subscription and
the watch go on. Each test has a process of its own, since timers of signals are the process's.
"""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

import pytest
from helpers import run_script

if TYPE_CHECKING:
    from gcs_cffi.testing import GcsServer

BEGIN = """
import asyncio, contextlib, json, random, signal, sys, threading, time
import gcs_cffi
from gcs_cffi import Message, sync

address, seed = sys.argv[1], int(sys.argv[2])
random.seed(seed)

class Interrupt(KeyboardInterrupt):  # which asyncio lets pass
    pass

interrupts = 0
allowed = False

def interrupt(*_):
    global interrupts
    if allowed:
        interrupts += 1
        raise Interrupt

def interrupted(work, longest=2e-3):
    global allowed
    try:
        allowed = True
        # And later again: one that comes inside of a finalizer is ignored, and asyncio loses some.
        signal.setitimer(signal.ITIMER_REAL, random.uniform(2e-5, longest), 0.2)
        work()
        allowed = False
    except Interrupt:
        allowed = False

signal.signal(signal.SIGALRM, interrupt)
sent = 0
stopped = threading.Event()

def publish():
    # Without signals, which are the main thread's.
    global sent
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
    with sync.connect(address) as other:
        while not stopped.is_set():
            other.errors.publish("kind", str(sent), key="key")
            sent += 1

def told(heard):
    numbers = [int(event.value.error_message) for event in heard if isinstance(event, Message)]
    ordered = numbers == sorted(set(numbers))
    print(json.dumps({
        "interrupts": interrupts, "sent": sent, "heard": len(numbers), "ordered": ordered,
        "others": len(heard) - len(numbers),
    }))
"""

BLOCKING = """
thread = threading.Thread(target=publish, daemon=True)
heard = []
with sync.connect(address) as gcs, gcs.subscribe("errors", "key", **json.loads(sys.argv[3])) as e:
    thread.start()
    end = time.monotonic() + 3

    def take():
        while time.monotonic() < end:
            heard.append(e.next())

    while time.monotonic() < end:
        interrupted(take)
    stopped.set()
    thread.join()
    with contextlib.suppress(TimeoutError):
        while True:
            heard.append(e.next(1))
told(heard)
"""

ASYNCIO = """
thread = threading.Thread(target=publish, daemon=True)
heard = []
loop = asyncio.new_event_loop()

async def enter():
    gcs = await gcs_cffi.connect(address)
    return gcs, await gcs.subscribe("errors", "key", **json.loads(sys.argv[3])).__aenter__()

async def consume():
    while True:
        heard.append(await e.__anext__())

async def leave():
    await e.close()
    await gcs.close()

gcs, e = loop.run_until_complete(enter())
thread.start()
end = time.monotonic() + 3
consumer = loop.create_task(consume())
while time.monotonic() < end:
    interrupted(loop.run_forever)
    if consumer.done():  # it was in the consumer
        consumer.exception()
        consumer = loop.create_task(consume())
stopped.set()
thread.join()
signal.setitimer(signal.ITIMER_REAL, 0)
loop.call_soon(loop.stop)
loop.run_forever()
# asyncio loses a handle that is interrupted before its first line, the first step of a new task
# above all: that one never runs, and cannot be cancelled.
consumer.cancel()
loop.run_until_complete(asyncio.wait([consumer], timeout=2))
if not consumer.done():
    consumer.get_coro().close()
consumer = loop.create_task(consume())
loop.run_until_complete(asyncio.sleep(1))
consumer.cancel()
loop.run_until_complete(asyncio.wait([consumer]))
told(heard)
loop.run_until_complete(leave())
loop.close()
"""

WATCH = """
import os
stuck = 0
with sync.connect(address) as gcs:
    end = time.monotonic() + 3
    with gcs.jobs.watch() as jobs:
        def take():
            while time.monotonic() < end:
                with contextlib.suppress(TimeoutError):
                    jobs.next(0)

        while time.monotonic() < end:
            interrupted(take, 2e-4)
        job = gcs_cffi.JobID(os.urandom(4))
        data = {"job_id": job, "driver_address": {"node_id": bytes(28), "worker_id": bytes(28)}}
        gcs.jobs.add(data)
        while True:
            if jobs.next(10).id == job:
                break
print(interrupts)
"""

HANDLER = """
heard, refused = [], []
with sync.connect(address) as gcs, gcs.subscribe("errors", "key") as e:
    def also(*_):
        try:
            heard.append(e.next(0))
        except (TimeoutError, RuntimeError) as error:
            refused.append(error)
    signal.signal(signal.SIGALRM, also)
    signal.setitimer(signal.ITIMER_REAL, 3e-4, 3e-4)
    thread = threading.Thread(target=publish, daemon=True)
    thread.start()
    end = time.monotonic() + 3
    while time.monotonic() < end:
        with contextlib.suppress(TimeoutError):
            heard.append(e.next(0.1))
    signal.setitimer(signal.ITIMER_REAL, 0)
    stopped.set()
    thread.join()
    with contextlib.suppress(TimeoutError):
        while True:
            heard.append(e.next(1))
numbers = sorted(int(event.value.error_message) for event in heard)
assert numbers == list(range(sent)), (len(numbers), sent)
print(len(refused))
"""


def run(script: str, *arguments: str) -> Any:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    done = run_script(BEGIN + script, arguments[0], str(seed), *arguments[1:])
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("limits", [{}, {"max_messages": 4}, {"max_bytes": 200}], ids=str)
@pytest.mark.parametrize("script", [BLOCKING, ASYNCIO], ids=["blocking", "asyncio"])
def test_each_takes_one_event_at_most_and_nothing_stands_still(
    server: GcsServer, script: str, limits: dict[str, int]
) -> None:
    told = run(script, server.address, json.dumps(limits))
    print(told)
    assert told["interrupts"] > 100
    assert told["ordered"]
    assert told["others"] == 0
    assert told["sent"] > 500
    assert told["sent"] - told["interrupts"] <= told["heard"] <= told["sent"]


def test_a_watch_goes_on(server: GcsServer) -> None:
    assert run(WATCH, server.address) > 100


def test_a_handler_that_takes_events_itself_takes_none_away(server: GcsServer) -> None:
    assert run(HANDLER, server.address) > 0
