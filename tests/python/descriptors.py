# SPDX-License-Identifier: Apache-2.0
"""The descriptors of the bundled schema, and those of a release of Ray.

Ray's are read out of the modules that protoc generated for it, as text: they are neither imported
nor registered anywhere, so that no descriptor pool of this process knows of them.
"""

from __future__ import annotations

import ast
import importlib.util
import os
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

PACKAGES = {"ray.rpc", "ray.rpc.autoscaler", "ray.rpc.events"}
GENERATED_VARIABLE = "GCS_CFFI_GENERATED"
"""Names the folder of a release's generated modules; unset for the installed Ray's."""


def bundled_files() -> list[FileDescriptorProto]:
    serialized = (resources.files("gcs_cffi") / "schema.binpb").read_bytes()
    files = FileDescriptorSet.FromString(serialized).file
    return [file for file in files if file.package != "google.protobuf"]


def ray_files() -> list[FileDescriptorProto]:
    """The files of the release that the environment names, or of the installed Ray."""
    folder = generated_folder()
    files = [serialized_file(module) for module in sorted(folder.glob("*_pb2.py"))]
    assert files, f"no generated modules in {folder}"
    return files


def generated_folder() -> Path:
    chosen = os.environ.get(GENERATED_VARIABLE)
    if chosen:
        return Path(chosen)
    spec = importlib.util.find_spec("ray")
    if spec is None or not spec.submodule_search_locations:
        pytest.fail(f"{GENERATED_VARIABLE} is not set and ray is not installed: nothing to compare")
    return Path(spec.submodule_search_locations[0]) / "core" / "generated"


def serialized_file(module: Path) -> FileDescriptorProto:
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "AddSerializedFile"
        ):
            return FileDescriptorProto.FromString(ast.literal_eval(node.args[0]))
    raise AssertionError(f"{module} registers no descriptor")


def messages_in(files: Iterable[FileDescriptorProto]) -> dict[str, DescriptorProto]:
    found: dict[str, DescriptorProto] = {}

    def add(scope: str, message: DescriptorProto) -> None:
        found[f"{scope}.{message.name}"] = message
        for nested in message.nested_type:
            add(f"{scope}.{message.name}", nested)

    for file in files:
        for message in file.message_type:
            add(file.package, message)
    return found


def enums_in(files: list[FileDescriptorProto]) -> dict[str, EnumDescriptorProto]:
    found = {f"{file.package}.{enum.name}": enum for file in files for enum in file.enum_type}
    for scope, message in messages_in(files).items():
        found |= {f"{scope}.{enum.name}": enum for enum in message.enum_type}
    return found


def methods_in(files: Iterable[FileDescriptorProto]) -> dict[str, tuple[str, str, bool, bool]]:
    return {
        f"{file.package}.{service.name}/{method.name}": (
            method.input_type,
            method.output_type,
            method.client_streaming,
            method.server_streaming,
        )
        for file in files
        for service in file.service
        for method in service.method
    }


def layout(message: DescriptorProto) -> dict[str, Any]:
    """Everything about a message that shows on the wire or in a generated class."""
    return {
        "map_entry": message.options.map_entry,
        "oneofs": sorted(oneof.name for oneof in message.oneof_decl),
        "fields": {field.number: field_layout(message, field) for field in message.field},
    }


def field_layout(message: DescriptorProto, field: FieldDescriptorProto) -> dict[str, Any]:
    return {
        "name": field.name,
        "json_name": field.json_name,
        "type": FieldDescriptorProto.Type.Name(field.type),
        "type_name": field.type_name,
        "label": FieldDescriptorProto.Label.Name(field.label),
        "presence": field.proto3_optional,
        "oneof": message.oneof_decl[field.oneof_index].name
        if field.HasField("oneof_index")
        else None,
        "packed": field.options.packed if field.options.HasField("packed") else None,
        "default": field.default_value if field.HasField("default_value") else None,
    }
