# SPDX-License-Identifier: Apache-2.0
"""gcs.resources on every release."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gcs_cffi import NodeID, messages
from matrix.cluster_parts import new_node
from matrix.unsent import check_unsent

if TYPE_CHECKING:
    from gcs_cffi import GcsClient
    from gcs_cffi.testing import GcsServer
    from matrix.conftest import Connect

HAS = {"CPU": 4.0, "memory": 1e9, "fräs": 0.5}


@pytest.mark.method("resources.total")
@pytest.mark.since("2.30")
async def test_what_a_node_has_is_what_it_registered(gcs: GcsClient) -> None:
    nodes = [await new_node(gcs, HAS), await new_node(gcs, {"GPU": 1.0})]
    total = await gcs.resources.total()
    assert all(type(node) is NodeID for node in total)
    assert [total[node] for node in nodes] == [HAS, {"GPU": 1.0}]
    assert type(total[nodes[0]]) is dict


@pytest.mark.method("resources.available")
async def test_a_node_without_work_has_everything_left(gcs: GcsClient) -> None:
    node = await new_node(gcs, HAS)
    available = await gcs.resources.available()
    assert all(type(each) is NodeID for each in available)
    assert available[node] == HAS
    assert type(available[node]) is dict


@pytest.mark.method("resources.usage")
async def test_every_node_is_in_the_usage(gcs: GcsClient) -> None:
    node = await new_node(gcs, HAS)
    usage = await gcs.resources.usage()
    assert type(usage) is messages.ResourceUsageBatchData
    assert node in {each.node_id for each in usage.batch}


@pytest.mark.method("resources.draining_nodes")
async def test_a_node_with_work_is_not_draining(gcs: GcsClient) -> None:
    node = await new_node(gcs)
    assert node not in await gcs.resources.draining_nodes()


@pytest.mark.method("resources.available", "resources.total", "resources.usage")
@pytest.mark.method("resources.draining_nodes")
async def test_without_nodes_there_are_no_resources(
    own_server: GcsServer, connect: Connect, release: tuple[int, ...]
) -> None:
    async with connect(own_server.address) as gcs:
        assert await gcs.resources.available() == {}
        assert await gcs.resources.draining_nodes() == {}
        assert [*(await gcs.resources.usage()).batch] == []
        if release >= (2, 30):
            assert await gcs.resources.total() == {}


@pytest.mark.method("resources.available", "resources.total", "resources.usage")
@pytest.mark.method("resources.draining_nodes")
async def test_a_timeout_that_cannot_be_is_refused_here(gcs: GcsClient) -> None:
    resources = gcs.resources
    for method in (resources.available, resources.usage, resources.draining_nodes):
        await check_unsent(gcs, method, [
            (ValueError, (), {"timeout": -1}),
            (ValueError, (), {"timeout": float("nan")}),
            (TypeError, (), {"timeout": "1"}),
            (TypeError, (), {"timeout": True}),
        ])  # fmt: skip
