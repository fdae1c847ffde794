# SPDX-License-Identifier: Apache-2.0
"""gcs.autoscaler on every release."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

import gcs_cffi
from gcs_cffi import NodeID, messages
from matrix.cluster_parts import new_node
from matrix.foreign import foreign
from matrix.unsent import check_unsent

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcs_cffi import GcsClient
    from gcs_cffi.testing import GcsServer
    from matrix.conftest import Connect

autoscaler = messages.autoscaler
RAY_NOT_FOUND = 1017
RAY_GRPC_UNKNOWN, RAY_RPC_ERROR = 1027, 1030
IDLE, PREEMPTION = "DRAIN_NODE_REASON_IDLE_TERMINATION", "DRAIN_NODE_REASON_PREEMPTION"


def new_state(version: int) -> messages.autoscaler.AutoscalingState:
    state = autoscaler.AutoscalingState(autoscaler_state_version=version)
    state.pending_instance_requests.add(
        instance_type_name="m5.large", ray_node_type_name="worker", count=2, request_ts=7
    )
    state.pending_instances.add(instance_id="i-1", ip_address="10.0.0.1", details="installs")
    state.failed_instance_requests.add(reason="no quota", count=1, start_ts=1, failed_ts=2)
    state.infeasible_resource_requests.add().resources_bundle["GPU"] = 8.0
    state.infeasible_gang_resource_requests.add(details="gang").requests.add()
    constraint = state.infeasible_cluster_resource_constraints.add()
    constraint.resource_requests.add(count=3).request.resources_bundle["CPU"] = 1.0
    return state


def new_config() -> messages.autoscaler.ClusterConfig:
    config = autoscaler.ClusterConfig(min_resources={"CPU": 1}, max_resources={"CPU": 64})
    group = config.node_group_configs.add(name="workers", min_count=1, max_count=-1)
    group.resources["CPU"] = 8
    return config


def selector(key: str, *values: str) -> messages.LabelSelector:
    made = messages.LabelSelector()
    made.label_constraints.add(
        label_key=key, operator=messages.LABEL_OPERATOR_IN, label_values=values
    )
    return made


async def asked_for(gcs: GcsClient) -> list[tuple[dict[str, float], int, list[Any]]]:
    """The bundles of the constraint, their counts and their selectors."""
    state = await gcs.autoscaler.get_cluster_resource_state()
    return [
        (dict(each.request.resources_bundle), each.count, [*each.request.label_selectors])
        for constraint in state.cluster_resource_constraints
        for each in constraint.resource_requests
    ]


@pytest.mark.method("autoscaler.get_cluster_status", "autoscaler.get_cluster_resource_state")
async def test_a_fresh_cluster_has_no_state_yet(own_server: GcsServer, connect: Connect) -> None:
    async with connect(own_server.address) as gcs:
        status = await gcs.autoscaler.get_cluster_status()
        assert type(status) is autoscaler.GetClusterStatusReply
        assert not status.autoscaling_state.ListFields()
        state = await gcs.autoscaler.get_cluster_resource_state()
        assert type(state) is autoscaler.ClusterResourceState
        assert not state.node_states
        assert not state.cluster_resource_constraints
        assert state.cluster_resource_state_version > 0
        again = await gcs.autoscaler.get_cluster_resource_state()
        assert again.cluster_resource_state_version > state.cluster_resource_state_version


@pytest.mark.method("autoscaler.get_cluster_status", "autoscaler.get_cluster_resource_state")
async def test_a_node_is_in_the_cluster_state(gcs: GcsClient) -> None:
    node = await new_node(gcs, {"CPU": 4.0, "fräs": 0.5})
    status = await gcs.autoscaler.get_cluster_status()
    for state in (
        status.cluster_resource_state,
        await gcs.autoscaler.get_cluster_resource_state(),
    ):
        (found,) = [each for each in state.node_states if each.node_id == node]
        assert found.total_resources == {"CPU": 4.0, "fräs": 0.5}
        assert found.node_ip_address == "127.0.0.1"
        assert found.status in (autoscaler.RUNNING, autoscaler.IDLE)


@pytest.mark.method("autoscaler.report_autoscaling_state", "autoscaler.get_cluster_status")
async def test_what_an_autoscaler_reports_is_the_clusters_status(
    own_server: GcsServer, connect: Connect
) -> None:
    async with connect(own_server.address) as gcs:
        fields = {field.name: value for field, value in new_state(3).ListFields()}
        for version, passed in (
            (1, new_state(1)),
            (2, foreign(new_state(2))),
            (3, fields),
        ):
            await gcs.autoscaler.report_autoscaling_state(passed)
            status = await gcs.autoscaler.get_cluster_status()
            assert status.autoscaling_state == new_state(version)


@pytest.mark.method("autoscaler.report_autoscaling_state")
async def test_an_older_report_is_ignored(own_server: GcsServer, connect: Connect) -> None:
    async with connect(own_server.address) as gcs:
        await gcs.autoscaler.report_autoscaling_state(new_state(5))
        await gcs.autoscaler.report_autoscaling_state({"autoscaler_state_version": 4})
        assert (await gcs.autoscaler.get_cluster_status()).autoscaling_state == new_state(5)


@pytest.mark.method("autoscaler.report_cluster_config")
@pytest.mark.since("2.41")
async def test_a_cluster_config_is_kept_as_it_was_reported(gcs: GcsClient) -> None:
    fields = {field.name: value for field, value in new_config().ListFields()}
    for passed in (new_config(), foreign(new_config()), fields):
        await gcs.autoscaler.report_cluster_config(passed)
        kept = await gcs.kv.get("__autoscaler_cluster_config", namespace="__autoscaler")
        assert kept is not None
        assert autoscaler.ClusterConfig.FromString(kept) == new_config()
        await gcs.kv.delete("__autoscaler_cluster_config", namespace="__autoscaler")


@pytest.mark.method("autoscaler.request_cluster_resource_constraint")
async def test_a_constraint_is_in_the_cluster_state_until_the_next(
    own_server: GcsServer, connect: Connect
) -> None:
    async with connect(own_server.address) as gcs:
        request = gcs.autoscaler.request_cluster_resource_constraint
        await request([{"CPU": 1}, {"GPU": 0.5, "memory": 1e9}], counts=[3, 1])
        both: list[tuple[dict[str, float], int, list[Any]]] = [
            ({"CPU": 1.0}, 3, []),
            ({"GPU": 0.5, "memory": 1e9}, 1, []),
        ]
        assert await asked_for(gcs) == both
        await request([{"CPU": 2}, {"CPU": 2}])
        assert await asked_for(gcs) == [({"CPU": 2.0}, 1, []), ({"CPU": 2.0}, 1, [])]
        await request(iter([{"CPU": 1}]), counts=iter([5]))
        assert await asked_for(gcs) == [({"CPU": 1.0}, 5, [])]
        await request([])
        assert await asked_for(gcs) == []


@pytest.mark.method("autoscaler.request_cluster_resource_constraint (label_selectors)")
@pytest.mark.since("2.45", part="label_selectors")
async def test_a_constraint_says_which_nodes_will_do(
    own_server: GcsServer, connect: Connect
) -> None:
    async with connect(own_server.address) as gcs:
        ours, theirs = selector("zone", "a", "b"), selector("market", "spot")
        fields = {"label_constraints": [*selector("size", "xl").label_constraints]}
        await gcs.autoscaler.request_cluster_resource_constraint(
            [{"CPU": 1}, {"CPU": 2}, {"CPU": 3}],
            counts=[1, 2, 3],
            label_selectors=[ours, foreign(theirs), fields],
        )
        assert await asked_for(gcs) == [
            ({"CPU": 1.0}, 1, [ours]),
            ({"CPU": 2.0}, 2, [theirs]),
            ({"CPU": 3.0}, 3, [selector("size", "xl")]),
        ]


@pytest.mark.method("autoscaler.drain_node")
async def test_to_drain_an_unknown_node_is_accepted(
    gcs: GcsClient, unique: Callable[[int], bytes]
) -> None:
    for reason in (IDLE, autoscaler.DRAIN_NODE_REASON_PREEMPTION):
        node = NodeID(unique(28))
        answer = await gcs.autoscaler.drain_node(node, reason=reason, message="why")
        assert (answer.is_accepted, answer.rejection_reason) == (True, "")
        assert node not in await gcs.resources.draining_nodes()


@pytest.mark.method("autoscaler.drain_node")
async def test_a_node_whose_raylet_does_not_answer_is_not_drained(
    gcs: GcsClient, release: tuple[int, ...]
) -> None:
    node = await new_node(gcs)
    with pytest.raises(gcs_cffi.GcsStatusError) as refused:
        await gcs.autoscaler.drain_node(node, reason=PREEMPTION)
    # Ray itself has another status for it before 2.40.
    assert refused.value.code == (RAY_RPC_ERROR if release >= (2, 40) else RAY_GRPC_UNKNOWN)
    assert node not in await gcs.resources.draining_nodes()


@pytest.mark.method("autoscaler.drain_node (deadline)")
@pytest.mark.since("2.10", part="deadline")
async def test_a_node_is_drained_by_a_deadline(
    gcs: GcsClient, unique: Callable[[int], bytes]
) -> None:
    answer = await gcs.autoscaler.drain_node(unique(28), reason=PREEMPTION, deadline_ms=1 << 42)
    assert answer.is_accepted is True


@pytest.mark.method("autoscaler.resize_raylet_resource_instances")
@pytest.mark.since("2.55")
async def test_to_resize_an_unknown_node_is_refused(
    gcs: GcsClient, unique: Callable[[int], bytes]
) -> None:
    with pytest.raises(gcs_cffi.GcsStatusError) as refused:
        await gcs.autoscaler.resize_raylet_resource_instances(unique(28), {"CPU": 8})
    assert refused.value.code == RAY_NOT_FOUND


@pytest.mark.method("autoscaler.resize_raylet_resource_instances")
@pytest.mark.since("2.55")
async def test_a_node_whose_raylet_does_not_answer_is_not_resized(gcs: GcsClient) -> None:
    node = await new_node(gcs)
    with pytest.raises(gcs_cffi.GcsStatusError) as refused:
        await gcs.autoscaler.resize_raylet_resource_instances(node, {"CPU": 8})
    assert refused.value.code == RAY_RPC_ERROR


@pytest.mark.method("autoscaler.get_cluster_status", "autoscaler.get_cluster_resource_state")
@pytest.mark.method("autoscaler.report_autoscaling_state", "autoscaler.report_cluster_config")
@pytest.mark.method("autoscaler.request_cluster_resource_constraint", "autoscaler.drain_node")
@pytest.mark.method("autoscaler.resize_raylet_resource_instances")
async def test_wrong_arguments_about_scaling_are_refused_here(gcs: GcsClient) -> None:
    node, nan = os.urandom(28), float("nan")
    accessor = gcs.autoscaler
    for method in (accessor.get_cluster_status, accessor.get_cluster_resource_state):
        await check_unsent(gcs, method, [(ValueError, (), {"timeout": -1})])
    for report, other in (
        (accessor.report_autoscaling_state, messages.autoscaler.ClusterConfig()),
        (accessor.report_cluster_config, messages.autoscaler.AutoscalingState()),
    ):
        await check_unsent(gcs, report, [
            (TypeError, (None,), {}),
            (TypeError, (b"",), {}),
            (TypeError, (other,), {}),
            (TypeError, (foreign(other),), {}),
            (ValueError, ({"no such field": 1},), {}),
        ])  # fmt: skip
    bundle = {"CPU": 1}
    await check_unsent(gcs, accessor.request_cluster_resource_constraint, [
        (TypeError, (None,), {}),
        (TypeError, ([None],), {}),
        (TypeError, ("CPU",), {}),
        (TypeError, (bundle,), {}),
        (TypeError, ([{b"CPU": 1}],), {}),
        (TypeError, ([{"CPU": "1"}],), {}),
        (TypeError, ([{"CPU": True}],), {}),
        (ValueError, ([{"CPU": nan}],), {}),
        (ValueError, ([{"CPU": float("inf")}],), {}),
        (ValueError, ([{"CPU": -1}],), {}),
        (ValueError, ([bundle],), {"counts": []}),
        (ValueError, ([bundle],), {"counts": [1, 2]}),
        (ValueError, ([bundle],), {"counts": [-1]}),
        (TypeError, ([bundle],), {"counts": [1.5]}),
        (TypeError, ([bundle],), {"counts": 1}),
        (ValueError, ([bundle],), {"label_selectors": []}),
        (TypeError, ([bundle],), {"label_selectors": [None]}),
        (TypeError, ([bundle],), {"label_selectors": [messages.Bundle()]}),
        (ValueError, ([bundle],), {"label_selectors": [{"no such field": 1}]}),
    ])  # fmt: skip
    await check_unsent(gcs, accessor.drain_node, [
        (ValueError, (node[1:],), {"reason": IDLE}),
        (ValueError, (b"",), {"reason": IDLE}),
        (TypeError, ("a" * 28,), {"reason": IDLE}),
        (ValueError, (node,), {"reason": "BOREDOM"}),
        (ValueError, (node,), {"reason": 99}),
        (TypeError, (node,), {"reason": None}),
        (TypeError, (node,), {"reason": IDLE, "message": b"why"}),
        (ValueError, (node,), {"reason": IDLE, "deadline_ms": -1}),
        (ValueError, (node,), {"reason": IDLE, "deadline_ms": 1 << 63}),
        (TypeError, (node,), {"reason": IDLE, "deadline_ms": 1.0}),
    ])  # fmt: skip
    await check_unsent(gcs, accessor.resize_raylet_resource_instances, [
        (ValueError, (node + b"x", bundle), {}),
        (TypeError, ("a" * 28, bundle), {}),
        (TypeError, (node, None), {}),
        (TypeError, (node, [("CPU", 1)]), {}),
        (TypeError, (node, {1: 1}), {}),
        (TypeError, (node, {"CPU": None}), {}),
        (ValueError, (node, {"CPU": nan}), {}),
        (ValueError, (node, {"CPU": -0.5}), {}),
    ])  # fmt: skip
