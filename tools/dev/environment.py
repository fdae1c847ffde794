# SPDX-License-Identifier: Apache-2.0
"""The virtual environments, and the wheel that is installed into them.

Each thing made here leaves a stamp: a hash of what it was made from. A thing whose stamp still fits
is not made again. A lock keeps two runs of ./dev in one clone from making the same thing at once;
it is not held while tests run.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from console import Plan, StepFailedError, run
from machine import (
    BUILD,
    BUILD_PACKAGES,
    ROOT,
    TEST_PACKAGES,
    base_python,
    clean_environment,
    install_packages,
    provide_redis,
    python_packages,
)

VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
NATIVE_BUILD = BUILD / "native"
WHEELS = BUILD / "wheel"
GROUPS = ["base", "run", "build", "ray", "test"]
OTHER_GROUPS = ["base", "run", "ray", "test"]
MARKER = "made-by-dev"


@contextmanager
def exclusive() -> Iterator[None]:
    """Hold this clone's lock; says so if another ./dev has it."""
    BUILD.mkdir(exist_ok=True)
    with (BUILD / "dev.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("(waiting for another ./dev in this clone)", end=" ", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def digest_of(*parts: str | bytes | Path) -> str:
    """A hash over texts and the contents of files."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, Path):
            data = str(part).encode() + b"\0" + part.read_bytes()
        else:
            data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()


def fits(stamp: Path, digest: str) -> bool:
    """True if the stamp was left by a run over the same inputs."""
    return stamp.is_file() and stamp.read_text() == digest


def set_up(plan: Plan, *, groups: Iterable[str] = (), packages: Iterable[str] = ()) -> None:
    """Add the steps that end with the wheel installed in .venv, and the groups asked for."""
    wanted_groups = [*GROUPS, *groups]

    def system() -> str | None:
        wanted = [*BUILD_PACKAGES, *TEST_PACKAGES, *packages, *python_packages()]
        return install_packages(wanted)

    plan.add("Debian packages", system)
    plan.add("redis-server for tests, without its service", provide_redis)
    version = ".".join(str(part) for part in sys.version_info[:3])
    plan.add(f"virtual environment .venv, Python {version}", lambda: make_venv(VENV, base_python()))
    plan.add(
        f"Python packages ({', '.join(wanted_groups)})",
        lambda: install_requirements(VENV, wanted_groups),
    )
    plan.add("build the wheel", build_wheel)
    plan.add("install the wheel into .venv", lambda: install_wheel(VENV))


def make_venv(venv: Path, python: Path) -> str | None:
    """Make a virtual environment; one of another interpreter is replaced."""
    stamp = venv / MARKER
    digest = digest_of(str(python.resolve()))
    works = (venv / "bin" / "python").exists()
    if works and fits(stamp, digest):
        return "up to date"
    if venv.exists():
        if not stamp.exists():
            raise StepFailedError(
                f"{venv} was not made by ./dev, which would replace it: move it out of the way"
            )
        shutil.rmtree(venv)
        if venv == VENV:
            shutil.rmtree(NATIVE_BUILD, ignore_errors=True)
    venv.mkdir()
    stamp.write_text("unfinished")
    # The other environments are filled by .venv's pip.
    pip = [] if venv == VENV else ["--without-pip"]
    run([python, "-m", "venv", *pip, venv], env=clean_environment(None))
    stamp.write_text(digest)
    return None


def install_requirements(venv: Path, groups: list[str]) -> str | None:
    """Install the pinned packages of the groups that have changed since they were installed."""
    stamps = {group: venv / f"requirements-{group}.stamp" for group in groups}
    files = {group: ROOT / "requirements" / f"{group}.txt" for group in groups}
    stale = [group for group in groups if not fits(stamps[group], digest_of(files[group]))]
    if not stale:
        return "up to date"
    env = clean_environment(VENV)
    command: list[str | Path] = [PYTHON, "-m", "pip", "--python", venv / "bin" / "python"]
    command += ["install", "--no-deps", "--only-binary", ":all:"]
    for group in stale:
        command += ["-r", files[group]]
    run(command, env=env)
    run([PYTHON, "-m", "pip", "--python", venv / "bin" / "python", "check"], env=env)
    for group in stale:
        stamps[group].write_text(digest_of(files[group]))
    return None


def wheel_inputs() -> list[Path]:
    """The files that the wheel is made of."""
    files = [ROOT / name for name in ("meson.build", "meson.options", "pyproject.toml")]
    files += [ROOT / name for name in ("LICENSE", "README.md") if (ROOT / name).exists()]
    for folder in ("capi", "gcs_cffi", "proto"):
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                files.append(path)
    return sorted(files)


def build_wheel() -> str | None:
    """Build the wheel with meson-python, in a build folder that is kept for the next time."""
    stamp = WHEELS / "wheel.stamp"
    own = Path(__file__).parent / "build_wheel.py"
    digest = digest_of(
        str(sys.version_info[:2]),
        *(ROOT / "requirements" / f"{name}.txt" for name in ("build", "run")),
        own,
        *wheel_inputs(),
    )
    if fits(stamp, digest) and built_wheel() is not None:
        return "up to date"
    shutil.rmtree(WHEELS, ignore_errors=True)
    WHEELS.mkdir(parents=True)
    run([PYTHON, own, WHEELS, NATIVE_BUILD], env=clean_environment(VENV), cwd=ROOT)
    stamp.write_text(digest)
    return None


def built_wheel() -> Path | None:
    """The wheel in build/wheel, if it is there."""
    wheels = sorted(WHEELS.glob("gcs_cffi-*.whl"))
    return wheels[0] if wheels else None


def install_wheel(venv: Path) -> str | None:
    """Install the wheel that was built, if the environment has another one."""
    wheel = built_wheel()
    if wheel is None:
        raise StepFailedError(f"there is no wheel in {WHEELS}")
    stamp = venv / "wheel.stamp"
    digest = digest_of(wheel.read_bytes())
    if fits(stamp, digest):
        return "up to date"
    pip: list[str | Path] = [PYTHON, "-m", "pip", "--python", venv / "bin" / "python"]
    run(
        [*pip, "install", "--no-deps", "--no-index", "--force-reinstall", wheel],
        env=clean_environment(VENV),
    )
    stamp.write_text(digest)
    return None


def gcs_server(venv: Path) -> Path:
    """The gcs_server inside the ray that the environment has.

    Raises:
        StepFailedError: there is none.
    """
    for packages in venv.glob("lib/python3.*/site-packages"):
        server = packages / "ray" / "core" / "src" / "ray" / "gcs" / "gcs_server"
        if server.exists():
            return server
    raise StepFailedError(f"there is no gcs_server below {venv}")
