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
FORGOTTEN = 3 * TIMEOUT  # after which it surely has forgotten one

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
            time.sleep(2 * TIMEOUT + 1)  # after which an idle client knows what the timeout is
            os.kill(process.pid, signal.SIGSTOP)
            # This one answers the poll that is open; the next come when it is forgotten.
            gcs.errors.publish("kind", "answer", key="key")
            time.sleep(FORGOTTEN)
            gcs.errors.publish("kind", "missing", key="key")
            os.kill(process.pid, signal.SIGCONT)
            time.sleep(TIMEOUT)
            gcs.errors.publish("kind", "last", key="key")
            heard: list[str] = []
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
def test_a_consumer_that_takes_nothing_for_longer_misses_nothing_unless_it_is_told(
    impatient: GcsServer, policy: Any, request: pytest.FixtureRequest
) -> None:
    """Of a timeout in the environment a client does not know before it has been idle."""
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
        gcs.errors.publish("kind", str(count), key="key")
        heard: list[int] = []
        missing = 0
        told: list[str] = []
        while len(heard) + missing <= count and (not heard or heard[-1] != count):
            event = errors.next(PATIENCE)
            if isinstance(event, Resync):
                told.append(event.reason)
                missing += event.lost
                if event.reason == "expired":
                    # From here on it is not deaf.
                    gcs.errors.publish("kind", str(count), key="key")
                continue
            assert isinstance(event, Message)
            heard.append(int(event.value.error_message))
            if not told and len(heard) > 1:
                assert heard[-1] == heard[-2] + 1
        assert heard == sorted(set(heard))
        if policy != "wait":
            assert set(told) == {"dropped"}
            assert len(heard) + missing == count + 1
        elif told:
            assert told == ["expired"]
            assert request.node.callspec.params["impatient"] == "environment"
        else:
            assert heard == list(range(count + 1))
