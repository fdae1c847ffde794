# SPDX-License-Identifier: Apache-2.0
"""Messages that two releases of Ray lay out differently: compared, and turned into each other.

A message of one descriptor pool becomes the message of another by the names of fields and of enum
values, never by their numbers: what a release calls CREATED stays CREATED.

Invariants:
- Two layouts are interchangeable only if bytes written by either mean the same to the other: the
  same number has the same name and a compatible type, the same name has the same number, and the
  same holds for everything inside. A field or a value that one of them lacks does no harm.
- Nothing is locked: answers are remembered in a dict, and to compute one twice does no harm.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from google.protobuf.descriptor import FieldDescriptor

from gcs_cffi._layout_history import CONVERSIONS, CONVERTED, DIFFERENCES, RENAMED, enum_number

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message

    # protobuf's implementations have classes of their own for these.
    Descriptor = Any
    EnumDescriptor = Any
    FieldPairs = list[tuple[FieldDescriptor, FieldDescriptor]]
    Pairs = set[tuple[Descriptor, Descriptor]]
    Missing = Callable[[FieldDescriptor], object]

_NAMES: Final[dict[tuple[str, str], set[str]]] = {}
"""All names that a field has had, by message and any of these names."""
for _message, _old, _new in RENAMED:
    _names = _NAMES.setdefault((_message, _new), {_new})
    _names.add(_old)
    _NAMES[_message, _old] = _names

# Integers of any of these types are read alike.
_INTEGERS: Final = {
    FieldDescriptor.TYPE_BOOL: 1,
    FieldDescriptor.TYPE_INT32: -32,
    FieldDescriptor.TYPE_INT64: -64,
    FieldDescriptor.TYPE_UINT32: 32,
    FieldDescriptor.TYPE_UINT64: 64,
}
"""How many bits each has; negative for those with a sign."""


class Translator:
    """Translates, and remembers which layouts need it."""

    def __init__(self) -> None:
        """Knows nothing yet."""
        self._answers: dict[tuple[Descriptor, Descriptor], bool] = {}
        self._zeros: dict[tuple[Descriptor, Descriptor], FieldPairs] = {}

    def is_interchangeable(self, one: Descriptor, other: Descriptor) -> bool:
        """Whether bytes written by either layout can be read with the other."""
        pair = (one, other)
        known = self._answers.get(pair)
        if known is None:
            known = self._answers[pair] = _compare(one, other, set())
        return known

    def translate(self, source: Message, target: Message, missing: Missing | None = None) -> None:
        """Copies what a message holds into an empty one of another layout.

        Args:
            source: what is copied.
            target: where to.
            missing: called for each field that is set and has no place in the target, or whose
                enum value has none; it may raise. Without it such fields are left out, and such
                values become numbers that mean nothing.
        """
        layout = target.DESCRIPTOR
        if missing is None and self.is_interchangeable(source.DESCRIPTOR, layout):
            # Which keeps fields that neither of the layouts knows.
            target.MergeFromString(source.SerializePartialToString())
            return
        for unset, place in self._other_zeros(source.DESCRIPTOR, layout):
            # A message does not list it, and its bytes lack it.
            if getattr(source, unset.name) == 0:
                setattr(target, place.name, _scalar(unset, 0, place))
        for field, value in source.ListFields():
            twin = counterpart(field, layout)
            if (
                twin is not None
                and _is_convertible(field, twin)
                and (missing is None or _has_names(field, value, twin))
            ):
                self._copy(field, value, twin, target, missing)
            elif missing is not None and (source.DESCRIPTOR.full_name, field.name) not in CONVERTED:
                missing(field)
        convert = CONVERSIONS.get(source.DESCRIPTOR.full_name)
        if convert is not None:
            convert(source, target)

    def _other_zeros(self, source: Descriptor, target: Descriptor) -> FieldPairs:
        """Fields whose value is 0 unless it is set, which means something else in the target."""
        pair = (source, target)
        known = self._zeros.get(pair)
        if known is None:
            known = self._zeros[pair] = [
                (field, twin)
                for field in source.fields
                if field.enum_type is not None and not is_repeated(field) and not field.has_presence
                if (twin := counterpart(field, target)) is not None
                if _is_convertible(field, twin)
                if _scalar(field, 0, twin) != 0
            ]
        return known

    def _copy(
        self,
        field: FieldDescriptor,
        value: Any,
        twin: FieldDescriptor,
        target: Message,
        missing: Missing | None,
    ) -> None:
        if _is_map(field):
            entries = getattr(target, twin.name)
            ours, theirs = _map_value(twin), _map_value(field)
            for key, item in value.items():
                if ours.message_type is not None:
                    self.translate(item, entries[key], missing)
                else:
                    entries[key] = _scalar(theirs, item, ours)
        elif is_repeated(field):
            items = getattr(target, twin.name)
            for item in value:
                if twin.message_type is not None:
                    self.translate(item, items.add(), missing)
                else:
                    items.append(_scalar(field, item, twin))
        elif twin.message_type is not None:
            inner = getattr(target, twin.name)
            inner.SetInParent()
            self.translate(value, inner, missing)
        else:
            setattr(target, twin.name, _scalar(field, value, twin))


def _compare(one: Descriptor, other: Descriptor, assumed: Pairs) -> bool:
    if one is other or (one, other) in assumed:
        return True
    assumed.add((one, other))
    differ = DIFFERENCES.get(one.full_name)
    if differ is not None and differ(one, other):
        return False
    for field in one.fields:
        twin = other.fields_by_number.get(field.number)
        if counterpart(field, other) is not twin:
            return False
        if twin is not None and not _same_type(field, twin, assumed):
            return False
    # What is left of the other has new numbers; their names must be new too.
    return all(
        field.number in one.fields_by_number or counterpart(field, one) is None
        for field in other.fields
    )


def _same_type(one: FieldDescriptor, other: FieldDescriptor, assumed: Pairs) -> bool:
    if is_repeated(one) is not is_repeated(other):
        return False
    if one.message_type is not None and other.message_type is not None:
        return _compare(one.message_type, other.message_type, assumed)
    if one.enum_type is not None and other.enum_type is not None:
        return _same_values(one.enum_type, other.enum_type)
    return one.type == other.type or (one.type in _INTEGERS and other.type in _INTEGERS)


def _same_values(one: EnumDescriptor, other: EnumDescriptor) -> bool:
    for value in one.values:
        by_name = other.values_by_name.get(value.name)
        if by_name is None:
            if value.number in other.values_by_number:
                return False
        elif by_name.number != value.number:
            return False
    return all(
        value.name in one.values_by_name or value.number not in one.values_by_number
        for value in other.values
    )


def is_repeated(field: FieldDescriptor) -> bool:
    """Whether the field holds several values; a map does."""
    known: bool | None = getattr(field, "is_repeated", None)
    if known is not None:
        return known
    older: Any = field  # protobuf before 6.31
    return bool(older.label == FieldDescriptor.LABEL_REPEATED)


def counterpart(field: FieldDescriptor, target: Descriptor) -> FieldDescriptor | None:
    """The field of another layout that means the same, under its own or an older name."""
    found: FieldDescriptor | None = target.fields_by_name.get(field.name)
    if found is None:
        message: Descriptor = field.containing_type
        for name in _NAMES.get((message.full_name, field.name), ()):
            found = found or target.fields_by_name.get(name)
    return found


def _is_convertible(field: FieldDescriptor, twin: FieldDescriptor) -> bool:
    if is_repeated(field) is not is_repeated(twin):
        return False
    kinds = (field.message_type is None, field.enum_type is None)
    if kinds != (twin.message_type is None, twin.enum_type is None):
        return False
    if field.message_type is not None:
        return _is_map(field) is _is_map(twin)
    return (
        field.enum_type is not None
        or field.type == twin.type
        or (field.type in _INTEGERS and twin.type in _INTEGERS)
    )


def _map_value(field: FieldDescriptor) -> FieldDescriptor:
    entry: Descriptor = field.message_type
    value: FieldDescriptor = entry.fields_by_name["value"]
    return value


def _has_names(field: FieldDescriptor, value: Any, twin: FieldDescriptor) -> bool:
    ours, theirs = field.enum_type, twin.enum_type
    if ours is None or theirs is None:
        return True
    values = value if is_repeated(field) else (value,)
    named = (ours.values_by_number.get(number) for number in values)
    return all(each is None or each.name in theirs.values_by_name for each in named)


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)


def _scalar(field: FieldDescriptor, value: Any, twin: FieldDescriptor) -> Any:
    if field.enum_type is not None:
        layout: EnumDescriptor = twin.enum_type
        return enum_number(field.enum_type, value, layout)
    bits = _INTEGERS.get(twin.type)
    if bits is None or field.type == twin.type:
        return value
    if bits == 1:
        return bool(value)
    # As its bytes would be read.
    low = int(value) & ((1 << abs(bits)) - 1)
    return low - (1 << -bits) if bits < 0 and low >> (-bits - 1) else low
