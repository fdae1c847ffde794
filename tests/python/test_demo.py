# SPDX-License-Identifier: Apache-2.0
"""python -m gcs_cffi demo: what it shows, and what it leaves behind."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from helpers import PATIENCE, unused_port, wait_until

import gcs_cffi

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gcs_cffi.testing import GcsServer

MODULE = [sys.executable, "-I", "-m", "gcs_cffi"]
QUICK = ["--gets", "2000", "--in-flight", "64"]


def run(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*MODULE, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **(env or {})},
    )


@contextmanager
def started(command: list[str], **options: Any) -> Iterator[subprocess.Popen[Any]]:
    """A process that is gone at the end, also when the test has failed."""
    with subprocess.Popen(command, **options) as process:
        try:
            yield process
        finally:
            process.kill()


def assert_shows_all(text: str) -> None:
    assert re.search(r"cluster id +[0-9a-f]{56}\n", text)
    assert re.search(r"Ray version +\d+\.\d+", text)
    for call in ("put(", "get(", "exists(", "keys(", "multi_get(", "delete(", "delete_prefix("):
        assert call in text
    assert "b'hello, blue'" in text
    assert len(re.findall(r"^  [0-9a-f]{8} +\d+$", text, re.MULTILINE)) == 3
    assert "Nodes" in text
    assert re.search(r"100%  2,000 of 2,000 gets", text)
    for figure in ("calls per second", "p50", "p99"):
        assert figure in text


def test_it_starts_a_server_and_ends_it(tmp_path: Path) -> None:
    done = run("demo", *QUICK, env={"TMPDIR": str(tmp_path)})
    assert (done.returncode, done.stderr) == (0, "")
    assert_shows_all(done.stdout)
    assert "\r" not in done.stdout
    processes = re.findall(r"process (?:is )?(\d+)", done.stdout)
    assert len(set(processes)) == 2
    assert not [process for process in processes if Path(f"/proc/{process}").exists()]
    assert list(tmp_path.iterdir()) == []


def test_its_own_server_is_killed_and_restarted_and_every_call_answered() -> None:
    done = run("demo", *QUICK)
    assert (done.returncode, done.stderr) == (0, "")
    shown = done.stdout[done.stdout.index("\nRestart") :]
    values, nothing, failed, made = (
        int(number.replace(",", ""))
        for number in re.findall(
            r"^  \w.*?  +([\d,]+)(?:, every one answered)?$", shown, re.MULTILINE
        )
    )
    assert "every one answered" in shown
    assert values > 0
    assert nothing > 0
    assert failed == 0
    assert made == values + nothing
    ids = re.findall(r"[0-9a-f]{56}", shown)
    assert len(set(ids)) == 2
    assert ids[0] in done.stdout[: done.stdout.index("\nRestart")]


def test_it_leaves_a_running_cluster_as_it_found_it(server: GcsServer) -> None:
    with gcs_cffi.sync.connect(server.address) as gcs:
        before = sorted(gcs.kv.keys(all_namespaces=True))
        done = run("demo", "--address", server.address, *QUICK)
        after = sorted(gcs.kv.keys(all_namespaces=True))
    assert (done.returncode, done.stderr) == (0, "")
    assert_shows_all(done.stdout)
    assert after == before
    assert server.running
    assert "Restart" not in done.stdout
    assert "as it was, but for 3 job ids" in done.stdout


def test_it_finds_a_cluster_by_itself(server: GcsServer, tmp_path: Path) -> None:
    file = tmp_path / "ray" / "ray_current_cluster"
    file.parent.mkdir()
    file.write_text(server.address)
    done = run("demo", "--address", "auto", *QUICK, env={"RAY_TMPDIR": str(tmp_path)})
    assert (done.returncode, done.stderr) == (0, "")
    assert server.address in done.stdout


def test_on_a_terminal_the_progress_bar_moves(server: GcsServer) -> None:
    controller, terminal = pty.openpty()
    with started(
        [*MODULE, "demo", "--address", server.address, "--gets", "20000"],
        stdout=terminal,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
    ) as process:
        os.close(terminal)
        shown = b""
        with suppress(OSError):  # what reading gives when the other side is gone
            while part := os.read(controller, 1 << 16):
                shown += part
        os.close(controller)
        assert process.wait(PATIENCE) == 0
    bars = re.findall(r"\r  [^\r\n]*?(\d+)%", shown.decode())
    assert bars[0] == "0"
    assert bars[-1] == "100"


def test_ctrl_c_ends_it_and_its_server_quietly(tmp_path: Path) -> None:
    with started(
        [*MODULE, "demo", "--gets", "100000000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"},
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        pid = 0
        for line in process.stdout:
            match = re.search(r"process (\d+)", line)
            pid = int(match[1]) if match else pid
            if line.startswith("Speed"):
                break
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 130
        assert process.stderr.read().strip() == "interrupted"
    assert pid
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), "the server is gone")
    wait_until(lambda: list(tmp_path.iterdir()) == [], "its folder is gone")


def test_after_a_sigkill_its_server_ends_too(tmp_path: Path) -> None:
    with started(
        [*MODULE, "demo", "--gets", "100000000"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"},
    ) as process:
        assert process.stdout is not None
        pid = 0
        for line in process.stdout:
            match = re.search(r"process (\d+)", line)
            pid = int(match[1]) if match else pid
            if line.startswith("Speed"):
                break
        process.kill()
    assert pid
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), "the server is gone")
    assert run("demo", *QUICK, env={"TMPDIR": str(tmp_path)}).returncode == 0
    assert list(tmp_path.iterdir()) == []


def test_what_goes_wrong_is_one_line(tmp_path: Path) -> None:
    address = f"127.0.0.1:{unused_port()}"
    done = run("demo", "--address", address)
    assert done.returncode == 1
    assert done.stderr.strip().startswith("the demo failed: ")
    assert address in done.stderr
    assert "Traceback" not in done.stderr
    done = run("demo", env={"GCS_CFFI_GCS_SERVER": str(tmp_path / "nothing")})
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["demo", "--help"], ["--version"]])
def test_help_is_there(arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.returncode == 0
    assert "gcs_cffi" in done.stdout


@pytest.mark.parametrize("arguments", [[], ["no-such-command"], ["demo", "--gets", "0"]])
def test_wrong_arguments_are_explained(arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert "usage: python -m gcs_cffi" in done.stderr
