# SPDX-License-Identifier: Apache-2.0
"""What tests/matrix takes for an expected refusal, and how its hooks note what became of tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from matrix.refusals import NotAsExpectedError, Since, fault_of, refused
from method_record import recorded_methods

import gcs_cffi
from gcs_cffi import UnsupportedByServerError

RECORD = recorded_methods()
PATH = "/ray.rpc.autoscaler.AutoscalerStateService/ReportClusterConfig"  # from 2.41 on
OLD, NEW = (2, 40, 0), (2, 41, 0)
TESTS = Path(__file__).parents[1]


def refusal(text: str = "needs Ray 2.41 or newer", method: str = PATH) -> UnsupportedByServerError:
    return UnsupportedByServerError(text, method=method)


def refuse(error: BaseException | None, since: Since, release: tuple[int, ...]) -> int:
    """How often the refusal of a block that raises this is taken as expected."""
    times = 0

    def on_refusal() -> None:
        nonlocal times
        times += 1

    with refused(since, release, RECORD, on_refusal):
        if error is not None:
            raise error
    return times


@pytest.mark.parametrize(
    ("error", "since"),
    [
        (refusal(), Since("2.41")),
        (refusal("needs Ray 2.41.0."), Since("2.41")),
        (refusal("ReportClusterConfig needs Ray 2.41", ""), Since("2.41")),
        (refusal("deadline needs Ray 2.10"), Since("2.10", part="deadline")),
    ],
)
def test_an_error_that_names_method_and_first_release_is_as_expected(
    error: UnsupportedByServerError, since: Since
) -> None:
    assert fault_of(error, since, RECORD) is None
    assert refuse(error, since, (2, 9, 3)) == 1


@pytest.mark.parametrize(
    ("error", "since"),
    [
        (refusal("cannot do that"), Since("2.41")),
        (refusal("needs Ray 2.4"), Since("2.41")),
        (refusal("needs Ray 2.410"), Since("2.41")),
        (refusal("needs Ray 12.41"), Since("2.41")),
        (refusal("needs Ray 2.41.1"), Since("2.41")),
        (refusal("needs Ray 2.41", ""), Since("2.41")),
        (refusal("needs Ray 2.42"), Since("2.42")),
        (refusal("needs Ray 2.10"), Since("2.10", part="deadline")),
        (refusal(method="/ray.rpc.NoService/NoMethod"), Since("2.41")),
        (None, Since("2.41")),
        (gcs_cffi.RpcError("needs Ray 2.41", code=12, method=PATH), Since("2.41")),
        (AssertionError(), Since("2.41")),
    ],
)
def test_anything_else_is_not(error: Exception | None, since: Since) -> None:
    with pytest.raises(NotAsExpectedError):
        refuse(error, since, (2, 9, 3))


def test_a_release_that_can_do_it_must_do_it() -> None:
    since = Since("2.41")
    assert not since.lacking(NEW)
    assert since.lacking(OLD)
    assert refuse(None, since, NEW) == 0
    with pytest.raises(UnsupportedByServerError):
        refuse(refusal(), since, NEW)


SUITE = """
import pytest
from gcs_cffi import UnsupportedByServerError


@pytest.mark.method("kv.get", "kv.put")
async def test_passes(gcs, namespace):
    assert await gcs.kv.put("key", b"", namespace=namespace)


@pytest.mark.method("kv.get (new)")
@pytest.mark.since("99.1", part="colour")
async def test_refused(gcs):
    raise UnsupportedByServerError("colour needs Ray 99.1")


@pytest.mark.since("99.1", part="colour")
async def test_not_refused(gcs):
    pass


async def test_refused_within(gcs, expected):
    with expected("99.1", part="colour"):
        raise UnsupportedByServerError("colour needs Ray 99.1")


async def test_refused_then_failed(gcs, expected):
    with expected("99.1", part="colour"):
        raise UnsupportedByServerError("colour needs Ray 99.1")
    assert await gcs.kv.get("no such key") == b"something"


def test_skipped():
    pytest.skip("not today")


@pytest.mark.since("99.1", part="colour")
def test_skipped_where_it_is_to_be_refused():
    pytest.skip("not today")


@pytest.mark.xfail
def test_expected_to_fail():
    assert False


@pytest.fixture
def broken():
    yield
    raise RuntimeError("at the end")


def test_fails_in_teardown(broken):
    pass


@pytest.mark.method("kv.get")
async def test_without_the_right_fixture(no_such_fixture):
    pass
"""

EXPECTED = {
    "test_passes": "passed",
    "test_refused": "unsupported",
    "test_not_refused": "failed",
    "test_refused_within": "unsupported",
    "test_refused_then_failed": "failed",
    "test_skipped": "skipped",
    "test_skipped_where_it_is_to_be_refused": "skipped",
    "test_expected_to_fail": "skipped",
    "test_fails_in_teardown": "failed",
    "test_without_the_right_fixture": "failed",
}


def test_what_became_of_each_test_is_noted(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text("from matrix.conftest import *\n")
    (tmp_path / "test_made_up.py").write_text(SUITE)
    report = tmp_path / "report.json"
    paths = [str(TESTS), str(TESTS / "python")]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    command += ["-c", str(TESTS.parent / "pyproject.toml"), f"--rootdir={tmp_path}"]
    command += ["-o", f"pythonpath={' '.join(paths)}", str(tmp_path)]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "GCS_CFFI_MATRIX_REPORT": str(report)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert report.exists(), done.stdout + done.stderr
    run: dict[str, Any] = json.loads(report.read_text())
    assert run["exit_status"] == done.returncode == 1, done.stdout
    assert run["release"].startswith("2.")
    assert {"call", "get_ray_version", "close", "kv.get", "nodes.list"} <= set(run["public"])
    assert not [name for name in run["public"] if "_" in (name[0], name.partition(".")[2][:1])]
    found: dict[str, set[str]] = {}
    for outcome in run["outcomes"]:
        name = outcome["test"].rpartition("::")[2].partition("[")[0]
        found.setdefault(name, set()).add(outcome["outcome"])
        assert bool(outcome["why"]) == (outcome["outcome"] in ("skipped", "failed"))
    assert found == {name: {outcome} for name, outcome in EXPECTED.items()}, done.stdout
    passes = [each for each in run["outcomes"] if "test_passes" in each["test"]]
    assert [each["form"] for each in passes] == ["async", "blocking"]
    assert all(each["methods"] == ["kv.get", "kv.put"] for each in passes)
