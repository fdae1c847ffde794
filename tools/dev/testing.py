# SPDX-License-Identifier: Apache-2.0
"""./dev test and ./dev sanitize: every test runner, and one sum at the end.

A runner that fails does not stop the ones after it. A runner that ends without a report counts as
one failure, so that a crash can never look like success.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

from console import Plan, run, show
from environment import (
    NATIVE_BUILD,
    OTHER_GROUPS,
    VENV,
    gcs_server,
    install_requirements,
    install_wheel,
    make_venv,
)
from machine import BUILD, ROOT, clean_environment, temporary_home
from together import Command, show_together

AT_ONCE = 3
"""So many suites run beside each other: each of them waits for two thirds of its time."""

SANITIZERS = {"address": "address,undefined", "thread": "thread"}


# What these say of the library, of Ray and of the servers of tests is the same on every Python.
SAME_ON_EVERY_PYTHON = (
    "test_matrix_refusals.py",
    "test_matrix_table.py",
    "test_methods_lock.py",
    "test_proto_matches_ray.py",
    "test_ray_methods_table.py",
    "test_request_guard.py",
    "test_subscription_memory.py",
    "test_subscription_patience.py",
    "test_testing_owner.py",
    "test_testing_server.py",
    "test_testing_settings.py",
    "test_tls.py",
    "test_token.py",
    "test_token_rotation.py",
)


@dataclass
class Counts:
    """How many tests passed, failed and were skipped."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.passed + other.passed, self.failed + other.failed, self.skipped + other.skipped
        )

    def __str__(self) -> str:
        text = f"{self.passed} passed, {self.failed} failed"
        return f"{text}, {self.skipped} skipped" if self.skipped else text


def read_junit(report: Path, status: int) -> Counts:
    """The counts in a JUnit report; `status` is what the runner ended with."""
    counts = Counts()
    try:
        cases = list(ElementTree.parse(report).getroot().iter("testcase"))
    except (OSError, ElementTree.ParseError):
        return Counts(failed=1) if status != 0 else counts
    for case in cases:
        if case.find("failure") is not None or case.find("error") is not None:
            counts.failed += 1
        elif case.find("skipped") is not None or case.get("status") == "notrun":
            counts.skipped += 1
        else:
            counts.passed += 1
    if status != 0 and counts.failed == 0:
        counts.failed = 1
    return counts


@dataclass(frozen=True)
class Suite:
    """Python tests, chosen by pytest's arguments, in a virtual environment."""

    name: str
    venv: Path
    arguments: Sequence[str]

    def command(self, report: Path) -> list[str | Path]:
        """What runs them, and writes a JUnit report."""
        # The script and not `python -m pytest`: that would find the source tree first.
        command: list[str | Path] = [self.venv / "bin" / "pytest", "-q", f"--junitxml={report}"]
        return [*command, "-p", "no:cacheprovider", *self.arguments]


class Tests:
    """Runs test runners, and remembers what each of them counted."""

    def __init__(self) -> None:
        self.results: list[tuple[str, Counts, float]] = []

    def add_native(self, plan: Plan) -> None:
        """Add the C++ and C tests of the build folder that the wheel came from."""
        plan.add("build the C++ and C tests", lambda: build_native_tests(NATIVE_BUILD))
        plan.add_loud("C++ and C tests", lambda: self._meson("C++ and C", NATIVE_BUILD, {}))

    def add_python(self, plan: Plan, arguments: Sequence[str]) -> None:
        """Add Python tests on .venv's Python, chosen by pytest's arguments."""
        suite = Suite(f"Python 3.{sys.version_info.minor}", VENV, arguments)
        plan.add_loud(f"tests on {suite.name}", lambda: self._pytest(suite))

    def add_every_python(self, plan: Plan, others: Mapping[int, Path]) -> None:
        """Add all Python tests: on .venv's Python, and what may differ on the others.

        These have the same wheel. `others` has the Pythons by their minor.
        """
        suites = [
            Suite(f"Python 3.{sys.version_info.minor}", VENV, ["tests/python"]),
            # They need all of Ray, which only .venv has.
            Suite("clusters", VENV, ["tests/cluster"]),
        ]
        ignored = [f"--ignore=tests/python/{name}" for name in SAME_ON_EVERY_PYTHON]
        for minor, python in others.items():
            venv = ROOT / f".venv-3.{minor}"
            plan.add(f"virtual environment {venv.name}", partial(_other_environment, venv, python))
            suites.append(Suite(f"Python 3.{minor}", venv, ["tests/python", *ignored]))
        names = ", ".join(suite.name for suite in suites)
        plan.add_loud(f"tests: {names}; {AT_ONCE} at a time", lambda: self._together(suites))

    def add_sanitizer(self, plan: Plan, kind: str) -> None:
        """Add the C++ and C tests under a sanitizer."""
        folder = BUILD / f"sanitize-{kind}"
        plan.add(f"build the C++ and C tests ({kind} sanitizer)", lambda: build_sanitized(kind))
        options = {
            "ASAN_OPTIONS": "halt_on_error=1:detect_leaks=1:strict_string_checks=1",
            "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
            "TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1",
        }
        plan.add_loud(
            f"C++ and C tests ({kind} sanitizer)", lambda: self._meson(kind, folder, options)
        )

    def summary(self) -> bool:
        """Print the sums; True if tests ran and none failed."""
        total = Counts()
        print()
        for name, counts, seconds in self.results:
            print(f"  {name:<14} {counts}  ({seconds:.0f} s)")
            total += counts
        print(total, flush=True)
        return total.failed == 0 and total.passed > 0

    def _meson(self, name: str, folder: Path, options: dict[str, str]) -> None:
        report = folder / "meson-logs" / "testlog.junit.xml"
        report.unlink(missing_ok=True)
        meson = VENV / "bin" / "meson"
        command: list[str | Path] = [
            meson,
            "test",
            "-C",
            folder,
            "--no-rebuild",
            "--print-errorlogs",
        ]
        self._run(name, command, report, options)

    def run_pytest(self, name: str, arguments: Sequence[str], settings: dict[str, str]) -> None:
        """Run Python tests on .venv's Python, with variables of the environment of their own."""
        self._pytest(Suite(name, VENV, arguments), settings)

    def _pytest(self, suite: Suite, settings: dict[str, str] | None = None) -> None:
        with tempfile.TemporaryDirectory(prefix="gcs-cffi-report-") as folder:
            report = Path(folder) / "junit.xml"
            self._run(suite.name, suite.command(report), report, settings or {}, suite.venv)

    def _together(self, suites: Sequence[Suite]) -> None:
        with ExitStack() as stack:
            folder = Path(
                stack.enter_context(tempfile.TemporaryDirectory(prefix="gcs-cffi-report-"))
            )
            reports = {suite.name: folder / f"{suite.name}.xml" for suite in suites}
            commands = [
                Command(
                    suite.name,
                    suite.command(reports[suite.name]),
                    _environment(suite.venv, stack.enter_context(temporary_home())),
                    ROOT,
                )
                for suite in suites
            ]
            for command, status, seconds in show_together(commands, AT_ONCE):
                counts = read_junit(reports[command.name], status)
                self.results.append((command.name, counts, seconds))

    def _run(
        self,
        name: str,
        command: Sequence[str | Path],
        report: Path,
        options: dict[str, str],
        venv: Path = VENV,
    ) -> None:
        began = time.monotonic()
        with temporary_home() as home:
            status = show(command, env=_environment(venv, home) | options, cwd=ROOT)
        self.results.append((name, read_junit(report, status), time.monotonic() - began))


def _environment(venv: Path, home: Path) -> dict[str, str]:
    return clean_environment(venv, home) | {"GCS_CFFI_GCS_SERVER": str(gcs_server(venv))}


def _other_environment(venv: Path, python: Path) -> str | None:
    notes = [
        make_venv(venv, python),
        install_requirements(venv, OTHER_GROUPS),
        install_wheel(venv),
    ]
    return "up to date" if all(notes) else None


def build_native_tests(folder: Path) -> None:
    """Build what `meson test` would run."""
    env = clean_environment(VENV)
    run([VENV / "bin" / "meson", "configure", folder, "-Dtests=true"], env=env)
    run([VENV / "bin" / "ninja", "-C", folder, "meson-test-prereq"], env=env)


def sanitized_chaos(kind: str) -> list[str]:
    """What the chaos suite is told, so that its workers use the library with this sanitizer."""
    name, options = {
        # CPython has leaks of its own.
        "address": ("libasan.so", "ASAN_OPTIONS=detect_leaks=0:halt_on_error=1"),
        "thread": (
            "libtsan.so",
            f"TSAN_OPTIONS=suppressions={ROOT}/tests/cluster/chaos/tsan.supp:halt_on_error=0",
        ),
    }[kind]
    found = subprocess.run(
        ["g++", f"-print-file-name={name}"], capture_output=True, text=True, check=True
    )
    # Sanitized code is slow, and keeps freed memory.
    return [
        *("--deadline-slack", "1", "--rss-growth", "600"),
        *(
            "--preload",
            f"{found.stdout.strip()} {BUILD}/sanitize-{kind}/capi/libgcs_capi.so.1",
            "--env",
            options,
        ),
    ]


def build_sanitized(kind: str, target: str = "meson-test-prereq") -> None:
    """Configure a folder whose library and tests carry the sanitizer, and build there."""
    folder = BUILD / f"sanitize-{kind}"
    env = clean_environment(VENV)
    if not (folder / "build.ninja").exists():
        shutil.rmtree(folder, ignore_errors=True)
        setup: list[str | Path] = [VENV / "bin" / "meson", "setup", folder, ROOT, "-Dtests=true"]
        setup += ["-Dbuildtype=debugoptimized", "-Doptimization=1", "-Db_ndebug=false"]
        setup += [f"-Db_sanitize={SANITIZERS[kind]}", "-Db_lundef=false"]
        if kind == "thread":
            # Asio's fences, of which GCC says that it does not look at them, stand beside locks.
            setup += ["-Dcpp_args=-Wno-tsan"]
        run(setup, env=env)
    run([VENV / "bin" / "ninja", "-C", folder, target], env=env)
