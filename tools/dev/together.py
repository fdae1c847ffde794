# SPDX-License-Identifier: Apache-2.0
"""Commands that run beside each other, for suites that mostly wait.

Invariants:
- What a command prints is printed when it has ended, in one piece.
- However this is left, every command has ended.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

_GLANCE = 0.1
_CLEAN_UP = 10.0


@dataclass(frozen=True)
class Command:
    """A command line, and what it is called."""

    name: str
    words: Sequence[str | Path]
    env: Mapping[str, str]
    cwd: Path


@dataclass
class _Running:
    command: Command
    printed: IO[bytes] = field(default_factory=tempfile.TemporaryFile)
    began: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.process = subprocess.Popen(
            [str(word) for word in self.command.words],
            env=dict(self.command.env),
            cwd=self.command.cwd,
            stdin=subprocess.DEVNULL,
            stdout=self.printed,
            stderr=subprocess.STDOUT,
        )

    def show(self, seconds: float) -> None:
        self.printed.seek(0)
        print(f"--- {self.command.name}, after {seconds:.0f} s", flush=True)
        sys.stdout.buffer.write(self.printed.read())
        sys.stdout.flush()

    def end(self) -> None:
        """As Ctrl-C does; and when that is not enough, at once."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(_CLEAN_UP)
            self.process.kill()
        self.process.wait()
        self.printed.close()


def show_together(
    commands: Sequence[Command], at_once: int
) -> Iterator[tuple[Command, int, float]]:
    """Run commands, so many at a time and begun in their order, and print what each printed.

    Yields:
        Each command when it has ended, with its exit status as a shell gives it, and its seconds.
    """
    waiting = list(commands)
    running: list[_Running] = []
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                running.append(_Running(waiting.pop(0)))
            time.sleep(_GLANCE)
            for one in [one for one in running if one.process.poll() is not None]:
                seconds = time.monotonic() - one.began
                running.remove(one)
                one.show(seconds)
                one.end()
                status = one.process.returncode
                yield one.command, status if status >= 0 else 128 - status, seconds
    finally:
        for one in running:
            one.end()
