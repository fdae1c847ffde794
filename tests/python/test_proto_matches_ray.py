# SPDX-License-Identifier: Apache-2.0
"""The bundled schema says exactly what the installed Ray says about the same messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from descriptors import (
    PACKAGES,
    bundled_files,
    enums_in,
    layout,
    messages_in,
    methods_in,
    ray_files,
)

if TYPE_CHECKING:
    from google.protobuf.descriptor_pb2 import FileDescriptorProto

OURS = bundled_files()


@pytest.fixture(scope="module")
def rays() -> list[FileDescriptorProto]:
    return ray_files()


def test_the_schema_has_messages_enums_and_methods() -> None:
    assert {"ray.rpc.GcsStatus", "ray.rpc.GcsNodeInfo"} <= set(messages_in(OURS))
    assert "ray.rpc.GcsNodeInfo.GcsNodeState" in enums_in(OURS)
    assert "ray.rpc.InternalKVGcsService/InternalKVGet" in methods_in(OURS)


def test_every_file_is_proto3_in_rays_package(rays: list[FileDescriptorProto]) -> None:
    assert {(file.syntax, file.package) for file in OURS} == {
        ("proto3", package) for package in PACKAGES
    }
    assert {file.syntax for file in rays if file.package in PACKAGES} == {"proto3"}


@pytest.mark.parametrize("name", sorted(messages_in(OURS)))
def test_message_is_laid_out_as_rays(name: str, rays: list[FileDescriptorProto]) -> None:
    theirs = messages_in(rays)
    assert name in theirs, f"Ray has no message {name}"
    assert layout(messages_in(OURS)[name]) == layout(theirs[name])


@pytest.mark.parametrize("name", sorted(enums_in(OURS)))
def test_enum_has_rays_values(name: str, rays: list[FileDescriptorProto]) -> None:
    theirs = enums_in(rays)
    assert name in theirs, f"Ray has no enum {name}"
    ours = {value.name: value.number for value in enums_in(OURS)[name].value}
    assert ours == {value.name: value.number for value in theirs[name].value}


@pytest.mark.parametrize("path", sorted(methods_in(OURS)))
def test_method_takes_and_returns_what_rays_does(
    path: str, rays: list[FileDescriptorProto]
) -> None:
    theirs = methods_in(rays)
    assert path in theirs, f"Ray has no method {path}"
    assert methods_in(OURS)[path] == theirs[path]
