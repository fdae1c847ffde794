# SPDX-License-Identifier: Apache-2.0
"""The process between a test and the servers that it started: a script without our package.

It exists because a process that is killed cannot clean up after itself. It starts servers on
request, and when its owner is gone, however that went, it kills them and removes their folder.

Invariants:
- One thread. The kernel is told to kill each server when the thread that started it ends
  (PR_SET_PDEATHSIG): with one thread that is this process' own end, SIGKILL included.
- The owner is gone when the pipe of requests ends, or when this process has another parent: a child
  that the owner forked may still hold the pipe.
- Signals go to servers only through here, where they are children that have not been waited for: a
  process id can never have passed to somebody else.
- The lock on the folder is held, through an inherited descriptor, for as long as this process
  lives.

Requests and replies are lines of JSON, one reply for each request, in order.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
from typing import Any

OWNER_CHECK_INTERVAL = 0.25  # seconds
_PR_SET_PDEATHSIG = 1


class Supervisor:
    """Carries out the requests of one owner."""

    def __init__(self, owner: int, folder: str) -> None:
        """Takes the process id of the owner, and the folder to remove in the end."""
        self._owner = owner
        self._folder = folder
        self._servers: dict[str, subprocess.Popen[bytes]] = {}
        self._arm_child = _death_signal_setter()

    def run(self) -> None:
        """Serves until the owner asks for the end, or is gone."""
        pending = b""
        while os.getppid() == self._owner:
            if not select.select([0], [], [], OWNER_CHECK_INTERVAL)[0]:
                continue
            received = os.read(0, 1 << 16)
            if not received:
                return
            pending += received
            while b"\n" in pending:
                line, pending = pending.split(b"\n", 1)
                request = json.loads(line)
                if request["do"] == "close":
                    return
                self._reply(request)

    def clean_up(self) -> None:
        """Kills what still runs and removes the folder."""
        for server in self._servers.values():
            if server.poll() is None:
                server.kill()
                server.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _reply(self, request: dict[str, Any]) -> None:
        number = request.pop("number")
        try:
            reply: dict[str, Any] = getattr(self, f"_do_{request.pop('do')}")(**request)
        except OSError as error:
            reply = {"error": str(error)}
        os.write(1, json.dumps({"number": number, **reply}).encode() + b"\n")

    def _do_start(
        self, name: str, executable: str, argv: list[str], env: dict[str, str], log: str
    ) -> dict[str, Any]:
        with open(log, "ab") as output:
            self._servers[name] = subprocess.Popen(
                argv,
                executable=executable,
                env=env,
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                preexec_fn=self._arm_child,  # noqa: PLW1509 (this process has one thread)
            )
        return {"pid": self._servers[name].pid}

    def _do_poll(self, name: str) -> dict[str, Any]:
        return {"returncode": self._servers[name].poll()}

    def _do_kill(self, name: str) -> dict[str, Any]:
        server = self._servers[name]
        server.kill()
        return {"returncode": server.wait()}

    def _do_stop(self, name: str, grace: float) -> dict[str, Any]:
        server = self._servers[name]
        server.terminate()
        server.send_signal(signal.SIGCONT)
        try:
            return {"returncode": server.wait(grace)}
        except subprocess.TimeoutExpired:
            return self._do_kill(name)

    def _do_pause(self, name: str) -> dict[str, Any]:
        server = self._servers[name]
        server.send_signal(signal.SIGSTOP)
        if server.poll() is None:
            # The signal takes effect a moment later; the caller wants it in effect.
            os.waitid(os.P_PID, server.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        return {"returncode": server.poll()}

    def _do_resume(self, name: str) -> dict[str, Any]:
        server = self._servers[name]
        server.send_signal(signal.SIGCONT)
        return {"returncode": server.poll()}


def _death_signal_setter() -> Any:
    """What a child runs before it becomes the server; None where the kernel has no such thing."""
    if sys.platform != "linux":
        return None
    import ctypes

    prctl = ctypes.CDLL(None, use_errno=True).prctl
    supervisor = os.getpid()

    def arm() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != supervisor:  # it ended before the kernel was told
            os._exit(1)

    return arm


def _main() -> None:
    # The thread that started this may block signals; servers would inherit that, and ignore a
    # SIGTERM.
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    supervisor = Supervisor(int(sys.argv[1]), sys.argv[2])
    try:
        # A reply that nobody reads any more is not worth a traceback.
        with contextlib.suppress(BrokenPipeError):
            supervisor.run()
    finally:
        supervisor.clean_up()


if __name__ == "__main__":
    _main()
