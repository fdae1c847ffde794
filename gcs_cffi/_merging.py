# SPDX-License-Identifier: Apache-2.0
"""What a watcher holds of a table, and what events and readings of it make of that.

Invariants:
- No event moves an entry back. One that was published before the table was read, and arrives after
  it, changes nothing: dead nodes stay dead, finished jobs finished, and actors are ordered by how
  often they were restarted, then by their state.
- What a GCS leaves out of an event is never guessed. Either the event has it, or no event can
  change it, or the entry is read anew.
- A reading is the truth, whatever was held.
- Messages that are held are not changed any more: somebody may have got them.

What events hold, measured on Ray 2.9.3, 2.40.0 and 2.60.0: docs/subscriptions.md.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeAlias, TypeVar

from gcs_cffi import messages
from gcs_cffi._published import Change

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

IdT = TypeVar("IdT", bound=bytes)
ValueT = TypeVar("ValueT")

_FORGOTTEN: Final = 1000
"""So many entries more may be dead than when the table was read, at least, before it is again."""


class Step(NamedTuple):
    """What an event makes of an entry."""

    value: Any
    """The entry after it, as far as it is known; None if nothing is."""
    exact: bool
    """Whether that is what the table has, so that it need not be read."""


class Nodes:
    """Entries of the table of nodes."""

    def strip(self, node: Any) -> None:
        """Takes out what changes without an event: the snapshot, and why a living node may die."""
        node.ClearField("state_snapshot")
        if not self.is_dead(node):
            node.ClearField("death_info")

    def is_dead(self, node: Any) -> bool:
        """Whether it is."""
        return bool(node.state == messages.GcsNodeInfo.DEAD)

    def position(self, node: Any) -> Any:
        """What only grows."""
        return node.state

    def step(self, held: Any, event: Any) -> Step:
        """A living node's event is the whole entry, a dead one's what has changed."""
        if not self.is_dead(event):
            if held is None:
                return Step(event, exact=True)
            unchanged = self.is_dead(held) or held == event
            return Step(held if unchanged else event, unchanged)
        if held is None or self.is_dead(held):
            return Step(held, held is not None)
        # Ray 2.9 does not say why.
        return Step(_merged(held, event), event.HasField("death_info"))


class Jobs:
    """Entries of the table of jobs."""

    def strip(self, job: Any) -> None:
        """Takes out what the table lacks: a server finds it out whenever it lists jobs."""
        job.ClearField("job_info")
        job.ClearField("is_running_tasks")

    def is_dead(self, job: Any) -> bool:
        """Whether it has finished."""
        return bool(job.is_dead)

    def position(self, job: Any) -> Any:
        """What only grows."""
        return (job.is_dead, job.timestamp)

    def step(self, held: Any, event: Any) -> Step:
        """An event is the whole entry, as it has been stored."""
        if held is not None and self.position(event) < self.position(held):
            return Step(held, exact=True)
        return Step(event, exact=True)


class Actors:
    """Entries of the table of actors."""

    # In this order an actor has them, until it is restarted once more.
    _ORDER: Final = ("DEPENDENCIES_UNREADY", "PENDING_CREATION", "RESTARTING", "ALIVE", "DEAD")
    _ALWAYS: Final = (
        "state",
        "address",
        "num_restarts",
        "timestamp",
        "pid",
        "start_time",
        "end_time",
        "death_cause",
        "preempted",
    )
    """What an event that is a part of the entry says by leaving it out, too."""

    def __init__(self) -> None:
        """Looks up the states."""
        states = messages.ActorTableData.ActorState
        self._rank = {states.Value(name): rank for rank, name in enumerate(self._ORDER)}

    def strip(self, actor: Any) -> None:
        """Takes out what changes without an event: where one that does not live is going to."""
        if self._rank.get(actor.state, len(self._rank)) < self._rank[messages.ActorTableData.ALIVE]:
            actor.ClearField("address")

    def is_dead(self, actor: Any) -> bool:
        """Whether it is."""
        return bool(actor.state == messages.ActorTableData.DEAD)

    def position(self, actor: Any) -> Any:
        """What only grows. Restarts of each kind are among the `num_restarts`."""
        return (actor.num_restarts, self._rank.get(actor.state, len(self._rank)))

    def step(self, held: Any, event: Any) -> Step:
        """The event of a registration is the whole entry; each other one a part, without the id."""
        is_whole = bool(event.actor_id)
        if held is None:
            return Step(event if is_whole else None, is_whole)
        if self.position(event) < self.position(held) or event == held:
            return Step(held, exact=True)
        return Step(_merged(held, event, () if is_whole else self._ALWAYS), exact=False)


Kind: TypeAlias = Nodes | Jobs | Actors


class Holding(Generic[IdT, ValueT]):
    """The entries that a watcher holds.

    Attributes:
        current: a view of them.
    """

    def __init__(self, kind: Kind) -> None:
        """Holds nothing."""
        self._kind = kind
        self._held: dict[IdT, Any] = {}
        self._dead = 0
        self._most_dead = 0
        self.current: Mapping[IdT, ValueT] = MappingProxyType(self._held)

    def read(self, table: Mapping[IdT, Any]) -> list[Change[IdT, ValueT]]:
        """The whole table was read: gives what is different in it."""
        changes: list[Change[IdT, ValueT]] = []
        for key in [key for key in self._held if key not in table]:
            self._set(key, None, changes)
        for key, value in table.items():
            self._kind.strip(value)
            self._set(key, value, changes)
        self._most_dead = 2 * self._dead + _FORGOTTEN
        return changes

    @property
    def forgotten(self) -> bool:
        """Whether the table should be read: the GCS may have forgotten many of the dead."""
        return self._dead > self._most_dead

    def unclear(self, events: Iterable[tuple[IdT, Any]]) -> list[IdT]:
        """The entries that have to be read, before `apply()`, since the events do not suffice."""
        after: dict[IdT, Any] = {}
        found: dict[IdT, None] = {}
        for key, event in events:
            self._kind.strip(event)
            value, exact = self._kind.step(after.get(key, self._held.get(key)), event)
            after[key] = value
            if not exact:
                found[key] = None
        return list(found)

    def apply(
        self, events: Sequence[tuple[IdT, Any]], unclear: Mapping[IdT, Any]
    ) -> list[Change[IdT, ValueT]]:
        """Gives what events have changed, each of the states that an entry went through.

        Args:
            events: ids and messages, in their order.
            unclear: the entries that were read after the events had come; None for one that the
                table does not have.
        """
        changes: list[Change[IdT, ValueT]] = []
        last = {key: index for index, (key, _) in enumerate(events)}
        for value in unclear.values():
            if value is not None:
                self._kind.strip(value)
        for index, (key, event) in enumerate(events):
            held = self._held.get(key)
            value = self._kind.step(held, event).value
            if key in unclear:
                final = unclear[key]
                if index == last[key]:
                    value = final
                elif value is None or final is None or not self._is_before(value, final):
                    continue
            self._set(key, value, changes)
        return changes

    def _is_before(self, value: Any, final: Any) -> bool:
        return bool(self._kind.position(value) < self._kind.position(final))

    def _set(self, key: IdT, value: Any, changes: list[Change[IdT, ValueT]]) -> None:
        before = self._held.get(key)
        if value is before or value == before:
            return
        if value is None:
            del self._held[key]
        else:
            self._held[key] = value
            self._dead += self._kind.is_dead(value)
        if before is not None:
            self._dead -= self._kind.is_dead(before)
        changes.append(Change(key, value, before))


def _merged(held: Any, event: Any, always: Iterable[str] = ()) -> Any:
    """A copy, in which each field that the event has is the event's."""
    merged = type(held)()
    merged.CopyFrom(held)
    for name in always:
        merged.ClearField(name)
    for field, _ in event.ListFields():
        merged.ClearField(field.name)
    merged.MergeFrom(event)
    return merged
