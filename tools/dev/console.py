# SPDX-License-Identifier: Apache-2.0
"""What ./dev prints: a line per step, and for a command that failed what it printed."""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path

LONGEST_OUTPUT = 400
_CLEAN_UP = 3.0


class StepFailedError(Exception):
    """A step did not do its work; the text says which command, and what it printed."""


def complain(text: str) -> None:
    """Print to standard error, after what standard output already has."""
    sys.stdout.flush()
    print(text.rstrip("\n"), file=sys.stderr, flush=True)


def run(
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> str:
    """Run a command and return its output, both streams together.

    Raises:
        StepFailedError: it is not there or ended with a failure.
    """
    line = shlex.join(str(word) for word in command)
    try:
        done = subprocess.run(
            [str(word) for word in command],
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
    except OSError as error:
        raise StepFailedError(f"$ {line}\n{error}") from error
    if done.returncode != 0:
        lines = done.stdout.splitlines()
        if len(lines) > LONGEST_OUTPUT:
            left_out = len(lines) - LONGEST_OUTPUT
            lines = [f"... the first {left_out} lines are left out ...", *lines[left_out:]]
        text = "\n".join(lines)
        raise StepFailedError(f"$ {line}\n{text}\nended with status {done.returncode}")
    return done.stdout


def show(
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> int:
    """Run a command that prints for itself, and return its exit status as a shell gives it.

    Raises:
        KeyboardInterrupt: Ctrl-C, once the command has ended.
    """
    sys.stdout.flush()
    interrupted = False
    with subprocess.Popen([str(word) for word in command], env=env, cwd=cwd) as process:
        while process.returncode is None:
            try:
                process.wait()
            except KeyboardInterrupt:
                # The terminal sent it to the command too, which may need a moment to clean up; but
                # `kill` did not.
                interrupted = True
                with suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
                    process.wait(_CLEAN_UP)
                if process.returncode is None:
                    process.send_signal(signal.SIGINT)
    if interrupted:
        raise KeyboardInterrupt
    return process.returncode if process.returncode >= 0 else 128 - process.returncode


class Plan:
    """The steps of one verb, known before the first runs: each line says how many there are."""

    def __init__(self, guard: Callable[[], AbstractContextManager[None]]) -> None:
        """`guard` is held during each step that prints nothing, one at a time."""
        self._guard = guard
        self._steps: list[tuple[str, Callable[[], str | None], bool]] = []
        self._stoppable = sys.maxsize

    def add(self, title: str, work: Callable[[], str | None]) -> None:
        """Add a step; what `work` returns stands on its line in place of the seconds."""
        self._steps.append((title, work, False))

    def add_loud(self, title: str, work: Callable[[], str | None]) -> None:
        """Add a step that prints for itself, below its line."""
        self._steps.append((title, work, True))

    def keep_going(self) -> None:
        """Let no failure of a step added from here on stop the steps after it."""
        self._stoppable = len(self._steps)

    def run(self) -> None:
        """Run the steps in order.

        Raises:
            StepFailedError: from the first step that failed; the later ones did not run. Failures
                after keep_going() come together at the end.
        """
        total = len(self._steps)
        failures: list[str] = []
        for number, (title, work, loud) in enumerate(self._steps, 1):
            print(f"[{number}/{total}] {title} ...", end="\n" if loud else " ", flush=True)
            began = time.monotonic()
            try:
                with nullcontext() if loud else self._guard():
                    note = work()
            except BaseException as error:
                if not loud:
                    print(f"failed after {time.monotonic() - began:.1f} s", flush=True)
                if not isinstance(error, StepFailedError) or number <= self._stoppable:
                    raise
                failures.append(f"[{number}/{total}] {title}\n{error}")
                continue
            if not loud:
                print(note or f"{time.monotonic() - began:.1f} s", flush=True)
        if failures:
            raise StepFailedError("\n\n".join(failures))
