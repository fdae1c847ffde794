# SPDX-License-Identifier: Apache-2.0
"""What each verb of ./dev does, in steps. Each returns the process's exit status."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from console import Plan, complain, show
from environment import PYTHON, VENV, exclusive, gcs_server, set_up
from linting import add_checks, add_formatting
from machine import LINT_PACKAGES, ROOT, clean_environment, other_pythons, temporary_home
from matrix import RESULTS, RESULTS_OF_TEST, Matrix, split_arguments
from rays import RELEASES_OF_TEST
from testing import SANITIZERS, Tests, build_sanitized, sanitized_chaos


def _no_arguments(verb: str, arguments: Sequence[str]) -> None:
    if arguments:
        complain(f"./dev {verb} takes no arguments, and got: {' '.join(arguments)}")
        sys.exit(2)


def setup(arguments: Sequence[str]) -> int:
    """Install what is missing, build the wheel, install it into .venv."""
    _no_arguments("setup", arguments)
    plan = Plan(exclusive)
    set_up(plan)
    plan.run()
    return 0


def demo(arguments: Sequence[str]) -> int:
    """Set up, then show the client at work."""
    setup([])
    env = clean_environment(VENV)
    if any(word.split("=")[0] == "--address" for word in arguments):
        # For a running cluster the person's own settings, its token among them, are wanted.
        env |= {name: value for name, value in os.environ.items() if name.startswith("RAY_")}
    try:
        # -I keeps the source tree, which is the current folder, off the module path.
        return show([PYTHON, "-I", "-m", "gcs_cffi", "demo", *arguments], env=env)
    except KeyboardInterrupt:
        return 130  # the demo has said so


def test(arguments: Sequence[str]) -> int:
    """Set up, then run every test on every Python that is there."""
    tests = Tests()
    plan = Plan(exclusive)
    set_up(plan)
    lacking: list[int] = []
    if arguments:
        tests.add_python(plan, arguments)
    else:
        tests.add_native(plan)
        others, lacking = other_pythons()
        tests.add_every_python(plan, others)
        Matrix(tests, RELEASES_OF_TEST, RESULTS_OF_TEST).add(plan)
    plan.run()
    if lacking:
        names = ", ".join(f"3.{minor}" for minor in lacking)
        print(f"\nPythons left out, since they are not on this machine: {names}")
    if arguments:
        print(
            "\nLeft out, since pytest arguments were given: the C++ and C tests, other Pythons, "
            "other releases of Ray"
        )
    return 0 if tests.summary() else 1


def matrix(arguments: Sequence[str]) -> int:
    """Set up, then test every method on several releases of Ray, and print the table."""
    releases, rest = split_arguments(arguments)
    tests = Tests()
    plan = Plan(exclusive)
    set_up(plan)
    Matrix(tests, releases, RESULTS, rest).add(plan)
    plan.run()
    return 0 if tests.summary() else 1


def live(arguments: Sequence[str]) -> int:
    """Set up with Ray's dashboard, then compare every accessor with Ray's own clients."""
    tests = Tests()
    plan = Plan(exclusive)
    # The dashboard needs grpcio too, which the peers have.
    set_up(plan, groups=["bench", "dashboard"])
    tests.add_python(plan, ["-m", "live", "-s", "tests/cluster", *arguments])
    plan.run()
    return 0 if tests.summary() else 1


def lint(arguments: Sequence[str]) -> int:
    """Check formats, types, and the rules on sources, headers and symbols."""
    _no_arguments("lint", arguments)
    plan = Plan(exclusive)
    set_up(plan, groups=["lint", "bench"], packages=LINT_PACKAGES)
    plan.keep_going()
    add_checks(plan)
    plan.run()
    return 0


def reformat(arguments: Sequence[str]) -> int:
    """Rewrite the sources in the form that lint asks for."""
    _no_arguments("format", arguments)
    plan = Plan(exclusive)
    set_up(plan, groups=["lint", "bench"], packages=LINT_PACKAGES)
    add_formatting(plan)
    plan.run()
    return 0


def bench(arguments: Sequence[str]) -> int:
    """Set up with the peers, then measure calls, or with "pubsub" first, subscribers."""
    plan = Plan(exclusive)
    set_up(plan, groups=["bench"])
    plan.run()
    env = clean_environment(VENV)
    env["GCS_CFFI_GCS_SERVER"] = str(gcs_server(VENV))
    script = "run.py"
    if arguments[:1] == ["pubsub"]:
        script, arguments = "pubsub.py", arguments[1:]
    return show([PYTHON, "-I", ROOT / "bench" / script, *arguments], env=env)


def sanitize(arguments: Sequence[str]) -> int:
    """Build and run the C++ and C tests under the sanitizers."""
    kinds = list(arguments) or list(SANITIZERS)
    unknown = [kind for kind in kinds if kind not in SANITIZERS]
    if unknown:
        complain(f"./dev sanitize knows {' and '.join(SANITIZERS)}, and not {unknown[0]}")
        return 2
    tests = Tests()
    plan = Plan(exclusive)
    set_up(plan)
    for kind in kinds:
        tests.add_sanitizer(plan, kind)
    plan.run()
    return 0 if tests.summary() else 1


def _without_sanitizer(arguments: Sequence[str]) -> tuple[Sequence[str], str]:
    """The arguments without `--sanitizer KIND`, and KIND."""
    if "--sanitizer" not in arguments:
        return arguments, ""
    at = arguments.index("--sanitizer")
    kind = arguments[at + 1] if at + 1 < len(arguments) else ""
    if kind not in SANITIZERS:
        complain(f"--sanitizer is followed by one of {', '.join(SANITIZERS)}")
        sys.exit(2)
    return [*arguments[:at], *arguments[at + 2 :]], kind


def chaos(arguments: Sequence[str]) -> int:
    """Set up, then run the chaos workloads, or with --long the tests that take minutes."""
    plan = Plan(exclusive)
    if "--long" in arguments:
        rest = [word for word in arguments if word != "--long"]
        tests = Tests()
        set_up(plan)
        tests.add_python(plan, ["-m", "long", "-s", "tests/cluster", *rest])
        plan.run()
        return 0 if tests.summary() else 1
    set_up(plan)
    arguments, kind = _without_sanitizer(arguments)
    if kind:
        plan.add(f"build the library ({kind} sanitizer)", lambda: build_sanitized(kind, "all"))
    plan.run()
    if kind:
        arguments = [*sanitized_chaos(kind), *arguments]
    with temporary_home() as home:
        env = clean_environment(VENV, home)
        env["GCS_CFFI_GCS_SERVER"] = str(gcs_server(VENV))
        return show([PYTHON, "-I", ROOT / "tests" / "cluster" / "chaos", *arguments], env=env)
