# SPDX-License-Identifier: Apache-2.0
"""TLS and what becomes of the process: its end, forks, signals."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from helpers import run_script, said_nothing

from gcs_cffi.testing import GcsServer

if TYPE_CHECKING:
    from pathlib import Path

    from certificates import Everyone


USE = """
import sys, warnings
import gcs_cffi
warnings.filterwarnings("ignore", "This process", DeprecationWarning)
ca, cert, key, address = sys.argv[1:]
tls = gcs_cffi.TlsConfig(ca=ca, cert=cert, key=key)
gcs = gcs_cffi.sync.connect(address, tls=tls)
assert gcs.kv.get("key", namespace="nowhere") is None
"""


def script_arguments(everyone: Everyone, server: GcsServer) -> list[str]:
    client = everyone.client
    return [str(client.ca), str(client.cert), str(client.key), server.address]


@pytest.mark.parametrize("ssl_comes", ["first", "after a client without TLS", "last"])
def test_a_process_with_a_connection_ends_in_order(
    tls_server: GcsServer, everyone: Everyone, ssl_comes: str
) -> None:
    other = "import ssl, hashlib; ssl.create_default_context(); hashlib.sha256(b'').digest()\n"
    before, after = ("", other) if ssl_comes == "last" else (other, "")
    if "without" in ssl_comes:
        before = (
            "import gcs_cffi\n"
            "try: gcs_cffi.sync.connect('127.0.0.1:1', connect_timeout=0.05)\n"
            "except gcs_cffi.UnavailableError: pass\n"
        ) + before
    busy = """
import asyncio
async def busy():
    async with gcs_cffi.connect(address, tls=tls) as second:
        await asyncio.gather(*(second.kv.get(f"{n}", namespace="nowhere") for n in range(500)))
        tasks = [asyncio.ensure_future(second.kv.get("x", namespace="y")) for _ in range(500)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
asyncio.run(busy())
"""
    end = "import time; print(time.monotonic(), file=sys.stderr)\n"

    def seconds_to_exit() -> float:
        script = before + USE + after + busy + end
        done = run_script(script, *script_arguments(everyone, tls_server))
        assert (done.returncode, done.stdout) == (0, ""), done.stderr
        return time.monotonic() - float(done.stderr)  # and nothing else was said

    # A second is what the exit waits for a thread that does not end. The machine may be busy.
    assert any(seconds_to_exit() < 0.9 for _ in range(3))


def test_a_process_may_end_while_a_thread_reads_certificates(
    tls_server: GcsServer, everyone: Everyone, tmp_path: Path
) -> None:
    """OpenSSL's own clean-up, which comes with `ssl`, takes away what the thread stands on."""
    many = tmp_path / "many.pem"
    many.write_text(everyone.client.ca.read_text() * 200)
    script = """
import random, ssl, sys, threading, time
import gcs_cffi
def read():
    while True:
        try:
            gcs_cffi.sync.connect("127.0.0.1:1", tls=gcs_cffi.TlsConfig(ca=sys.argv[1]))
        except gcs_cffi.GcsError:
            pass
threading.Thread(target=read, daemon=True).start()
time.sleep(random.random() * 0.04)
"""
    command = [sys.executable, "-I", "-c", script, str(many)]
    for _ in range(5):
        ending = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(6)]
        said = [process.communicate(timeout=30)[1] for process in ending]
        assert [process.returncode for process in ending] == [0] * 6, said
        assert said == [b""] * 6


def test_a_forked_child_makes_a_client_of_its_own(
    tls_server: GcsServer, everyone: Everyone
) -> None:
    fork = """
import os
child = os.fork()
if child == 0:
    code = 1
    try:
        try:
            gcs.kv.get("key", namespace="nowhere")
        except gcs_cffi.ForkedError:
            with gcs_cffi.sync.connect(address, tls=tls) as own:
                assert own.kv.get("key", namespace="nowhere") is None
            code = 0
    finally:
        os._exit(code)
assert os.waitpid(child, 0)[1] == 0
assert gcs.kv.get("key", namespace="nowhere") is None
gcs.close()
"""
    done = run_script(USE + fork, *script_arguments(everyone, tls_server))
    assert said_nothing(done)


def test_forks_in_the_middle_of_handshakes_give_children_that_work(
    tls_server: GcsServer, everyone: Everyone
) -> None:
    forks = """
import os, threading, time
over = False

def connect_often():
    while not over:
        with gcs_cffi.sync.connect(address, tls=tls):
            pass

thread = threading.Thread(target=connect_often)
thread.start()
for number in range(40):
    time.sleep(number % 7 * 0.0007)
    child = os.fork()
    if child == 0:
        try:
            gcs_cffi.sync.connect(address, tls=tls).close()
            os._exit(0)
        finally:
            os._exit(1)
    for _ in range(1000):
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            break
        time.sleep(0.01)
    assert ended, f"child {number} hangs"
    assert status == 0, f"child {number} failed"
over = True
thread.join()
gcs.close()
"""
    done = run_script(USE + forks, *script_arguments(everyone, tls_server), timeout=60)
    assert said_nothing(done)


def test_a_server_that_is_gone_raises_no_signal(hide_user: None, everyone: Everyone) -> None:
    wait = """
import signal
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
print("ready", flush=True)
sys.stdin.readline()
for _ in range(20):
    try:
        gcs.kv.put("key", bytes(1 << 20), namespace="nowhere", timeout=0.05)
    except gcs_cffi.GcsError:
        pass
print("alive")
gcs.close()
"""
    with GcsServer(tls=everyone.server.files()) as server:
        arguments = [sys.executable, "-I", "-c", USE + wait, *script_arguments(everyone, server)]
        with subprocess.Popen(
            arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            server.kill()
            out, _ = process.communicate("\n", timeout=30)
            assert out == "alive\n"
            assert process.returncode == 0
