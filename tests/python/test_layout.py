# SPDX-License-Identifier: Apache-2.0
"""Messages of one layout become those of another by names; what agrees is left as it is."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto

from gcs_cffi import messages
from gcs_cffi._layout import Translator
from gcs_cffi._reflected import reflected_class

Field = FieldDescriptorProto
KINDS = {
    "int32": Field.TYPE_INT32,
    "int64": Field.TYPE_INT64,
    "uint64": Field.TYPE_UINT64,
    "bool": Field.TYPE_BOOL,
    "string": Field.TYPE_STRING,
    "bytes": Field.TYPE_BYTES,
    "double": Field.TYPE_DOUBLE,
}


def layout(**types: Any) -> Any:
    """Classes of made-up messages, in a pool of their own, as an object with their names.

    A dict of names to numbers is an enum; a dict of names to (number, type, repeated?) a message.
    """
    file = FileDescriptorProto(name="made_up.proto", package="ray.rpc", syntax="proto3")
    for name, parts in types.items():
        if all(isinstance(number, int) for number in parts.values()):
            enum = file.enum_type.add(name=name)
            for value, number in parts.items():
                enum.value.add(name=value, number=number)
            continue
        message = file.message_type.add(name=name)
        for field, (number, kind, *repeated) in parts.items():
            added = message.field.add(name=field, number=number, label=Field.LABEL_OPTIONAL)
            if repeated:
                added.label = Field.LABEL_REPEATED
            if kind.startswith("map "):
                entry = message.nested_type.add(name=f"{field.title()}Entry")
                entry.options.map_entry = True
                for index, part in enumerate(kind.split()[1:], 1):
                    inner = entry.field.add(
                        name=("key", "value")[index - 1], number=index, label=Field.LABEL_OPTIONAL
                    )
                    set_kind(inner, part, types)
                added.type = Field.TYPE_MESSAGE
                added.label = Field.LABEL_REPEATED
                added.type_name = f".ray.rpc.{name}.{entry.name}"
            else:
                set_kind(added, kind, types)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())

    class Classes:
        file_set = file

    for message in file.message_type:
        descriptor = pool.FindMessageTypeByName(f"ray.rpc.{message.name}")
        setattr(Classes, message.name, message_factory.GetMessageClass(descriptor))
    return Classes


def set_kind(field: Any, kind: str, types: dict[str, Any]) -> None:
    if kind in KINDS:
        field.type = KINDS[kind]
        return
    is_enum = all(isinstance(number, int) for number in types[kind].values())
    field.type = Field.TYPE_ENUM if is_enum else Field.TYPE_MESSAGE
    field.type_name = f".ray.rpc.{kind}"


def missing_in(source: Any, target: Any) -> list[str]:
    """The fields of the source that have no place in the target."""
    missing: list[str] = []
    Translator().translate(source, target, lambda field: missing.append(field.name))
    return missing


def agree(one: Any, other: Any) -> bool:
    answers = {
        Translator().is_interchangeable(one.DESCRIPTOR, other.DESCRIPTOR),
        Translator().is_interchangeable(other.DESCRIPTOR, one.DESCRIPTOR),
    }
    assert len(answers) == 1, "it depends on the direction"
    return answers.pop()


@pytest.mark.parametrize(
    ("older", "newer", "same"),
    [
        ({"a": (1, "int32")}, {"a": (1, "int32")}, True),
        ({"a": (1, "int32")}, {"a": (1, "int32"), "b": (2, "string")}, True),
        ({"a": (1, "int32")}, {"a": (1, "int64")}, True),
        ({"a": (1, "int32")}, {"a": (1, "bool")}, True),
        ({"a": (1, "int32")}, {"a": (1, "string")}, False),
        ({"a": (1, "bytes")}, {"a": (1, "string")}, False),
        ({"a": (1, "int32")}, {"a": (2, "int32")}, False),
        ({"a": (1, "int32")}, {"b": (1, "int32")}, False),
        ({"a": (1, "int32")}, {"a": (1, "int32", "repeated")}, False),
        ({"a": (1, "int32"), "b": (2, "int32")}, {"b": (1, "int32"), "a": (2, "int32")}, False),
    ],
)
def test_what_is_interchangeable_is_decided_by_numbers_names_and_types(
    older: dict[str, Any], newer: dict[str, Any], same: bool
) -> None:
    assert agree(layout(M=older).M, layout(M=newer).M) is same
    # The same deep inside.
    for outer in ({"m": (1, "M")}, {"m": (1, "M", "repeated")}, {"m": (1, "map string M")}):
        assert agree(layout(M=older, O=outer).O, layout(M=newer, O=outer).O) is same


@pytest.mark.parametrize(
    ("older", "newer", "same"),
    [
        ({"A": 0, "B": 1}, {"A": 0, "B": 1, "C": 2}, True),
        ({"A": 0, "B": 1}, {"A": 0, "C": 1, "B": 2}, False),
        ({"A": 0, "B": 1, "C": 2}, {"A": 0, "C": 2}, True),
        ({"A": 0, "B": 1}, {"A": 0, "C": 1}, False),
    ],
)
def test_enums_are_interchangeable_if_no_number_changes_its_meaning(
    older: dict[str, int], newer: dict[str, int], same: bool
) -> None:
    message = {"e": (1, "E")}
    assert agree(layout(E=older, M=message).M, layout(E=newer, M=message).M) is same


def test_messages_that_contain_themselves_are_compared_too() -> None:
    tree = {"value": (1, "int32"), "children": (2, "M", "repeated")}
    other = {"value": (3, "int32"), "children": (2, "M", "repeated")}
    assert agree(layout(M=tree).M, layout(M=tree).M)
    assert not agree(layout(M=tree).M, layout(M=other).M)


def test_everything_is_copied_by_name() -> None:
    enums = ({"A": 0, "B": 1, "C": 2}, {"A": 0, "NEW": 1, "B": 2, "C": 3})
    shared = {
        "text": "string",
        "number": "int64",
        "inner": "Inner",
        "inners": "Inner",
        "names": "map string int32",
        "by_name": "map string Inner",
        "state": "E",
        "states": "E",
    }
    repeated = {"inners", "states"}

    def message(first: int) -> dict[str, Any]:
        return {
            name: (number, kind, *(["repeated"] if name in repeated else []))
            for number, (name, kind) in enumerate(shared.items(), first)
        }

    older = layout(E=enums[0], Inner={"x": (1, "E"), "old": (2, "int32")}, M=message(1))
    newer = layout(E=enums[1], Inner={"x": (5, "E"), "new": (2, "int32")}, M=message(3))
    source = older.M(
        text="t",
        number=-5,
        inner={"x": 1, "old": 7},
        inners=[{"x": 2}, {}],
        names={"n": 1},
        by_name={"k": {"x": 1}, "empty": {}},
        state=2,
        states=[0, 1, 2],
    )
    target = newer.M()
    Translator().translate(source, target)
    assert target == newer.M(
        text="t",
        number=-5,
        inner={"x": 2},
        inners=[{"x": 3}, {}],
        names={"n": 1},
        by_name={"k": {"x": 2}, "empty": {}},
        state=3,
        states=[0, 2, 3],
    )
    assert missing_in(source, newer.M()) == ["old"]


def test_a_value_that_has_no_name_there_never_gets_anothers_number() -> None:
    older = layout(E={"A": 0, "GONE": 1, "GONE_TOO": 7}, M={"e": (1, "E")})
    newer = layout(E={"A": 0, "OTHER": 1}, M={"e": (1, "E"), "f": (2, "E")})
    for number, expected in ((1, -2), (7, 7), (9, 9)):
        target = newer.M()
        translator = Translator()
        assert not translator.is_interchangeable(older.M.DESCRIPTOR, newer.M.DESCRIPTOR)
        translator.translate(older.M(e=number), target)
        assert target.e == expected


def test_the_value_0_of_a_field_that_is_not_set_keeps_its_name_too() -> None:
    older = layout(E={"A": 0, "B": 1, "GONE": 2}, M={"e": (1, "E")})
    newer = layout(E={"B": 0, "A": 4}, M={"e": (1, "E")})
    target = newer.M()
    Translator().translate(older.M(), target)
    assert target.e == 4
    older_zero_gone = layout(E={"GONE": 0, "B": 1}, M={"e": (1, "E")})
    target = newer.M()
    Translator().translate(older_zero_gone.M(), target)
    assert target.e == -1
    target = older.M()
    Translator().translate(newer.M(), target)
    assert target.e == 1


def test_a_value_that_the_other_does_not_have_is_missing_there() -> None:
    ours = layout(E={"A": 0, "NEW": 1}, M={"e": (1, "E"), "several": (2, "E", "repeated")})
    theirs = layout(E={"A": 0, "OTHER": 1}, M={"e": (1, "E"), "several": (2, "E", "repeated")})
    for message, expected in (
        (ours.M(e=1), ["e"]),
        (ours.M(several=[0, 1]), ["several"]),
        (ours.M(several=[0]), []),
        (ours.M(e=7), []),  # which nobody has a name for
    ):
        assert missing_in(message, theirs.M()) == expected


@pytest.mark.parametrize(
    ("before", "value", "after", "expected"),
    [
        ("int32", -1, "int64", -1),
        ("int32", -1, "uint64", (1 << 64) - 1),
        ("uint64", (1 << 64) - 1, "int64", -1),
        ("int64", 1 << 40, "int32", 0),
        ("int32", 2, "bool", True),
        ("bool", True, "int64", 1),
    ],
)
def test_integers_are_converted_as_their_bytes_would_be_read(
    before: str, value: int, after: str, expected: int
) -> None:
    source = layout(M={"a": (1, before)}).M(a=value)
    target = layout(M={"a": (2, after)}).M()
    Translator().translate(source, target)
    assert target.a == expected


def test_fields_that_neither_knows_survive_where_the_layouts_agree() -> None:
    newest = layout(M={"a": (1, "int32"), "later": (9, "string")})
    one, other = layout(M={"a": (1, "int32")}), layout(M={"a": (1, "int32")})
    target = other.M()
    Translator().translate(one.M.FromString(newest.M(a=1, later="x").SerializeToString()), target)
    assert newest.M.FromString(target.SerializeToString()).later == "x"


def states(numbers: dict[str, int], **fields: Any) -> Any:
    """A TaskStateUpdate of a release that numbers the states so."""
    return layout(TaskStatus=numbers, TaskStateUpdate=fields)


OLD_STATES = {
    "NIL": 0,
    "PENDING_ARGS_AVAIL": 1,
    "PENDING_NODE_ASSIGNMENT": 2,
    "SUBMITTED_TO_WORKER": 5,
    "RUNNING": 6,
    "FINISHED": 9,
    "FAILED": 10,
}


@pytest.mark.parametrize("name", ["state_ts_ns", "state_ts"])
def test_times_of_states_that_were_numbered_otherwise_keep_their_meaning(name: str) -> None:
    older = states(OLD_STATES, **{name: (14, "map int32 int64")})
    source = older.TaskStateUpdate(**{name: {6: 60, 9: 90}})
    ours = messages.TaskStateUpdate()
    Translator().translate(source, ours)
    assert dict(ours.state_ts_ns) == {messages.RUNNING: 60, messages.FINISHED: 90}
    back = older.TaskStateUpdate()
    Translator().translate(ours, back, lambda field: pytest.fail(field.name))
    assert back == source


def test_times_of_states_that_had_a_field_each_are_found_and_written() -> None:
    older = states(
        OLD_STATES,
        pending_args_avail_ts=(2, "int64"),
        pending_node_assignment_ts=(3, "int64"),
        submitted_to_worker_ts=(4, "int64"),
        running_ts=(5, "int64"),
        finished_ts=(6, "int64"),
        failed_ts=(7, "int64"),
    )
    ours = messages.TaskStateUpdate(
        state_ts_ns={
            messages.RUNNING: 60,
            messages.FAILED: 70,
            messages.GETTING_AND_PINNING_ARGS: 1,
        }
    )
    source = older.TaskStateUpdate()
    Translator().translate(ours, source, lambda field: pytest.fail(field.name))
    assert (source.running_ts, source.failed_ts, source.finished_ts) == (60, 70, 0)
    read = messages.TaskStateUpdate()
    Translator().translate(source, read)
    assert dict(read.state_ts_ns) == {messages.RUNNING: 60, messages.FAILED: 70}


def test_the_bundled_layout_is_interchangeable_with_itself() -> None:
    for cls in (messages.GetTaskEventsReply, messages.GetAllNodeInfoReply, messages.PubMessage):
        assert agree(cls, cls)


def test_a_message_of_an_unknown_layout_can_be_pickled_and_turned_into_json() -> None:
    from google.protobuf import json_format
    from google.protobuf.descriptor_pb2 import FileDescriptorSet

    made = layout(M={"a": (1, "int32"), "text": (2, "string")})
    described = FileDescriptorSet(file=[made.file_set]).SerializeToString()
    cls = reflected_class(described, "ray.rpc.M")
    assert reflected_class(described, "ray.rpc.M") is cls
    message = cls(a=1, text="x")
    assert pickle.loads(pickle.dumps(message)) == message
    assert json_format.Parse(json_format.MessageToJson(message), cls()) == message
