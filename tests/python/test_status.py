# SPDX-License-Identifier: Apache-2.0
"""The numbers in gcs_cffi._status are those of the header, and its names those of the library."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gcs_cffi import _native, _status

HEADER = Path(__file__).resolve().parents[2] / "capi" / "include" / "gcs_capi.h"
NOT_ALONE = {"GCS_RAY_STATUS": "RAY"}


def enumerators(containing: str) -> dict[str, int]:
    """The enumerators of the header's enum that has the given one."""
    text = re.sub(r"/\*.*?\*/", "", HEADER.read_text(encoding="utf-8"), flags=re.DOTALL)
    for body in re.findall(r"enum\s*\{(.*?)\}", text, flags=re.DOTALL):
        found = {name: int(value) for name, value in re.findall(r"(\w+)\s*=\s*(-?\d+)", body)}
        if containing in found:
            return found
    raise AssertionError(f"{HEADER} has no enumerator {containing}")


@pytest.mark.parametrize(("name", "value"), sorted(enumerators("GCS_INTERNAL").items()))
def test_every_status_of_the_header_has_its_number(name: str, value: int) -> None:
    assert getattr(_status, NOT_ALONE.get(name, name.removeprefix("GCS_"))) == value


@pytest.mark.parametrize(("name", "value"), sorted(enumerators("GCS_FLAG_LOCAL").items()))
def test_every_flag_of_the_header_has_its_number(name: str, value: int) -> None:
    assert getattr(_status, name.removeprefix("GCS_")) == value


def test_no_number_is_made_up_here() -> None:
    statuses = {status for status in enumerators("GCS_INTERNAL").values() if status <= 0}
    assert {status for status in _status.NAMES if status <= 0} == statuses
    flags = {value for name, value in vars(_status).items() if name.startswith("FLAG_")}
    assert flags == set(enumerators("GCS_FLAG_LOCAL").values())


def test_names_are_those_of_the_library() -> None:
    assert {status: _native.status_name(status) for status in _native.statuses()} == _status.NAMES


@pytest.mark.parametrize(
    ("status", "name"),
    [(12, "UNIMPLEMENTED"), (1017, "RAY_NOT_FOUND"), (-5, "GCS_DEADLINE")],
)
def test_a_known_status_has_its_name(status: int, name: str) -> None:
    assert _status.status_name(status) == name


@pytest.mark.parametrize(("status", "name"), [(1999, "999"), (77, "77"), (-77, "-77")])
def test_the_name_of_an_unknown_status_shows_its_number(status: int, name: str) -> None:
    assert name in _status.status_name(status)
