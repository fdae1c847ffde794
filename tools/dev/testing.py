# SPDX-License-Identifier: Apache-2.0
"""./dev test and ./dev sanitize: every test runner, one after the other, and one sum at the end.

A runner that fails does not stop the ones after it. A runner that ends without a report counts as
one failure, so that a crash can never look like success.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
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

SANITIZERS = {"address": "address,undefined", "thread": "thread"}


# What these say of the library, of Ray and of the servers of tests is the same on every Python.
SAME_ON_EVERY_PYTHON = (
    "test_matrix_refusals.py",
    "test_matrix_table.py",
    "test_proto_matches_ray.py",
    "test_ray_methods_table.py",
    "test_request_guard.py",
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


class Tests:
    """Runs test runners, and remembers what each of them counted."""

    def __init__(self) -> None:
        self.results: list[tuple[str, Counts, float]] = []

    def add_native(self, plan: Plan) -> None:
        """Add the C++ and C tests of the build folder that the wheel came from."""
        plan.add("build the C++ and C tests", lambda: build_native_tests(NATIVE_BUILD))
        plan.add_loud("C++ and C tests", lambda: self._meson("C++ and C", NATIVE_BUILD, {}))

    def add_python(self, plan: Plan, arguments: Sequence[str]) -> None:
        """Add the Python tests on .venv's Python."""
        minor = sys.version_info.minor
        # Clusters need all of Ray, which only .venv has.
        chosen = arguments or ["tests/python", "tests/cluster"]
        plan.add_loud(
            f"Python tests on 3.{minor}", lambda: self._pytest(VENV, f"Python 3.{minor}", chosen)
        )

    def add_other_python(self, plan: Plan, minor: int, python: Path) -> None:
        """Add the Python tests on another Python, with the same wheel, but for what is the same."""
        chosen = [f"--ignore=tests/python/{name}" for name in SAME_ON_EVERY_PYTHON]
        venv = ROOT / f".venv-3.{minor}"

        def environment() -> str | None:
            notes = [
                make_venv(venv, python),
                install_requirements(venv, OTHER_GROUPS),
                install_wheel(venv),
            ]
            return "up to date" if all(notes) else None

        plan.add(f"virtual environment {venv.name}", environment)
        plan.add_loud(
            f"Python tests on 3.{minor}", lambda: self._pytest(venv, f"Python 3.{minor}", chosen)
        )

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
        self._pytest(VENV, name, arguments, settings)

    def _pytest(
        self,
        venv: Path,
        name: str,
        arguments: Sequence[str],
        settings: dict[str, str] | None = None,
    ) -> None:
        with tempfile.TemporaryDirectory(prefix="gcs-cffi-report-") as folder:
            report = Path(folder) / "junit.xml"
            # The script and not `python -m pytest`: that would find the source tree first.
            command: list[str | Path] = [venv / "bin" / "pytest", "-q", f"--junitxml={report}"]
            command += ["-p", "no:cacheprovider", *arguments]
            self._run(name, command, report, settings or {}, venv)

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
            env = clean_environment(venv, home)
            env["GCS_CFFI_GCS_SERVER"] = str(gcs_server(venv))
            env |= options
            status = show(command, env=env, cwd=ROOT)
        self.results.append((name, read_junit(report, status), time.monotonic() - began))


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
