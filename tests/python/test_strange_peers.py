# SPDX-License-Identifier: Apache-2.0
"""Peers that are no GCS, and addresses that lead nowhere: an error, in time, with what was seen."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
import struct
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from helpers import descriptors_flat, run_script, unused_port

import gcs_cffi

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from helpers import Peer

    from gcs_cffi.testing import GcsServer

    StartPeer = Callable[[Callable[[socket.socket], None]], Peer]


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
