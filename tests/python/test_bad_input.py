# SPDX-License-Identifier: Apache-2.0
"""What wrong input and wrong peers get: an error that says what is wrong, in time, and no harm."""

from __future__ import annotations

import asyncio
import math
import shutil
import socket
import ssl
import struct
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest
from helpers import descriptors_flat, run_script, unused_port

import gcs_cffi
from gcs_cffi.testing import GcsServer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from helpers import Peer

    from gcs_cffi import GcsClient

    StartPeer = Callable[[Callable[[socket.socket], None]], Peer]

WRONG_TYPES: list[Any] = [5, None, 1.5, ["key"], object(), bytearray(b"key")]
WRONG_TIMEOUTS: list[Any] = ["1", b"1", [1], object(), True, False, 1j]


async def refused(address: str | None, timeout: float = 0.5) -> gcs_cffi.GcsError:
    """The error that connecting gives, which must come in time and leave nothing."""
    began = time.monotonic()
    with pytest.raises(gcs_cffi.GcsError) as caught:
        await gcs_cffi.connect(address, connect_timeout=timeout)
    assert time.monotonic() - began < timeout + 1.5
    return caught.value


# ---- Peers --------------------------------------------------------------------------------------


async def test_nothing_listens() -> None:
    address = f"127.0.0.1:{unused_port()}"
    error = await refused(address)
    assert type(error) is gcs_cffi.UnavailableError
    assert isinstance(error, ConnectionError)
    assert address in str(error)
    assert "refused" in str(error).lower()


async def test_the_host_does_not_exist() -> None:
    address = "no-such-host.invalid:6379"
    error = await refused(address, timeout=2.0)
    assert type(error) is gcs_cffi.UnavailableError
    assert address in str(error)


HANGING_LOOKUP = """
#include <netdb.h>
#include <unistd.h>
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **result) {
  (void)node; (void)service; (void)hints; (void)result;
  sleep(3600);
  return EAI_AGAIN;
}
"""


def test_a_look_up_that_hangs_delays_neither_connect_nor_close_nor_exit(tmp_path: Path) -> None:
    compiler = shutil.which("cc")
    assert compiler is not None
    source, library = tmp_path / "hanging.c", tmp_path / "hanging.so"
    source.write_text(HANGING_LOOKUP)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
    script = """
import asyncio, time
import gcs_cffi
async def main():
    began = time.monotonic()
    try:
        await gcs_cffi.connect("some-host.example:6379", connect_timeout=0.5)
    except gcs_cffi.UnavailableError as error:
        assert "some-host.example:6379" in str(error), error
    else:
        raise AssertionError
    assert time.monotonic() - began < 2
    task = asyncio.ensure_future(wait())
    await asyncio.sleep(0.1)
    task.cancel()
    began = time.monotonic()
    await asyncio.wait([task])
    assert time.monotonic() - began < 1
async def wait():
    await gcs_cffi.connect("some-host.example:6379", connect_timeout=3600)
asyncio.run(main())
"""
    began = time.monotonic()
    done = run_script(script, env={"LD_PRELOAD": str(library)})
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert time.monotonic() - began < 8


def speak_http1(connection: socket.socket) -> None:
    connection.recv(1 << 16)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\nno\r\n")


def speak_noise(connection: socket.socket) -> None:
    connection.sendall(bytes(range(1, 256)) * 20)
    while connection.recv(1 << 16):
        pass


def close_at_once(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 0, 0))


def hang_up(connection: socket.socket) -> None:
    connection.recv(1 << 16)


def never_answer(connection: socket.socket) -> None:
    while connection.recv(1 << 16):
        pass


def speak_tls(folder: Path) -> Callable[[socket.socket], None]:
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    openssl = shutil.which("openssl")
    assert openssl is not None
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj"]
    command += ["/CN=127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    def serve(connection: socket.socket) -> None:
        context.wrap_socket(connection, server_side=True).recv(1 << 16)

    return serve


PEERS = {
    "HTTP/1.1": (speak_http1, "HTTP/1"),
    "noise": (speak_noise, ""),
    "closes at once": (close_at_once, ""),
    "hangs up": (hang_up, ""),
    "never answers": (never_answer, ""),
}


@pytest.mark.parametrize("kind", PEERS)
async def test_a_peer_that_is_no_gcs_gives_an_error_that_says_what_was_seen(
    peer: StartPeer, kind: str
) -> None:
    serve, seen = PEERS[kind]
    stranger = peer(serve)
    await refused("127.0.0.1:1", timeout=0.05)  # what the loop itself needs
    with descriptors_flat():
        cpu = time.process_time()
        error = await refused(stranger.address, timeout=1.0)
        assert time.process_time() - cpu < 0.5, "a busy loop"
        assert isinstance(error, gcs_cffi.UnavailableError)
        assert stranger.address in str(error)
        assert seen in str(error)
        assert await asyncio.to_thread(stranger.left_alone)
    assert stranger.accepted < 50


def alert_of_tls(connection: socket.socket) -> None:
    # OpenSSL says nothing to what is not TLS; others send an alert, such as protocol_version.
    connection.sendall(bytes.fromhex("15030100020246"))
    never_answer(connection)


async def test_a_peer_that_speaks_tls_gives_an_error_that_says_what_was_seen(
    peer: StartPeer, tmp_path: Path
) -> None:
    for serve, seen in ((speak_tls(tmp_path), "the peer"), (alert_of_tls, "TLS")):
        stranger = peer(serve)
        error = await refused(stranger.address, timeout=1.0)
        assert isinstance(error, gcs_cffi.UnavailableError)
        assert stranger.address in str(error)
        assert seen in str(error)


async def test_calls_end_when_the_server_is_replaced_by_something_else(
    own_server: GcsServer,
) -> None:
    async with gcs_cffi.connect(own_server.address) as gcs:
        own_server.stop()
        began = time.monotonic()
        with pytest.raises(gcs_cffi.GcsError, match=own_server.address) as caught:
            await gcs.kv.get("key", namespace="some", timeout=0.5)
        assert isinstance(caught.value, (TimeoutError, ConnectionError))
        with pytest.raises(gcs_cffi.UnavailableError):
            await gcs.call("NodeInfoGcsService", "CheckAlive", wait_for_ready=False)
        assert time.monotonic() - began < 2


# ---- Addresses ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        "",
        "nonsense",
        "host:",
        ":6379",
        "host:0",
        "host:65536",
        "host:-1",
        "host:port",
        "two words:6379",
        "[::1:6379",
        "::1:6379",
        "host:6379/path",
        "local",
        "ray://host:10001",
        "http://host:6379",
        "ho\0st:6379",
    ],
)
async def test_an_address_that_cannot_be_one_is_a_value_error_at_once(address: str) -> None:
    began = time.monotonic()
    with pytest.raises(ValueError):  # noqa: PT011 (the texts differ)
        await gcs_cffi.connect(address)
    assert time.monotonic() - began < 0.5


async def test_an_address_of_a_wrong_type_is_a_type_error() -> None:
    for address in (5, b"127.0.0.1:6379", ("127.0.0.1", 6379)):
        with pytest.raises(TypeError, match="address"):
            gcs_cffi.connect(address)  # type: ignore[arg-type]


async def test_no_address_anywhere_says_where_it_was_looked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    error = await refused(None)
    assert error.code_name == "GCS_NOT_FOUND"
    assert "RAY_ADDRESS" in str(error)
    assert str(tmp_path / "ray" / "ray_current_cluster") in str(error)


# ---- Arguments ----------------------------------------------------------------------------------


def calls_with(gcs: GcsClient, key: Any) -> list[Callable[[], Any]]:
    return [
        lambda: gcs.kv.get(key),
        lambda: gcs.kv.put(key, b""),
        lambda: gcs.kv.delete(key),
        lambda: gcs.kv.delete_prefix(key),
        lambda: gcs.kv.exists(key),
        lambda: gcs.kv.keys(key),
        lambda: gcs.kv.multi_get([key]),
        lambda: gcs.kv.get("key", namespace=key),
        lambda: gcs.kv.put("key", b"", namespace=key),
    ]


@pytest.fixture
def nothing_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails the test if a batch is handed to the library."""

    def submit(*arguments: object) -> int:
        raise AssertionError("something was sent")

    monkeypatch.setattr("gcs_cffi._native.Queue.submit", submit)


@pytest.mark.parametrize("key", WRONG_TYPES, ids=repr)
async def test_a_key_or_namespace_of_a_wrong_type_is_a_type_error(
    gcs: GcsClient, nothing_sent: None, key: Any
) -> None:
    for call in calls_with(gcs, key):
        with pytest.raises(TypeError):
            await call()


@pytest.mark.parametrize("value", ["text", 5, None, [1], object()], ids=repr)
async def test_a_value_that_is_not_bytes_like_is_a_type_error(
    gcs: GcsClient, nothing_sent: None, value: Any
) -> None:
    with pytest.raises(TypeError, match="bytes-like"):
        await gcs.kv.put("key", value)


async def test_flags_and_lists_of_a_wrong_type_are_type_errors(
    gcs: GcsClient, nothing_sent: None
) -> None:
    for call in (
        lambda: gcs.kv.put("key", b"", overwrite=1),  # type: ignore[arg-type]
        lambda: gcs.kv.keys("a", all_namespaces="yes"),  # type: ignore[arg-type]
        lambda: gcs.kv.delete_prefix("a", all_namespaces=None),  # type: ignore[arg-type]
        lambda: gcs.kv.multi_get("key"),
        lambda: gcs.kv.multi_get(b"key"),  # type: ignore[type-var]
        lambda: gcs.kv.multi_get(None),  # type: ignore[arg-type]
    ):
        with pytest.raises(TypeError):
            await call()


@pytest.mark.parametrize("timeout", WRONG_TIMEOUTS, ids=repr)
async def test_a_timeout_that_is_no_number_is_a_type_error(
    gcs: GcsClient, nothing_sent: None, timeout: Any
) -> None:
    for call in (
        lambda: gcs.kv.get("key", timeout=timeout),
        lambda: gcs.jobs.next_id(timeout=timeout),
        lambda: gcs.nodes.list(timeout=timeout),
        lambda: gcs.get_ray_version(timeout=timeout),
        lambda: gcs.call("NodeInfoGcsService", "CheckAlive", timeout=timeout),
    ):
        with pytest.raises(TypeError, match="timeout"):
            await call()
    for name in ("timeout", "connect_timeout", "tcp_user_timeout"):
        with pytest.raises(TypeError, match=name):
            gcs_cffi.connect("127.0.0.1:1", **{name: timeout})


@pytest.mark.parametrize("timeout", [-1, -1e-9, -math.inf, math.nan], ids=repr)
async def test_a_timeout_that_is_negative_or_nan_is_a_value_error(
    gcs: GcsClient, nothing_sent: None, timeout: float
) -> None:
    with pytest.raises(ValueError, match="timeout"):
        await gcs.kv.get("key", timeout=timeout)
    for name in ("timeout", "connect_timeout", "tcp_user_timeout"):
        with pytest.raises(ValueError, match=name):
            gcs_cffi.connect("127.0.0.1:1", **{name: timeout})  # type: ignore[arg-type]


async def test_a_timeout_of_0_has_expired_at_once(gcs: GcsClient, namespace: str) -> None:
    for call in (
        lambda: gcs.kv.put("key", b"", namespace=namespace, timeout=0),
        lambda: gcs.nodes.list(timeout=0.0),
        lambda: gcs.call("NodeInfoGcsService", "CheckAlive", timeout=0),
    ):
        began = time.monotonic()
        with pytest.raises(gcs_cffi.DeadlineExceededError) as caught:
            await call()
        assert isinstance(caught.value, asyncio.TimeoutError)
        assert isinstance(caught.value, TimeoutError)
        assert time.monotonic() - began < 0.5
    assert await gcs.kv.exists("key", namespace=namespace) is False


@pytest.mark.parametrize("timeout", [None, math.inf, 1e300, 10**400, 5, 0.5], ids=str)
async def test_timeouts_of_every_size_work(gcs: GcsClient, timeout: float | None) -> None:
    assert await gcs.kv.get("nothing", namespace="nowhere", timeout=timeout) is None


async def test_a_timeout_runs_from_the_call_and_ends_it_in_time(own_server: GcsServer) -> None:
    async with gcs_cffi.connect(own_server.address, timeout=0.3) as gcs:
        own_server.pause()
        for timeout, expected in ((None, 0.3), (0.1, 0.1)):
            began = time.monotonic()
            with pytest.raises(gcs_cffi.DeadlineExceededError) as caught:
                await gcs.kv.get("key", namespace="some", timeout=timeout)
            assert expected <= time.monotonic() - began < expected + 1
            assert caught.value.method == "/ray.rpc.InternalKVGcsService/InternalKVGet"
            assert caught.value.maybe_executed
        # The loop is busy between the call and its hand-over: that counts, too.
        call = asyncio.ensure_future(gcs.kv.get("key", namespace="some", timeout=0.2))
        await asyncio.sleep(0)
        time.sleep(0.3)  # noqa: ASYNC251
        began = time.monotonic()
        with pytest.raises(gcs_cffi.DeadlineExceededError):
            await call
        assert time.monotonic() - began < 0.15
        own_server.resume()


@pytest.mark.parametrize("key", [b"@namespace_", b"@namespace_some:key", "@namespace_x"])
async def test_a_key_of_rays_own_namespaces_is_refused_here(
    gcs: GcsClient, namespace: str, key: bytes | str
) -> None:
    for call in (
        lambda: gcs.kv.get(key),
        lambda: gcs.kv.put(key, b""),
        lambda: gcs.kv.delete(key),
        lambda: gcs.kv.delete_prefix(key),
        lambda: gcs.kv.exists(key),
        lambda: gcs.kv.keys(key),
        lambda: gcs.kv.multi_get(["good", key]),
    ):
        with pytest.raises(gcs_cffi.InvalidRequestError, match="@namespace_") as caught:
            await call()
        assert isinstance(caught.value, ValueError)
        assert not caught.value.maybe_executed
    # Within a namespace the server itself refuses to store it.
    with pytest.raises(gcs_cffi.GcsStatusError, match="@namespace_") as by_server:
        await gcs.kv.put(key, b"", namespace=namespace)
    assert by_server.value.code_name == "RAY_KEY_ERROR"


async def test_options_that_cannot_be_are_refused() -> None:
    connect: Any = gcs_cffi.connect
    impossible: tuple[dict[str, object], ...] = (
        {"on_cluster_change": "ignore"},
        {"cluster_id": "12"},
        {"cluster_id": b"12"},
        {"max_send_message": 0},
        {"max_receive_message": -1},
        {"token": "a\0b"},
    )
    wrong: tuple[dict[str, object], ...] = (
        {"token": 5},
        {"cluster_id": 5},
        {"wait_for_ready": "yes"},
        {"max_send_message": 1.5},
        {"max_send_message": True},
        {"timeouts": 5},
    )
    for arguments in impossible:
        with pytest.raises(ValueError):  # noqa: PT011 (the texts differ)
            connect("127.0.0.1:1", **arguments)
    for arguments in wrong:
        with pytest.raises(TypeError):
            connect("127.0.0.1:1", **arguments)


async def test_a_request_over_the_limit_is_refused_here(server: GcsServer) -> None:
    async with gcs_cffi.connect(server.address, max_send_message=100_000) as gcs:
        with pytest.raises(gcs_cffi.LimitExceededError) as caught:
            await gcs.kv.put("key", bytes(200_000), namespace="some")
        assert not caught.value.maybe_executed
        assert await gcs.kv.get("key", namespace="some") is None


async def test_a_reply_over_the_limit_fails_that_call_alone(
    gcs: GcsClient, server: GcsServer, namespace: str
) -> None:
    await gcs.kv.put("big", bytes(200_000), namespace=namespace)
    await gcs.kv.put("small", b"value", namespace=namespace)
    async with gcs_cffi.connect(server.address, max_receive_message=100_000) as limited:
        with pytest.raises(gcs_cffi.LimitExceededError):
            await limited.kv.get("big", namespace=namespace)
        assert await limited.kv.get("small", namespace=namespace) == b"value"


# ---- Tokens -------------------------------------------------------------------------------------


def test_a_wrong_or_missing_token_says_where_tokens_are_looked_for_and_shows_none(
    hide_user: None,
) -> None:
    right, wrong = "the-right-token-" + "r" * 24, "the-wrong-token-" + "w" * 24

    async def main(address: str) -> None:
        async with gcs_cffi.connect(address, token=right) as gcs:
            assert await gcs.kv.get("nothing", namespace="nowhere") is None
            assert right not in repr(gcs)
        nowhere = ("RAY_AUTH_TOKEN ", "RAY_AUTH_TOKEN_PATH", ".ray/auth_token")
        for token, places in ((wrong, ("token given",)), ("", ("token given",)), (None, nowhere)):
            with pytest.raises(gcs_cffi.AuthenticationError) as caught:
                async with gcs_cffi.connect(address, token=token) as gcs:
                    await gcs.kv.get("nothing", namespace="nowhere")
            for place in places:
                assert place in str(caught.value)
            shown = f"{caught.value!r} {caught.value} {vars(caught.value)}"
            assert right not in shown
            assert wrong not in shown

    with GcsServer(token=right) as server:
        asyncio.run(main(server.address))
