# SPDX-License-Identifier: Apache-2.0
"""One way to have each channel tell something, whatever the release.

Invariant: what is told is about ids of its own, so that subscribers of a whole channel know it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from gcs_cffi import ActorID, JobID, NodeID, WorkerID, messages
from matrix.cluster_parts import new_actor, new_job, new_node

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gcs_cffi import GcsClient


@dataclass(frozen=True)
class Prepared:
    """Something that a channel is about to tell."""

    key: Any
    """With which it comes."""
    mark: bytes
    """What stands in its bytes, however the release lays them out."""
    tell: Callable[[], Awaitable[object]]


@dataclass(frozen=True)
class Channel:
    """A channel, and what it gives."""

    name: str
    message: type[Any]
    key: type[Any]
    prepare: Callable[[GcsClient, tuple[int, ...]], Awaitable[Prepared]]

    def case(self) -> Any:
        """It as a test's parameter, with the marks that it needs."""
        marks = [pytest.mark.method(f"subscribe ({self.name})")]
        if self.name == "node_liveness":
            channel = "GCS_NODE_ADDRESS_AND_LIVENESS_CHANNEL"
            marks.append(pytest.mark.since("2.51", part=channel))
        return pytest.param(self, marks=marks, id=self.name)


async def _error(gcs: GcsClient, _: tuple[int, ...]) -> Prepared:
    key, text = os.urandom(28), os.urandom(8).hex()
    return Prepared(key, text.encode(), lambda: gcs.errors.publish("kind", text, key=key))


async def _log(gcs: GcsClient, _: tuple[int, ...]) -> Prepared:
    key, line = os.urandom(28), os.urandom(8).hex()
    return Prepared(key, line.encode(), lambda: gcs.logs.publish({"lines": [line]}, key=key))


async def _usage(gcs: GcsClient, _: tuple[int, ...]) -> Prepared:
    key, text = os.urandom(28), os.urandom(8).hex()
    return Prepared(key, text.encode(), lambda: gcs.resources.publish_usage(text, key=key))


async def _actor(gcs: GcsClient, _: tuple[int, ...]) -> Prepared:
    actor = await new_actor(gcs, await new_job(gcs), "test")
    return Prepared(actor, actor, lambda: gcs.actors.kill(actor))


async def _job(gcs: GcsClient, _: tuple[int, ...]) -> Prepared:
    job = await new_job(gcs)
    return Prepared(job, job, lambda: gcs.jobs.mark_finished(job))


async def _node(gcs: GcsClient, _: tuple[int, ...]) -> Prepared:
    node = NodeID(os.urandom(28))
    return Prepared(node, node, lambda: new_node(gcs, node_id=node))


async def _worker(gcs: GcsClient, _: tuple[int, ...]) -> Prepared:
    worker = WorkerID(os.urandom(28))
    address = {"worker_id": worker, "node_id": os.urandom(28), "ip_address": "127.0.0.1"}
    await gcs.workers.add({"worker_address": address, "is_alive": True})
    dead = {"worker_address": address}
    return Prepared(worker, worker, lambda: gcs.workers.report_failure(dead))


CHANNELS = (
    Channel("errors", messages.ErrorTableData, bytes, _error),
    Channel("logs", messages.LogBatch, bytes, _log),
    Channel("resource_usage", messages.NodeResourceUsage, bytes, _usage),
    Channel("actors", messages.ActorTableData, ActorID, _actor),
    Channel("jobs", messages.JobTableData, JobID, _job),
    Channel("nodes", messages.GcsNodeInfo, NodeID, _node),
    Channel("node_liveness", messages.GcsNodeAddressAndLiveness, NodeID, _node),
    Channel("workers", messages.WorkerDeltaData, WorkerID, _worker),
)
