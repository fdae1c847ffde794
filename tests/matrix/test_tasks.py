# SPDX-License-Identifier: Apache-2.0
"""gcs.tasks on every release: the same reports give the same attempts."""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from gcs_cffi import ActorID, JobID, NodeID, TaskID, WorkerID, messages
from matrix.foreign import foreign
from matrix.unsent import check_unsent

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gcs_cffi import GcsClient

PENDING, RUNNING = messages.PENDING_NODE_ASSIGNMENT, messages.RUNNING
FINISHED, FAILED = messages.FINISHED, messages.FAILED


class Reported(NamedTuple):
    """What a test has reported about one job."""

    job: JobID
    actors: list[ActorID]
    events: dict[str, messages.TaskEvents]
    """By what the tests here call an attempt."""

    def names_of(self, found: Iterable[messages.TaskEvents]) -> set[str]:
        """What the tests here call the attempts of this job among those that were found."""
        known = {(event.task_id, event.attempt_number): name for name, event in self.events.items()}
        listed = [
            known[each.task_id, each.attempt_number] for each in found if each.job_id == self.job
        ]
        assert len({*listed}) == len(listed)
        return {*listed}


def event_of(
    job: JobID,
    states: Iterable[int] = (),
    *,
    task: TaskID | None = None,
    attempt: int = 0,
    name: str = "work",
    actor: ActorID | None = None,
    kind: int = messages.NORMAL_TASK,
) -> messages.TaskEvents:
    task = task or TaskID(os.urandom(8) + (actor or b"\xff" * 12 + job))
    event = messages.TaskEvents(task_id=task, attempt_number=attempt, job_id=job)
    event.task_info.task_id = task
    event.task_info.job_id = job
    event.task_info.name = name
    event.task_info.type = kind
    if actor is not None:
        event.task_info.actor_id = actor
    for state in states:
        event.state_updates.state_ts_ns[state] = 1_700_000_000_000_000_000 + state
    return event


async def report(gcs: GcsClient) -> Reported:
    """Reports attempts of all sorts."""
    job = JobID(os.urandom(4))
    actors = [ActorID(os.urandom(12) + job) for _ in range(2)]
    driver = TaskID(b"\xff" * 20 + job)
    events = {
        "driver": event_of(job, [RUNNING], task=driver, name="", kind=messages.DRIVER_TASK),
        "running": event_of(job, [PENDING, RUNNING]),
        "failed": event_of(job, [PENDING, RUNNING, FAILED]),
        "created": event_of(job, [FINISHED], actor=actors[0], kind=messages.ACTOR_CREATION_TASK),
        "called": event_of(job, [PENDING], actor=actors[0], kind=messages.ACTOR_TASK, name="Call"),
        "other": event_of(job, [RUNNING], actor=actors[1], kind=messages.ACTOR_TASK, name="call"),
        "stateless": event_of(job),
    }
    task = TaskID(events["failed"].task_id)
    events["retried"] = event_of(job, [PENDING, RUNNING, FINISHED], task=task, attempt=1)
    nameless = messages.TaskEvents(task_id=os.urandom(24), job_id=job)
    nameless.state_updates.state_ts_ns[RUNNING] = 1
    await gcs.tasks.add_events(
        messages.TaskEventData(events_by_task=[*events.values(), nameless], job_id=job)
    )
    return Reported(job, actors, events)


CONDITIONS = {
    'name="CALL"': {"called", "other"},
    'name!="call"': {"driver", "running", "failed", "created", "stateless", "retried"},
    "actor=0": {"created", "called"},
    "actor!=0": {"driver", "running", "failed", "other", "stateless", "retried"},
    "state=running": {"driver", "running", "other"},
    "state!=RUNNING": {"failed", "created", "called", "stateless", "retried"},
    "state=NIL": {"stateless"},
    "state=FAILED": {"failed"},
    "task=failed": {"failed", "retried"},
    "task!=failed": {"driver", "running", "created", "called", "other", "stateless"},
    "no driver": {"running", "failed", "created", "called", "other", "stateless", "retried"},
}
"""What each finds among the attempts that `report()` reports."""


def arguments(condition: str, reported: Reported) -> dict[str, Any]:
    """A condition as the arguments of list()."""
    task, (actor, _) = reported.events["failed"].task_id, reported.actors
    known: dict[str, dict[str, Any]] = {
        'name="CALL"': {"name": "CALL"},
        'name!="call"': {"where": [("name", "!=", "call")]},
        "actor=0": {"actor_id": actor},
        "actor!=0": {"where": [("actor_id", "!=", actor)]},
        "state=running": {"where": [("state", "=", "running")]},
        "state!=RUNNING": {"where": [("state", "!=", RUNNING)]},
        "state=NIL": {"where": [("state", "=", "NIL")]},
        "state=FAILED": {"state": FAILED},
        "task=failed": {"task_id": task},
        "task!=failed": {"where": [("task_id", "!=", task)]},
        "no driver": {"exclude_driver": True},
    }
    return known[condition]


@pytest.mark.method("tasks.add_events", "tasks.list")
async def test_an_attempt_is_listed_as_it_was_reported(gcs: GcsClient) -> None:
    job = JobID(os.urandom(4))
    actor = ActorID(os.urandom(12) + job)
    states = [
        messages.PENDING_ARGS_AVAIL,
        PENDING,
        messages.SUBMITTED_TO_WORKER,
        RUNNING,
        FAILED,
    ]
    event = event_of(job, states, actor=actor, kind=messages.ACTOR_TASK, name="näme", attempt=3)
    event.task_info.parent_task_id = os.urandom(24)
    event.task_info.func_or_class_name = "Counter.count"
    event.task_info.language = messages.PYTHON
    event.task_info.required_resources["CPU"] = 0.5
    event.state_updates.node_id = NodeID(os.urandom(28))
    event.state_updates.worker_id = WorkerID(os.urandom(28))
    event.state_updates.error_info.error_message = "why"
    event.state_updates.error_info.error_type = messages.WORKER_DIED
    event.profile_events.component_type = "worker"
    event.profile_events.component_id = os.urandom(28)
    event.profile_events.events.add(start_time=1, end_time=2, event_name="task:execute")
    data = messages.TaskEventData(events_by_task=[event], job_id=job)
    await gcs.tasks.add_events(data)
    (found,) = await gcs.tasks.list(job_id=job)
    assert type(found) is messages.TaskEvents
    assert found == event


@pytest.mark.method("tasks.add_events")
async def test_a_report_adds_to_what_is_known(gcs: GcsClient) -> None:
    job = JobID(os.urandom(4))
    event = event_of(job, [PENDING])
    task = TaskID(event.task_id)
    later = messages.TaskEvents(task_id=task, job_id=job)
    later.state_updates.state_ts_ns[RUNNING] = 5
    for each in (event, later):
        await gcs.tasks.add_events({"events_by_task": [each], "job_id": job})
    (found,) = await gcs.tasks.list(job_id=job)
    assert found.task_info == event.task_info
    times = {PENDING: event.state_updates.state_ts_ns[PENDING], RUNNING: 5}
    assert dict(found.state_updates.state_ts_ns) == times


@pytest.mark.method("tasks.add_events")
async def test_tasks_are_reported_by_a_dict_or_any_message(gcs: GcsClient) -> None:
    job = JobID(os.urandom(4))
    events = [event_of(job, [RUNNING], name=name) for name in ("dict", "ours", "theirs")]
    data = [messages.TaskEventData(events_by_task=[event], job_id=job) for event in events]
    await gcs.tasks.add_events({"events_by_task": [events[0]], "job_id": job})
    await gcs.tasks.add_events(data[1])
    await gcs.tasks.add_events(foreign(data[2]))
    found = {event.task_id: event for event in await gcs.tasks.list(job_id=job)}
    assert found == {event.task_id: event for event in events}


@pytest.mark.method("tasks.list")
async def test_all_attempts_are_listed_without_conditions(gcs: GcsClient) -> None:
    reported = await report(gcs)
    assert reported.names_of(await gcs.tasks.list()) == {*reported.events}
    without = reported.names_of(await gcs.tasks.list(exclude_driver=True))
    assert without == {*reported.events} - {"driver"}
    assert await gcs.tasks.list(job_id=JobID(os.urandom(4))) == []


@pytest.mark.method("tasks.list")
async def test_every_condition_finds_what_ray_finds(gcs: GcsClient) -> None:
    reported = await report(gcs)
    await report(gcs)  # of another job
    found = {
        condition: reported.names_of(await gcs.tasks.list(**arguments(condition, reported)))
        for condition in CONDITIONS
    }
    assert found == CONDITIONS


@pytest.mark.method("tasks.list")
async def test_conditions_hold_together(gcs: GcsClient) -> None:
    reported = await report(gcs)
    found, expected = {}, {}
    for one, other in itertools.combinations(CONDITIONS, 2):
        together: dict[str, Any] = {"where": [], "job_id": reported.job}
        for given in (arguments(one, reported), arguments(other, reported)):
            together |= {**given, "where": [*together["where"], *given.get("where", [])]}
        both = f"{one} and {other}"
        found[both] = reported.names_of(await gcs.tasks.list(**together))
        expected[both] = CONDITIONS[one] & CONDITIONS[other]
    assert found == expected


@pytest.mark.method("tasks.list")
async def test_a_condition_and_its_opposite_part_the_attempts(gcs: GcsClient) -> None:
    reported = await report(gcs)
    values: list[tuple[str, Any]] = [
        ("job_id", reported.job),
        ("task_id", reported.events["running"].task_id),
        ("actor_id", reported.actors[1]),
        ("name", "WORK"),
        ("state", "finished"),
    ]
    for field, value in values:
        those = reported.names_of(await gcs.tasks.list(where=[(field, "=", value)]))
        others = reported.names_of(await gcs.tasks.list(where=[(field, "!=", value)]))
        assert those, field
        assert those | others == {*reported.events}, field
        assert not those & others, field
        contrary = [(field, "=", value), (field, "!=", value)]
        assert await gcs.tasks.list(where=contrary) == [], field


@pytest.mark.method("tasks.list")
async def test_no_more_attempts_are_listed_than_wanted(gcs: GcsClient) -> None:
    reported = await report(gcs)
    for limit in (0, 1, 3):
        assert len(await gcs.tasks.list(limit=limit)) == limit
        some = await gcs.tasks.list(job_id=reported.job, limit=limit)
        assert len(some) == limit
        assert len(reported.names_of(some)) == limit
        drivers = await gcs.tasks.list(job_id=reported.job, exclude_driver=True, limit=limit)
        assert len(drivers) == limit
        assert "driver" not in reported.names_of(drivers)
    everything = await gcs.tasks.list(job_id=reported.job, limit=1000)
    assert reported.names_of(everything) == {*reported.events}


@pytest.mark.method("tasks.list", "tasks.add_events")
async def test_wrong_arguments_about_tasks_are_refused_here(gcs: GcsClient) -> None:
    task = os.urandom(24)
    await check_unsent(gcs, gcs.tasks.list, [
        (ValueError, (), {"job_id": os.urandom(5)}),
        (TypeError, (), {"job_id": "abcd"}),
        (ValueError, (), {"task_id": os.urandom(23)}),
        (TypeError, (), {"task_id": "a" * 24}),
        (TypeError, (), {"task_id": JobID.from_int(1)}),
        (ValueError, (), {"actor_id": os.urandom(24)}),
        (TypeError, (), {"actor_id": 1}),
        (TypeError, (), {"name": b"name"}),
        (ValueError, (), {"state": "IDLE"}),
        (ValueError, (), {"state": 99}),
        (TypeError, (), {"state": b"RUNNING"}),
        (TypeError, (), {"state": False}),
        (ValueError, (), {"limit": -1}),
        (TypeError, (), {"limit": 1.0}),
        (TypeError, (), {"exclude_driver": 1}),
        (ValueError, (), {"timeout": -1}),
        (ValueError, (), {"where": ["state"]}),
        (ValueError, (), {"where": [("state", "=")]}),
        (ValueError, (), {"where": [("colour", "=", "red")]}),
        (ValueError, (), {"where": [("state", "<", "RUNNING")]}),
        (ValueError, (), {"where": [("state", "=", "IDLE")]}),
        (ValueError, (), {"where": [("task_id", "!=", task + b"x")]}),
        (TypeError, (), {"where": [("name", "=", None)]}),
    ])  # fmt: skip
    await check_unsent(gcs, gcs.tasks.add_events, [
        (TypeError, (None,), {}),
        (TypeError, (b"",), {}),
        (TypeError, (messages.TaskEvents(),), {}),
        (TypeError, (foreign(messages.TaskEvents()),), {}),
        (ValueError, ({"no such field": 1},), {}),
        (TypeError, ({"job_id": "abcd" * 2, "num_profile_events_dropped": "1"},), {}),
    ])  # fmt: skip
