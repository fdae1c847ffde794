# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C while a blocking client waits: how soon the wait ends, and what the library has left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gcs_cffi.testing import GcsServer

COMPANIES = ("alone", "beside threads")

_OPEN = """
import json, os, sys, threading, time
import gcs_cffi
from gcs_cffi import _native
gcs = gcs_cffi.sync.connect(sys.argv[1])
if sys.argv[2] == "beside threads":
    # The kernel may choose any of these for the signal.
    for _ in range(3):
        threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
"""
_WAIT = """
print("ready", flush=True)
sys.stdin.readline()
try:
    wait()
except KeyboardInterrupt:
    print(time.monotonic_ns(), flush=True)
handle = gcs._channel.handle
for _ in range(500):
    left = json.loads(_native.client_stats(handle))[sys.argv[3]]
    if not left:
        break
    time.sleep(0.01)
print(left, flush=True)
os._exit(0)
"""


def ctrl_c_ends(server: GcsServer, company: str, code: str, counter: str) -> bool:
    """Fails unless Ctrl-C ends a wait within 100 ms, and leaves nothing in the library.

    The server is stopped meanwhile.

    Args:
        server: one of the test's own.
        company: one of `COMPANIES`: whether the process has other threads.
        code: defines `wait()`; has a client in `gcs`.
        counter: of the client's statistics, which is to be 0 in the end.
    """
    script = [sys.executable, "-I", "-c", _OPEN + code + _WAIT]
    times = []
    for _ in range(3):
        with subprocess.Popen(
            [*script, server.address, company, counter],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            server.pause()
            process.stdin.write("\n")
            process.stdin.flush()
            time.sleep(0.3)
            sent = time.monotonic_ns()
            os.kill(process.pid, signal.SIGINT)
            times.append(int(process.stdout.readline()) - sent)
            assert process.stdout.readline() == "0\n"
            server.resume()
    assert min(times) < 100e6, times
    assert max(times) < 500e6, times
    return True
