# SPDX-License-Identifier: Apache-2.0
"""The process that has a cluster which changes: raylets and actors come and go, the GCS restarts.

It answers for Changing, as `live.answering` says.

Invariants:
- The cluster's state is in a Redis of its own, so that a GCS that restarts knows it.
- The cluster's processes and the Redis end with this one, or by whoever started it.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from typing import Any

from live.answering import answer

OBJECT_STORE_BYTES = 80_000_000
WAIT_SECONDS = 60


class Counter:
    """An actor that can be made to end, and is started again then."""

    def ping(self) -> int:
        return os.getpid()

    def end(self) -> None:
        os._exit(1)


class Changing:
    """The cluster."""

    def __init__(self) -> None:
        """Starts Redis and a head without resources."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        # Debian has it under the second name in a package without a service.
        executable = shutil.which("redis-server") or shutil.which("redis-check-rdb")
        assert executable, "there is no redis-server"
        command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1"]
        command += ["--save", "", "--appendonly", "no"]
        self._redis = subprocess.Popen(command, executable=executable, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert time.monotonic() < deadline, "the Redis does not answer"
                time.sleep(0.05)
        os.environ["RAY_REDIS_ADDRESS"] = f"127.0.0.1:{port}"
        # After the variable is set.
        import ray
        from ray.cluster_utils import Cluster

        self._ray = ray
        self._cluster = Cluster(
            initialize_head=True,
            head_node_args={
                "num_cpus": 0,
                "include_dashboard": False,
                "object_store_memory": OBJECT_STORE_BYTES,
            },
        )
        self.address = self._cluster.address
        ray.init(address=self.address, namespace="changing", log_to_driver=False)
        self._raylets: list[Any] = []
        self._actors: list[Any] = []

    def add_raylet(self) -> None:
        """Starts a raylet, and waits until the GCS knows it."""
        node = self._cluster.add_node(num_cpus=2, object_store_memory=OBJECT_STORE_BYTES)
        self._raylets.append(node)

    def remove_raylet(self, gracefully: bool) -> None:
        """Ends the oldest raylet."""
        self._cluster.remove_node(self._raylets.pop(0), allow_graceful=gracefully)

    def new_actor(self, restarts: int) -> None:
        """Starts an actor, and waits until it lives."""
        counter = self._ray.remote(num_cpus=0.1, max_restarts=restarts)(Counter)
        actor = counter.remote()
        self._ray.get(actor.ping.remote(), timeout=WAIT_SECONDS)
        self._actors.append(actor)

    def start_actors(self, count: int) -> None:
        """Starts actors, and does not wait for them."""
        counter = self._ray.remote(num_cpus=0.1, max_restarts=1)(Counter)
        self._actors += [counter.remote() for _ in range(count)]

    def crash_actor(self) -> None:
        """Ends the process of the oldest actor, which is started again if it may be."""
        self._actors[0].end.remote()

    def kill_actor(self) -> None:
        """Ends the oldest actor."""
        self._ray.kill(self._actors.pop(0))

    def forget_actor(self) -> None:
        """Drops the handle to the oldest actor, which ends it."""
        self._actors.pop(0)

    def kill_gcs(self) -> None:
        """Ends the GCS at once."""
        self._cluster.head_node.kill_gcs_server(False)

    def start_gcs(self) -> None:
        """Starts it again, at the same port."""
        self._cluster.head_node.start_gcs_server()


def start() -> tuple[object, object]:
    """Starts the cluster, whose address is told."""
    changing = Changing()
    return changing, (changing.address, {})


if __name__ == "__main__":
    answer(int(sys.argv[1]), start)
