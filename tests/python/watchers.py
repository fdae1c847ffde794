# SPDX-License-Identifier: Apache-2.0
"""What tests of watch() compare with, and what follows one."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import pytest
from helpers import PATIENCE

from gcs_cffi import Change, GcsClient, NodeID, Watch, messages

if TYPE_CHECKING:
    from collections.abc import Mapping

RESTART_PATIENCE = 30.0
DEAD = messages.GcsNodeInfo.DEAD


async def new_node(gcs: GcsClient, name: str = "n") -> NodeID:
    node = NodeID(os.urandom(28))
    await gcs.nodes.register(
        {
            "node_id": node,
            "node_name": name,
            "node_manager_address": "127.0.0.1",
            "node_manager_port": int(gcs.address.rpartition(":")[2]),
            "resources_total": {"CPU": 4.0},
        }
    )
    return node


async def nodes_of(gcs: GcsClient) -> dict[Any, Any]:
    nodes = await gcs.nodes.list()
    for node in nodes.values():
        node.ClearField("state_snapshot")
        if node.state != DEAD:
            node.ClearField("death_info")
    return {**nodes}


async def jobs_of(gcs: GcsClient) -> dict[Any, Any]:
    return {**await gcs.jobs.list(skip_submission_info=True, skip_is_running_tasks=True)}


async def actors_of(gcs: GcsClient) -> dict[Any, Any]:
    actors = await gcs.actors.list()
    for actor in actors.values():
        if actor.state not in (messages.ActorTableData.ALIVE, messages.ActorTableData.DEAD):
            actor.ClearField("address")
    return {**actors}


class Follower:
    """Iterates a watch, and keeps what its changes amount to."""

    def __init__(self, watch: Watch[Any, Any]) -> None:
        self.watch = watch
        self.seen: dict[Any, Any] = {}
        self.changes: list[Any] = []

    def take(self, change: Change[Any, Any]) -> None:
        """Checks that a change follows on what came before."""
        assert self.seen.get(change.id) == change.before, change
        assert change.value != change.before, change
        if change.value is None:
            del self.seen[change.id]
        else:
            self.seen[change.id] = change.value
        self.changes.append(change)

    async def until(self, wanted: Mapping[Any, Any], timeout: float = PATIENCE) -> None:
        """Follows until the table is the wanted one; then nothing else may come."""
        end = time.monotonic() + timeout
        while self.seen != wanted:
            left = end - time.monotonic()
            assert left > 0, f"{len(self.seen)} seen, {len(wanted)} wanted"
            try:
                change = await self.watch.next(min(left, 0.5))
            except TimeoutError:
                continue
            assert change is not None
            self.take(change)
        assert self.watch.current == wanted
        with pytest.raises(TimeoutError):
            await self.watch.next(0.2)
