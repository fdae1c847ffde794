# SPDX-License-Identifier: Apache-2.0
"""The library's log records, as the library has them; what `_native` is to the rest.

Invariant: nothing here blocks.
"""

from __future__ import annotations

from typing import Final

from gcs_cffi import _native, _status

# Of the one module that has them.
ffi, lib = _native.ffi, _native.lib  # type: ignore[attr-defined]

LOG_OFF: Final[int] = lib.GCS_LOG_OFF
_LOG_BATCH: Final = 64


def log_set_level(level: int) -> None:
    """Records below the level are not made."""
    lib.gcs_log_set_level(level)


def log_set_target(queue: _native.Queue | None) -> None:
    """Sends log records to a queue; with None, the last are kept for `log_drain()`."""
    if queue is None or not queue.handle:
        lib.gcs_log_set_target(ffi.NULL, ffi.NULL)
    else:
        lib.gcs_log_set_target(lib.gcs_cffi_queue_push, queue.user)


def log_drain() -> list[tuple[int, str]]:
    """Takes the level and text of the log records that are kept."""
    records: list[tuple[int, str]] = []
    events = ffi.new("gcs_event *[]", _LOG_BATCH)
    count = ffi.new("size_t *")
    while lib.gcs_log_drain(events, _LOG_BATCH, count) == _status.OK and count[0]:
        for event in events[0 : count[0]]:
            records.append(
                (lib.gcs_event_number(event), _native.text_of(lib.gcs_event_message(event)))
            )
            lib.gcs_event_free(event)
    return records
