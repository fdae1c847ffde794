# SPDX-License-Identifier: Apache-2.0
"""Which tasks are wanted: asked of the server, or looked at here if its release asks differently.

Invariant: what fits here is what Ray 2.60 itself finds. Every condition must hold; texts are
compared without regard to the case of ASCII letters; a task attempt is in the last of its states,
in the order of `messages.TaskStatus`; what has no TaskInfoEntry yet is not listed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from gcs_cffi import messages
from gcs_cffi._arguments import enum_number, text
from gcs_cffi.ids import ActorID, JobID, TaskID

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gcs_cffi._release import Release

_PREDICATES_SINCE: Final = (2, 41)
_FIELDS: Final = {
    "actor_id": ("actor_filters", "actor_id"),
    "job_id": ("job_filters", "job_id"),
    "name": ("task_name_filters", "task_name"),
    "state": ("state_filters", "state"),
    "task_id": ("task_filters", "task_id"),
}
"""For each field that can be asked for the list in the request, and the field in its entries."""
_IDS: Final = {"actor_id": ActorID, "job_id": JobID, "task_id": TaskID}


class Condition(NamedTuple):
    """One condition of `Tasks.list()`."""

    field: str
    is_equal: bool
    value: bytes | str


def conditions(equal: dict[str, Any], where: Iterable[tuple[str, str, Any]]) -> list[Condition]:
    """Checks what `Tasks.list()` was given, where it is explained."""
    given = [(field, "=", value) for field, value in equal.items() if value is not None]
    checked = []
    for condition in (*given, *where):
        if isinstance(condition, str) or len(condition) != 3:
            raise ValueError(f'a condition is (field, "=" or "!=", value), not {condition!r}')
        field, predicate, value = condition
        if field not in _FIELDS:
            raise ValueError(f"tasks are found by {', '.join(sorted(_FIELDS))}, not by {field!r}")
        if predicate not in ("=", "!="):
            raise ValueError(f'a condition has "=" or "!=", not {predicate!r}')
        checked.append(Condition(field, predicate == "=", _checked(field, value)))
    return checked


def _checked(field: str, value: Any) -> bytes | str:
    if field in _IDS:
        return _IDS[field](value)
    if field == "name":
        return text(value, "name")
    value = value.upper() if isinstance(value, str) else value
    return messages.TaskStatus.Name(enum_number(messages.TaskStatus, value, "state"))


class TaskFilters(NamedTuple):
    """The filters of one call."""

    wanted: list[Condition]
    exclude_driver: bool

    def request(self, release: Release, limit: int | None) -> messages.GetTaskEventsRequest:
        """The request that leaves as much to the server as it can do."""
        if not self.is_asked_of(release):
            return messages.GetTaskEventsRequest()
        request = messages.GetTaskEventsRequest(limit=limit)
        for condition in self.wanted:
            entries, field = _FIELDS[condition.field]
            entry = getattr(request.filters, entries).add()
            entry.predicate = messages.EQUAL if condition.is_equal else messages.NOT_EQUAL
            setattr(entry, field, condition.value)
        if self.exclude_driver:
            request.filters.exclude_driver = True
        return request

    def is_asked_of(self, release: Release) -> bool:
        """Whether the server itself finds what is wanted."""
        return not self.wanted or release.pair >= _PREDICATES_SINCE

    def fit(self, task: messages.TaskEvents) -> bool:
        """Whether the task attempt is wanted."""
        if not task.HasField("task_info"):
            return False
        if self.exclude_driver and task.task_info.type == messages.DRIVER_TASK:
            return False
        return all(
            (_value(task, condition.field) == _folded(condition.value)) == condition.is_equal
            for condition in self.wanted
        )


def _value(task: messages.TaskEvents, field: str) -> bytes:
    if field == "job_id":
        return task.job_id
    if field == "task_id":
        return task.task_id
    if field == "actor_id":
        return task.task_info.actor_id
    if field == "name":
        return _lowered(task.task_info.name)
    state = max(task.state_updates.state_ts_ns, default=messages.NIL)
    named = state in messages.TaskStatus.values()
    return _lowered(messages.TaskStatus.Name(state)) if named else b""


def _folded(value: bytes | str) -> bytes:
    return _lowered(value) if isinstance(value, str) else bytes(value)


def _lowered(value: str) -> bytes:
    return value.encode("utf-8", "surrogatepass").lower()  # of bytes: ASCII alone
