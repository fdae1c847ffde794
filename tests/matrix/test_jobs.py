# SPDX-License-Identifier: Apache-2.0
"""gcs.jobs on every release."""

from __future__ import annotations

import asyncio
import json
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest

from gcs_cffi import InvalidRequestError, JobID, NodeID, messages
from matrix.arguments import (
    KINDS,
    Kind,
    OtherID,
    check_counts,
    check_ids,
    check_messages,
    check_timeouts,
    check_truth,
    made,
    node_field,
    refused_before_sending,
)

if TYPE_CHECKING:
    from gcs_cffi import GcsClient
    from gcs_cffi.testing import GcsServer
    from matrix.conftest import Connect

NAME = "ray.rpc.JobTableData"
INFO = "_ray_internal_job_info_"
"""Before a submission's id: the key, in the namespace "job", of what is known about it."""


def fields_of(
    job: bytes, submission: str = "", entrypoint: str = "", node_field: str = "node_id"
) -> dict[str, Any]:
    """What a driver says about its job.

    Nobody listens at its address, which costs time: an older GCS asks the driver of each job that
    has not finished, whenever jobs are listed. Tests finish theirs.
    """
    return {
        "job_id": job,
        "entrypoint": entrypoint,
        "driver_pid": 4711,
        "driver_ip_address": "127.0.0.1",
        "driver_address": {
            "worker_id": bytes(job) * 7,
            node_field: b"n" * 28,
            "ip_address": "127.0.0.1",
            "port": 1,
        },
        "config": {
            "ray_namespace": "a namespace",
            "code_search_path": ["/a", "/b"],
            "metadata": {"job_submission_id": submission} if submission else {},
            "runtime_env_info": {"serialized_runtime_env": '{"env_vars": {"A": "b"}}'},
            "default_actor_lifetime": messages.JobConfig.NON_DETACHED,
        },
    }


@pytest.mark.method("jobs.next_id")
async def test_job_ids_count_up_and_are_given_once(gcs: GcsClient) -> None:
    ids = [await gcs.jobs.next_id() for _ in range(3)]
    assert all(type(job) is JobID for job in ids)
    numbers = [job.to_int() for job in ids]
    assert numbers == list(range(numbers[0], numbers[0] + 3))
    at_once = await asyncio.gather(*(gcs.jobs.next_id() for _ in range(20)))
    assert len({*ids, *at_once}) == 23


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.method("jobs.add", "jobs.list")
async def test_a_job_that_was_added_is_listed_as_it_was_given(
    gcs: GcsClient, release: tuple[int, ...], kind: Kind
) -> None:
    job = await gcs.jobs.next_id()
    field = node_field(kind, release)
    await gcs.jobs.add(made(kind, NAME, **fields_of(job, "submission", "python a.py", field)))
    jobs = await gcs.jobs.list()
    assert {type(key) for key in jobs} == {JobID}
    found = jobs[job]
    assert type(found) is messages.JobTableData
    assert found.start_time > 1_500_000_000_000
    assert found.timestamp >= found.start_time
    assert not found.is_running_tasks
    for noted in ("start_time", "timestamp", "is_running_tasks"):
        found.ClearField(noted)
    assert found == messages.JobTableData(**fields_of(job, "submission", "python a.py"))
    await gcs.jobs.mark_finished(job)


@pytest.mark.method("jobs.add")
async def test_a_job_that_is_added_again_takes_the_place_of_the_first(gcs: GcsClient) -> None:
    job = await gcs.jobs.next_id()
    for entrypoint in ("first", "second"):
        await gcs.jobs.add(fields_of(job, entrypoint=entrypoint))
        assert (await gcs.jobs.list())[job].entrypoint == entrypoint
    await gcs.jobs.mark_finished(job)


@pytest.mark.method("jobs.mark_finished")
async def test_a_job_is_finished_once_and_can_be_told_so_again(gcs: GcsClient) -> None:
    job, other = await gcs.jobs.next_id(), await gcs.jobs.next_id()
    await gcs.jobs.add(fields_of(job, "submission", "python a.py"))
    await gcs.jobs.add(fields_of(other))
    for given in (job, bytes(job), OtherID(job)):
        await gcs.jobs.mark_finished(given)
        jobs = await gcs.jobs.list()
        found = jobs[job]
        assert found.is_dead
        assert found.end_time >= found.start_time
        assert not found.is_running_tasks
        assert found.entrypoint == "python a.py"
        assert found.config.ray_namespace == "a namespace"
        assert not jobs[other].is_dead
    await gcs.jobs.mark_finished(other)


@pytest.mark.method("jobs.mark_finished")
async def test_an_unknown_job_can_be_finished(gcs: GcsClient) -> None:
    job = await gcs.jobs.next_id()
    await gcs.jobs.mark_finished(job)
    assert job not in await gcs.jobs.list()


@pytest.mark.method("jobs.list")
async def test_jobs_are_listed_by_every_filter_and_their_combinations(
    own_server: GcsServer, connect: Connect
) -> None:
    async with connect(own_server.address) as gcs:
        assert await gcs.jobs.list() == {}
        one, two, three = [await gcs.jobs.next_id() for _ in range(3)]
        submissions = {one: "first", two: "second", three: "first"}
        for job, submission in submissions.items():
            await gcs.jobs.add(fields_of(job, submission))
            await gcs.jobs.mark_finished(job)
        wanted: dict[Any, set[JobID]] = {
            None: {one, two, three},
            one: {one},
            bytes(two): {two},
            three.hex(): {three},
            OtherID(one): {one},
            "first": {one, three},
            "second": {two},
            "no such submission": set(),
            JobID.from_int(4_000_000_000): set(),
        }
        for (asked, expected), limit in product(wanted.items(), (None, 0, 1, 2, 100)):
            found = await gcs.jobs.list(job_or_submission_id=asked, limit=limit)
            assert found.keys() <= expected, (asked, limit)
            assert len(found) == min(len(expected), 100 if limit is None else limit), asked
            for job, data in found.items():
                assert data.job_id == job
                assert data.config.metadata["job_submission_id"] == submissions[job]
                assert data.is_dead


@pytest.mark.method("jobs.list")
async def test_what_is_known_about_submissions_and_tasks_comes_unless_it_is_skipped(
    gcs: GcsClient, namespace: str
) -> None:
    job = await gcs.jobs.next_id()
    await gcs.jobs.add(fields_of(job, namespace))
    await gcs.jobs.mark_finished(job)
    info: dict[str, Any] = {
        "status": "SUCCEEDED",
        "entrypoint": "python b.py",
        "message": "done",
        "start_time": 5,
    }
    await gcs.kv.put(f"{INFO}{namespace}", json.dumps(info).encode(), namespace="job")
    for no_info, no_tasks in product((False, True), repeat=2):
        jobs = await gcs.jobs.list(
            job_or_submission_id=job, skip_submission_info=no_info, skip_is_running_tasks=no_tasks
        )
        found = jobs[job]
        assert found.HasField("job_info") is not no_info
        if not no_info:
            assert found.job_info == messages.JobsAPIInfo(**info)
        assert not found.is_running_tasks
        if no_tasks:
            assert not found.HasField("is_running_tasks")


@pytest.mark.method("jobs.list")
async def test_what_cannot_be_asked_is_refused_before_it_is_sent(gcs: GcsClient) -> None:
    await check_counts(gcs, lambda wrong: gcs.jobs.list(limit=wrong))
    await check_truth(gcs, lambda wrong: gcs.jobs.list(skip_submission_info=wrong))
    await check_truth(gcs, lambda wrong: gcs.jobs.list(skip_is_running_tasks=wrong))
    await check_timeouts(gcs, gcs.jobs.list)
    for wrong in (7, object(), NodeID(b"n" * 28), ["first"]):
        with refused_before_sending(gcs, TypeError):
            await gcs.jobs.list(job_or_submission_id=wrong)  # type: ignore[arg-type]
    for short in (b"", b"xxx", OtherID(b"n" * 28)):
        with refused_before_sending(gcs, ValueError, "4 bytes"):
            await gcs.jobs.list(job_or_submission_id=short)


@pytest.mark.method("jobs.add")
async def test_what_is_no_job_is_refused_before_it_is_sent(gcs: GcsClient) -> None:
    await check_messages(gcs, gcs.jobs.add, messages.GcsNodeInfo(), {"driver_pid": "x"})
    with refused_before_sending(gcs, TypeError):
        await gcs.jobs.add({"job_id": "0100"})
    await check_timeouts(gcs, gcs.jobs.add, {})


@pytest.mark.method("jobs.add")
async def test_a_job_without_its_drivers_worker_id_is_refused_by_its_name(gcs: GcsClient) -> None:
    # A GCS that was told of one ends itself when jobs are listed.
    job = await gcs.jobs.next_id()
    fields = fields_of(job)
    for address in ({}, {"node_id": b"n" * 28}, {"worker_id": b"w" * 27}):
        with pytest.raises(InvalidRequestError, match="driver_address"):
            await gcs.jobs.add({**fields, "driver_address": address})
    del fields["driver_address"]
    with pytest.raises(InvalidRequestError, match="driver_address"):
        await gcs.jobs.add(fields)
    assert job not in await gcs.jobs.list()


@pytest.mark.method("jobs.mark_finished", "jobs.next_id")
async def test_what_is_no_job_id_and_no_timeout_is_refused_before_it_is_sent(
    gcs: GcsClient,
) -> None:
    await check_ids(gcs, 4, gcs.jobs.mark_finished)
    with refused_before_sending(gcs, TypeError):
        await gcs.jobs.mark_finished(NodeID(b"n" * 28))
    await check_timeouts(gcs, gcs.jobs.mark_finished, b"xxxx")
    await check_timeouts(gcs, gcs.jobs.next_id)
