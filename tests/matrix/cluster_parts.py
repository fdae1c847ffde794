# SPDX-License-Identifier: Apache-2.0
"""Nodes, jobs and actors that no raylet and no worker stands behind, as tests tell a GCS of them.

Invariants:
- All of them have ids of their own, so that tests that share a server do not meet.
- Where they have an address it is the GCS's own: it answers health checks, and refuses at once what
  a raylet or a driver alone can do. Of a living job with a driver that cannot be reached, an older
  GCS may take a minute to list the jobs; one without a driver's worker id ends any GCS.
"""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING, Any

from gcs_cffi import ActorID, JobID, NodeID, messages

if TYPE_CHECKING:
    from gcs_cffi import GcsClient

_LONGEST_WAIT = 20.0


async def new_job(gcs: GcsClient, namespace: str = "") -> JobID:
    """Adds a job.

    Args:
        gcs: the client.
        namespace: Ray's namespace that the job's placement groups have their names in.
    """
    job = await gcs.jobs.next_id()
    await gcs.jobs.add(
        {
            "job_id": job,
            "config": {"ray_namespace": namespace},
            "driver_address": _address(gcs),
            "entrypoint": "test",
        }
    )
    return job


async def new_node(
    gcs: GcsClient, resources: dict[str, float] | None = None, node_id: NodeID | None = None
) -> NodeID:
    """Registers a node, and waits until its resources are known: the GCS answers before.

    Args:
        gcs: the client.
        resources: what the node has; None: 4 CPUs.
        node_id: its id; None: one that no other has.
    """
    node = node_id or NodeID(os.urandom(28))
    await gcs.nodes.register(
        {
            "node_id": node,
            "node_name": node.hex(),
            "node_manager_address": "127.0.0.1",
            "node_manager_port": _port(gcs),
            "resources_total": {"CPU": 4.0} if resources is None else resources,
        }
    )
    end = time.monotonic() + _LONGEST_WAIT
    while True:
        usage = await gcs.resources.usage()
        has_usage = node in {each.node_id for each in usage.batch}
        if has_usage and node in await gcs.resources.available():
            return node
        assert time.monotonic() < end, f"the resources of {node} are not known"
        await asyncio.sleep(0.01)


async def new_actor(
    gcs: GcsClient, job: JobID, namespace: str, *, name: str = "", class_name: str = "Counter"
) -> ActorID:
    """Registers a detached actor, which is then never created. RPC: RegisterActor.

    Args:
        gcs: the client.
        job: the actor's job, which the GCS knows.
        namespace: Ray's namespace of its name.
        name: its name; empty for none.
        class_name: of the code.
    """
    actor = ActorID(os.urandom(12) + job)
    function = {
        "module_name": "tests",
        "class_name": class_name,
        "function_name": "__init__",
        "function_hash": "0",
    }
    spec: dict[str, Any] = {
        "type": messages.ACTOR_CREATION_TASK,
        "name": f"{class_name}.__init__",
        "language": messages.PYTHON,
        "function_descriptor": {"python_function_descriptor": function},
        "job_id": job,
        "task_id": b"\xff" * 8 + actor,
        "parent_task_id": b"\xff" * 20 + job,
        "caller_id": b"\xff" * 20 + job,
        "caller_address": _address(gcs),
        "num_returns": 1,
        "required_resources": {"CPU": 1.0},
        "required_placement_resources": {"CPU": 1.0},
        "scheduling_strategy": {"default_scheduling_strategy": {}},
        "actor_creation_task_spec": {
            "actor_id": actor,
            "name": name,
            "ray_namespace": namespace,
            "is_detached": True,
            "max_actor_restarts": 3,
            "max_concurrency": 1,
        },
    }
    await gcs.call("ActorInfoGcsService", "RegisterActor", {"task_spec": spec})
    return actor


def _address(gcs: GcsClient) -> dict[str, Any]:
    return {
        "node_id": os.urandom(28),
        "ip_address": "127.0.0.1",
        "port": _port(gcs),
        "worker_id": os.urandom(28),
    }


def _port(gcs: GcsClient) -> int:
    return int(gcs.address.rpartition(":")[2])
