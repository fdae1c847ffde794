# SPDX-License-Identifier: Apache-2.0
"""What runs on the live cluster: something in every state that the GCS can tell.

Invariants:
- Runs in the child process only, which is the driver; the module imports Ray.
- When `make()` returns, every state has been seen; nothing changes by itself any more.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.cluster_utils import Cluster
from ray.job_submission import JobStatus, JobSubmissionClient
from ray.util.placement_group import placement_group, remove_placement_group

NAMESPACE = "elsewhere"
OBJECT_STORE_BYTES = 80_000_000
WAIT_SECONDS = 90
SUBMISSION_ID = "submitted"

# A driver that does a little and ends.
DRIVER = """
import sys
import ray
ray.init(address=sys.argv[1], namespace="driver", log_to_driver=False)
remote = ray.remote(num_cpus=0)(lambda: "done")
ray.get(remote.options(name="of_a_finished_driver").remote())
"""


@dataclass
class Made:
    """What was made: ids in bytes, by the names that the tests use."""

    driver_job: bytes = b""
    nodes: dict[str, bytes] = field(default_factory=dict)
    actors: dict[str, bytes] = field(default_factory=dict)
    groups: dict[str, bytes] = field(default_factory=dict)
    tasks: dict[str, bytes] = field(default_factory=dict)


class Alive:
    """An actor that does nothing."""

    def ping(self) -> str:
        return "pong"


class FailsToStart:
    """An actor whose constructor raises."""

    def __init__(self) -> None:
        raise RuntimeError("the constructor of this actor fails")

    def ping(self) -> None:
        pass


def succeed(number: int) -> int:
    """A task that ends well."""
    return number


def fail() -> None:
    """A task that raises."""
    raise ValueError("this task fails")


def run_on() -> None:
    """A task that does not end while the cluster lives."""
    time.sleep(24 * 3600)


# Decorators would take the types away.
AN_ACTOR = ray.remote(num_cpus=0)(Alive)
A_FAILING_ACTOR = ray.remote(num_cpus=0)(FailsToStart)
TASK = ray.remote(num_cpus=0, max_retries=0)


def eventually(what: str, condition: Callable[[], bool]) -> None:
    """Waits for a condition, for a bounded time."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"after {WAIT_SECONDS} s still not so: {what}")
        time.sleep(0.1)


class Workload:
    """The cluster, and what runs there."""

    def __init__(self, dashboard_port: int) -> None:
        """Starts the raylets, and connects this process as a driver.

        Three go on: the head, one that is drained, and one to try things on. One is killed, and one
        is there for the tests to end.
        """
        common = {"object_store_memory": OBJECT_STORE_BYTES}
        self.cluster = Cluster(
            initialize_head=True,
            head_node_args={
                **common,
                "num_cpus": 2,
                "include_dashboard": True,
                "dashboard_host": "127.0.0.1",
                "dashboard_port": dashboard_port,
                "dashboard_agent_listen_port": 0,
            },
        )
        ended = self.cluster.add_node(**common, num_cpus=1, wait=False)
        leaving = self.cluster.add_node(**common, num_cpus=1, resources={"leaving": 10}, wait=False)
        spare = self.cluster.add_node(**common, num_cpus=1, resources={"spare": 10}, wait=False)
        to_end = self.cluster.add_node(**common, num_cpus=0, wait=False)
        self.cluster.wait_for_nodes()
        self.made = Made()
        head = self.cluster.head_node
        named = {"head": head, "ended": ended, "leaving": leaving, "spare": spare}
        named["to_end"] = to_end
        self.made.nodes = {name: bytes.fromhex(node.node_id) for name, node in named.items()}
        self._ended = ended
        self._kept: list[Any] = []
        ray.init(address=self.cluster.address, namespace=NAMESPACE, log_to_driver=False)
        self.address: str = self.cluster.address
        self.made.driver_job = bytes.fromhex(ray.get_runtime_context().get_job_id())

    def make(self) -> None:
        """Makes it all; returns when it has come to rest."""
        jobs = JobSubmissionClient(f"http://{self.cluster.head_node.webui_url}")
        jobs.submit_job(
            entrypoint=f"{sys.executable} -c 'import ray; ray.init(log_to_driver=False)'",
            submission_id=SUBMISSION_ID,
            runtime_env={"env_vars": {"SUBMITTED": "1"}},
            metadata={"what": "a submitted job"},
        )
        self.cluster.remove_node(self._ended, allow_graceful=False)
        eventually(
            "the ended node is known to be dead",
            lambda: sum(not node["Alive"] for node in ray.nodes()) == 1,
        )
        driver = subprocess.Popen(
            [sys.executable, "-c", DRIVER, self.address],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._make_actors()
        self._make_groups()
        self._make_tasks()
        self._drain()
        if driver.wait(WAIT_SECONDS) != 0:
            raise RuntimeError("the driver that should end well did not")
        eventually(
            "the submitted job has succeeded",
            lambda: jobs.get_job_status(SUBMISSION_ID) == JobStatus.SUCCEEDED,
        )

    def _make_actors(self) -> None:
        kinds: dict[str, dict[str, Any]] = {
            "alive": {},
            "on_spare": {"resources": {"spare": 1}},
            "on_leaving": {"resources": {"leaving": 1}},
            "named": {"name": "known"},
            "elsewhere": {"name": "known", "namespace": "third"},
            "detached": {"name": "stays", "lifetime": "detached"},
            "killed": {"name": "gone"},
            "to_kill": {},
        }
        handles = {name: AN_ACTOR.options(**options).remote() for name, options in kinds.items()}
        handles["failed"] = A_FAILING_ACTOR.remote()
        self._kept += handles.values()
        ray.get([handle.ping.remote() for name, handle in handles.items() if name != "failed"])
        handles["pending"] = AN_ACTOR.options(resources={"absent": 1}).remote()
        self._kept.append(handles["pending"])
        ray.kill(handles["killed"])
        self.made.actors = {name: handle._actor_id.binary() for name, handle in handles.items()}

    def _make_groups(self) -> None:
        groups = {
            "created": placement_group([{"CPU": 0.5}, {"CPU": 0.5}], strategy="SPREAD"),
            "named": placement_group([{"CPU": 0.1}], name="known"),
            "removed": placement_group([{"CPU": 0.1}], name="gone"),
            "to_remove": placement_group([{"CPU": 0.1}]),
            "pending": placement_group([{"absent": 1}]),
        }
        self._kept += groups.values()
        for name, group in groups.items():
            if name != "pending" and not group.wait(WAIT_SECONDS):
                raise TimeoutError(f"the placement group {name} was not placed")
        remove_placement_group(groups["removed"])
        self.made.groups = {name: group.id.binary() for name, group in groups.items()}

    def _make_tasks(self) -> None:
        refs = {
            "first": TASK(succeed).options(name="ends_well").remote(1),
            "second": TASK(succeed).options(name="ends_well").remote(2),
            "failed": TASK(fail).remote(),
            "running": TASK(run_on).remote(),
        }
        self._kept += refs.values()
        ray.wait([refs["first"], refs["second"], refs["failed"]], num_returns=3)
        self.made.tasks = {name: ref.task_id().binary() for name, ref in refs.items()}

    def _drain(self) -> None:
        from ray.core.generated.autoscaler_pb2 import DrainNodeReason

        accepted, why = ray._private.worker.global_worker.gcs_client.drain_node(
            self.made.nodes["leaving"].hex(),
            DrainNodeReason.DRAIN_NODE_REASON_PREEMPTION,
            "it is to leave",
            int(time.time() + 3600) * 1000,
        )
        if not accepted:
            raise RuntimeError(f"the node cannot be drained: {why}")
