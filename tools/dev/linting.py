# SPDX-License-Identifier: Apache-2.0
"""./dev lint: the tools, each as one step; our own rules are in sources.py and interface.py."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import interface
import sources
from console import Plan, StepFailedError, run
from environment import NATIVE_BUILD, VENV, digest_of, fits
from machine import BUILD, ROOT, clean_environment

TYPED = ["gcs_cffi", "tests/python", "tests/cluster", "tests/matrix", "bench", "examples"]


def add_checks(plan: Plan) -> None:
    """Add every check."""
    plan.add("rules on source files", sources.check)
    plan.add("header as C99 to C2x and C++11 to C++20, gcc and clang", interface.check_header)
    plan.add("exported symbols, header and version script agree", interface.check_symbols)
    plan.add("generated files are fresh", check_generated)
    plan.add("ruff check", lambda: _ruff("check"))
    plan.add("ruff format", lambda: _ruff("format", "--check"))
    plan.add("mypy --strict", check_types)
    plan.add("clang-format", check_clang_format)
    plan.add("clang-tidy", check_clang_tidy)


def add_formatting(plan: Plan) -> None:
    """Add what rewrites the files, for the checks that are about their form."""
    plan.add("ruff check --fix", lambda: _ruff("check", "--fix-only"))
    plan.add("ruff format", lambda: _ruff("format"))
    plan.add("clang-format", lambda: _clang_format("-i"))


def _ruff(*words: str) -> str | None:
    run([VENV / "bin" / "ruff", *words, "--quiet", "."], env=clean_environment(VENV), cwd=ROOT)
    return None


def check_types() -> str | None:
    """Check the package's types, and those of what is written in Python beside it."""
    folders = [name for name in TYPED if any((ROOT / name).rglob("*.py"))]
    mypy = VENV / "bin" / "mypy"
    run([mypy, *folders], env=clean_environment(VENV), cwd=ROOT)
    run([mypy, "."], env=clean_environment(VENV), cwd=ROOT / "tools" / "dev")
    return None


def check_generated() -> str | None:
    """Run each generator with --check: it fails when its file is not what it would write."""
    generators = sorted((ROOT / "tools").glob("generate_*.py"))
    for generator in generators:
        run([VENV / "bin" / "python", generator, "--check"], env=clean_environment(VENV), cwd=ROOT)
    return None if generators else "none"


def _native_files(*suffixes: str) -> list[Path]:
    folders = [ROOT / "capi", ROOT / "tests", ROOT / "bench", ROOT / "examples"]
    return [path for path in sources.files_below(*folders) if path.suffix in suffixes]


def check_clang_format() -> str | None:
    """Check the format of all C and C++."""
    return _clang_format("--dry-run", "-Werror")


def _clang_format(*words: str) -> str | None:
    run(["clang-format", *words, *_native_files(".cc", ".h", ".c")], cwd=ROOT)
    return None


def check_clang_tidy() -> str | None:
    """Analyse each C++ file of the library; one that passed as it is now is left out."""
    commands = json.loads((NATIVE_BUILD / "compile_commands.json").read_text())
    capi = ROOT / "capi"
    by_file = {
        (Path(entry["directory"]) / entry["file"]).resolve(): entry["command"] for entry in commands
    }
    wanted = {path: text for path, text in by_file.items() if path.is_relative_to(capi)}
    headers = digest_of(ROOT / ".clang-tidy", *_native_files(".h"))
    stamps = BUILD / "clang-tidy"
    stamps.mkdir(exist_ok=True)

    def analyse(path: Path) -> str | None:
        stamp = stamps / ("-".join(path.relative_to(capi).parts) + ".stamp")
        digest = digest_of(headers, path, wanted[path])
        if fits(stamp, digest):
            return None
        command: list[str | Path] = ["clang-tidy", "--quiet", "-p", NATIVE_BUILD]
        # What GCC knows and clang does not.
        command += ["--extra-arg=-Wno-unknown-warning-option"]
        command += ["--extra-arg=-Wno-ignored-optimization-argument", path]
        try:
            run(command, cwd=ROOT)
        except StepFailedError as error:
            return str(error)
        stamp.write_text(digest)
        return None

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        failures = [text for text in pool.map(analyse, sorted(wanted)) if text is not None]
    if failures:
        raise StepFailedError("\n\n".join(failures))
    return None
