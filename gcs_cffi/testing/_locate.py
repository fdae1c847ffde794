# SPDX-License-Identifier: Apache-2.0
"""Where gcs_server binaries are, and what each of them can be told.

Invariants:
- `ray` is never imported: only its place on disk is looked up.
- A binary is asked for its flags, instead of being judged by its version: the flags came and went
  over the releases, and a binary ends itself on one that it does not know.
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import os
import re
import subprocess
from pathlib import Path

from gcs_cffi.testing._processes import GcsServerError, base_environment

SERVER_VARIABLE = "GCS_CFFI_GCS_SERVER"
FOLDER_VARIABLE = "GCS_CFFI_SERVERS"

_NAME = "gcs_server"
_IN_RAY = Path("core", "src", "ray", "gcs", _NAME)
_VERSION = re.compile(r"\d+(\.\d+)+\w*")
_FLAG = re.compile(r"^\s+-(\w+) \(", re.MULTILINE)
_HELP_TIMEOUT = 30.0  # seconds


def find_server(ray: str | os.PathLike[str] | None) -> Path:
    """Finds a gcs_server.

    Args:
        ray: None for the one that the environment variable GCS_CFFI_GCS_SERVER names, else the one
            of the installed `ray`; a version of Ray ("2.40.0") for the one in the folder of that
            name below GCS_CFFI_SERVERS (default: ~/.cache/gcs-cffi/servers), else the installed one
            if it has that version; a path to one, or to the folder that it is in.

    Raises:
        GcsServerError: there is none; the text says where it was looked for.
    """
    if ray is None:
        chosen = os.environ.get(SERVER_VARIABLE)
        return _checked(Path(chosen)) if chosen else _installed_server()
    if isinstance(ray, str) and _VERSION.fullmatch(ray):
        return _server_of_version(ray)
    return _checked(Path(ray).expanduser())


@functools.cache
def flags_of(server: Path) -> frozenset[str]:
    """The command-line flags of a gcs_server, as it lists them itself.

    Raises:
        GcsServerError: the file does not run, or is no gcs_server.
    """
    try:
        done = subprocess.run(
            [server, "--help"],
            env=base_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_HELP_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise GcsServerError(f"{server} does not run on this machine: {error}") from error
    flags = frozenset(_FLAG.findall(done.stdout.decode(errors="replace")))
    if "gcs_server_port" not in flags:
        raise GcsServerError(f"{server} is no gcs_server: its --help lists no --gcs_server_port")
    return flags


def _installed_server() -> Path:
    package = _ray_folder()
    if package is None:
        raise GcsServerError(
            f"no gcs_server: {SERVER_VARIABLE} is not set, and Ray is not installed beside this "
            "Python. Install it (pip install ray), set the variable to a gcs_server, or pass a path"
        )
    return _checked(package / _IN_RAY)


def _server_of_version(version: str) -> Path:
    folder = os.environ.get(FOLDER_VARIABLE) or "~/.cache/gcs-cffi/servers"
    server = Path(folder).expanduser() / version / _NAME
    if server.exists():
        return _checked(server)
    package = _ray_folder()
    if package is not None and _installed_version() == version:
        return _checked(package / _IN_RAY)
    raise GcsServerError(
        f"no gcs_server of Ray {version}: {server} does not exist, and the installed Ray is "
        f"{_installed_version() or 'none'}. Put the file there out of that version's wheel (in it: "
        f"ray/{_IN_RAY}), or set {FOLDER_VARIABLE} to the folder that has it"
    )


def _ray_folder() -> Path | None:
    """The folder of the installed package, found as an import would, but without one."""
    spec = importlib.util.find_spec("ray")
    places = spec.submodule_search_locations if spec else None
    return (
        next((Path(place) for place in places if (Path(place) / _IN_RAY).exists()), None)
        if places
        else None
    )


def _installed_version() -> str | None:
    try:
        return importlib.metadata.version("ray")
    except importlib.metadata.PackageNotFoundError:
        return None


def _checked(path: Path) -> Path:
    server = path / _NAME if path.is_dir() else path
    if not server.is_file():
        raise GcsServerError(f"no gcs_server: {server} does not exist or is no file")
    if not os.access(server, os.X_OK):
        raise GcsServerError(f"{server} is not executable: chmod +x it")
    return server.resolve()
