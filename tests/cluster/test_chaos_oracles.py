# SPDX-License-Identifier: Apache-2.0
"""Each oracle of the chaos runs can fail: a good record, doctored, is found out.

Invariants:
- The good record is one that every oracle judges, and that passes: what fails is the doctoring.
- No oracle goes untested: the last test compares the two lists.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import pytest
from chaos.oracles import ORACLES, Limits, judge
from chaos.record import NONE, Call, End, Record, end_line, read_lines, start_line

if TYPE_CHECKING:
    from collections.abc import Callable

GET, PUT, PUT_AGAIN, DELETE, NEW, ID, EXPIRED_ID, CANCELLED, REFUSED = range(1, 10)


def good_record() -> Record:
    calls = [
        Call(PUT, "a", "put", ("a/0/0",), 5.0, 10.0, [End("ok", 10.1, result="1")]),
        Call(GET, "a", "get", ("a/0/0",), 5.0, 10.2, [End("ok", 10.3, result=str(PUT))]),
        Call(PUT_AGAIN, "a", "put", ("a/0/0",), 5.0, 10.4, [End("ok", 10.5, result="0")]),
        Call(DELETE, "a", "delete", ("a/0/0",), 5.0, 10.6, [End("ok", 10.7, result="1")]),
        Call(NEW, "a", "put_new", ("a/unique/1",), 5.0, 10.8, [End("ok", 10.9, result="1")]),
        Call(ID, "b", "next_id", (), 5.0, 10.0, [End("ok", 10.2, result="2")]),
        Call(EXPIRED_ID, "b", "next_id", (), 1.0, 11.0, [End("DeadlineExceededError", 12.0, True)]),
        Call(CANCELLED, "c", "get", (), 5.0, 11.0, [End("cancelled", 11.2, True, "-", 11.1)]),
        Call(REFUSED, "d", "put", ("d/0/0",), 5.0, 11.0, [End("UnavailableError", 11.1)]),
    ]
    size = {"descriptors": 10, "threads": 3, "rss": 50 << 20}
    return Record(
        calls=sorted(calls, key=lambda call: call.began),
        before=dict(size),
        after=dict(size),
        clients=[{"started": 9, "completed": 6, "failed": 3, "pending": 0, "recovered": True}],
        completions=9,
        finished=True,
        exit_code=0,
        stored={"a/unique/1": str(NEW)},
        first_id=1,
        last_id=4,
        happened={"kill": 1},
        library="/build/libgcs_capi.so.1",
        wanted_library="/build/libgcs_capi.so.1",
    )


def call(record: Record, number: int) -> Call:
    return next(each for each in record.calls if each.number == number)


def end(record: Record, number: int) -> End:
    return call(record, number).ends[0]


def stored(record: Record) -> dict[str, str]:
    assert record.stored is not None
    return record.stored


DOCTORED: list[tuple[str, str, Callable[[Record], object]]] = [
    ("every call ends once", "no end", lambda r: call(r, GET).ends.clear()),
    ("every call ends once", "two ends", lambda r: call(r, GET).ends.append(end(r, GET))),
    ("every call ends once", "two completions", lambda r: setattr(r, "ended_twice", 1)),
    ("every call ends once", "completions unseen", lambda r: setattr(r, "completions", 5)),
    ("every call ends once", "one pending", lambda r: r.clients[0].update(pending=1)),
    ("every call ends once", "one forgotten", lambda r: r.clients[0].update(completed=5)),
    ("every call ends once", "one too many", lambda r: r.clients[0].update(failed=4)),
    ("every call ends once", "nothing made", lambda r: r.calls.clear()),
    ("calls end on time", "too late", lambda r: setattr(end(r, EXPIRED_ID), "at", 12.3)),
    ("calls end on time", "an answer too late", lambda r: setattr(end(r, GET), "at", 15.5)),
    ("calls end on time", "expired too soon", lambda r: setattr(end(r, EXPIRED_ID), "at", 11.9)),
    ("calls end on time", "slow to cancel", lambda r: setattr(end(r, CANCELLED), "at", 11.5)),
    ("nothing is lost", "a read finds nothing", lambda r: setattr(end(r, GET), "result", NONE)),
    ("nothing is lost", "a read finds another", lambda r: setattr(end(r, GET), "result", "77")),
    ("nothing is lost", "gone in the end", lambda r: stored(r).clear()),
    ("nothing is lost", "wrong in the end", lambda r: stored(r).update({"a/unique/1": "77"})),
    ("nothing is lost", "deleted and there", lambda r: stored(r).update({"a/0/0": str(PUT)})),
    ("nothing is lost", "refused and there", lambda r: stored(r).update({"d/0/0": str(REFUSED)})),
    ("nothing is lost", "put by nobody", lambda r: stored(r).update({"x": "1"})),
    ("mutating calls run at most once", "new twice", lambda r: setattr(end(r, NEW), "result", "0")),
    (
        "mutating calls run at most once",
        "a delete found nothing",
        lambda r: setattr(end(r, DELETE), "result", "0"),
    ),
    (
        "mutating calls run at most once",
        "a put found its own",
        lambda r: setattr(end(r, PUT), "result", "0"),
    ),
    (
        "mutating calls run at most once",
        "a put found nothing",
        lambda r: setattr(end(r, PUT_AGAIN), "result", "1"),
    ),
    ("mutating calls run at most once", "an id too many", lambda r: setattr(r, "last_id", 5)),
    (
        "mutating calls run at most once",
        "an id that nobody may have taken",
        lambda r: setattr(end(r, EXPIRED_ID), "maybe", False),
    ),
    ("mutating calls run at most once", "an id of others", lambda r: setattr(r, "first_id", 2)),
    (
        "mutating calls run at most once",
        "one id twice",
        lambda r: r.calls.append(Call(99, "b", "next_id", (), 5.0, 13.0, [end(r, ID)])),
    ),
    ("errors are ours", "an odd error", lambda r: setattr(end(r, REFUSED), "outcome", "KeyError")),
    (
        "errors are ours",
        "a change of cluster that cannot be",
        lambda r: setattr(end(r, REFUSED), "outcome", "ClusterChangedError"),
    ),
    (
        "errors are ours",
        "cancelled by nobody",
        lambda r: setattr(end(r, CANCELLED), "cancelled_at", None),
    ),
    ("errors are ours", "a damaged value", lambda r: setattr(end(r, GET), "result", "damaged")),
    ("clients recover", "one does not", lambda r: r.clients[0].update(recovered=False)),
    ("clients recover", "none is known", lambda r: r.clients.clear()),
    (
        "clients recover",
        "nothing ever works",
        lambda r: [e.__dict__.update(outcome="RpcError") for c in r.calls for e in c.ends],
    ),
    ("faults happened", "one did not", lambda r: r.happened.update(pause=0)),
    ("faults happened", "too few", lambda r: setattr(r, "owed", True)),
    ("the library is the one wanted", "another", lambda r: setattr(r, "library", "/usr/lib/x")),
    ("nothing is left", "a descriptor", lambda r: r.after.update(descriptors=11)),
    ("nothing is left", "a thread", lambda r: r.after.update(threads=4)),
    ("nothing is left", "memory", lambda r: r.after.update(rss=80 << 20)),
    ("nothing is left", "a future", lambda r: setattr(r, "pending", 1)),
    ("nothing is left", "not measured", lambda r: r.after.clear()),
    ("process lives", "a signal", lambda r: setattr(r, "exit_code", -6)),
    ("process lives", "exit(0) in the middle", lambda r: setattr(r, "finished", False)),
    ("process lives", "killed for not ending", lambda r: setattr(r, "exit_code", None)),
    ("stderr is empty", "a traceback", lambda r: setattr(r, "stderr", "Traceback\n")),
]


def test_a_good_record_passes_every_oracle() -> None:
    verdicts = judge(good_record(), Limits())
    assert not {name: verdict.text() for name, verdict in verdicts.items() if verdict.skipped}
    assert not {name: verdict.text() for name, verdict in verdicts.items() if verdict.failures}


@pytest.mark.parametrize(
    ("oracle", "doctor"),
    [(oracle, doctor) for oracle, _, doctor in DOCTORED],
    ids=[f"{oracle}: {what}" for oracle, what, _ in DOCTORED],
)
def test_a_doctored_record_is_found_out(oracle: str, doctor: Callable[[Record], object]) -> None:
    record = copy.deepcopy(good_record())
    doctor(record)
    verdict = judge(record, Limits())[oracle]
    assert verdict.failures
    assert verdict.failures[0] in verdict.text()


def test_every_oracle_has_a_doctored_record() -> None:
    assert {oracle for oracle, _, _ in DOCTORED} == set(ORACLES)


def test_limits_can_be_widened() -> None:
    record = good_record()
    end(record, EXPIRED_ID).at = 12.9
    record.after["rss"] += 100 << 20
    wide = Limits(deadline_slack=1.0, rss_growth=200 << 20)
    assert not any(verdict.failures for verdict in judge(record, wide).values())


def test_what_cannot_be_judged_is_said() -> None:
    record = good_record()
    record.keeps_state, record.may_repeat, record.wanted_library = False, True, ""
    verdicts = judge(record, Limits())
    assert "not judged" in verdicts["the library is the one wanted"].text()
    assert "not judged" in verdicts["nothing is lost"].text()
    assert "not judged" in verdicts["mutating calls run at most once"].text()


def test_a_call_that_may_have_run_may_have_run_or_not() -> None:
    for there in ({}, {"e/0/0": "50"}):
        record = good_record()
        lost = End("ConnectionLostError", 11.1, True)
        record.calls.append(Call(50, "e", "put", ("e/0/0",), 5.0, 11.0, [lost]))
        stored(record).update(there)
        assert not judge(record, Limits())["nothing is lost"].failures


def test_lines_give_the_calls_back() -> None:
    calls = good_record().calls
    lines = [start_line(each) for each in calls]
    lines += [end_line(each.number, one) for each in calls for one in each.ends]
    assert read_lines(lines) == calls
    with pytest.raises(ValueError, match="never made"):
        read_lines([end_line(7, End("ok", 1.0))])
