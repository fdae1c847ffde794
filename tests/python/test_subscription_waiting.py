# SPDX-License-Identifier: Apache-2.0
"""Who waits for a subscription or a watch: one at a time; and what is said when nothing comes."""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from forking import FORKED
from helpers import PATIENCE, run_script, said_nothing, wait_until

import gcs_cffi
from gcs_cffi import GcsClient, Message, sync
from gcs_cffi._streams import taken
from gcs_cffi._sync import pubsub

if TYPE_CHECKING:
    from gcs_cffi.testing import GcsServer


class Waiting:
    """Threads that wait for the next event of a blocking subscription, and what becomes of them."""

    def __init__(self, subscription: Any, count: int = 1) -> None:
        self.outcomes: list[Any] = []
        self._subscription = subscription
        self._start = threading.Barrier(count)
        self._threads = [threading.Thread(target=self._wait) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def _wait(self) -> None:
        self._start.wait(PATIENCE)
        try:
            self.outcomes.append(self._subscription.next(PATIENCE))
        except Exception as error:  # noqa: BLE001 (shown by the test's own thread)
            self.outcomes.append(error)

    def join(self) -> list[Any]:
        for thread in self._threads:
            thread.join(2 * PATIENCE)
            assert not thread.is_alive()
        return self.outcomes


def wait_until_somebody_waits(subscription: Any) -> None:
    wait_until(lambda: subscription._turn != {}, "the thread waits")


@pytest.mark.parametrize("policy", ["wait", "drop_oldest"])
def test_a_second_thread_may_not_wait_and_the_first_one_gets_the_event(
    blocking_gcs: sync.GcsClient, namespace: str, policy: Any
) -> None:
    with blocking_gcs.subscribe("errors", namespace, policy=policy) as errors:
        for number in range(3):
            waiting = Waiting(errors)
            wait_until_somebody_waits(errors)
            for timeout in (None, 0, 1):
                with pytest.raises(RuntimeError, match="somebody waits"):
                    errors.next(timeout)
            blocking_gcs.errors.publish("kind", str(number), key=namespace)
            (event,) = waiting.join()
            assert isinstance(event, Message)
            assert event.value.error_message == str(number)
        with pytest.raises(TimeoutError):
            errors.next(0)


def test_of_two_threads_one_enters(
    blocking_gcs: sync.GcsClient, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = type(blocking_gcs._channel)
    subscribe = channel.subscribe
    entering, go_on = threading.Event(), threading.Event()

    def slowly(self: Any, topic: Any) -> Any:
        entering.set()
        assert go_on.wait(PATIENCE)
        return subscribe(self, topic)

    monkeypatch.setattr(channel, "subscribe", slowly)
    errors = blocking_gcs.subscribe("errors", namespace)
    first = threading.Thread(target=errors.__enter__)
    first.start()
    assert entering.wait(PATIENCE)
    with pytest.raises(RuntimeError, match="somebody enters it already"):
        errors.__enter__()
    go_on.set()
    first.join(PATIENCE)
    blocking_gcs.errors.publish("kind", "text", key=namespace)
    assert isinstance(errors.next(PATIENCE), Message)
    errors.close()


def test_one_that_is_being_refused_is_in_nobodys_way(
    blocking_gcs: sync.GcsClient, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    being_refused, go_on = threading.Event(), threading.Event()

    def slowly() -> RuntimeError:
        being_refused.set()
        assert go_on.wait(PATIENCE)
        return taken()

    with blocking_gcs.subscribe("errors", namespace) as errors:
        waiting = Waiting(errors)
        wait_until_somebody_waits(errors)
        monkeypatch.setattr(pubsub, "taken", slowly)
        refused = Waiting(errors)
        assert being_refused.wait(PATIENCE)
        blocking_gcs.errors.publish("kind", "text", key=namespace)
        assert [type(each) for each in waiting.join()] == [Message]
        with pytest.raises(TimeoutError):
            errors.next(0.01)
        go_on.set()
        assert [type(each) for each in refused.join()] == [RuntimeError]
        with pytest.raises(TimeoutError):
            errors.next(0.01)


def test_of_threads_that_come_at_once_one_waits(
    blocking_gcs: sync.GcsClient, namespace: str
) -> None:
    with blocking_gcs.subscribe("errors", namespace) as errors:
        for _ in range(20):
            waiting = Waiting(errors, 4)
            wait_until(lambda made=waiting: len(made.outcomes) == 3, "three were refused")  # type: ignore[misc]
            blocking_gcs.errors.publish("kind", "text", key=namespace)
            outcomes = waiting.join()
            assert [type(each) for each in outcomes] == [RuntimeError] * 3 + [Message], outcomes


def test_it_is_closed_while_one_waits_and_another_was_refused(
    blocking_gcs: sync.GcsClient, namespace: str
) -> None:
    with blocking_gcs.subscribe("errors", namespace) as errors:
        waiting = Waiting(errors)
        wait_until_somebody_waits(errors)
        with pytest.raises(RuntimeError, match="somebody waits"):
            errors.next()
        errors.close()
        assert waiting.join() == [None]
        assert errors.next() is None


def test_whatever_ends_a_wait_another_one_may_begin(
    blocking_gcs: sync.GcsClient, namespace: str
) -> None:
    class AlarmError(Exception):
        pass

    refused: list[str] = []

    def handler(number: int, frame: object) -> None:
        with pytest.raises(RuntimeError) as caught:
            errors.next(0)
        refused.append(str(caught.value))
        raise AlarmError

    previous = signal.signal(signal.SIGALRM, handler)
    try:
        with blocking_gcs.subscribe("errors", namespace) as errors:
            for number in range(3):
                signal.setitimer(signal.ITIMER_REAL, 0.05)
                with pytest.raises(AlarmError):
                    errors.next(PATIENCE)
                with pytest.raises(TimeoutError):
                    errors.next(0.01)
                blocking_gcs.errors.publish("kind", str(number), key=namespace)
                event = errors.next(PATIENCE)
                assert isinstance(event, Message)
                assert event.value.error_message == str(number)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    assert refused == ["somebody waits for the next event already"] * 3


def test_in_a_child_that_a_waiting_thread_is_missing_from_it_says_that_it_was_forked(
    own_server: GcsServer,
) -> None:
    script = """
import threading
import gcs_cffi
gcs = gcs_cffi.sync.connect(sys.argv[1])
errors = gcs.subscribe("errors").__enter__()
waiting = threading.Thread(target=errors.next)
waiting.start()
while not errors._turn:
    time.sleep(0.01)
def child():
    nodes = gcs.subscribe("nodes")
    for ask in (errors.next, lambda: errors.next(0), nodes.__enter__, gcs.stats):
        try:
            ask()
        except gcs_cffi.ForkedError as error:
            assert "before this process was forked; make a new one" in str(error), error
        else:
            raise AssertionError(ask)
    os._exit(0)     # at an interpreter's end it would wait for the thread
forked(child)
gcs.errors.publish("kind", "text")
waiting.join()
errors.close()
gcs.close()
"""
    assert said_nothing(run_script(FORKED + script, own_server.address))


async def test_what_was_waited_for_and_how_long_is_said(gcs: GcsClient) -> None:
    async with gcs.subscribe("errors", os.urandom(8)) as errors, gcs.jobs.watch() as jobs:
        with pytest.raises(TimeoutError, match=r"^no event of 'errors' within 0\.05 s$"):
            await errors.next(0.05)
        with pytest.raises(TimeoutError, match=r"^no event of 'errors' within 0 s$"):
            await errors.next(0)
        for _ in range(len(jobs.current)):  # that other tests have left
            await jobs.next(0)
        with pytest.raises(TimeoutError, match=r"^no change of the table of jobs within 0\.05 s$"):
            await jobs.next(0.05)


def test_a_blocking_wait_says_the_same(blocking_gcs: sync.GcsClient) -> None:
    with (
        blocking_gcs.subscribe("errors", os.urandom(8)) as errors,
        blocking_gcs.jobs.watch() as jobs,
    ):
        with pytest.raises(TimeoutError, match=r"^no event of 'errors' within 0\.05 s$"):
            errors.next(0.05)
        for _ in range(len(jobs.current)):  # that other tests have left
            jobs.next(0)
        with pytest.raises(TimeoutError, match=r"^no change of the table of jobs within 0\.05 s$"):
            jobs.next(0.05)


def test_a_wait_may_be_endless(blocking_gcs: sync.GcsClient, namespace: str) -> None:
    with blocking_gcs.subscribe("errors", namespace) as errors:
        timer = threading.Timer(
            0.1, blocking_gcs.errors.publish, ("kind", "text"), {"key": namespace}
        )
        timer.start()
        assert isinstance(errors.next(math.inf), Message)
        timer.join()


def test_without_time_to_wait_what_has_arrived_is_taken(
    blocking_gcs: sync.GcsClient, namespace: str
) -> None:
    with (
        blocking_gcs.subscribe("errors", namespace) as errors,
        blocking_gcs.subscribe("errors", namespace) as other,
        blocking_gcs.nodes.watch() as nodes,
    ):
        for _ in range(len(nodes.current)):
            nodes.next(0)
        blocking_gcs.nodes.register({"node_id": os.urandom(28), "node_name": namespace})
        blocking_gcs.errors.publish("kind", "text", key=namespace)
        assert isinstance(other.next(PATIENCE), Message)
        time.sleep(0.2)
        assert isinstance(errors.next(0), Message)
        change = nodes.next(0)
        assert change is not None
        assert change.value is not None
        assert change.value.node_name == namespace


async def test_a_channel_that_is_not_there_is_refused_with_the_names_of_those_that_are(
    gcs: GcsClient,
) -> None:
    with pytest.raises(gcs_cffi.InvalidRequestError) as caught:
        await gcs.subscribe("error").__aenter__()
    assert caught.value.code_name == "GCS_INVALID_ARGUMENT"
    assert caught.value.address == gcs.address
    assert 'no channel "error"' in str(caught.value)
    for name in ("GCS_NODE_INFO_CHANNEL", '"errors"', '"logs"', '"node_liveness"', '"workers"'):
        assert name in caught.value.message


async def test_a_channel_by_the_servers_own_name_is_not(gcs: GcsClient, namespace: str) -> None:
    async with gcs.subscribe("RAY_ERROR_INFO_CHANNEL", namespace) as errors:
        await gcs.errors.publish("kind", "text", key=namespace)
        event = await errors.next(PATIENCE)
        assert isinstance(event, Message)
        assert type(event.value) is bytes
