# SPDX-License-Identifier: Apache-2.0
"""The library's log records, into `logging.getLogger("gcs_cffi")`.

The library never calls a logger from its own thread: records wait in a completion queue, and come
out on the thread of an event loop, or of a blocking call.

Invariants:
- Records go to the queue of the newest event loop that is in use; without one the library keeps the
  last of them, and a blocking call takes them out.
- A queue is no target any more before it is closed.
- The lock can be taken again by the thread that holds it: finalizers come here too.
"""

from __future__ import annotations

import logging
import os
import threading
from typing import Final

from gcs_cffi import _native, _native_log

logger: Final = logging.getLogger("gcs_cffi")
# Without a handler of its own, warnings of a program that has not set up logging would land on
# stderr.
logger.addHandler(logging.NullHandler())

_lock = threading.RLock()
_targets: list[_native.Queue] = []
_level: int | None = None


def follow_level() -> None:
    """Tells the library which records the logger wants; for whenever a client or a loop is new."""
    global _level  # noqa: PLW0603 (what the library was told last)
    wanted = logger.getEffectiveLevel()
    level = _native_log.LOG_OFF if wanted > logging.ERROR else max(wanted, logging.DEBUG)
    if level != _level:
        _level = level
        _native_log.log_set_level(level)


def attach(queue: _native.Queue) -> None:
    """Sends records to the queue from now on."""
    with _lock:
        _targets.append(queue)
        _native_log.log_set_target(queue)


def detach(queue: _native.Queue) -> None:
    """Sends records elsewhere, if they went to this queue."""
    with _lock:
        if queue not in _targets:
            return
        newest = _targets[-1]
        _targets.remove(queue)
        if queue is newest:
            _native_log.log_set_target(_targets[-1] if _targets else None)


def emit(level: int, text: str) -> None:
    """Logs a record of the library."""
    logger.log(level, "%s", text)


def emit_kept() -> None:
    """Logs what the library has kept while there was no queue to send it to."""
    for level, text in _native_log.log_drain():
        emit(level, text)


def _after_fork_in_child() -> None:
    global _level, _lock  # noqa: PLW0603 (the child's library starts afresh)
    _lock = threading.RLock()
    _targets.clear()
    _level = None


os.register_at_fork(after_in_child=_after_fork_in_child)
