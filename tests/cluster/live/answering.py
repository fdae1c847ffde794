# SPDX-License-Identifier: Apache-2.0
"""How a process that has a cluster answers the tests: see `live.ray_process` for their side.

What comes through its end of a pipe is the name of a method and its arguments; back goes the result
or the text of an error.

Invariant: the process, and with it its cluster, ends when the other end of the pipe closes.
"""

from __future__ import annotations

import os
import traceback
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn


def answer(descriptor: int, start: Callable[[], tuple[object, object]]) -> NoReturn:
    """Starts everything, tells what was made, and answers until nobody asks any more.

    Args:
        descriptor: of this process' end of the pipe.
        start: gives the object whose methods are asked for, and what is told first.
    """
    pipe = Connection(descriptor)
    try:
        asked, made = start()
        pipe.send((True, made))
    except BaseException:
        pipe.send((False, traceback.format_exc()))
        raise
    while True:
        try:
            method, arguments = pipe.recv()
        except EOFError:
            break
        reply: tuple[bool, Any]
        try:
            reply = (True, getattr(asked, method)(**arguments))
        except Exception:  # noqa: BLE001 - whatever it is, the test is told
            reply = (False, traceback.format_exc())
        pipe.send(reply)
    # Ray's way out waits for each process in turn; the kernel ends them with this one.
    os._exit(0)
