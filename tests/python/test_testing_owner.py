# SPDX-License-Identifier: Apache-2.0
"""gcs_cffi.testing.GcsServer: whatever way its owner ends, the server ends and its folder goes."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gcs_cffi.testing import GcsServer

if TYPE_CHECKING:
    from collections.abc import Iterator

START = """
import os, signal, sys, time
from gcs_cffi.testing import GcsServer
server = GcsServer()
server.start()
print(server.pid, os.getpid(), server.port, flush=True)
"""


class Owner:
    """A process that starts a server, and then does what `code` says."""

    def __init__(self, code: str, folder: Path) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-W", "ignore::ResourceWarning", "-c", START + code],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": str(folder)},
            start_new_session=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.process.communicate()[1]
        self.server, self.pid, self.port = (int(word) for word in line.split())

    def end(self) -> tuple[int, str]:
        """Waits for the end; returns the exit status and what was written to stderr."""
        errors = self.process.communicate(timeout=60)[1]
        return self.process.returncode, errors

    def folders(self) -> list[Path]:
        return list(self.folder.glob("gcs-cffi-server-*"))


@pytest.fixture
def owners(tmp_path: Path) -> Iterator[Owners]:
    made = Owners(tmp_path)
    yield made
    for owner in made.all:
        if owner.process.poll() is None:
            owner.process.kill()
        owner.process.communicate()


class Owners:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.all: list[Owner] = []

    def run(self, code: str) -> Owner:
        owner = Owner(code, self.folder)
        self.all.append(owner)
        return owner


def wait_until(condition: object) -> bool:
    assert callable(condition)
    deadline = time.monotonic() + 10
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@pytest.mark.parametrize(
    ("ending", "status"),
    [
        ("", 0),
        ("sys.exit(3)", 3),
        ("raise RuntimeError", 1),
        ("os.kill(os.getpid(), signal.SIGINT); time.sleep(60)", -signal.SIGINT),
    ],
    ids=["end of the program", "sys.exit", "exception", "Ctrl-C"],
)
def test_the_server_is_gone_when_its_owner_has_exited(
    owners: Owners, ending: str, status: int
) -> None:
    owner = owners.run(ending)
    assert owner.end()[0] == status
    assert not runs(owner.server)
    assert owner.folders() == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_the_server_ends_after_its_owner_was_killed(owners: Owners, number: int) -> None:
    owner = owners.run("time.sleep(60)")
    assert runs(owner.server)
    os.kill(owner.pid, number)
    assert owner.end()[0] == -number
    assert wait_until(lambda: not runs(owner.server))
    assert wait_until(lambda: owner.folders() == [])


def test_a_paused_server_ends_with_its_owner_too(owners: Owners) -> None:
    owner = owners.run("server.pause(); print(flush=True); time.sleep(60)")
    assert owner.process.stdout is not None
    owner.process.stdout.readline()
    os.kill(owner.pid, signal.SIGKILL)
    assert wait_until(lambda: not runs(owner.server))


def test_a_server_ends_with_its_owner_though_a_forked_child_lives_on(owners: Owners) -> None:
    owner = owners.run(
        "child = os.fork()\n"
        "if child == 0: time.sleep(60); os._exit(0)\n"
        "print(child, flush=True)\n"
        "time.sleep(60)"
    )
    assert owner.process.stdout is not None
    child = int(owner.process.stdout.readline())
    os.kill(owner.pid, signal.SIGKILL)
    try:
        assert wait_until(lambda: not runs(owner.server))
        assert runs(child)
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_ctrl_c_in_the_terminal_reaches_the_owner_alone(owners: Owners) -> None:
    owner = owners.run(
        "try: print('ready', flush=True); time.sleep(60)\n"
        "except KeyboardInterrupt: print(server.running, flush=True); server.close()"
    )
    assert owner.process.stdout is not None
    assert owner.process.stdout.readline().strip() == "ready"
    os.killpg(owner.pid, signal.SIGINT)
    assert owner.process.stdout.readline().strip() == "True"
    assert owner.end() == (0, "")


def test_a_forked_child_neither_uses_nor_ends_the_server(owners: Owners) -> None:
    owner = owners.run(
        "from gcs_cffi.testing import GcsServerError\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    try: server.restart()\n"
        "    except GcsServerError as error: assert 'fork' in str(error)\n"
        "    else: os._exit(1)\n"
        "    server.close()\n"
        "    sys.exit(0)\n"
        "assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0\n"
        "assert server.running\n"
        "server.restart()\n"
        "server.close()"
    )
    assert owner.end() == (0, "")


def test_the_folder_of_an_owner_and_supervisor_that_were_killed_goes_at_the_next_run(
    owners: Owners, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = owners.run("time.sleep(60)")
    supervisor = parent_of(owner.server)
    assert supervisor != owner.pid
    os.kill(owner.pid, signal.SIGSTOP)
    os.kill(supervisor, signal.SIGKILL)
    os.kill(owner.pid, signal.SIGKILL)
    assert wait_until(lambda: not runs(owner.server))
    (left,) = owner.folders()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with GcsServer() as server:
        assert not left.exists()
        assert server.folder.parent == tmp_path
        assert owner.folders() == [server.folder]
    assert owner.folders() == []


def test_a_folder_that_somebody_holds_or_that_is_no_folder_is_never_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = tmp_path / "gcs-cffi-server-held"
    held.mkdir()
    target = tmp_path / "target"
    target.mkdir()
    (target / "file").touch()
    link = tmp_path / "gcs-cffi-server-link"
    link.symlink_to(target)
    file = tmp_path / "gcs-cffi-server-file"
    file.touch()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    lock = os.open(held, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with GcsServer():
            pass
    finally:
        os.close(lock)
    assert held.is_dir()
    assert link.is_symlink()
    assert (target / "file").exists()
    assert file.exists()


def test_importing_the_module_imports_neither_ray_nor_protobuf() -> None:
    code = (
        "import sys, gcs_cffi.testing\n"
        "print([name for name in ('ray', 'google.protobuf') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_a_run_finds_rays_server_without_importing_ray(owners: Owners) -> None:
    owner = owners.run("assert 'ray' not in sys.modules; server.close()")
    assert owner.end() == (0, "")
