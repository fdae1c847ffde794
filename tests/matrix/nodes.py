# SPDX-License-Identifier: Apache-2.0
"""Nodes that tests register: no raylet is behind them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from gcs_cffi import messages

if TYPE_CHECKING:
    from gcs_cffi import GcsClient, NodeID

UNREGISTER_SINCE = (2, 23)


def fields_of(node: bytes, name: str, address: str) -> dict[str, Any]:
    """What a raylet says about itself. Nobody listens at its address."""
    return {
        "node_id": node,
        "node_name": name,
        "node_manager_address": address,
        "node_manager_port": 1,
    }


async def end(gcs: GcsClient, release: tuple[int, ...], node: NodeID) -> None:
    """Has the GCS take a node for dead, as well as the release can."""
    if release >= UNREGISTER_SINCE:
        await gcs.nodes.unregister(node)
    else:
        await gcs.nodes.drain([node])
    for _ in range(200):
        found = await gcs.nodes.get(node)
        assert found is not None
        if found.state == messages.GcsNodeInfo.DEAD:
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"the GCS does not take {node} for dead")
