# SPDX-License-Identifier: Apache-2.0
"""The process that has the cluster, drives what runs there, and reads it as Ray does.

It answers for RayView, as `live.answering` says.

Invariants:
- The cluster's processes end with this one, and this one when the other end of the pipe closes.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from live.answering import answer

if TYPE_CHECKING:
    from typing import NoReturn


def main(descriptor: int, dashboard_port: int) -> NoReturn:
    """Starts everything, tells what it made, and answers until nobody asks any more."""
    held: list[object] = []  # actors end with the handles that the workload has

    def start() -> tuple[object, object]:
        # Here, so that what an import raises is told, too.
        from live.ray_view import RayView
        from live.workload import Workload

        workload = Workload(dashboard_port)
        held.append(workload)
        workload.make()
        dashboard = f"http://{workload.cluster.head_node.webui_url}"
        view = RayView(workload.address, dashboard)
        return view, (workload.address, vars(workload.made))

    answer(descriptor, start)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
