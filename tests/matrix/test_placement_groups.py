# SPDX-License-Identifier: Apache-2.0
"""gcs.placement_groups on every release."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import pytest

import gcs_cffi
from gcs_cffi import JobID, PlacementGroupID, messages
from matrix.cluster_parts import new_job, new_node
from matrix.foreign import foreign
from matrix.unsent import Wrong, check_unsent

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcs_cffi import GcsClient

RAY_NOT_FOUND = 1017
RAY_INVALID = 1004
State = messages.PlacementGroupTableData


def spec_of(job: JobID, name: str = "") -> messages.PlacementGroupSpec:
    """A group that no node has room for."""
    group = PlacementGroupID(os.urandom(14) + job)
    spec = messages.PlacementGroupSpec(
        placement_group_id=group,
        name=name,
        strategy=messages.SPREAD,
        creator_job_id=job,
        creator_actor_dead=True,
    )
    for index in range(2):
        bundle = spec.bundles.add()
        bundle.bundle_id.placement_group_id = group
        bundle.bundle_id.bundle_index = index
        bundle.unit_resources["nowhere"] = index + 1
    return spec


async def new_group(gcs: GcsClient, job: JobID, name: str = "") -> PlacementGroupID:
    spec = spec_of(job, name)
    await gcs.placement_groups.create(spec)
    return PlacementGroupID(spec.placement_group_id)


@pytest.mark.method("placement_groups.create", "placement_groups.get")
async def test_a_placement_group_is_got_as_it_was_asked_for(gcs: GcsClient, namespace: str) -> None:
    job = await new_job(gcs, namespace)
    await new_node(gcs)
    before = time.time()
    spec = spec_of(job, "group")
    await gcs.placement_groups.create(spec)
    group = await gcs.placement_groups.get(spec.placement_group_id)
    assert type(group) is messages.PlacementGroupTableData
    assert group.placement_group_id == spec.placement_group_id
    assert (group.name, group.ray_namespace) == ("group", namespace)
    assert group.state == State.PENDING
    assert group.strategy == messages.SPREAD
    assert [dict(bundle.unit_resources) for bundle in group.bundles] == [
        {"nowhere": 1.0},
        {"nowhere": 2.0},
    ]
    assert [bundle.bundle_id.bundle_index for bundle in group.bundles] == [0, 1]
    assert group.creator_job_id == job
    assert (group.creator_job_dead, group.creator_actor_dead) == (False, True)
    assert group.is_detached is False
    created = group.placement_group_creation_timestamp_ms / 1e3
    assert before - 1 <= created <= time.time() + 1
    assert group.placement_group_final_bundle_placement_timestamp_ms == 0


@pytest.mark.method("placement_groups.create")
async def test_a_group_is_asked_for_by_a_dict_or_any_message(gcs: GcsClient) -> None:
    job = await new_job(gcs)
    ours, theirs = spec_of(job), foreign(spec_of(job))
    other = spec_of(job)
    fields: dict[str, Any] = {
        "placement_group_id": other.placement_group_id,
        "creator_job_id": job,
        "strategy": "SPREAD",
        "bundles": [*other.bundles],
    }
    for spec in (ours, theirs, fields):
        await gcs.placement_groups.create(spec)
    listed = await gcs.placement_groups.list()
    for group in (ours, theirs, other):
        found = listed[PlacementGroupID(group.placement_group_id)]  # type: ignore[attr-defined]
        assert found.strategy == messages.SPREAD
        assert [dict(each.unit_resources) for each in found.bundles] == [
            {"nowhere": 1.0},
            {"nowhere": 2.0},
        ]


@pytest.mark.method("placement_groups.create")
async def test_a_group_of_an_unknown_job_is_refused(gcs: GcsClient) -> None:
    spec = spec_of(JobID(b"\xfd\xff\xff\xfd"))
    with pytest.raises(gcs_cffi.GcsStatusError) as refused:
        await gcs.placement_groups.create(spec)
    assert refused.value.code == RAY_NOT_FOUND
    assert await gcs.placement_groups.get(spec.placement_group_id) is None


@pytest.mark.method("placement_groups.create")
async def test_a_name_belongs_to_one_group(gcs: GcsClient, namespace: str) -> None:
    job = await new_job(gcs, namespace)
    await new_group(gcs, job, "taken")
    with pytest.raises(gcs_cffi.GcsStatusError) as refused:
        await new_group(gcs, job, "taken")
    assert refused.value.code == RAY_INVALID


@pytest.mark.method("placement_groups.get", "placement_groups.get_named")
async def test_an_unknown_group_is_none(
    gcs: GcsClient, namespace: str, unique: Callable[[int], bytes]
) -> None:
    assert await gcs.placement_groups.get(unique(18)) is None
    assert await gcs.placement_groups.get(PlacementGroupID.nil()) is None
    assert await gcs.placement_groups.get_named("nobody", namespace=namespace) is None
    assert await gcs.placement_groups.get_named("", namespace=namespace) is None


@pytest.mark.method("placement_groups.get_named")
async def test_a_group_is_found_by_its_name_in_its_jobs_namespace(
    gcs: GcsClient, namespace: str
) -> None:
    other = f"{namespace}_other"
    group = await new_group(gcs, await new_job(gcs, namespace), "näme")
    elsewhere = await new_group(gcs, await new_job(gcs, other), "näme")
    for wanted, where in ((group, namespace), (elsewhere, other)):
        found = await gcs.placement_groups.get_named("näme", namespace=where)
        assert type(found) is messages.PlacementGroupTableData
        assert found.placement_group_id == wanted
        assert found.ray_namespace == where
    await gcs.placement_groups.remove(group)
    assert await gcs.placement_groups.get_named("näme", namespace=namespace) is None


@pytest.mark.method("placement_groups.remove")
async def test_a_removed_group_reads_removed(gcs: GcsClient) -> None:
    group = await new_group(gcs, await new_job(gcs))
    await gcs.placement_groups.remove(group)
    removed = await gcs.placement_groups.get(group)
    assert removed is not None
    assert removed.state == State.REMOVED
    assert (await gcs.placement_groups.list())[group].state == State.REMOVED
    await gcs.placement_groups.remove(group)


@pytest.mark.method("placement_groups.remove")
async def test_to_remove_an_unknown_group_is_no_error(
    gcs: GcsClient, unique: Callable[[int], bytes]
) -> None:
    await gcs.placement_groups.remove(unique(18))


@pytest.mark.method("placement_groups.list")
async def test_groups_are_listed_by_id(gcs: GcsClient) -> None:
    job = await new_job(gcs)
    groups = {await new_group(gcs, job) for _ in range(3)}
    listed = await gcs.placement_groups.list()
    assert groups <= listed.keys()
    assert all(type(each) is PlacementGroupID for each in listed)
    assert all(type(each) is messages.PlacementGroupTableData for each in listed.values())
    assert all(listed[group].state == State.PENDING for group in groups)
    for limit in (0, 1, 2):
        assert len(await gcs.placement_groups.list(limit=limit)) == limit
    assert (await gcs.placement_groups.list(limit=10_000)).keys() == listed.keys()


@pytest.mark.method("placement_groups.wait_until_ready")
async def test_waiting_ends_at_its_deadline(gcs: GcsClient) -> None:
    group = await new_group(gcs, await new_job(gcs))
    began = time.monotonic()
    with pytest.raises(gcs_cffi.DeadlineExceededError):
        await gcs.placement_groups.wait_until_ready(group, timeout=0.5)
    assert 0.4 < time.monotonic() - began < 5
    assert await gcs.placement_groups.get(group) is not None


@pytest.mark.method("placement_groups.wait_until_ready")
async def test_to_wait_for_an_unknown_group_is_refused(
    gcs: GcsClient, unique: Callable[[int], bytes]
) -> None:
    with pytest.raises(gcs_cffi.GcsStatusError) as refused:
        await gcs.placement_groups.wait_until_ready(unique(18), timeout=10)
    assert refused.value.code == RAY_NOT_FOUND


@pytest.mark.method("placement_groups.wait_until_ready")
async def test_to_wait_for_a_removed_group_is_refused(gcs: GcsClient) -> None:
    group = await new_group(gcs, await new_job(gcs))
    await gcs.placement_groups.remove(group)
    with pytest.raises(gcs_cffi.GcsStatusError) as refused:
        await gcs.placement_groups.wait_until_ready(group, timeout=10)
    assert refused.value.code == RAY_NOT_FOUND


@pytest.mark.method("placement_groups.create", "placement_groups.get", "placement_groups.remove")
@pytest.mark.method("placement_groups.get_named", "placement_groups.list")
@pytest.mark.method("placement_groups.wait_until_ready")
async def test_wrong_arguments_about_groups_are_refused_here(
    gcs: GcsClient, unique: Callable[[int], bytes]
) -> None:
    groups = gcs.placement_groups
    for method in (groups.get, groups.remove, groups.wait_until_ready):
        wrong: list[Wrong] = [
            (ValueError, (value,), {}) for value in (b"", unique(17), unique(19), unique(28))
        ]
        types: list[Wrong] = [
            (TypeError, (value,), {}) for value in ("a" * 18, 18, None, JobID.from_int(1))
        ]
        await check_unsent(gcs, method, [*wrong, *types])
        await check_unsent(gcs, method, [(ValueError, (unique(18),), {"timeout": -0.1})])
    await check_unsent(gcs, groups.list, [
        (ValueError, (), {"limit": -1}),
        (TypeError, (), {"limit": "1"}),
        (TypeError, (), {"limit": True}),
    ])  # fmt: skip
    await check_unsent(gcs, groups.get_named, [
        (TypeError, (b"name",), {}),
        (TypeError, ("name",), {"namespace": None}),
    ])  # fmt: skip
    good = spec_of(JobID.from_int(1))
    await check_unsent(gcs, groups.create, [
        (TypeError, (None,), {}),
        (TypeError, (b"",), {}),
        (TypeError, (messages.Bundle(),), {}),
        (TypeError, (foreign(messages.Bundle()),), {}),
        (ValueError, ({"no such field": 1},), {}),
        (ValueError, ({},), {}),
        (ValueError, ({"creator_job_id": b"abc"},), {}),
        (TypeError, ({"creator_job_id": "abcd"},), {}),
        (TypeError, (good,), {"timeout": "soon"}),
    ])  # fmt: skip
