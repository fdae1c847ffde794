# SPDX-License-Identifier: Apache-2.0
"""The machine: its Debian packages, its Pythons, and what children see of its environment.

Nothing installed here starts or enables a service: Redis comes as redis-tools, whose redis-check-
rdb is the server's own binary under another name, and not as redis-server, which would take Ray's
port at once.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from console import StepFailedError, run

ROOT = Path(__file__).resolve().parent.parent.parent
BUILD = ROOT / "build"
TOOLS = ROOT / ".tools"

BUILD_PACKAGES = [
    "g++",
    "libasio-dev",
    "libnghttp2-dev",
    "libprotozero-dev",
    "libssl-dev",
    "pkg-config",
    "libprotobuf-dev",
    "protobuf-compiler",
]
TEST_PACKAGES = ["libgtest-dev", "redis-tools"]
LINT_PACKAGES = ["clang", "clang-format", "clang-tidy"]

OLDEST_MINOR, NEWEST_MINOR = 10, 14


def base_python() -> Path:
    """The chosen interpreter itself, also when ./dev was started with a virtual environment's."""
    chosen = getattr(sys, "_base_executable", None) or sys.executable
    return Path(chosen).absolute()


def python_packages() -> list[str]:
    """The Debian packages with what the chosen interpreter lacks: its headers, or ensurepip.

    Raises:
        StepFailedError: they are missing, and it is not Debian's interpreter.
    """
    prefixes = {"installed_base": sys.base_prefix, "base": sys.base_prefix}
    header = Path(sysconfig.get_path("include", vars=prefixes)) / "Python.h"
    lacking = []
    if not header.exists():
        lacking.append((f"libpython3.{sys.version_info.minor}-dev", f"headers ({header})"))
    if importlib.util.find_spec("ensurepip") is None:
        lacking.append((f"python3.{sys.version_info.minor}-venv", "ensurepip"))
    if lacking and base_python().resolve().parent != Path("/usr/bin"):
        raise StepFailedError(
            f"{base_python()} has no {' and no '.join(what for _, what in lacking)}: install that, "
            "or name another interpreter, as in PYTHON=/usr/bin/python3 ./dev setup"
        )
    return [package for package, _ in lacking]


def missing_packages(wanted: list[str]) -> list[str]:
    """Those of the Debian packages that are not installed."""
    query = ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *wanted]
    done = subprocess.run(query, capture_output=True, text=True, check=False)
    installed = {
        line.split()[0] for line in done.stdout.splitlines() if line.endswith(" installed")
    }
    return [name for name in wanted if name not in installed]


def install_packages(wanted: list[str]) -> str | None:
    """Install the Debian packages that are missing; returns the note for the step's line."""
    if shutil.which("dpkg-query") is None or shutil.which("apt-get") is None:
        return "left to you: this is no Debian. Needed: " + " ".join(wanted)
    missing = missing_packages(wanted)
    if not missing:
        return "all there"
    sudo = []
    if os.geteuid() != 0:
        if shutil.which("sudo") is None:
            raise StepFailedError(
                "Debian packages are missing, and installing them needs root or sudo: "
                f"apt-get install {' '.join(missing)}"
            )
        sudo = ["sudo"] if sys.stdin.isatty() else ["sudo", "-n"]
    apt = [
        *sudo, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get",
        "-q", "-o", "DPkg::Lock::Timeout=300",
    ]  # fmt: skip
    install = [*apt, "install", "-y", "--no-install-recommends", *missing]
    try:
        run(install)
    except StepFailedError:
        # The lists are missing or too old for the archive.
        run([*apt, "update"])
        run(install)
    return None


def provide_redis() -> str | None:
    """Make .tools/bin/redis-server, for GcsServer(redis=True); returns the step's note."""
    link = TOOLS / "bin" / "redis-server"
    binary = Path("/usr/bin/redis-check-rdb")
    if not binary.exists() or link.is_symlink():
        return "up to date" if link.is_symlink() else "left out: no redis-tools on this machine"
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(binary)
    return None


def clean_environment(venv: Path | None, home: Path | None = None) -> dict[str, str]:
    """The environment of what ./dev starts: none of a person's settings of Ray and Python."""
    dropped = ("RAY_", "PYTHON", "GCS_CFFI_", "VIRTUAL_ENV", "MESON", "DESTDIR")
    env = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    path = [str(TOOLS / "bin"), env.get("PATH", os.defpath)]
    if venv is not None:
        path.insert(0, str(venv / "bin"))
    env["PATH"] = os.pathsep.join(path)
    env["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
    env["PIP_NO_INPUT"] = "1"
    if home is not None:
        env["HOME"] = str(home)
    return env


@contextmanager
def temporary_home() -> Iterator[Path]:
    """An empty home folder for tests: a token in the real one would change what they see."""
    with tempfile.TemporaryDirectory(prefix="gcs-cffi-home-") as folder:
        yield Path(folder)


def other_pythons() -> tuple[dict[int, Path], list[int]]:
    """The machine's other Pythons of 3.10 to 3.14 by minor; and the minors that it lacks."""
    found: dict[int, Path] = {}
    lacking: list[int] = []
    for minor in range(OLDEST_MINOR, NEWEST_MINOR + 1):
        if minor == sys.version_info.minor:
            continue
        python = _find_python(minor)
        if python is None:
            lacking.append(minor)
        else:
            found[minor] = python
    return found, lacking


def _find_python(minor: int) -> Path | None:
    name = f"python3.{minor}"
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates = [*sorted(pyenv.glob(f"3.{minor}.*/bin/{name}"), reverse=True)]
    for folder in os.environ.get("PATH", os.defpath).split(os.pathsep):
        candidates.append(Path(folder) / name)
    for candidate in candidates:
        if candidate.exists() and _works(candidate, minor, dict(os.environ)):
            return candidate
    return None


def _works(python: Path, minor: int, env: Mapping[str, str]) -> bool:
    """True if it is a CPython of that version with venv; pyenv's stand-ins may be none."""
    question = "import sys, venv; print(sys.implementation.name, sys.version_info[1])"
    try:
        done = subprocess.run(
            [str(python), "-I", "-c", question],
            capture_output=True, text=True, timeout=30, env=dict(env), check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and done.stdout.split() == ["cpython", str(minor)]
