# SPDX-License-Identifier: Apache-2.0
"""Messages of two layouts, the bundled one and a release's: filled, compared, and walked together.

Nothing here uses what it is to test: only the list of fields that were renamed is shared.

Invariants:
- Integers fit into 31 bits and are not 0, so that fields of any integer type can hold them.
- Of a oneof one field is filled; which one goes by `Filler.variant`: some variants fill all.
- The keys of a map that are numbers of states are numbers that the message's own layout has.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, NamedTuple

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import FieldDescriptor as Field
from google.protobuf.descriptor_pb2 import FileDescriptorProto

from gcs_cffi._layout_history import RENAMED

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator, Sequence

INTEGERS = {
    Field.TYPE_INT32,
    Field.TYPE_INT64,
    Field.TYPE_UINT32,
    Field.TYPE_UINT64,
    Field.TYPE_BOOL,
}
TASK_STATUS = "ray.rpc.TaskStatus"
TIMES = "ray.rpc.TaskStateUpdate"
TIME_MAPS = ("state_ts_ns", "state_ts")
TIME_FIELDS = {
    "pending_args_avail_ts": "PENDING_ARGS_AVAIL",
    "pending_node_assignment_ts": "PENDING_NODE_ASSIGNMENT",
    "submitted_to_worker_ts": "SUBMITTED_TO_WORKER",
    "running_ts": "RUNNING",
    "finished_ts": "FINISHED",
    "failed_ts": "FAILED",
}
"""Before Ray 2.32 a state's time is in a field of its own."""


def with_imports(files: Sequence[FileDescriptorProto]) -> list[FileDescriptorProto]:
    """The files and those of protobuf itself that they import, imports first.

    Files that import what is not there are left out: Ray 2.48 has one, which no service needs.
    """
    known = {file.name: file for file in files}
    ordered: dict[str, FileDescriptorProto] = {}

    def add(name: str) -> bool:
        if name in ordered:
            return True
        file = known.get(name) or _protobufs_own(name)
        if file is None or not all(map(add, file.dependency)):
            return False
        ordered[name] = file
        return True

    left_out = [name for name in known if not add(name)]
    assert len(left_out) <= 1, f"these import what is not there: {left_out}"
    return list(ordered.values())


def _protobufs_own(name: str) -> FileDescriptorProto | None:
    if not name.startswith("google/protobuf/"):
        return None
    module = importlib.import_module(name.removesuffix(".proto").replace("/", ".") + "_pb2")
    file = FileDescriptorProto()
    module.DESCRIPTOR.CopyToProto(file)
    return file


def pool_of(files: Sequence[FileDescriptorProto]) -> descriptor_pool.DescriptorPool:
    """A pool of their own for files, and for what they import."""
    pool = descriptor_pool.DescriptorPool()
    for file in with_imports(files):
        pool.AddSerializedFile(file.SerializeToString())
    return pool


def is_map(field: Any) -> bool:
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)


def is_repeated(field: Any) -> bool:
    known = getattr(field, "is_repeated", None)
    return field.label == Field.LABEL_REPEATED if known is None else bool(known)


def kind(field: Any) -> tuple[object, ...]:
    """What two fields have in common that can hold the same values."""
    if is_map(field):
        entry = field.message_type.fields_by_name
        return ("map", kind(entry["key"]), kind(entry["value"]))
    what: object = field.type
    if field.message_type is not None:
        what = "message"
    elif field.enum_type is not None:
        what = "enum"
    elif field.type in INTEGERS:
        what = "integer"
    return (is_repeated(field), what)


def twin_of(field: Any, other: Any) -> Any:
    """The field of another layout with the same name, or the name that it has there; or None."""
    if field.containing_type.GetOptions().map_entry:
        return other.fields_by_name[field.name]
    names = {field.name}
    for message, old, new in RENAMED:
        if message == field.containing_type.full_name and field.name in (old, new):
            names |= {
                name
                for entry in RENAMED
                if entry[0] == message and entry[2] == new
                for name in entry[1:]
            }
    found = [other.fields_by_name[name] for name in names if name in other.fields_by_name]
    assert len(found) <= 1, f"{other.full_name} has several of {names}"
    return found[0] if found else None


class Pair(NamedTuple):
    """A message in two layouts, and the fields that lead to it."""

    one: Any
    other: Any
    path: tuple[Any, ...]


def pairs(one: Any, other: Any) -> Iterator[Pair]:
    """A message in two layouts, and all in it that both have, each pair of layouts once."""
    seen = set()
    waiting = [Pair(one, other, ())]
    while waiting:
        pair = waiting.pop()
        if (pair.one, pair.other) in seen:
            continue
        seen.add((pair.one, pair.other))
        yield pair
        for field in pair.one.fields:
            twin = twin_of(field, pair.other)
            if field.message_type is not None and twin is not None and kind(field) == kind(twin):
                waiting.append(Pair(field.message_type, twin.message_type, (*pair.path, field)))


class Filler:
    """Fills every field of messages; with a layout to fit, those that have a place there."""

    def __init__(self, chosen: random.Random, variant: int, depth: int = 9) -> None:
        self.chosen = chosen
        self.variant = variant
        self.depth = depth

    def fill(self, message: Any, fit: Any = None, level: int = 0) -> Any:
        """Fills a message, down to so many levels, and gives it back."""
        for field in message.DESCRIPTOR.fields:
            twin = None
            if fit is not None:
                twin = twin_of(field, fit)
                is_time = message.DESCRIPTOR.full_name == TIMES and field.name in TIME_MAPS
                if not is_time and (twin is None or kind(field) != kind(twin)):
                    continue
            if not self._is_chosen(field, fit):
                continue
            if message.DESCRIPTOR.full_name == TIMES and field.name in TIME_MAPS:
                for state in sorted(self._states(message.DESCRIPTOR, fit)):
                    getattr(message, field.name)[state] = self._integer()
            elif is_map(field):
                self._fill_map(getattr(message, field.name), field, twin, level)
            elif is_repeated(field):
                values = getattr(message, field.name)
                for _ in range(2 if level < 2 else 1):
                    if field.message_type is not None:
                        self._fill_inner(values.add(), twin, level)
                    else:
                        values.append(self._scalar(field, twin))
            elif field.message_type is not None:
                inner = getattr(message, field.name)
                inner.SetInParent()
                self._fill_inner(inner, twin, level)
            else:
                setattr(message, field.name, self._scalar(field, twin))
        return message

    def _fill_inner(self, message: Any, twin: Any, level: int) -> None:
        if level < self.depth:
            self.fill(message, None if twin is None else twin.message_type, level + 1)

    def _fill_map(self, entries: Any, field: Any, twin: Any, level: int) -> None:
        parts = field.message_type.fields_by_name
        twins: Any = {} if twin is None else twin.message_type.fields_by_name
        for _ in range(2):
            key = self._scalar(parts["key"], None)
            if parts["value"].message_type is not None:
                self._fill_inner(entries[key], twins.get("value"), level)
            else:
                entries[key] = self._scalar(parts["value"], twins.get("value"))

    def _is_chosen(self, field: Any, fit: Any) -> bool:
        oneof = field.containing_oneof
        if oneof is None:
            return True
        fields = [
            each
            for each in oneof.fields
            if fit is None or (twin_of(each, fit) and kind(each) == kind(twin_of(each, fit)))
        ]
        return bool(fields[self.variant % len(fields)] is field)

    def _states(self, layout: Any, fit: Any) -> set[int]:
        def numbers(descriptor: Any) -> dict[str, int]:
            enum = descriptor.file.pool.FindEnumTypeByName(TASK_STATUS)
            return {value.name: value.number for value in enum.values}

        names = set(numbers(layout))
        if fit is not None:
            has_map = any(name in fit.fields_by_name for name in TIME_MAPS)
            names &= set(numbers(fit) if has_map else TIME_FIELDS.values())
        return {numbers(layout)[name] for name in names}

    def _integer(self) -> int:
        return self.chosen.randint(1, (1 << 31) - 1)

    def _scalar(self, field: Any, twin: Any) -> Any:
        if field.enum_type is not None:
            values = field.enum_type.values
            known = [
                value.number
                for value in values
                if twin is None or value.name in twin.enum_type.values_by_name
            ]
            return self.chosen.choice(known)
        if field.type == Field.TYPE_BOOL:
            return True
        if field.type in (Field.TYPE_DOUBLE, Field.TYPE_FLOAT):
            return self.chosen.randint(1, 1000) / 4
        if field.type == Field.TYPE_STRING:
            return f"text {self.chosen.getrandbits(32):x}"
        if field.type == Field.TYPE_BYTES:
            return self.chosen.randbytes(6)
        return self._integer()


def times(update: Any) -> dict[str, int]:
    """The times of the states in a TaskStateUpdate of any layout."""
    layout = update.DESCRIPTOR
    names = layout.file.pool.FindEnumTypeByName(TASK_STATUS).values_by_number
    found = {
        state: getattr(update, name)
        for name, state in TIME_FIELDS.items()
        if name in layout.fields_by_name and update.HasField(name)
    }
    for name in TIME_MAPS:
        if name in layout.fields_by_name:
            found |= {names[key].name: time for key, time in getattr(update, name).items()}
    return found


def differences(source: Any, target: Any, path: str = "") -> Iterator[str]:
    """What was lost or added when a message of one layout became one of another, a line each."""
    path = path or source.DESCRIPTOR.name
    special: set[str] = set()
    if source.DESCRIPTOR.full_name == TIMES:
        special = {*TIME_FIELDS, *TIME_MAPS}
        if times(source) != times(target):
            yield f"{path}: the times {times(source)} became {times(target)}"
    matched = set()
    for field in source.DESCRIPTOR.fields:
        twin = twin_of(field, target.DESCRIPTOR)
        if field.name in special or twin is None:
            continue
        if kind(field) == kind(twin):
            matched.add(twin.name)
            yield from _field_differences(field, source, twin, target, f"{path}.{field.name}")
    for field, _ in target.ListFields():
        if field.name not in matched | special:
            yield f"{path}: {field.name} was set out of nothing"


def _field_differences(field: Any, source: Any, twin: Any, target: Any, path: str) -> Iterator[str]:
    before, after = getattr(source, field.name), getattr(target, twin.name)
    present = field.has_presence and twin.has_presence
    if present and source.HasField(field.name) != target.HasField(twin.name):
        yield f"{path}: is set in one of them only"
    elif is_map(field):
        if before.keys() != after.keys():
            yield f"{path}: the keys {sorted(before)} became {sorted(after)}"
            return
        value, other = (each.message_type.fields_by_name["value"] for each in (field, twin))
        for key in before:
            yield from _value_differences(value, before[key], other, after[key], f"{path}[{key!r}]")
    elif is_repeated(field):
        if len(before) != len(after):
            yield f"{path}: {len(before)} became {len(after)}"
            return
        for at, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from _value_differences(field, one, twin, other, f"{path}[{at}]")
    elif not field.has_presence or source.HasField(field.name):
        yield from _value_differences(field, before, twin, after, path)


def _value_differences(field: Any, before: Any, twin: Any, after: Any, path: str) -> Iterator[str]:
    if field.message_type is not None:
        yield from differences(before, after, path)
        return
    if field.enum_type is not None:
        name = field.enum_type.values_by_number[before].name
        got = twin.enum_type.values_by_number.get(after)
        # What has no name there may have any number that means nothing there.
        expected = name if name in twin.enum_type.values_by_name else None
        if (None if got is None else got.name) != expected:
            yield f"{path}: {name} became {after if got is None else got.name}"
        return
    if Field.TYPE_BOOL in (field.type, twin.type):
        before, after = bool(before), bool(after)
    if before != after:
        yield f"{path}: {before!r} became {after!r}"
