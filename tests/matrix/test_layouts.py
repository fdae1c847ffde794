# SPDX-License-Identifier: Apache-2.0
"""Every reply reads, and every request is written, the same whatever the release's layout.

Messages of the release's own layout, out of the modules that protoc generated for it, are filled at
random (the seed is printed), and become those of the bundled layout as the client does it.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest
from descriptors import ray_files
from google.protobuf import message_factory

from gcs_cffi import UnsupportedByServerError, _release, messages
from gcs_cffi._server import Server
from matrix.layouts import (
    TIMES,
    Filler,
    differences,
    is_map,
    is_repeated,
    kind,
    pairs,
    pool_of,
    twin_of,
    with_imports,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gcs_cffi._release import KnownMethod

VARIANTS = 14
"""So many, that each field of the largest oneof has its turn."""

# Fields of one name that cannot hold the same: what a release has in one has no place in the other.
UNLIKE = {
    ("ray.rpc.ObjectReference", "tensor_transport"): "an enum before 2.54, now a name",
    ("ray.rpc.TaskArg", "tensor_transport"): "an enum before 2.54, now a name",
    ("ray.rpc.TaskSpec", "tensor_transport"): "an enum before 2.54, now a name",
    ("ray.rpc.TaskSpec", "label_selector"): "a map of labels before 2.52, now a message",
}

# Message, field there, field here: the number and the type of the one went to the other, which
# means something else; each with what it meant.
NOT_RENAMED: dict[tuple[str, str, str], str] = {}

# Methods whose messages the bundled layout lacks: no accessor uses them.
LACKING = {
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    "/ray.rpc.ActorInfoGcsService/RestartActor",
    "/ray.rpc.InternalPubSubGcsService/GcsUnregisterSubscriber",
}

# What a conversion makes out of a field with another name and type.
CONVERTED = {
    ("ray.rpc.GetDrainingNodesReply", "node_ids"): "Ray 2.9 says only which nodes drain",
}


class Layouts:
    """What the release has, as the client sees it."""

    def __init__(self, release: tuple[int, ...]) -> None:
        files = ray_files()
        text = ".".join(map(str, release))
        self.pool = pool_of(files)
        self.server = Server(_release.Release.parse(text))
        self.server.add_files([file.SerializeToString() for file in with_imports(files)])
        self.methods = [
            method
            for method in _release.METHODS.values()
            if method.is_in(self.server.release) and _is_bundled(method)
        ]
        assert len(self.methods) > 40

    def theirs(self, name: str) -> Any:
        """The class of a message in the release's layout."""
        return message_factory.GetMessageClass(self.pool.FindMessageTypeByName(name))


def _is_bundled(method: KnownMethod) -> bool:
    try:
        messages.message_class(method.request)
        messages.message_class(method.reply)
    except LookupError:
        return False
    return True


@pytest.fixture(scope="module")
def layouts(release: tuple[int, ...]) -> Layouts:
    return Layouts(release)


@pytest.fixture
def seed() -> int:
    chosen = random.SystemRandom().getrandbits(32)
    print(f"seed {chosen}")
    return chosen


def test_only_three_methods_lack_a_bundled_message() -> None:
    lacking = {m.path for m in _release.METHODS.values() if not _is_bundled(m)}
    assert lacking == LACKING


def test_replies_read_the_same_by_name(layouts: Layouts, seed: int) -> None:
    wrong: list[str] = []
    for method in layouts.methods:
        for variant in range(VARIANTS):
            filler = Filler(random.Random(f"{seed} {method.path} {variant}"), variant)
            source = filler.fill(layouts.theirs(method.reply)())
            read = layouts.server.decode(method, source.SerializeToString(), "nowhere")
            assert type(read) is messages.message_class(method.reply)
            wrong += without_converted(differences(source, read))
            check_converted(source, read)
    assert not wrong, report(wrong)


def test_requests_are_written_by_name(layouts: Layouts, seed: int) -> None:
    wrong: list[str] = []
    for method in layouts.methods:
        theirs = layouts.theirs(method.request)
        for variant in range(VARIANTS):
            filler = Filler(random.Random(f"{seed} {method.path} {variant}"), variant)
            request = filler.fill(messages.message_class(method.request)(), theirs.DESCRIPTOR)
            before = request.SerializeToString(deterministic=True)
            written = layouts.server.encode(method, request, "nowhere")
            assert request.SerializeToString(deterministic=True) == before
            wrong += differences(request, theirs.FromString(written))
    assert not wrong, report(wrong)


def test_a_field_that_the_release_has_no_place_for_is_refused_by_its_name(layouts: Layouts) -> None:
    wrong: list[str] = []
    for method in layouts.methods:
        ours = messages.message_class(method.request)
        for pair in pairs(ours.DESCRIPTOR, layouts.theirs(method.request).DESCRIPTOR):
            for field in pair.one.fields:
                if has_place(field, pair.other):
                    continue
                request = ours()
                put(request, [*pair.path, field])
                name = f"{pair.one.name}.{field.name}"
                try:
                    layouts.server.encode(method, request, "nowhere")
                except UnsupportedByServerError as error:
                    if name not in str(error) or error.method != method.path:
                        wrong.append(f"{method.path}, {name}: {error}")
                else:
                    wrong.append(f"{method.path}: {name} was left out, and nothing said")
    assert not wrong, report(wrong)


def test_no_field_was_renamed_without_a_note(layouts: Layouts) -> None:
    wrong = set()
    for one, other in compared(layouts):
        for field in one.fields:
            found = twin_of(field, other)
            if found is not None:
                if kind(field) != kind(found) and (one.full_name, field.name) not in UNLIKE:
                    wrong.add(f"{one.full_name}.{field.name} is of another kind there")
                continue
            taken = other.fields_by_number.get(field.number)
            if taken is None or twin_of(taken, one) is not None or kind(taken) != kind(field):
                continue
            if field.type == taken.type and type_name(field) == type_name(taken):
                names = (one.full_name, taken.name, field.name)
                if names not in NOT_RENAMED:
                    wrong.add(f"{names}: one number and type; is this one field?")
    assert not wrong, report(sorted(wrong))


def compared(layouts: Layouts) -> Iterator[tuple[Any, Any]]:
    for method in layouts.methods:
        for name in (method.request, method.reply):
            ours = messages.message_class(name).DESCRIPTOR
            for pair in pairs(ours, layouts.theirs(name).DESCRIPTOR):
                yield pair.one, pair.other


def type_name(field: Any) -> object:
    if is_map(field):
        return [type_name(part) for part in field.message_type.fields]
    described = field.message_type or field.enum_type
    return described.full_name if described is not None else field.type


def has_place(field: Any, other: Any) -> bool:
    if field.containing_type.full_name == TIMES and field.name == "state_ts_ns":
        return True
    twin = twin_of(field, other)
    return twin is not None and kind(twin) == kind(field)


def put(message: Any, path: list[Any]) -> None:
    """Sets the field at the end of a path, and on the way only what leads to it."""
    field, *rest = path
    if is_map(field):
        value = field.message_type.fields_by_name["value"]
        key: Any = (
            "key" if field.message_type.fields_by_name["key"].type == value.TYPE_STRING else 1
        )
        if rest:
            put(getattr(message, field.name)[key], rest[1:] if is_entry(rest[0]) else rest)
        else:
            Filler(random.Random(0), 0, 0).fill(message)
            keep(message, field)
    elif rest:
        inner = getattr(message, field.name)
        put(inner.add() if is_repeated(field) else inner, rest)
    else:
        Filler(random.Random(0), index_in_oneof(field), 0).fill(message)
        keep(message, field)


def is_entry(field: Any) -> bool:
    return bool(field.containing_type.GetOptions().map_entry)


def index_in_oneof(field: Any) -> int:
    oneof = field.containing_oneof
    return 0 if oneof is None else [each.name for each in oneof.fields].index(field.name)


def keep(message: Any, field: Any) -> None:
    for each, _ in message.ListFields():
        if each.name != field.name:
            message.ClearField(each.name)
    assert [each.name for each, _ in message.ListFields()] == [field.name]


def without_converted(found: Iterator[str]) -> list[str]:
    return [line for line in found if "draining_nodes was set out of nothing" not in line]


def check_converted(source: Any, read: Any) -> None:
    name = source.DESCRIPTOR.full_name
    for message, field in CONVERTED:
        if name == message and field in source.DESCRIPTOR.fields_by_name:
            assert [node.node_id for node in read.draining_nodes] == list(source.node_ids)


def report(lines: list[str]) -> str:
    return "\n".join([f"{len(lines)} faults", *dict.fromkeys(lines)][:60])
