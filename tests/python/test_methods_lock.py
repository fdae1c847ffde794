# SPDX-License-Identifier: Apache-2.0
"""capi/abi/methods.lock, the record of the methods' numbers, and the library say the same."""

from __future__ import annotations

from method_record import recorded_methods

from gcs_cffi._gcs_capi import ffi, lib


def test_every_number_in_the_record_is_the_library_s_and_no_other() -> None:
    """Both ways: number to path, and path to number."""
    locked = {method.number: method.path for method in recorded_methods()}
    assert list(locked) == list(range(1, len(locked) + 1))
    for number, path in locked.items():
        assert ffi.string(lib.gcs_method_path(number)).decode() == path
        found = ffi.new("uint32_t *")
        assert lib.gcs_method_find(path.encode(), found) == 0
        assert found[0] == number
    for unknown in (0, len(locked) + 1, 2**32 - 1):
        assert lib.gcs_method_path(unknown) == ffi.NULL
