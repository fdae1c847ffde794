# SPDX-License-Identifier: Apache-2.0
"""capi/abi/methods.lock, the record of the methods' numbers, and the library say the same."""

from __future__ import annotations

from pathlib import Path

from gcs_cffi._gcs_capi import ffi, lib

LOCK = Path(__file__).parents[2] / "capi" / "abi" / "methods.lock"


def locked_methods() -> dict[int, str]:
    """The paths of the record, by number."""
    rows = [line.split() for line in LOCK.read_text().splitlines() if not line.startswith("#")]
    return {int(row[0]): row[1] for row in rows if row}


def test_every_number_in_the_record_is_the_library_s_and_no_other() -> None:
    """Both ways: number to path, and path to number."""
    locked = locked_methods()
    assert list(locked) == list(range(1, len(locked) + 1))
    for number, path in locked.items():
        assert ffi.string(lib.gcs_method_path(number)).decode() == path
        found = ffi.new("uint32_t *")
        assert lib.gcs_method_find(path.encode(), found) == 0
        assert found[0] == number
    for unknown in (0, len(locked) + 1, 2**32 - 1):
        assert lib.gcs_method_path(unknown) == ffi.NULL
