# SPDX-License-Identifier: Apache-2.0
"""Processes that end with their owner, in a temporary folder that goes with them.

Invariants:
- A folder is locked (flock on the folder itself) by the supervisor for as long as that lives, and
  the supervisor removes it in the end. Only when it was killed does a folder stay, unlocked: the
  next one to make a folder removes it. A folder that is locked, or somebody else's, is never
  touched.
- Whoever makes a folder checks, once it has the lock, that the folder is still there: another
  process may have taken it for a leftover in between.
- Only the process that made an object uses it or ends it. In a forked child it is inert.
- `_lock` keeps request and reply together; nothing else is done under it. A request that was
  interrupted (Ctrl-C) leaves a reply behind, which the number of the next one tells apart.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from pathlib import Path
from typing import Any

_PREFIX = "gcs-cffi-server-"
_REPLY_TIMEOUT = 30.0  # seconds; a stop takes its grace, anything else is immediate
_END_TIMEOUT = 10.0  # seconds
_KEPT_VARIABLES = ("PATH", "LD_LIBRARY_PATH", "TZ")


class GcsServerError(RuntimeError):
    """A server for tests could not be found, started, or asked to do something."""


def base_environment() -> dict[str, str]:
    """What a server sees of the user's environment: nothing that could change what it does."""
    return {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}


class SupervisedProcesses:
    """Named processes below one supervisor, with their folder."""

    def __init__(self) -> None:
        """Removes what earlier owners left, makes the folder, and starts the supervisor."""
        _sweep()
        self.folder, folder_lock = _make_folder()
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self._requests = 0
        self._received = b""
        script = Path(__file__).with_name("_supervisor.py")
        try:
            with self._supervisor_log.open("wb") as log:
                self._supervisor = subprocess.Popen(
                    [sys.executable, "-I", "-S", script, str(self._owner), self.folder],
                    bufsize=0,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    cwd="/",
                    env=base_environment(),
                    pass_fds=(folder_lock,),
                    start_new_session=True,  # a Ctrl-C in the terminal is for the owner
                )
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise
        finally:
            os.close(folder_lock)
        self._finalizer = weakref.finalize(self, _end, self._supervisor, self.folder, self._owner)

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return not self._finalizer.alive

    def start(self, name: str, executable: str, argv: list[str], env: dict[str, str]) -> int:
        """Starts a process and returns its id. Its output is appended to `log(name)`."""
        reply = self._request(
            "start", name=name, executable=executable, argv=argv, env=env, log=str(self.log(name))
        )
        return int(reply["pid"])

    def returncode(self, name: str) -> int | None:
        """How the process ended, as `subprocess` has it; None while it runs."""
        code: int | None = self._request("poll", name=name)["returncode"]
        return code

    def kill(self, name: str) -> None:
        """SIGKILL. Returns when the process is gone."""
        self._request("kill", name=name)

    def stop(self, name: str, grace: float) -> None:
        """SIGTERM, and SIGKILL after `grace` seconds. Returns when the process is gone."""
        self._request("stop", name=name, grace=grace)

    def pause(self, name: str) -> None:
        """SIGSTOP. Returns when the process stands still."""
        self._request("pause", name=name)

    def resume(self, name: str) -> None:
        """SIGCONT."""
        self._request("resume", name=name)

    @property
    def _supervisor_log(self) -> Path:
        return self.folder / "supervisor.log"

    def log(self, name: str) -> Path:
        """The file with what the process has written."""
        return self.folder / f"{name}.log"

    def close(self) -> None:
        """Kills what runs and removes the folder. The second time does nothing."""
        self._finalizer()

    def _request(self, do: str, **arguments: object) -> dict[str, Any]:
        if os.getpid() != self._owner:
            raise GcsServerError("a server belongs to the process that started it; this is a fork")
        if self.closed:
            raise GcsServerError("the server was closed")
        with self._lock:
            try:
                reply = self._exchange({"do": do, **arguments})
            except (OSError, EOFError) as error:
                log = _text_of(self._supervisor_log)
                raise GcsServerError(
                    f"the supervisor of the server is gone, and the server with it: {error}"
                    + (f"\n{log}" if log else "")
                ) from error
        if "error" in reply:
            raise GcsServerError(reply["error"])
        return reply

    def _exchange(self, request: dict[str, object]) -> dict[str, Any]:
        pipe = self._supervisor.stdin
        if pipe is None:
            raise EOFError("its pipes are closed")
        self._requests += 1
        number = self._requests
        pipe.write(json.dumps({"number": number, **request}).encode() + b"\n")
        deadline = time.monotonic() + _REPLY_TIMEOUT
        while True:
            reply: dict[str, Any] = json.loads(self._read_line(deadline))
            if reply["number"] == number:
                return reply

    def _read_line(self, deadline: float) -> bytes:
        pipe = self._supervisor.stdout
        if pipe is None:
            raise EOFError("its pipes are closed")
        while b"\n" not in self._received:
            if not select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise TimeoutError(f"no answer within {_REPLY_TIMEOUT:.0f} s")
            part = pipe.read(1 << 16)
            if not part:
                raise EOFError("it has ended")
            self._received += part
        line, self._received = self._received.split(b"\n", 1)
        return line


def _end(supervisor: subprocess.Popen[bytes], folder: Path, owner: int) -> None:
    pipes = (supervisor.stdin, supervisor.stdout)
    if os.getpid() != owner:
        supervisor.returncode = 0  # it is not a child of this process: nothing to wait for
    else:
        with contextlib.suppress(OSError):
            if pipes[0] is not None:
                pipes[0].write(b'{"do": "close"}\n')
        try:
            supervisor.wait(_END_TIMEOUT)
        except subprocess.TimeoutExpired:
            supervisor.kill()
            supervisor.wait()
        shutil.rmtree(folder, ignore_errors=True)
    for pipe in pipes:
        if pipe is not None:
            pipe.close()


def _make_folder() -> tuple[Path, int]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        lock = _try_lock(folder)
        if lock is not None:
            return folder, lock


def _sweep() -> None:
    """Removes the folders that nobody holds any more."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        lock = _try_lock(folder)
        if lock is not None:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)


def _try_lock(folder: Path) -> int | None:
    """A descriptor that holds the lock of our folder; None if it is gone, held, or not ours."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        opened, present = os.fstat(descriptor), os.lstat(folder)
        if opened.st_uid == os.geteuid() and os.path.samestat(opened, present):
            return descriptor
    except OSError:
        pass
    os.close(descriptor)
    return None


def _text_of(file: Path) -> str:
    try:
        return file.read_text(errors="replace").strip()
    except OSError:
        return ""
