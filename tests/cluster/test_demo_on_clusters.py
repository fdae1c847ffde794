# SPDX-License-Identifier: Apache-2.0
"""The demo against real Ray clusters on this machine, found and entered as a person would.

Invariants:
- A cluster has a home, a temporary folder and a token of its own, and ends with the fixture.
- Only processes that the fixture started are ended.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gcs_cffi import sync

if TYPE_CHECKING:
    from collections.abc import Iterator

START_SECONDS = 120
STOP_SECONDS = 30
DEMO_SECONDS = 120
OBJECT_STORE_BYTES = 80_000_000

RAY_INIT = f"""
import sys
import ray
context = ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False,
                   object_store_memory={OBJECT_STORE_BYTES})
print(context.address_info["gcs_address"], flush=True)
sys.stdin.read()
ray.shutdown()
"""


@dataclass
class Cluster:
    """A running cluster: where it is, and what a person on its machine has set."""

    address: str
    environment: dict[str, str]
    token: str

    def demo(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Runs the demo, and returns what came of it."""
        return subprocess.run(
            [sys.executable, "-I", "-m", "gcs_cffi", "demo", "--gets", "2000", *arguments],
            env=self.environment | environment,
            capture_output=True,
            text=True,
            timeout=DEMO_SECONDS,
            check=False,
        )

    def stored_keys(self) -> list[bytes]:
        """Every key of every namespace."""
        with sync.connect(self.address, token=self.token) as gcs:
            return gcs.kv.keys(b"", all_namespaces=True)


def clean_environment(folder: Path) -> dict[str, str]:
    """A user of Ray whose home and temporary files lie in `folder`, and who set nothing else."""
    (folder / "home").mkdir()
    (folder / "tmp").mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    kept.pop("TMPDIR", None)
    kept |= {"HOME": str(folder / "home"), "RAY_TMPDIR": str(folder / "tmp")}
    kept["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', os.defpath)}"
    return kept | {"RAY_USAGE_STATS_ENABLED": "0"}


def end_group(process: subprocess.Popen[str]) -> None:
    """Ends a process that leads a session, and everything in its group."""
    for number, seconds in ((signal.SIGTERM, 3), (signal.SIGKILL, STOP_SECONDS)):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            continue
    process.wait(STOP_SECONDS)


def end_leftovers(folder: Path) -> None:
    """Ends daemons that left the group; they are known by our folder in their command line."""
    mark = str(folder).encode()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if mark in (entry / "cmdline").read_bytes():
                os.kill(int(entry.name), signal.SIGKILL)
        except (FileNotFoundError, ProcessLookupError):
            continue


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder with a short name: Ray puts sockets into it, whose paths are limited."""
    import shutil
    import tempfile

    folder = Path(tempfile.mkdtemp(prefix="gcs-", dir="/tmp"))
    yield folder
    end_leftovers(folder)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def started_cluster(short_folder: Path) -> Iterator[Cluster]:
    """A head that `ray start` has started, which demands a token."""
    environment = clean_environment(short_folder)
    token = secrets.token_hex(32)
    token_file = Path(environment["HOME"]) / ".ray" / "auth_token"
    token_file.parent.mkdir()
    token_file.write_text(token)
    with socket.socket() as free:
        free.bind(("", 0))
        port = free.getsockname()[1]
    command = ["ray", "start", "--head", "--block", f"--port={port}", "--num-cpus=1"]
    command += ["--include-dashboard=false", f"--object-store-memory={OBJECT_STORE_BYTES}"]
    log = short_folder / "start.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            command,
            env=environment | {"RAY_AUTH_MODE": "token"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            text=True,
        )
    address_file = short_folder / "tmp" / "ray" / "ray_current_cluster"
    try:
        deadline = time.monotonic() + START_SECONDS
        while not (address_file.exists() and address_file.read_text().strip()):
            assert process.poll() is None, f"ray start has ended:\n{log.read_text()}"
            assert time.monotonic() < deadline, f"ray start took too long:\n{log.read_text()}"
            time.sleep(0.2)
        yield Cluster(address_file.read_text().strip(), environment, token)
    finally:
        end_group(process)


@pytest.fixture
def init_cluster(short_folder: Path) -> Iterator[Cluster]:
    """A cluster that `ray.init()` has made in another process."""
    environment = clean_environment(short_folder)
    process = subprocess.Popen(
        [sys.executable, "-c", RAY_INIT],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        address = process.stdout.readline().strip()
        assert address, f"ray.init() failed with status {process.wait(STOP_SECONDS)}"
        token = (Path(environment["HOME"]) / ".ray" / "auth_token").read_text().strip()
        yield Cluster(address, environment, token)
        process.stdin.close()
        process.wait(STOP_SECONDS)
    finally:
        end_group(process)
        process.stdin.close()
        process.stdout.close()


def assert_shown(result: subprocess.CompletedProcess[str], address: str) -> None:
    """Asserts that the demo went through and showed what it promises."""
    assert result.returncode == 0, result.stdout + result.stderr
    for text in (address, "2.60.0", "cluster id", "delete_prefix", "next_id", "alive", "p99"):
        assert text in result.stdout, f"{text!r} is missing:\n{result.stdout}"


@pytest.mark.timeout(START_SECONDS + DEMO_SECONDS + 2 * STOP_SECONDS)
def test_demo_finds_a_started_cluster_by_itself_and_leaves_it_as_it_was(
    started_cluster: Cluster,
) -> None:
    """`ray start --head`, with a token, on the host's own address."""
    before = started_cluster.stored_keys()
    result = started_cluster.demo("--address", "auto")
    assert_shown(result, started_cluster.address)
    assert started_cluster.token not in result.stdout + result.stderr
    new = {key for key in started_cluster.stored_keys() if b"gcs_cffi" in key} - set(before)
    assert not new


@pytest.mark.timeout(START_SECONDS + DEMO_SECONDS + 2 * STOP_SECONDS)
def test_demo_runs_on_a_cluster_of_ray_init_and_says_where_it_looked_without_its_token(
    init_cluster: Cluster, tmp_path: Path
) -> None:
    """`ray.init()`, whose token lies in the home; and the same from a home that has none."""
    result = init_cluster.demo("--address", init_cluster.address)
    assert_shown(result, init_cluster.address)
    assert not any(b"gcs_cffi" in key for key in init_cluster.stored_keys())

    refused = init_cluster.demo("--address", init_cluster.address, HOME=str(tmp_path))
    assert refused.returncode != 0
    assert "RAY_AUTH_TOKEN" in refused.stderr
    assert str(tmp_path) in refused.stderr
    assert init_cluster.token not in refused.stdout + refused.stderr
