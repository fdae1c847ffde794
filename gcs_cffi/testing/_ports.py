# SPDX-License-Identifier: Apache-2.0
"""Ports for servers that are told their port.

A port that is free now can be taken by the time that a server wants it. So a port is only ever a
proposal: the caller starts the server, and proposes another one if the server could not have it.

Invariant: proposals lie below the range from which the kernel takes the ports of outgoing
    connections,
where that leaves room. In that range a client that keeps connecting to a port where nobody listens
can be given that same port for its own end, and then talks to itself and keeps the server from
coming back.
"""

from __future__ import annotations

import os
import random
import socket
import sys
from pathlib import Path

_LOWEST = 20000
_HIGHEST = 32767
_LEAST_ROOM = 1000
_ATTEMPTS = 1000
_LISTENING = "0A"

# Not the module's generator: a test that seeds that one would make all its runs propose the same
# ports.
_random = random.SystemRandom()


def free_port(host: str) -> int:
    """Proposes a port of `host`, an IPv4 address of this machine, at which nobody listens now."""
    highest = min(_HIGHEST, _first_ephemeral_port() - 1)
    if highest < _LOWEST + _LEAST_ROOM:
        highest = _HIGHEST
    for _ in range(_ATTEMPTS):
        port = _random.randint(_LOWEST, highest)
        if is_free(host, port):
            return port
    raise OSError(f"no free port between {_LOWEST} and {highest} on {host}")


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen at the port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # What servers do too: connections of an earlier server that linger do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def listens(pid: int, port: int) -> bool:
    """Whether it is this process that listens at the port. True where that cannot be found out."""
    if sys.platform != "linux":
        return True
    try:
        own = _socket_inodes(pid)
        tables = [Path(f"/proc/{pid}/net/{name}").read_text() for name in ("tcp", "tcp6")]
    except FileNotFoundError:
        return False
    except OSError:
        return True
    for table in tables:
        for line in table.splitlines()[1:]:
            columns = line.split()
            local, state, inode = columns[1], columns[3], columns[9]
            if state == _LISTENING and int(local.rpartition(":")[2], 16) == port and inode in own:
                return True
    return False


def _socket_inodes(pid: int) -> set[str]:
    inodes = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = os.readlink(entry)
        except FileNotFoundError:  # closed meanwhile
            continue
        if target.startswith("socket:["):
            inodes.add(target[len("socket:[") : -1])
    return inodes


def _first_ephemeral_port() -> int:
    try:
        return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError):
        return _HIGHEST + 1
