# SPDX-License-Identifier: Apache-2.0
"""The blocking client: the same calls without a loop, from any thread, ended by Ctrl-C."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING

import pytest
from helpers import PATIENCE, descriptors_flat, pending_in_library, wait_until
from interrupting import COMPANIES, ctrl_c_ends

import gcs_cffi
from gcs_cffi import JobID, messages

if TYPE_CHECKING:
    from gcs_cffi.testing import GcsServer


def test_every_call_works_without_a_loop(server: GcsServer, namespace: str) -> None:
    with gcs_cffi.sync.connect(server.address) as gcs:
        assert gcs.state == "ready"
        assert gcs.address == server.address
        assert gcs.cluster_id is not None
        assert gcs.get_ray_version() == server.version == gcs.ray_version
        assert gcs.kv.put("a/1", b"one", namespace=namespace) is True
        assert gcs.kv.put("a/2", bytes(1 << 20), namespace=namespace) is True
        assert gcs.kv.get("a/1", namespace=namespace) == b"one"
        assert gcs.kv.get("a/2", namespace=namespace) == bytes(1 << 20)
        assert gcs.kv.get("a/3", namespace=namespace) is None
        assert gcs.kv.exists("a/1", namespace=namespace) is True
        assert sorted(gcs.kv.keys("a/", namespace=namespace)) == [b"a/1", b"a/2"]
        assert gcs.kv.multi_get(["a/1", "a/3"], namespace=namespace) == {"a/1": b"one"}
        assert gcs.kv.delete("a/1", namespace=namespace) is True
        assert gcs.kv.delete_prefix("a/", namespace=namespace) == 1
        assert type(gcs.jobs.next_id()) is JobID
        assert isinstance(gcs.nodes.list(), dict)
        reply = gcs.call("NodeInfoGcsService", "CheckAlive", {})
        assert type(reply) is messages.CheckAliveReply
        assert type(gcs.call("NodeInfoGcsService", "CheckAlive")) is bytes
    assert str(gcs.state) == "closed"
    with pytest.raises(gcs_cffi.ClientClosedError):
        gcs.kv.get("a/1")
    gcs.close()


def test_errors_are_those_of_the_async_client(server: GcsServer) -> None:
    with gcs_cffi.sync.connect(server.address) as gcs:
        with pytest.raises(gcs_cffi.UnsupportedByServerError, match="NoSuchMethod") as caught:
            gcs.call("ray.rpc.NodeInfoGcsService", "NoSuchMethod")
        assert caught.value.code_name == "UNIMPLEMENTED"
        with pytest.raises(gcs_cffi.DeadlineExceededError):
            gcs.kv.get("key", timeout=0)
        with pytest.raises(gcs_cffi.InvalidRequestError):
            gcs.kv.keys()
        with pytest.raises(TypeError):
            gcs.kv.get(5)  # type: ignore[arg-type]
    with pytest.raises(gcs_cffi.UnavailableError, match=r"127\.0\.0\.1:1"):
        gcs_cffi.sync.connect("127.0.0.1:1", connect_timeout=0.1)


def test_threads_share_a_client(server: GcsServer, namespace: str) -> None:
    failures: list[BaseException] = []

    def work(name: str) -> None:
        try:
            for number in range(100):
                key = f"{name} {number}"
                gcs.kv.put(key, key.encode(), namespace=namespace)
                assert gcs.kv.get(key, namespace=namespace) == key.encode()
        except BaseException as error:  # noqa: BLE001 (shown by the test's own thread)
            failures.append(error)

    with gcs_cffi.sync.connect(server.address) as gcs:
        threads = [threading.Thread(target=work, args=(f"thread {n}",)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []


def test_a_close_ends_the_calls_of_other_threads(own_server: GcsServer) -> None:
    ended: list[BaseException] = []

    def work() -> None:
        try:
            gcs.kv.get("key", namespace="some")
        except gcs_cffi.GcsError as error:
            ended.append(error)

    with gcs_cffi.sync.connect(own_server.address) as gcs:
        own_server.pause()
        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        wait_until(lambda: pending_in_library(gcs) == 8, "eight calls are pending")
    for thread in threads:
        thread.join(PATIENCE)
    assert [type(error) for error in ended] == [gcs_cffi.ClientClosedError] * 8
    own_server.resume()


def test_clients_leave_no_descriptor(server: GcsServer) -> None:
    def use() -> None:
        with gcs_cffi.sync.connect(server.address) as gcs:
            assert gcs.kv.get("nothing", namespace="nowhere") is None

    use()
    with descriptors_flat():
        for _ in range(100):
            use()


def test_a_handler_of_a_signal_may_call_while_a_call_waits(own_server: GcsServer) -> None:
    with gcs_cffi.sync.connect(own_server.address) as gcs:
        seen: list[bytes | None] = []

        def handler(number: int, frame: object) -> None:
            own_server.resume()
            seen.append(gcs.kv.get("nothing", namespace="nowhere"))

        gcs.kv.put("key", b"value", namespace="some")
        own_server.pause()
        previous = signal.signal(signal.SIGALRM, handler)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            assert gcs.kv.get("key", namespace="some") == b"value"
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, previous)
        assert seen == [None]


def test_what_a_handler_raises_ends_the_call_and_cancels_its_rpc(own_server: GcsServer) -> None:
    class AlarmError(Exception):
        pass

    def handler(number: int, frame: object) -> None:
        raise AlarmError

    with gcs_cffi.sync.connect(own_server.address) as gcs:
        own_server.pause()
        previous = signal.signal(signal.SIGALRM, handler)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            with pytest.raises(AlarmError):
                gcs.kv.get("key", namespace="some")
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, previous)
        wait_until(lambda: pending_in_library(gcs) == 0, "the library has cancelled the call")
        own_server.resume()
        assert gcs.kv.get("key", namespace="some") is None


@pytest.mark.parametrize("company", COMPANIES)
def test_ctrl_c_ends_a_call_within_100_ms_and_cancels_its_rpc(
    own_server: GcsServer, company: str
) -> None:
    code = """
def wait():
    gcs.kv.get("key", namespace="some", timeout=60)
"""
    assert ctrl_c_ends(own_server, company, code, "pending")


def test_an_unclosed_client_gives_a_resource_warning(server: GcsServer) -> None:
    held = [gcs_cffi.sync.connect(server.address)]
    with pytest.warns(ResourceWarning, match=server.address):
        held.clear()
