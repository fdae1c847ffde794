# SPDX-License-Identifier: Apache-2.0
"""A Redis for a GCS to keep its state in: in memory, on loopback, nothing written to disk.

Invariant: the redis-server runs under the same supervisor as the GCS, and outlives the GCS only
    within
one `GcsServer`.
"""

from __future__ import annotations

import shutil
import socket
import time

from gcs_cffi.testing._ports import free_port, listens
from gcs_cffi.testing._processes import GcsServerError, SupervisedProcesses, base_environment

_HOST = "127.0.0.1"
_NAME = "redis"
_ATTEMPTS = 5
_START_TIMEOUT = 10.0  # seconds
_POLL_INTERVAL = 0.02  # seconds


def start_redis(processes: SupervisedProcesses) -> str:
    """Starts a redis-server out of PATH and returns its address once it answers.

    Raises:
        GcsServerError: there is no redis-server, or it does not start.
    """
    executable = _find_executable()
    deadline = time.monotonic() + _START_TIMEOUT
    for _ in range(_ATTEMPTS):
        port = free_port(_HOST)
        arguments = {
            "--port": str(port),
            "--bind": _HOST,
            "--dir": str(processes.folder),
            "--save": "",
            "--appendonly": "no",
        }
        argv = ["redis-server", *(text for pair in arguments.items() for text in pair)]
        pid = processes.start(_NAME, executable, argv, base_environment())
        while processes.returncode(_NAME) is None:
            if _answers(port) and listens(pid, port):
                return f"{_HOST}:{port}"
            if time.monotonic() > deadline:
                processes.kill(_NAME)
                raise GcsServerError(
                    _failure(processes, f"did not answer in {_START_TIMEOUT:.0f} s")
                )
            time.sleep(_POLL_INTERVAL)
    raise GcsServerError(_failure(processes, "ended as soon as it was started"))


def _find_executable() -> str:
    # One program under several names, and it looks at the name that it is called by. Debian puts it
    # into a package without a service as redis-check-rdb.
    for name in ("redis-server", "redis-check-rdb"):
        found = shutil.which(name)
        if found:
            return found
    raise GcsServerError(
        "no redis-server in PATH: install it (Debian: redis-tools is enough), or pass the address "
        "of a Redis that runs"
    )


def _answers(port: int) -> bool:
    try:
        with socket.create_connection((_HOST, port), timeout=1.0) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith(b"+PONG")
    except OSError:
        return False


def _failure(processes: SupervisedProcesses, what: str) -> str:
    log = processes.log(_NAME).read_text(errors="replace").strip()
    return f"the redis-server {what}. Its log:\n{log}"
