# SPDX-License-Identifier: Apache-2.0
"""The process that has the cluster, drives what runs there, and reads it as Ray does.

It answers what comes through its end of a pipe: the name of one of RayView's methods and its
arguments, and back the result or the text of an error.

Invariants:
- The cluster's processes end with this one, and this one when the other end of the pipe closes.
"""

from __future__ import annotations

import os
import sys
import traceback
from multiprocessing.connection import Connection


def main(descriptor: int, dashboard_port: int) -> None:
    """Starts everything, tells what it made, and answers until nobody asks any more."""
    pipe = Connection(descriptor)
    try:
        from live.ray_view import RayView
        from live.workload import Workload

        workload = Workload(dashboard_port)
        workload.make()
        dashboard = f"http://{workload.cluster.head_node.webui_url}"
        view = RayView(workload.address, dashboard)
        pipe.send((True, (workload.address, vars(workload.made))))
    except BaseException:
        pipe.send((False, traceback.format_exc()))
        raise
    while True:
        try:
            method, arguments = pipe.recv()
        except EOFError:
            break
        try:
            answer = (True, getattr(view, method)(**arguments))
        except Exception:  # noqa: BLE001 - whatever it is, the test is told
            answer = (False, traceback.format_exc())
        pipe.send(answer)
    # Ray's way out waits for each process in turn; the kernel ends them with this one.
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
