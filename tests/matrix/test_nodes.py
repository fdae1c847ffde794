# SPDX-License-Identifier: Apache-2.0
"""gcs.nodes on every release."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gcs_cffi import NodeID, messages

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcs_cffi import GcsClient
    from gcs_cffi.testing import GcsServer
    from matrix.conftest import Connect


@pytest.mark.method("nodes.list")
async def test_a_node_that_was_registered_is_listed_by_its_id(
    gcs: GcsClient, unique: Callable[[int], bytes]
) -> None:
    node = NodeID(unique(28))
    info = messages.GcsNodeInfo(
        node_id=node, node_name="first", node_manager_address="127.0.0.1", is_head_node=False
    )
    info.resources_total["CPU"] = 4.0
    body = info.SerializeToString()
    # Field 1 of ray.rpc.RegisterNodeRequest is the node, on every release.
    request = b"\x0a" + bytes([len(body)]) + body
    await gcs.call("NodeInfoGcsService", "RegisterNode", request)
    nodes = await gcs.nodes.list()
    assert all(type(each) is NodeID for each in nodes)
    found = nodes[node]
    assert type(found) is messages.GcsNodeInfo
    assert found.node_name == "first"
    assert found.resources_total == {"CPU": 4.0}
    assert found.state == messages.GcsNodeInfo.ALIVE


@pytest.mark.method("nodes.list")
async def test_a_server_without_raylets_has_no_nodes(
    own_server: GcsServer, connect: Connect
) -> None:
    async with connect(own_server.address) as gcs:
        assert await gcs.nodes.list() == {}
