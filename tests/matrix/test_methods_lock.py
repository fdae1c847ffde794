# SPDX-License-Identifier: Apache-2.0
"""capi/abi/methods.lock, the record of methods, says exactly what the release at hand has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from descriptors import messages_in, methods_in, ray_files

import gcs_cffi

if TYPE_CHECKING:
    from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto
    from method_record import Method

    from gcs_cffi.testing import GcsServer

REFLECTION = "grpc.reflection.v1alpha.ServerReflection"
LIST_SERVICES = b"\x3a\x00"  # ServerReflectionRequest: field 7, list_services, is ""
INFRASTRUCTURE = "grpc."
STREAMS = "ray.rpc.syncer.RaySyncer"


@pytest.fixture(scope="module")
def files() -> list[FileDescriptorProto]:
    return ray_files()


@pytest.fixture(scope="module")
def services(server: GcsServer) -> set[str]:
    """The services that the server itself says it has."""
    with gcs_cffi.sync.connect(server.address) as gcs:
        reply = gcs.call(REFLECTION, "ServerReflectionInfo", LIST_SERVICES)
    # ServerReflectionResponse: field 6, list_services_response, whose field 1 are messages with the
    # name in their field 1.
    names: set[str] = set()
    for response in fields(reply, 6):
        for service in fields(response, 1):
            names |= {name.decode() for name in fields(service, 1)}
    return names


def fields(message: bytes, wanted: int) -> list[bytes]:
    """The contents of a length-delimited field of a message."""
    found = []
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(message):
        number, wire_type = divmod(varint(), 8)
        length = varint()
        if wire_type == 2:
            if number == wanted:
                found.append(message[at : at + length])
            at += length
        else:
            assert wire_type == 0, f"field {number} is of wire type {wire_type}"
    return found


def unary_methods(
    files: list[FileDescriptorProto], services: set[str]
) -> dict[str, tuple[str, str]]:
    """Request and reply of the unary methods of some services, by path."""
    return {
        f"/{path}": (request, reply)
        for path, (request, reply, *streaming) in methods_in(files).items()
        if path.partition("/")[0] in services and not any(streaming)
    }


def status_field(reply: str, messages: dict[str, DescriptorProto]) -> int | None:
    """The number of a reply's field that holds a status, which is a message of that name."""
    numbers = [
        field.number
        for field in messages[reply[1:]].field
        if field.type_name.endswith("Status")
        and field.name == "status"
        and field.type == field.TYPE_MESSAGE
    ]
    assert len(numbers) <= 1, f"{reply} has several: {numbers}"
    return numbers[0] if numbers else None


def of_ray(methods: list[Method]) -> list[Method]:
    return [method for method in methods if not method.path.startswith(f"/{INFRASTRUCTURE}")]


def test_the_release_has_exactly_the_methods_that_the_record_gives_it(
    record: list[Method],
    release: tuple[int, ...],
    files: list[FileDescriptorProto],
    services: set[str],
) -> None:
    assert "ray.rpc.NodeInfoGcsService" in services
    rays = {name for name in services if not name.startswith(INFRASTRUCTURE)} - {STREAMS}
    there = unary_methods(files, rays)
    recorded = {method.path for method in of_ray(record) if method.is_in(release)}
    assert set(there) == recorded
    assert {path.split("/")[1] for path in recorded} == rays


def test_requests_replies_and_status_are_those_of_the_release(
    record: list[Method], release: tuple[int, ...], files: list[FileDescriptorProto]
) -> None:
    there = methods_in(files)
    messages = messages_in(files)
    for method in of_ray(record):
        if method.is_in(release):
            request, reply, *_ = there[method.path[1:]]
            assert (request, reply) == (method.request, method.reply), method.path
            assert status_field(reply, messages) == method.status_field, method.path


def test_reflection_is_there_on_every_release(record: list[Method], services: set[str]) -> None:
    assert REFLECTION in services
    assert [m.path for m in record if m.path.startswith(f"/{REFLECTION}/")] == [
        f"/{REFLECTION}/ServerReflectionInfo"
    ]


def test_the_library_knows_every_method_of_the_release(
    record: list[Method], release: tuple[int, ...]
) -> None:
    from gcs_cffi import _methods

    for method in record:
        if method.is_in(release):
            service, _, name = method.path[1:].partition("/")
            assert _methods.find(service, name).number == method.number
