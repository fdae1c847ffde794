# SPDX-License-Identifier: Apache-2.0
"""Messages of any protobuf schema as plain values, so that ours and Ray's can be compared.

Invariants:
- One function makes them of both sides, and asks only a message's descriptor how.
- Nothing is dropped: a field that is set is there, and so is one that the schema does not know.
- What varies with time is marked where it stands, and not left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

from live.varies import VARIES


@dataclass(frozen=True)
class Varying:
    """A value that another moment changes."""

    value: Any


class Leaf(NamedTuple):
    """A value that holds no others, and whether it varies with time."""

    value: Any
    varies: bool


def plain(value: Any) -> Any:
    """Messages, ids, and what holds them, as dicts, lists, str, bytes and numbers."""
    if isinstance(value, Message):
        return _message(value)
    if isinstance(value, Mapping):
        return {_key(key): plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if hasattr(value, "hex") and hasattr(value, "is_nil"):  # an id, ours or Ray's
        return value.hex()
    return value


def by_task(events: Iterable[Any]) -> dict[str, Any]:
    """Task events by task and attempt."""
    return {f"{each.task_id.hex()}/{each.attempt_number}": plain(each) for each in events}


def leaves(value: Any, path: str = "", varies: bool = False) -> Iterator[tuple[str, Leaf]]:
    """Each value in a plain value that holds no others, by the way to it."""
    if isinstance(value, Varying):
        yield from leaves(value.value, path, varies=True)
    elif isinstance(value, dict) and value:
        for name, each in value.items():
            yield from leaves(each, f"{path}.{name}", varies)
    elif isinstance(value, list) and value:
        for index, each in enumerate(value):
            yield from leaves(each, f"{path}[{index}]", varies)
    else:
        yield path, Leaf(value, varies)


def _key(key: Any) -> Any:
    key = plain(key)
    return key.hex() if isinstance(key, bytes) else key


def _message(message: Message) -> dict[str, Any]:
    name = message.DESCRIPTOR.full_name
    result: dict[str, Any] = {}
    for field, value in message.ListFields():
        made = _field(field, value)
        result[field.name] = Varying(made) if (name, field.name) in VARIES else made
    unknown_fields: Iterable[Any] = cast("Any", UnknownFieldSet(message))
    for unknown in unknown_fields:
        result[f"unknown field {unknown.field_number}"] = repr(unknown.data)
    return result


def _field(field: Any, value: Any) -> Any:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        of_values = field.message_type.fields_by_name["value"]
        return {_key(key): _single(of_values, each) for key, each in sorted(value.items())}
    if field.is_repeated:
        return [_single(field, each) for each in value]
    return _single(field, value)


def _single(field: Any, value: Any) -> Any:
    if field.enum_type is not None:
        known = field.enum_type.values_by_number.get(value)
        return value if known is None else known.name
    return plain(value)
