# SPDX-License-Identifier: Apache-2.0
"""gcs.events on every release.

Since Ray 2.49 a GCS takes the events of tasks; 2.49 itself does nothing with them.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from gcs_cffi import ActorID, JobID, TaskID, messages
from matrix.foreign import foreign
from matrix.unsent import check_unsent

if TYPE_CHECKING:
    from gcs_cffi import GcsClient

RayEvent = messages.events.RayEvent


async def tasks_of(
    gcs: GcsClient, job: JobID, release: tuple[int, ...], count: int
) -> list[messages.TaskEvents]:
    """What the GCS lists of a job's tasks, whose number is as expected."""
    found = await gcs.tasks.list(job_id=job)
    assert len(found) == (count if release >= (2, 50) else 0)
    return found


def new_event(kind: int) -> messages.events.RayEvent:
    event = RayEvent(
        event_id=os.urandom(28),
        source_type=RayEvent.CORE_WORKER,
        event_type=kind,
        severity=RayEvent.INFO,
        session_name="session",
    )
    event.timestamp.seconds = 1_700_000_000
    return event


def definition(job: JobID, name: str) -> messages.events.RayEvent:
    event = new_event(RayEvent.TASK_DEFINITION_EVENT)
    task = event.task_definition_event
    task.task_id = os.urandom(8) + b"\xff" * 12 + job
    task.job_id = job
    task.parent_task_id = os.urandom(24)
    task.task_name = name
    task.task_type = messages.NORMAL_TASK
    task.language = messages.PYTHON
    task.task_func.python_function_descriptor.function_name = name
    task.required_resources["CPU"] = 2.0
    return event


@pytest.mark.method("events.add")
@pytest.mark.since("2.49")
async def test_a_task_that_was_defined_is_listed(gcs: GcsClient, release: tuple[int, ...]) -> None:
    job = JobID(os.urandom(4))
    event = definition(job, "work")
    data = messages.events.RayEventsData(events=[event])
    await gcs.events.add(data)
    for found in await tasks_of(gcs, job, release, 1):
        assert found.task_id == event.task_definition_event.task_id
        assert found.task_info.name == "work"
        assert found.task_info.type == messages.NORMAL_TASK
        assert found.task_info.parent_task_id == event.task_definition_event.parent_task_id
        assert found.task_info.required_resources == {"CPU": 2.0}


@pytest.mark.method("events.add")
@pytest.mark.since("2.49")
async def test_the_task_of_an_actor_is_listed(gcs: GcsClient, release: tuple[int, ...]) -> None:
    job = JobID(os.urandom(4))
    actor = ActorID(os.urandom(12) + job)
    event = new_event(RayEvent.ACTOR_TASK_DEFINITION_EVENT)
    task = event.actor_task_definition_event
    task.task_id = TaskID(os.urandom(8) + actor)
    task.job_id = job
    task.actor_id = actor
    task.actor_task_name = "Counter.count"
    task.actor_func.python_function_descriptor.function_name = "count"
    await gcs.events.add({"events": [event]})
    for found in await tasks_of(gcs, job, release, 1):
        assert found.task_id == task.task_id
        assert found.task_info.name == "Counter.count"
        assert found.task_info.type == messages.ACTOR_TASK
        assert found.task_info.actor_id == actor


@pytest.mark.method("events.add")
@pytest.mark.since("2.49")
async def test_events_are_handed_over_as_a_dict_or_any_message(
    gcs: GcsClient, release: tuple[int, ...]
) -> None:
    job = JobID(os.urandom(4))
    events = [definition(job, name) for name in ("dict", "ours", "theirs")]
    data = [messages.events.RayEventsData(events=[event]) for event in events]
    await gcs.events.add({"events": [events[0]]})
    await gcs.events.add(data[1])
    await gcs.events.add(foreign(data[2]))
    found = await tasks_of(gcs, job, release, 3)
    assert {event.task_info.name for event in found} in ({"dict", "ours", "theirs"}, set())


@pytest.mark.method("events.add")
@pytest.mark.since("2.49")
async def test_no_events_are_taken_too(gcs: GcsClient) -> None:
    await gcs.events.add({})


@pytest.mark.method("events.add")
async def test_wrong_events_are_refused_here(gcs: GcsClient) -> None:
    await check_unsent(gcs, gcs.events.add, [
        (TypeError, (None,), {}),
        (TypeError, (b"",), {}),
        (TypeError, ([RayEvent()],), {}),
        (TypeError, (RayEvent(),), {}),
        (TypeError, (foreign(RayEvent()),), {}),
        (ValueError, ({"no such field": 1},), {}),
        (ValueError, ({"events": [{"event_type": "NO_SUCH_EVENT"}]},), {}),
    ])  # fmt: skip
