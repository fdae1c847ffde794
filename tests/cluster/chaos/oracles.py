# SPDX-License-Identifier: Apache-2.0
"""What must hold of every run, whatever went wrong around the client.

Invariants:
- An oracle looks at a record and at nothing else, so that a test can doctor one: each oracle has a
  test that makes it fail.
- An oracle that cannot judge a run says so (`Verdict.skipped`), and never just agrees.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from chaos.record import DAMAGED, NONE, TAKES_ID

if TYPE_CHECKING:
    from chaos.record import Call, End, Record

EXPECTED_ERRORS: Final = frozenset(
    ("UnavailableError", "ConnectionLostError", "DeadlineExceededError")
)
_EARLY: Final = 0.02  # seconds; a deadline that comes sooner than that came too soon
_SHOWN: Final = 8


@dataclass(frozen=True)
class Limits:
    """What is still right."""

    deadline_slack: float = 0.25
    """Seconds by which a call may outlive its deadline, and a cancelled one its cancellation."""
    rss_growth: int = 24 << 20
    """Bytes."""


@dataclass
class Verdict:
    """What an oracle found."""

    failures: list[str] = field(default_factory=list)
    skipped: str = ""
    """Why it cannot judge this run; empty if it did."""

    def text(self) -> str:
        """One line, and one for each failure that is shown."""
        if self.skipped:
            return f"not judged: {self.skipped}"
        if not self.failures:
            return "holds"
        more = len(self.failures) - _SHOWN
        lines = [f"FAILS {len(self.failures)} times", *self.failures[:_SHOWN]]
        return "\n      ".join(lines + [f"and {more} more"] * (more > 0))


def every_call_ends_once(record: Record, limits: Limits) -> Iterator[str]:
    """No call is forgotten, and none ends twice: here and in the library's own counters."""
    if not record.calls:
        yield "no call was made"
    for call in record.calls:
        if len(call.ends) != 1:
            yield f"{_about(call)} ended {len(call.ends)} times"
    answered = sum(end.outcome == "ok" for _, end in _ends(record))
    if record.finished and record.completions < answered:
        yield f"{answered} calls succeeded, and {record.completions} completions were seen"
    if record.ended_twice:
        yield f"the library sent more than one completion for {record.ended_twice} calls"
    for number, client in enumerate(record.clients):
        ended = client["completed"] + client["failed"]
        if client["pending"] or client["started"] != ended:
            yield f"client {number} started {client['started']} calls, {ended} ended: {client}"


def calls_end_on_time(record: Record, limits: Limits) -> Iterator[str]:
    """No call outlives its deadline or its cancellation, and no deadline comes too soon."""
    for call, end in _ends(record):
        took = end.at - call.began
        if call.timeout is not None:
            if took > call.timeout + limits.deadline_slack:
                yield f"{_about(call)} took {took:.3f} s, its timeout is {call.timeout:.3f} s"
            if end.outcome == "DeadlineExceededError" and took < call.timeout - _EARLY:
                yield f"{_about(call)} expired after {took:.3f} s of {call.timeout:.3f} s"
        if end.cancelled_at is not None and end.at - end.cancelled_at > limits.deadline_slack:
            yield f"{_about(call)} ended {end.at - end.cancelled_at:.3f} s after it was cancelled"


def nothing_is_lost(record: Record, limits: Limits) -> Iterator[str]:
    """What was acknowledged is there, for each read that follows and in the end."""
    possible: dict[str, set[str]] = {}
    for call in record.calls:
        end = call.ends[0] if call.ends else None
        if call.operation in ("get", "multi_get") and end is not None and end.outcome == "ok":
            for key, found in zip(call.keys, end.result.split(","), strict=True):
                if found not in possible.get(key, {NONE}):
                    yield f"{_about(call)} read {found} at {key}, not {possible.get(key)}"
        if call.operation in ("put", "put_new", "delete"):
            key = call.keys[0]
            new = NONE if call.operation == "delete" else str(call.number)
            before = possible.get(key, {NONE})
            if end is not None and end.outcome == "ok":
                possible[key] = {new}
            elif call.uncertain:
                possible[key] = before | {new}
            else:
                possible[key] = before
    stored = record.stored or {}
    for key in stored.keys() - possible.keys():
        yield f"nobody put {key}"
    for key, allowed in possible.items():
        if stored.get(key, NONE) not in allowed:
            yield f"{key} is {stored.get(key, NONE)} in the end, and must be {sorted(allowed)}"


def mutating_calls_run_at_most_once(record: Record, limits: Limits) -> Iterator[str]:
    """A call that changes something runs once if acknowledged, nought or once if it may have run.

    A second run shows: an id too many is gone, the put of a new key finds it there, and a delete
    finds nothing.
    """
    there: dict[str, bool | None] = {}
    for call in record.calls:
        end = call.ends[0] if call.ends else None
        done = end is not None and end.outcome == "ok"
        key = call.keys[0] if call.keys else ""
        if done and end is not None and record.keeps_state:
            if call.operation == "put_new" and end.result != "1":
                yield f"{_about(call)}: its key was there before, which nobody else uses"
            if call.operation == "put" and end.result == "1" and there.get(key):
                yield f"{_about(call)}: its key was gone"
            if call.operation == "put" and end.result == "0" and there.get(key, False) is False:
                yield f"{_about(call)}: its key was there before"
            if call.operation == "delete" and there.get(key) and end.result != "1":
                yield f"{_about(call)}: its key was gone before"
        if call.operation in ("put", "put_new", "delete"):
            if done:
                there[key] = call.operation != "delete"
            elif call.uncertain:
                there[key] = None
    yield from _ids(record)


def _ids(record: Record) -> Iterator[str]:
    taken = [call for call in record.calls if call.operation in TAKES_ID]
    ids = [int(end.result) for call in taken for end in call.ends if end.outcome == "ok"]
    if record.first_id is None or record.last_id is None:
        return
    for number, count in Counter(ids).items():
        if count > 1:
            yield f"the id {number} was given to {count} calls"
        if not record.first_id < number < record.last_id:
            yield f"the id {number} is not between {record.first_id} and {record.last_id}"
    handed_out = record.last_id - record.first_id - 1
    maybe = sum(call.uncertain for call in taken)
    if handed_out > len(ids) + maybe:
        yield (
            f"the server gave {handed_out} ids: {len(ids)} calls got one, and {maybe} may have "
            f"been carried out: {handed_out - len(ids) - maybe} too many"
        )
    if handed_out < len(ids):
        yield f"the server gave {handed_out} ids, and {len(ids)} calls got one"


def errors_are_ours(record: Record, limits: Limits) -> Iterator[str]:
    """A call fails with an error that says what went wrong: no other than faults can cause."""
    expected = set(EXPECTED_ERRORS)
    if record.restarts and not record.keeps_state and not record.adopts:
        expected.add("ClusterChangedError")
    found = Counter(end.outcome for _, end in _ends(record))
    for outcome, count in found.items():
        if outcome.partition(":")[0] not in expected | {"ok", "cancelled"}:
            yield f"{count} calls ended with {outcome}"
    for call, end in _ends(record):
        if end.outcome == "cancelled" and end.cancelled_at is None:
            yield f"{_about(call)} was cancelled by nobody"
        if DAMAGED in end.result:
            yield f"{_about(call)} read what nobody has put"


def clients_recover(record: Record, limits: Limits) -> Iterator[str]:
    """Once all is healed each client works, and the load itself was no series of failures."""
    if not record.clients:
        yield "no client is known"
    for number, client in enumerate(record.clients):
        if not client["recovered"]:
            yield f"the last call of client {number} failed: {client}"
    if not any(end.outcome == "ok" for _, end in _ends(record)):
        yield "not one call succeeded"


def faults_happened(record: Record, limits: Limits) -> Iterator[str]:
    """Every fault that the workload declares came about."""
    for kind, count in record.happened.items():
        if not count:
            yield f"the fault {kind} never came"
    if record.owed:
        yield f"faults that come by calls came too rarely: {record.happened}"


def the_library_is_the_one_wanted(record: Record, limits: Limits) -> Iterator[str]:
    """The process ran on the build that it was to run on, and on no other one beside it."""
    if record.library != record.wanted_library:
        yield f"{record.wanted_library} was wanted, and loaded was {record.library or 'none'}"


def nothing_is_left(record: Record, limits: Limits) -> Iterator[str]:
    """Descriptors, threads, memory and futures are back where they were."""
    if record.pending:
        yield f"{record.pending} futures or records were still held when the loops ended"
    if not record.before or not record.after:
        yield "the process was not measured"
        return
    for name in ("descriptors", "threads"):
        if record.after[name] > record.before[name]:
            left = f": {record.left}" if name == "descriptors" else ""
            yield f"{record.before[name]} {name} before, {record.after[name]} after{left}"
    grown = record.after["rss"] - record.before["rss"]
    if grown > limits.rss_growth:
        yield f"{grown >> 10} KiB more memory than before; {limits.rss_growth >> 10} KiB may be"


def process_lives(record: Record, limits: Limits) -> Iterator[str]:
    """The process came to its own end, with status 0."""
    if not record.finished or record.exit_code != 0:
        yield f"exit status {record.exit_code}; its own end reached: {record.finished}"


def stderr_is_empty(record: Record, limits: Limits) -> Iterator[str]:
    """Nothing was printed, by the library, by the package or by Python about them."""
    if record.stderr.strip():
        yield record.stderr.strip()[-4000:]


Oracle = Callable[["Record", Limits], Iterator[str]]

ORACLES: Final[dict[str, Oracle]] = {
    "every call ends once": every_call_ends_once,
    "calls end on time": calls_end_on_time,
    "nothing is lost": nothing_is_lost,
    "mutating calls run at most once": mutating_calls_run_at_most_once,
    "errors are ours": errors_are_ours,
    "clients recover": clients_recover,
    "faults happened": faults_happened,
    "the library is the one wanted": the_library_is_the_one_wanted,
    "nothing is left": nothing_is_left,
    "process lives": process_lives,
    "stderr is empty": stderr_is_empty,
}


def judge(record: Record, limits: Limits) -> dict[str, Verdict]:
    """What each oracle says, by its name."""
    verdicts = {}
    for name, oracle in ORACLES.items():
        skipped = _why_not(name, record)
        verdicts[name] = Verdict([] if skipped else list(oracle(record, limits)), skipped)
    return verdicts


def _why_not(name: str, record: Record) -> str:
    if name == "nothing is lost" and (not record.keeps_state or record.stored is None):
        return "the server keeps nothing over a restart"
    if name == "the library is the one wanted" and not record.wanted_library:
        return "it is the package's own"
    if name == "mutating calls run at most once" and record.may_repeat:
        return 'retry="always" allows it'
    return ""


def _ends(record: Record) -> Iterator[tuple[Call, End]]:
    for call in record.calls:
        for end in call.ends:
            yield call, end


def _about(call: Call) -> str:
    return f"call {call.number} of {call.caller} ({call.operation})"
