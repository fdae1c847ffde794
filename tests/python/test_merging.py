# SPDX-License-Identifier: Apache-2.0
"""What events and readings make of a table: old ones after newer ones, parts, and what is gone."""

from __future__ import annotations

from typing import Any

import pytest

from gcs_cffi import ActorID, Change, JobID, NodeID, messages
from gcs_cffi._merging import Actors, Holding, Jobs, Nodes

NODE, OTHER = NodeID(bytes(28)), NodeID(b"\x01" * 28)
JOB = JobID(bytes(4))
ACTOR = ActorID(bytes(16))
STATES = messages.ActorTableData


def node(**fields: Any) -> messages.GcsNodeInfo:
    return messages.GcsNodeInfo(node_id=NODE, **fields)


def dead_event(**fields: Any) -> messages.GcsNodeInfo:
    death = {"reason": "EXPECTED_TERMINATION"}
    return node(**{"state": "DEAD", "end_time_ms": 5, "death_info": death, **fields})


def actor(state: str, **fields: Any) -> messages.ActorTableData:
    """A whole entry."""
    known = {"class_name": "Counter", "job_id": JOB, "node_id": NODE}
    return messages.ActorTableData(actor_id=ACTOR, state=state, **{**known, **fields})


def part(state: str, **fields: Any) -> messages.ActorTableData:
    """An event that is a part of an entry."""
    return messages.ActorTableData(state=state, **fields)


def applied(holding: Holding[Any, Any], *events: Any, **read: Any) -> list[Any]:
    """Applies events of one entry, which has to be read exactly if `read=` is given."""
    key = next(iter(holding.current), None) or read.pop("key")
    pairs = [(key, event) for event in events]
    unclear = holding.unclear(pairs)
    assert unclear == ([key] if read else [])
    return [change.value for change in holding.apply(pairs, {key: read["read"]} if read else {})]


# ---- Readings ------------------------------------------------------------------------------------


def test_a_reading_gives_what_has_come_changed_and_gone() -> None:
    holding: Holding[NodeID, messages.GcsNodeInfo] = Holding(Nodes())
    first = node(node_name="first")
    other = messages.GcsNodeInfo(node_id=OTHER)
    assert holding.read({NODE: first}) == [Change(NODE, first, None)]
    assert holding.read({NODE: node(node_name="first")}) == []
    renamed = node(node_name="second")
    assert holding.read({NODE: renamed, OTHER: other}) == [
        Change(NODE, renamed, first),
        Change(OTHER, other, None),
    ]
    assert holding.read({OTHER: other}) == [Change(NODE, None, renamed)]
    assert dict(holding.current) == {OTHER: other}
    with pytest.raises(TypeError):
        holding.current[NODE] = first  # type: ignore[index]


def test_a_reading_is_the_truth_even_where_it_goes_back() -> None:
    holding: Holding[Any, Any] = Holding(Nodes())
    holding.read({NODE: dead_event()})
    changes: list[Any] = holding.read({NODE: node()})
    assert [change.value.state for change in changes] == [messages.GcsNodeInfo.ALIVE]


def test_the_table_is_read_again_when_many_more_are_dead_than_there_were() -> None:
    holding: Holding[Any, Any] = Holding(Nodes())
    ids = [NodeID(number.to_bytes(28, "big")) for number in range(1001)]
    holding.read({})
    before = []
    for key in ids:
        before.append(holding.forgotten)
        events = [(key, node()), (key, dead_event())]
        assert holding.unclear(events) == []
        holding.apply(events, {})
    assert before == [False] * len(ids)
    after = [holding.forgotten]
    for table in ({key: dead_event() for key in ids}, {}):
        holding.read(table)
        after.append(holding.forgotten)
    assert after == [True, False, False]


# ---- Nodes ---------------------------------------------------------------------------------------


def test_of_a_dead_node_what_was_known_stays_known() -> None:
    holding: Holding[Any, Any] = Holding(Nodes())
    before = node(node_name="first", resources_total={"CPU": 4.0}, labels={"a": "b"})
    holding.read({NODE: before})
    (after,) = applied(holding, dead_event())
    assert after == dead_event(node_name="first", resources_total={"CPU": 4.0}, labels={"a": "b"})
    assert before.state == messages.GcsNodeInfo.ALIVE


def test_a_dead_node_never_lives_again_by_an_event() -> None:
    holding: Holding[Any, Any] = Holding(Nodes())
    holding.read({NODE: dead_event()})
    assert applied(holding, node(node_name="first"), node(), dead_event(end_time_ms=4)) == []


def test_a_node_that_tells_itself_anew_is_read() -> None:
    holding: Holding[Any, Any] = Holding(Nodes())
    holding.read({NODE: node(node_name="second")})
    assert applied(holding, node(node_name="second")) == []
    assert applied(holding, node(node_name="first"), read=node(node_name="second")) == []
    third = node(node_name="third")
    assert applied(holding, third, read=third) == [third]


def test_a_dead_node_that_nobody_knew_is_read_and_may_be_forgotten() -> None:
    holding: Holding[Any, Any] = Holding(Nodes())
    assert applied(holding, dead_event(), key=NODE, read=None) == []
    known = dead_event(node_name="first")
    assert applied(holding, dead_event(), key=NODE, read=known) == [known]


def test_a_death_without_a_reason_is_looked_up() -> None:
    holding: Holding[Any, Any] = Holding(Nodes())
    holding.read({NODE: node(node_name="first")})
    event = node(state="DEAD", end_time_ms=5)
    known = node(node_name="first", state="DEAD", end_time_ms=5)
    assert applied(holding, event, read=known) == [known]


def test_what_changes_without_a_word_is_left_out() -> None:
    holding: Holding[Any, Any] = Holding(Nodes())
    alive = node(state_snapshot={"state": "IDLE"}, death_info={})
    assert holding.read({NODE: alive})[0].value == node()
    assert applied(holding, node(state_snapshot={"state": "ACTIVE"})) == []
    (dead,) = applied(holding, dead_event(state_snapshot={"state": "ACTIVE"}))
    assert dead == dead_event()


# ---- Jobs ----------------------------------------------------------------------------------------


def test_a_finished_job_stays_finished() -> None:
    holding: Holding[Any, Any] = Holding(Jobs())
    new = messages.JobTableData(job_id=JOB, timestamp=1, entrypoint="x", is_running_tasks=True)
    done = messages.JobTableData(job_id=JOB, timestamp=2, entrypoint="x", is_dead=True)
    holding.read({JOB: new})
    assert not new.HasField("is_running_tasks")
    assert applied(holding, done) == [done]
    assert applied(holding, new, done) == []
    late = messages.JobTableData(job_id=JOB, timestamp=9, entrypoint="x")
    assert applied(holding, late) == []


def test_a_job_that_is_added_again_is_as_it_was_added_last() -> None:
    holding: Holding[Any, Any] = Holding(Jobs())
    first = messages.JobTableData(job_id=JOB, timestamp=1, entrypoint="first")
    second = messages.JobTableData(job_id=JOB, timestamp=2, entrypoint="second")
    holding.read({JOB: second})
    assert applied(holding, first) == []
    third = messages.JobTableData(job_id=JOB, timestamp=3, entrypoint="third")
    assert applied(holding, third) == [third]


# ---- Actors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        (("DEPENDENCIES_UNREADY", 0), ("PENDING_CREATION", 0)),
        (("PENDING_CREATION", 0), ("ALIVE", 0)),
        (("ALIVE", 0), ("DEAD", 0)),
        (("ALIVE", 0), ("RESTARTING", 1)),
        (("RESTARTING", 1), ("ALIVE", 1)),
        (("RESTARTING", 1), ("DEAD", 1)),
        (("RESTARTING", 1), ("RESTARTING", 2)),
        (("DEAD", 0), ("RESTARTING", 1)),  # by lineage
        (("DEAD", 1), ("ALIVE", 2)),
    ],
)
def test_an_old_event_does_not_move_an_actor_back(
    older: tuple[str, int], newer: tuple[str, int]
) -> None:
    holding: Holding[Any, Any] = Holding(Actors())
    now = actor(newer[0], num_restarts=newer[1])
    holding.read({ACTOR: now})
    assert applied(holding, part(older[0], num_restarts=older[1])) == []
    holding.read({ACTOR: actor(older[0], num_restarts=older[1])})
    assert applied(holding, part(newer[0], num_restarts=newer[1]), read=now) == [now]


def test_each_state_that_has_passed_is_given_and_the_last_one_as_it_was_read() -> None:
    holding: Holding[Any, Any] = Holding(Actors())
    holding.read({ACTOR: actor("ALIVE", pid=7, address={"port": 1}, start_time=3)})
    again = actor("ALIVE", pid=8, address={"port": 2}, start_time=3, num_restarts=1)
    restarting = part("RESTARTING", num_restarts=1, start_time=3, death_cause={})
    alive = part("ALIVE", num_restarts=1, start_time=3, pid=8, address={"port": 2})
    passed = actor("RESTARTING", num_restarts=1, start_time=3, death_cause={})
    assert applied(holding, restarting, alive, read=again) == [passed, again]
    # The reading was ahead of the events.
    assert applied(holding, restarting) == []


def test_a_registration_is_the_whole_entry() -> None:
    holding: Holding[Any, Any] = Holding(Actors())
    new = actor("DEPENDENCIES_UNREADY")
    pairs = [(ACTOR, new)]
    assert holding.unclear(pairs) == []
    assert holding.apply(pairs, {}) == [Change(ACTOR, new, None)]
    assert applied(holding, actor("DEPENDENCIES_UNREADY")) == []


@pytest.mark.parametrize("state", ["DEPENDENCIES_UNREADY", "PENDING_CREATION", "RESTARTING"])
def test_where_an_actor_is_going_to_live_changes_without_a_word_and_is_left_out(state: str) -> None:
    holding: Holding[Any, Any] = Holding(Actors())
    first, second = {"port": 1}, {"port": 2}
    assert applied(holding, actor(state, address=first), key=ACTOR) == [actor(state)]
    assert holding.read({ACTOR: actor(state, address=second)}) == []
    assert applied(holding, part(state, address=first, pid=3), read=actor(state, pid=3)) == [
        actor(state, pid=3)
    ]
    alive = actor("ALIVE", address=second)
    assert applied(holding, part("ALIVE", address=second), read=alive) == [alive]
    assert alive.address.port == 2


def test_an_actor_that_was_forgotten_meanwhile_goes() -> None:
    holding: Holding[Any, Any] = Holding(Actors())
    pairs = [(ACTOR, actor("DEPENDENCIES_UNREADY")), (ACTOR, part("DEAD"))]
    assert holding.unclear(pairs) == [ACTOR]
    assert holding.apply(pairs, {ACTOR: None}) == []
    holding.read({ACTOR: actor("ALIVE")})
    assert applied(holding, part("DEAD"), read=None) == [None]
    assert not holding.current
