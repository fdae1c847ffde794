# SPDX-License-Identifier: Apache-2.0
"""The releases of Ray that the client is tested against: of each the gcs_server and descriptors.

Invariants:
- A release's folder, build/rays/RELEASE, has its stamp only if everything is in it: it is filled
  under another name, stamped, and renamed.
- Of a wheel nothing is kept but the server and the modules with the descriptors; nothing in it is
  imported or installed.
"""

from __future__ import annotations

import platform
import re
import shutil
import tempfile
import zipfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from console import Plan, StepFailedError, run
from environment import PYTHON, VENV, digest_of, fits
from machine import BUILD, clean_environment

# The ends of the range, and what lies on both sides of each change of the wire between them.
RELEASES = (
    *("2.9.3", "2.20.0", "2.30.0", "2.40.0", "2.48.0", "2.49.2"),
    *("2.50.1", "2.52.1", "2.55.0", "2.56.0", "2.57.0", "2.60.0"),
)
# The oldest, the last with the requests of old, the newest.
RELEASES_OF_TEST = ("2.9.3", "2.48.0", "2.60.0")
RELEASE = re.compile(r"\d+\.\d+\.\d+")

FOLDER = BUILD / "rays"
SERVER = "ray/core/src/ray/gcs/gcs_server"
DESCRIPTORS = re.compile(r"ray/core/generated/\w+_pb2\.py")
STAMP = "complete.stamp"
# A Python that every one of these releases has wheels for. The server does not depend on it.
WHEEL_OF = ("--python-version", "311", "--implementation", "cp", "--abi", "cp311")


@dataclass(frozen=True)
class Ray:
    """What there is of a release of Ray, in the layout of its wheel."""

    release: str
    root: Path

    @property
    def server(self) -> Path:
        """The gcs_server."""
        return self.root / SERVER

    @property
    def generated(self) -> Path:
        """The folder of the modules with the descriptors."""
        return self.root / "ray" / "core" / "generated"

    def environment(self) -> dict[str, str]:
        """The variables that tell tests about it."""
        return {
            "GCS_CFFI_GCS_SERVER": str(self.server),
            "GCS_CFFI_GENERATED": str(self.generated),
        }


def add_rays(plan: Plan, releases: tuple[str, ...]) -> None:
    """Add a step for each release that gets it, unless it is there."""
    for release in releases:
        plan.add(f"gcs_server of Ray {release}", partial(provide, release))


def find(release: str) -> Ray:
    """A release that `provide` has got."""
    return _installed(release) or Ray(release, FOLDER / release)


def provide(release: str) -> str | None:
    """Get a release unless it is there; returns the note for the step's line."""
    if _installed(release) is not None:
        return "the one of .venv"
    folder = FOLDER / release
    stamp = digest_of(f"ray {release}, {platform.machine()}")
    if fits(folder / STAMP, stamp) and find(release).server.exists():
        return "up to date"
    FOLDER.mkdir(parents=True, exist_ok=True)
    for left in FOLDER.glob(f"unfinished-{release}-*"):
        shutil.rmtree(left)
    unfinished = Path(tempfile.mkdtemp(prefix=f"unfinished-{release}-", dir=FOLDER))
    try:
        wheel = _download(release, unfinished)
        _extract(wheel, unfinished)
        wheel.unlink()
        (unfinished / STAMP).write_text(stamp)
        if folder.exists():
            shutil.rmtree(folder)
        unfinished.chmod(0o755)
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return None


def _installed(release: str) -> Ray | None:
    """The release in .venv, if that is the one that .venv has."""
    for packages in VENV.glob("lib/python3.*/site-packages"):
        if (packages / f"ray-{release}.dist-info").exists():
            return Ray(release, packages)
    return None


def _download(release: str, folder: Path) -> Path:
    command: list[str | Path] = [PYTHON, "-m", "pip", "download", "--no-deps", "--no-cache-dir"]
    command += ["--only-binary", ":all:", *WHEEL_OF]
    command += ["--platform", f"manylinux2014_{platform.machine()}", "--dest", folder]
    run([*command, f"ray=={release}"], env=clean_environment(VENV))
    wheels = sorted(folder.glob(f"ray-{release}-*.whl"))
    if len(wheels) != 1:
        raise StepFailedError(f"pip download left {len(wheels)} wheels of ray {release}, not one")
    return wheels[0]


def _extract(wheel: Path, folder: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        wanted = [name for name in names if name == SERVER or DESCRIPTORS.fullmatch(name)]
        if SERVER not in wanted or len(wanted) < 2:
            raise StepFailedError(
                f"{wheel.name} lacks {SERVER}, or the modules of ray/core/generated: "
                "this release is laid out in another way, which tools/dev/rays.py has to learn"
            )
        archive.extractall(folder, wanted)
    (folder / SERVER).chmod(0o755)
