# SPDX-License-Identifier: Apache-2.0
"""A contender's process, as the process that drives the run holds it.

Invariants:
- A worker ends with its `with` block: asked to at first, killed if it does not. If the driving
  process is killed, the end of the pipe ends the worker.
- It stands in a session of its own: Ctrl-C reaches the driving process alone, which ends the rest.
- It sees none of the user's settings of Ray, gRPC or Python, and an empty home folder, since a
  token that lies in ~/.ray would be sent.
- Whatever it says instead of an answer raises, with the end of what it has printed.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Self

_WORKER = Path(__file__).resolve().with_name("worker.py")
_DROPPED = ("RAY_", "GRPC_", "GCS_CFFI_", "PYTHON")
_END_TIMEOUT = 10.0
_PRINTED_LINES_SHOWN = 30


class BenchError(Exception):
    """The run cannot go on; the text says what happened, to whom."""


def worker_environment(home: Path) -> dict[str, str]:
    """The environment of every worker: the same for all contenders."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(_DROPPED)}
    return env | {"HOME": str(home), "RAY_AUTH_MODE": "disabled"}


class WorkerProcess:
    """One worker.

    Args:
        name: the contender, a key of CONTENDERS.
        home: an empty folder, where it stands too.
    """

    def __init__(self, name: str, home: Path) -> None:
        self._name = name
        self._received = b""
        self._printed = tempfile.TemporaryFile()  # noqa: SIM115 - closed in __exit__
        self._process = subprocess.Popen(
            [sys.executable, "-I", str(_WORKER), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._printed,
            bufsize=0,
            env=worker_environment(home),
            cwd=home,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def ask(self, do: str, *, timeout: float = 60.0, **arguments: object) -> Any:
        """Gives a command, and returns the answer.

        Raises:
            BenchError: the worker failed, ended, or did not answer within `timeout` seconds.
        """
        stdin = self._process.stdin
        assert stdin is not None
        # A worker that has ended is noticed below, where its status is known.
        with contextlib.suppress(BrokenPipeError):
            stdin.write(json.dumps({"do": do} | arguments).encode() + b"\n")
        line = self._read_line(do, time.monotonic() + timeout)
        answer = json.loads(line)
        if "error" in answer:
            raise BenchError(f"{self._name} failed at {do}:\n{answer['error']}{self._tail()}")
        return answer["ok"]

    def end(self) -> None:
        """Ends the worker as a user's process would end.

        Raises:
            BenchError: it ended with a failure, or did not end.
        """
        self.ask("close")
        status = self._wait()
        if status is None:
            raise BenchError(
                f"{self._name} did not end within {_END_TIMEOUT:g} s of its close{self._tail()}"
            )
        if status != 0:
            raise BenchError(f"{self._name} ended with status {status}{self._tail()}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._printed):
            if stream is not None:
                stream.close()

    def _wait(self) -> int | None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            return self._process.wait(_END_TIMEOUT)
        except subprocess.TimeoutExpired:
            return None

    def _read_line(self, do: str, deadline: float) -> bytes:
        stdout = self._process.stdout
        assert stdout is not None
        while b"\n" not in self._received:
            readable, _, _ = select.select([stdout], [], [], max(0.0, deadline - time.monotonic()))
            if not readable:
                raise BenchError(f"{self._name} did not answer {do} in time{self._tail()}")
            data = os.read(stdout.fileno(), 1 << 16)
            if not data:
                status = self._wait()
                raise BenchError(f"{self._name} ended at {do}, with status {status}{self._tail()}")
            self._received += data
        line, _, self._received = self._received.partition(b"\n")
        return line

    def _tail(self) -> str:
        self._printed.seek(0)
        lines = self._printed.read().decode(errors="replace").strip().splitlines()
        if not lines:
            return ". It has printed nothing"
        return "\nThe end of what it has printed:\n" + "\n".join(lines[-_PRINTED_LINES_SHOWN:])
