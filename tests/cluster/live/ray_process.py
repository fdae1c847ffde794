# SPDX-License-Identifier: Apache-2.0
"""The child process with the live cluster, seen from the tests.

Invariants:
- The cluster has a home, a temporary folder and a token of its own.
- Whatever happens, `end()` leaves no process of it; only those that carry our folder in their
  environment are ended, by their ids.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

START_SECONDS = 240
ANSWER_SECONDS = 90
END_SECONDS = 10
FOLDER_OF_MODULES = Path(__file__).resolve().parents[1]


@dataclass
class Made:
    """Ids of what runs, by names; see `live.workload`."""

    driver_job: bytes = b""
    nodes: dict[str, bytes] = field(default_factory=dict)
    actors: dict[str, bytes] = field(default_factory=dict)
    groups: dict[str, bytes] = field(default_factory=dict)
    tasks: dict[str, bytes] = field(default_factory=dict)


class RayProcess:
    """The cluster's process; `ask()` has it read by Ray's own clients."""

    module = "live.child"

    def __init__(self) -> None:
        """Starts it, and waits until all of the workload has come to rest."""
        # Ray puts sockets there, whose paths are limited.
        self.folder = Path(tempfile.mkdtemp(prefix="gcs-", dir="/tmp"))
        self.token = secrets.token_hex(32)
        self.environment = self._make_environment()
        self._log = self.folder / "cluster.log"
        self._pipe, theirs = Pipe()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        with self._log.open("w") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", self.module, str(theirs.fileno()), str(port)],
                pass_fds=[theirs.fileno()],
                env=self.environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        theirs.close()
        try:
            self.address, made = self._receive(START_SECONDS)
        except BaseException:
            self.end()
            raise
        self.made = Made(**made)

    def ask(self, method: str, **arguments: Any) -> Any:
        """What a method of RayView, or of the other module's class, returns.

        Arguments are built-in values: the child does not import the package.

        Raises:
            AssertionError: it failed; the text has the child's traceback.
            RuntimeError: the child has ended, or does not answer; the text has what it printed.
        """
        self._pipe.send((method, arguments))
        return self._receive(ANSWER_SECONDS)

    def end(self) -> None:
        """Ends the process, and what it started."""
        self._pipe.close()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(END_SECONDS)
        deadline = time.monotonic() + END_SECONDS
        while (left := self._processes()) and time.monotonic() < deadline:
            for each in left:
                try:
                    os.kill(each, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            time.sleep(0.1)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _receive(self, seconds: float) -> Any:
        if not self._pipe.poll(seconds):
            raise RuntimeError(f"no answer within {seconds} s:\n{self._log.read_text()}")
        try:
            fine, answer = self._pipe.recv()
        except EOFError:
            raise RuntimeError(f"the process has ended:\n{self._log.read_text()}") from None
        if not fine:
            raise AssertionError(f"Ray's side failed:\n{answer}")
        return answer

    def _make_environment(self) -> dict[str, str]:
        for name in ("home", "tmp"):
            (self.folder / name).mkdir()
        token_file = self.folder / "home" / ".ray" / "auth_token"
        token_file.parent.mkdir()
        token_file.write_text(self.token)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        kept.pop("TMPDIR", None)
        kept |= {"HOME": str(self.folder / "home"), "RAY_TMPDIR": str(self.folder / "tmp")}
        kept["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', os.defpath)}"
        kept["PYTHONPATH"] = str(FOLDER_OF_MODULES)
        return kept | {"RAY_AUTH_MODE": "token", "RAY_USAGE_STATS_ENABLED": "0"}

    def _processes(self) -> list[int]:
        mark = f"RAY_TMPDIR={self.folder}/tmp".encode()
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            try:
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue
        return found
