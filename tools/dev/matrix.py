# SPDX-License-Identifier: Apache-2.0
"""./dev matrix, and its part of ./dev test: every method, and the guard, on releases of Ray.

Invariants:
- Each release has a pytest process of its own. What became of its tests is read from the file that
  the process writes at its end; one of an earlier run is removed first.
- The table, and with it the exit status, is made by tests/matrix/table.py out of these files alone.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import rays
from console import Plan, complain, show
from environment import PYTHON
from machine import BUILD, ROOT
from testing import Counts, Tests

SUITE = ROOT / "tests" / "matrix"
GUARD = "tests/python/test_request_guard.py"
"""What would end a server is refused, whatever its release: each has to outlive it."""
RESULTS = BUILD / "matrix"
RESULTS_OF_TEST = BUILD / "matrix-of-test"


def split_arguments(arguments: Sequence[str]) -> tuple[tuple[str, ...], list[str]]:
    """The releases that `--ray` names, or all; and pytest's arguments.

    `--ray` is followed by one release or more, and may stand several times.
    """
    releases: list[str] = []
    rest: list[str] = []
    words = [part for word in arguments for part in _parts(word)]
    at = 0
    while at < len(words):
        if words[at] != "--ray":
            rest.append(words[at])
            at += 1
            continue
        named = at + 1
        while named < len(words) and rays.RELEASE.fullmatch(words[named]):
            named += 1
        if named == at + 1:
            complain(f"--ray is followed by releases of Ray, such as {rays.RELEASES[0]}")
            sys.exit(2)
        releases += words[at + 1 : named]
        at = named
    return tuple(dict.fromkeys(releases)) or rays.RELEASES, rest


def _parts(word: str) -> list[str]:
    return ["--ray", *word[6:].split(",")] if word.startswith("--ray=") else [word]


class Matrix:
    """The suite on some releases, and the table of it."""

    def __init__(
        self, tests: Tests, releases: tuple[str, ...], results: Path, arguments: Sequence[str] = ()
    ) -> None:
        """Describe it.

        Args:
            tests: gets the counts.
            releases: the releases, in the order of the table.
            results: the folder for what became of the tests; emptied first.
            arguments: pytest's; with some, methods without tests are left out of the table.
        """
        self._tests = tests
        self._releases = releases
        self._results = results
        self._arguments = list(arguments)

    def add(self, plan: Plan) -> None:
        """Add the steps that get the servers, run the suite on each, and print the table."""
        rays.add_rays(plan, self._releases)
        plan.add("folder for the results", self._empty_results)
        for release in self._releases:
            plan.add_loud(f"methods on Ray {release}", partial(self._run, release))
        plan.add_loud("methods by releases", self._table)

    def _empty_results(self) -> None:
        shutil.rmtree(self._results, ignore_errors=True)
        self._results.mkdir(parents=True)

    def _run(self, release: str) -> None:
        report = {"GCS_CFFI_MATRIX_REPORT": str(self._results / f"{release}.json")}
        suite = SUITE.relative_to(ROOT).as_posix()
        names_files = any(word.startswith("tests/") for word in self._arguments)
        chosen = self._arguments if names_files else [suite, GUARD, *self._arguments]
        settings = rays.find(release).environment() | report
        self._tests.run_pytest(f"Ray {release}", chosen, settings)

    def _table(self) -> None:
        began = time.monotonic()
        command: list[str | Path] = [PYTHON, "-I", SUITE / "table.py", self._results]
        command += [*self._releases, "--markdown", self._results / "methods.md"]
        if self._arguments:
            command.append("--partial")
        wrong = show(command, cwd=ROOT) != 0
        counts = Counts(failed=1) if wrong else Counts(passed=1)
        self._tests.results.append(("methods", counts, time.monotonic() - began))
