# SPDX-License-Identifier: Apache-2.0
"""A server that keeps a subscriber for 2 seconds only, and subscribers that are slower than that.

Promise: nothing is missing without a `Resync`, and nothing goes deaf.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from helpers import PATIENCE

from gcs_cffi import Message, Resync, sync
from gcs_cffi.testing import GcsServer

if TYPE_CHECKING:
    from collections.abc import Iterator

POLICIES = ("wait", "drop_oldest", "drop_newest")
TIMEOUT = 2.0  # seconds that the server keeps a subscriber that does not poll
FORGOTTEN = 4 * TIMEOUT  # after which it surely has forgotten one

SUBSCRIBER = """
import sys
import gcs_cffi
with gcs_cffi.sync.connect(sys.argv[1]) as gcs:
    with gcs.subscribe("errors", "key", policy=sys.argv[2]) as errors:
        print("ready", flush=True)
        for event in errors:
            if isinstance(event, gcs_cffi.Resync):
                print("resync", event.reason, flush=True)
            else:
                print(event.value.error_message, flush=True)
"""


@pytest.fixture(params=["configuration", "environment"])
def impatient(hide_user: None, request: pytest.FixtureRequest) -> Iterator[GcsServer]:
    """A server with the timeout, of which its configuration tells, or nothing does."""
    milliseconds = int(TIMEOUT * 1000)
    if request.param == "configuration":
        made = GcsServer(config={"subscriber_timeout_ms": milliseconds})
    else:
        made = GcsServer(env={"RAY_subscriber_timeout_ms": str(milliseconds)})
    with made as server:
        yield server


@pytest.mark.parametrize("policy", POLICIES)
def test_a_process_that_stood_still_is_told_that_messages_may_be_missing(
    impatient: GcsServer, policy: str
) -> None:
    command = [sys.executable, "-I", "-c", SUBSCRIBER, impatient.address, policy]
    with (
        sync.connect(impatient.address) as gcs,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process,
    ):
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "ready\n"
            gcs.errors.publish("kind", "first", key="key")
            assert process.stdout.readline() == "first\n"
            time.sleep(2 * FORGOTTEN)  # so that the client has learned what the timeout is
            os.kill(process.pid, signal.SIGSTOP)
            # This one answers the poll that is open; the next come when it is forgotten.
            gcs.errors.publish("kind", "answer", key="key")
            time.sleep(FORGOTTEN)
            gcs.errors.publish("kind", "missing", key="key")
            os.kill(process.pid, signal.SIGCONT)
            time.sleep(TIMEOUT)
            gcs.errors.publish("kind", "last", key="key")
            heard = []
            while not heard or heard[-1] != "last":
                heard.append(process.stdout.readline().strip())
                assert heard[-1], heard
        finally:
            process.kill()
    told = [line for line in heard if line.startswith("resync")]
    assert heard[0] == "answer"
    assert "missing" in heard or told, heard
    assert told in ([], ["resync expired"]), heard


@pytest.mark.parametrize("policy", POLICIES)
def test_a_consumer_that_takes_nothing_for_longer_loses_nothing(
    impatient: GcsServer, policy: Any
) -> None:
    count = 100
    with (
        sync.connect(impatient.address) as gcs,
        gcs.subscribe("errors", "key", policy=policy, max_messages=20) as errors,
    ):
        for number in range(count // 2):
            gcs.errors.publish("kind", str(number), key="key")
        time.sleep(FORGOTTEN)
        for number in range(count // 2, count):
            gcs.errors.publish("kind", str(number), key="key")
        time.sleep(FORGOTTEN)
        heard: list[int] = []
        missing = 0
        while len(heard) + missing < count:
            event = errors.next(PATIENCE)
            if isinstance(event, Resync):
                assert (policy, event.reason) != ("wait", "dropped")
                assert event.reason == "dropped", event
                missing += event.lost
            else:
                assert isinstance(event, Message)
                heard.append(int(event.value.error_message))
        assert heard == sorted(set(heard))
        assert (missing > 0) == (policy != "wait")
        gcs.errors.publish("kind", "the end", key="key")
        last = errors.next(PATIENCE)
        assert isinstance(last, Message)
        assert last.value.error_message == "the end"
