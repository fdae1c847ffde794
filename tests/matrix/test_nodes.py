# SPDX-License-Identifier: Apache-2.0
"""gcs.nodes on every release: what is registered, read, and ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gcs_cffi import JobID, NodeID, messages
from matrix.arguments import (
    KINDS,
    Kind,
    OtherID,
    check_ids,
    check_messages,
    check_timeouts,
    made,
    refused_before_sending,
)
from matrix.nodes import end, fields_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcs_cffi import GcsClient
    from gcs_cffi.ids import AnyID
    from gcs_cffi.testing import GcsServer
    from matrix.conftest import Connect

NAME = "ray.rpc.GcsNodeInfo"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.method("nodes.register", "nodes.list", "nodes.get")
async def test_a_node_that_was_registered_is_read_back_as_it_was_given(
    gcs: GcsClient, unique: Callable[[int], bytes], kind: Kind
) -> None:
    node = NodeID(unique(28))
    fields = {
        **fields_of(node, "first", "127.0.0.1"),
        "node_manager_hostname": "host",
        "object_manager_port": 2,
        "metrics_export_port": 3,
        "runtime_env_agent_port": 4,
        "raylet_socket_name": "/a/raylet",
        "object_store_socket_name": "/a/store",
        "resources_total": {"CPU": 4.0, "GPU": 0.5},
        "labels": {"key": "value", "empty": ""},
        "instance_id": "instance",
        "node_type_name": "type",
        "instance_type_name": "instance type",
        "start_time_ms": 1_700_000_000_000,
        "state_snapshot": {
            "state": messages.NodeSnapshot.ACTIVE,
            "idle_duration_ms": 7,
            "node_activity": ["busy"],
        },
    }
    await gcs.nodes.register(made(kind, NAME, **fields))
    found = await gcs.nodes.get(node)
    assert type(found) is messages.GcsNodeInfo
    assert found == messages.GcsNodeInfo(**fields)
    assert found.state == messages.GcsNodeInfo.ALIVE
    assert await gcs.nodes.get(OtherID(node)) == found
    assert await gcs.nodes.get(bytes(node)) == found
    nodes = await gcs.nodes.list()
    assert {type(each) for each in nodes} == {NodeID}
    assert nodes[node] == found


@pytest.mark.method("nodes.list")
async def test_a_server_without_raylets_has_no_nodes(
    own_server: GcsServer, connect: Connect
) -> None:
    async with connect(own_server.address) as gcs:
        assert await gcs.nodes.list() == {}
        assert await gcs.nodes.list(state="DEAD", is_head=False, limit=5) == {}


@pytest.mark.method("nodes.get")
async def test_an_unknown_node_is_none(gcs: GcsClient, unique: Callable[[int], bytes]) -> None:
    assert await gcs.nodes.get(NodeID(unique(28))) is None


@pytest.mark.method("nodes.register")
async def test_a_new_head_node_ends_the_one_before(
    own_server: GcsServer, connect: Connect, unique: Callable[[int], bytes]
) -> None:
    first, second = NodeID(unique(28)), NodeID(unique(28))
    async with connect(own_server.address) as gcs:
        for node in (first, second):
            fields = fields_of(node, "head", "127.0.0.1")
            await gcs.nodes.register({**fields, "is_head_node": True})
        nodes = await gcs.nodes.list(is_head=True)
        assert nodes[first].state == messages.GcsNodeInfo.DEAD
        assert nodes[second].state == messages.GcsNodeInfo.ALIVE


@pytest.mark.method("nodes.check_alive")
async def test_of_several_nodes_those_are_alive_that_are(
    gcs: GcsClient, release: tuple[int, ...], unique: Callable[[int], bytes]
) -> None:
    alive, other, dead, unknown = [NodeID(unique(28)) for _ in range(4)]
    # The dead one had the address of one that lives.
    for node, port in ((dead, 11), (alive, 11), (other, 12)):
        fields = fields_of(node, "n", "127.0.0.1")
        await gcs.nodes.register({**fields, "node_manager_port": port})
    await end(gcs, release, dead)
    expected = {dead: False, alive: True, unknown: False, other: True}
    found = await gcs.nodes.check_alive(expected)
    assert found == expected
    assert list(found) == list(expected)
    assert {type(node) for node in found} == {NodeID}
    several: list[AnyID] = [alive, OtherID(alive), bytes(dead), OtherID(unknown), alive]
    assert await gcs.nodes.check_alive(iter(several)) == {
        alive: True,
        dead: False,
        unknown: False,
    }
    for node, is_alive in expected.items():
        assert await gcs.nodes.check_alive([node]) == {node: is_alive}
    assert await gcs.nodes.check_alive([]) == {}


@pytest.mark.method("nodes.drain")
async def test_all_nodes_that_are_to_drain_are_named(
    gcs: GcsClient, release: tuple[int, ...], unique: Callable[[int], bytes]
) -> None:
    alive, other, dead, unknown = [NodeID(unique(28)) for _ in range(4)]
    for node in (alive, other, dead):
        await gcs.nodes.register(fields_of(node, "n", "127.0.0.1"))
    await end(gcs, release, dead)
    assert await gcs.nodes.drain([]) == []
    drained = await gcs.nodes.drain([alive, OtherID(dead), bytes(unknown), alive])
    assert sorted(drained) == sorted([alive, dead, unknown])
    assert {type(node) for node in drained} == {NodeID}
    assert (await gcs.nodes.check_alive([other])) == {other: True}


@pytest.mark.method("nodes.unregister")
@pytest.mark.since("2.23")
async def test_a_node_that_was_unregistered_is_dead_for_the_reason_given(
    gcs: GcsClient, unique: Callable[[int], bytes]
) -> None:
    reasons = messages.NodeDeathInfo
    for reason, number in (
        ("UNEXPECTED_TERMINATION", reasons.UNEXPECTED_TERMINATION),
        (reasons.AUTOSCALER_DRAIN_IDLE, reasons.AUTOSCALER_DRAIN_IDLE),
        (None, reasons.EXPECTED_TERMINATION),
    ):
        node = NodeID(unique(28))
        fields = fields_of(node, "first", "127.0.0.1")
        await gcs.nodes.register(fields)
        given: dict[str, Any] = {} if reason is None else {"reason": reason, "message": "by a test"}
        await gcs.nodes.unregister(OtherID(node), **given)
        found = await gcs.nodes.get(node)
        assert found is not None
        assert found.state == messages.GcsNodeInfo.DEAD
        assert found.death_info.reason == number
        assert found.death_info.reason_message == ("" if reason is None else "by a test")
        assert found.end_time_ms > 1_500_000_000_000
        assert found.node_name == "first"
        assert await gcs.nodes.check_alive([node]) == {node: False}


@pytest.mark.method("nodes.unregister")
@pytest.mark.since("2.23")
async def test_a_dead_and_an_unknown_node_can_be_unregistered(
    gcs: GcsClient, unique: Callable[[int], bytes]
) -> None:
    node, unknown = NodeID(unique(28)), NodeID(unique(28))
    await gcs.nodes.register(fields_of(node, "first", "127.0.0.1"))
    await gcs.nodes.unregister(node, message="once")
    await gcs.nodes.unregister(node, message="twice")
    found = await gcs.nodes.get(node)
    assert found is not None
    assert found.death_info.reason_message == "once"
    await gcs.nodes.unregister(unknown)
    assert await gcs.nodes.get(unknown) is None


@pytest.mark.method("nodes.register")
async def test_what_is_no_node_is_refused_before_it_is_sent(gcs: GcsClient) -> None:
    other = messages.JobTableData()
    await check_messages(gcs, gcs.nodes.register, other, {"node_manager_port": "x"})
    with refused_before_sending(gcs, TypeError):
        await gcs.nodes.register({"node_id": "x" * 28})
    with refused_before_sending(gcs, ValueError):
        await gcs.nodes.register({"state": "NO_SUCH_STATE"})
    await check_timeouts(gcs, gcs.nodes.register, {})


@pytest.mark.method("nodes.get", "nodes.check_alive", "nodes.drain", "nodes.unregister")
async def test_what_is_no_node_id_is_refused_before_it_is_sent(gcs: GcsClient) -> None:
    several = (gcs.nodes.check_alive, gcs.nodes.drain)
    for call in (gcs.nodes.get, gcs.nodes.unregister):
        await check_ids(gcs, 28, call)
        with refused_before_sending(gcs, TypeError):
            await call(JobID(b"xxxx"))
        await check_timeouts(gcs, call, b"n" * 28)
    for call_with_several in several:
        await check_lists_of_ids(gcs, call_with_several)


async def check_lists_of_ids(gcs: GcsClient, call: Any) -> None:
    await check_ids(gcs, 28, lambda wrong: call([b"n" * 28, wrong]))
    for one in (b"n" * 28, NodeID(b"n" * 28), "n" * 28, None, 7):
        with refused_before_sending(gcs, TypeError):
            await call(one)
    await check_timeouts(gcs, call, [b"n" * 28])


@pytest.mark.method("nodes.unregister")
async def test_what_is_no_reason_is_refused_before_it_is_sent(gcs: GcsClient) -> None:
    node = b"n" * 28
    for unknown in ("NO_SUCH_REASON", "", 99, -1):
        with refused_before_sending(gcs, ValueError, "EXPECTED_TERMINATION"):
            await gcs.nodes.unregister(node, reason=unknown)
    for strange in (None, b"EXPECTED_TERMINATION", 1.0, True):
        with refused_before_sending(gcs, TypeError):
            await gcs.nodes.unregister(node, reason=strange)  # type: ignore[arg-type]
    for wrong in (b"text", None, 7):
        with refused_before_sending(gcs, TypeError):
            await gcs.nodes.unregister(node, message=wrong)  # type: ignore[arg-type]
