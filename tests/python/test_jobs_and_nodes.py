# SPDX-License-Identifier: Apache-2.0
"""gcs.jobs and gcs.nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcs_cffi import JobID, NodeID, messages

if TYPE_CHECKING:
    from gcs_cffi import GcsClient, sync

NODE = bytes(range(28))


async def test_job_ids_count_up_and_are_given_once(gcs: GcsClient) -> None:
    ids = [await gcs.jobs.next_id() for _ in range(3)]
    assert all(type(job) is JobID for job in ids)
    numbers = [job.to_int() for job in ids]
    assert numbers == list(range(numbers[0], numbers[0] + 3))
    assert numbers[0] >= 1


def test_blocking_and_async_clients_count_on_from_each_other(
    blocking_gcs: sync.GcsClient,
) -> None:
    first = blocking_gcs.jobs.next_id()
    assert blocking_gcs.jobs.next_id().to_int() == first.to_int() + 1


async def test_nodes_are_listed_by_id(gcs: GcsClient) -> None:
    info = messages.GcsNodeInfo(
        node_id=NODE, node_name="first", node_manager_address="127.0.0.1", is_head_node=True
    )
    info.resources_total["CPU"] = 4.0
    # Field 1 of ray.rpc.RegisterNodeRequest is the node.
    body = info.SerializeToString()
    request = b"\x0a" + bytes([len(body)]) + body
    await gcs.call("NodeInfoGcsService", "RegisterNode", request)
    nodes = await gcs.nodes.list()
    assert type(next(iter(nodes))) is NodeID
    node = nodes[NodeID(NODE)]
    assert type(node) is messages.GcsNodeInfo
    assert (node.node_name, node.resources_total["CPU"]) == ("first", 4.0)
