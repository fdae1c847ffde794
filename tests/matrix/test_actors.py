# SPDX-License-Identifier: Apache-2.0
"""gcs.actors on every release."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import gcs_cffi
from gcs_cffi import ActorID, JobID, messages
from matrix.cluster_parts import new_actor, new_job
from matrix.unsent import Wrong, check_unsent

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcs_cffi import GcsClient

RAY_NOT_FOUND = 1017
DEAD = messages.ActorTableData.DEAD
UNREADY = messages.ActorTableData.DEPENDENCIES_UNREADY


@pytest.mark.method("actors.get")
async def test_an_actor_is_got_as_it_was_registered(gcs: GcsClient, namespace: str) -> None:
    job = await new_job(gcs, namespace)
    actor_id = await new_actor(gcs, job, namespace, name="counter", class_name="Counter")
    actor = await gcs.actors.get(actor_id)
    assert type(actor) is messages.ActorTableData
    assert (actor.actor_id, actor.job_id) == (actor_id, job)
    assert (actor.name, actor.ray_namespace) == ("counter", namespace)
    assert actor.state == UNREADY
    assert actor.is_detached is True
    assert (actor.max_restarts, actor.num_restarts) == (3, 0)
    assert actor.class_name == "Counter"
    assert actor.required_resources == {"CPU": 1.0}
    assert actor.owner_address.ip_address == "127.0.0.1"
    assert len(actor.owner_address.node_id) == 28


@pytest.mark.method("actors.get")
async def test_an_unknown_actor_is_none(gcs: GcsClient, unique: Callable[[int], bytes]) -> None:
    assert await gcs.actors.get(unique(16)) is None
    assert await gcs.actors.get(ActorID.nil()) is None


@pytest.mark.method("actors.list")
async def test_actors_are_listed_by_id_and_by_every_filter(gcs: GcsClient, namespace: str) -> None:
    one, other = await new_job(gcs), await new_job(gcs)
    first = await new_actor(gcs, one, namespace, name="first")
    second = await new_actor(gcs, one, namespace)
    third = await new_actor(gcs, other, namespace)
    await gcs.actors.kill(second)

    everything = await gcs.actors.list()
    assert {first, second, third} <= everything.keys()
    assert all(type(each) is ActorID for each in everything)
    assert type(everything[first]) is messages.ActorTableData
    assert everything[first].name == "first"
    assert everything[second].state == DEAD

    assert {*await gcs.actors.list(actor_id=first)} == {first}
    assert {*await gcs.actors.list(job_id=one)} == {first, second}
    assert {*await gcs.actors.list(job_id=one, state="DEAD")} == {second}
    assert {*await gcs.actors.list(job_id=one, state=UNREADY)} == {first}
    assert await gcs.actors.list(job_id=one, state="ALIVE") == {}
    assert {*await gcs.actors.list(job_id=one, actor_id=first, state=UNREADY)} == {first}
    assert await gcs.actors.list(job_id=other, actor_id=first) == {}
    assert {*await gcs.actors.list(state="DEAD")} >= {second}
    assert {*await gcs.actors.list(state="DEAD")} & {first, third} == set()


@pytest.mark.method("actors.list")
async def test_actors_of_living_jobs_are_listed_without_those_of_dead_ones(
    gcs: GcsClient, namespace: str
) -> None:
    living = await new_job(gcs)
    first = await new_actor(gcs, living, namespace)
    second = await new_actor(gcs, living, namespace)
    await gcs.actors.kill(second)
    for show in (True, False):
        assert {*await gcs.actors.list(show_dead_jobs=show)} >= {first, second}
        assert {*await gcs.actors.list(job_id=living, show_dead_jobs=show)} == {first, second}
        dead = await gcs.actors.list(job_id=living, state="DEAD", show_dead_jobs=show)
        assert {*dead} == {second}
        assert {*await gcs.actors.list(actor_id=first, show_dead_jobs=show)} == {first}


@pytest.mark.method("actors.list")
async def test_no_more_actors_are_listed_than_wanted(gcs: GcsClient, namespace: str) -> None:
    job = await new_job(gcs)
    actors = {await new_actor(gcs, job, namespace) for _ in range(3)}
    for show in (True, False):
        for limit in (0, 1, 2, 3):
            some = await gcs.actors.list(job_id=job, limit=limit, show_dead_jobs=show)
            assert len(some) == limit
            assert {*some} <= actors
        assert len(await gcs.actors.list(limit=2, show_dead_jobs=show)) == 2
        assert {*await gcs.actors.list(job_id=job, limit=100, show_dead_jobs=show)} == actors


@pytest.mark.method("actors.list")
async def test_an_unknown_job_has_no_actors(gcs: GcsClient, unique: Callable[[int], bytes]) -> None:
    assert await gcs.actors.list(job_id=JobID(b"\xfe\xff\xff\xfe")) == {}
    assert await gcs.actors.list(actor_id=unique(16)) == {}


@pytest.mark.method("actors.get_named", "actors.list_named")
async def test_a_living_actor_is_found_by_its_name(gcs: GcsClient, namespace: str) -> None:
    job = await new_job(gcs, namespace)
    named = await new_actor(gcs, job, namespace, name="näme")
    await new_actor(gcs, job, namespace)
    found = await gcs.actors.get_named("näme", namespace=namespace)
    assert type(found) is messages.ActorTableData
    assert found.actor_id == named
    listed = await gcs.actors.list_named(namespace=namespace)
    assert all(type(each) is messages.NamedActorInfo for each in listed)
    assert [(each.name, each.ray_namespace) for each in listed] == [("näme", namespace)]


@pytest.mark.method("actors.list_named")
async def test_names_are_listed_by_namespace_or_all(gcs: GcsClient, namespace: str) -> None:
    other = f"{namespace}_other"
    job = await new_job(gcs)
    await new_actor(gcs, job, namespace, name="a")
    await new_actor(gcs, job, namespace, name="b")
    await new_actor(gcs, job, other, name="a")
    assert sorted(each.name for each in await gcs.actors.list_named(namespace=namespace)) == [
        "a",
        "b",
    ]
    assert [each.name for each in await gcs.actors.list_named(namespace=other)] == ["a"]
    everywhere = await gcs.actors.list_named(all_namespaces=True)
    assert {(each.ray_namespace, each.name) for each in everywhere} >= {
        (namespace, "a"),
        (namespace, "b"),
        (other, "a"),
    }


@pytest.mark.method("actors.get_named", "actors.list_named")
async def test_a_name_that_nobody_has_is_none(gcs: GcsClient, namespace: str) -> None:
    assert await gcs.actors.get_named("nobody", namespace=namespace) is None
    assert await gcs.actors.get_named("", namespace=namespace) is None
    assert await gcs.actors.get_named("nobody") is None
    assert await gcs.actors.list_named(namespace=namespace) == []


@pytest.mark.method("actors.kill")
async def test_a_killed_actor_is_dead_and_its_name_free(gcs: GcsClient, namespace: str) -> None:
    job = await new_job(gcs, namespace)
    first = await new_actor(gcs, job, namespace, name="counter")
    await gcs.actors.kill(first)
    dead = await gcs.actors.get(first)
    assert dead is not None
    assert dead.state == DEAD
    assert dead.end_time > 0
    assert dead.HasField("death_cause")
    assert await gcs.actors.get_named("counter", namespace=namespace) is None
    assert await gcs.actors.list_named(namespace=namespace) == []
    second = await new_actor(gcs, job, namespace, name="counter")
    found = await gcs.actors.get_named("counter", namespace=namespace)
    assert found is not None
    assert found.actor_id == second


@pytest.mark.method("actors.kill")
async def test_an_actor_that_may_be_restarted_outlives_its_end(
    gcs: GcsClient, namespace: str
) -> None:
    actor_id = await new_actor(gcs, await new_job(gcs), namespace)
    await gcs.actors.kill(actor_id, no_restart=False, force=False)
    actor = await gcs.actors.get(actor_id)
    assert actor is not None
    assert actor.state == UNREADY


@pytest.mark.method("actors.kill")
async def test_to_kill_nobody_is_an_error(
    gcs: GcsClient, namespace: str, unique: Callable[[int], bytes]
) -> None:
    dead = await new_actor(gcs, await new_job(gcs), namespace)
    await gcs.actors.kill(dead)
    for actor_id in (unique(16), dead):
        with pytest.raises(gcs_cffi.GcsStatusError) as refused:
            await gcs.actors.kill(actor_id)
        assert refused.value.code == RAY_NOT_FOUND


@pytest.mark.method("actors.get", "actors.list", "actors.get_named", "actors.list_named")
@pytest.mark.method("actors.kill")
async def test_wrong_arguments_about_actors_are_refused_here(
    gcs: GcsClient, unique: Callable[[int], bytes]
) -> None:
    node = gcs_cffi.NodeID(unique(28))
    for method in (gcs.actors.get, gcs.actors.kill):
        wrong: list[Wrong] = [
            (ValueError, (value,), {}) for value in (b"", unique(15), unique(17), unique(28))
        ]
        types: list[Wrong] = [(TypeError, (value,), {}) for value in ("a" * 16, "", 16, None, node)]
        await check_unsent(gcs, method, [*wrong, *types])
    actor = unique(16)
    await check_unsent(gcs, gcs.actors.kill, [
        (TypeError, (actor,), {"force": 1}),
        (TypeError, (actor,), {"no_restart": None}),
        (ValueError, (actor,), {"timeout": -1}),
        (ValueError, (actor,), {"timeout": float("nan")}),
        (TypeError, (actor,), {"timeout": "1"}),
    ])  # fmt: skip
    await check_unsent(gcs, gcs.actors.list, [
        (ValueError, (), {"actor_id": unique(15)}),
        (TypeError, (), {"actor_id": "a" * 16}),
        (ValueError, (), {"job_id": unique(5)}),
        (TypeError, (), {"job_id": "abcd"}),
        (TypeError, (), {"job_id": 1}),
        (ValueError, (), {"state": "alive and well"}),
        (ValueError, (), {"state": 99}),
        (TypeError, (), {"state": 1.0}),
        (TypeError, (), {"state": True}),
        (ValueError, (), {"limit": -1}),
        (ValueError, (), {"limit": 1 << 31}),
        (TypeError, (), {"limit": 1.0}),
        (TypeError, (), {"show_dead_jobs": 1}),
    ])  # fmt: skip
    await check_unsent(gcs, gcs.actors.get_named, [
        (TypeError, (b"name",), {}),
        (TypeError, (None,), {}),
        (TypeError, ("name",), {"namespace": b"namespace"}),
    ])  # fmt: skip
    await check_unsent(gcs, gcs.actors.list_named, [
        (TypeError, (), {"namespace": b"namespace"}),
        (TypeError, (), {"all_namespaces": "yes"}),
    ])  # fmt: skip
