# SPDX-License-Identifier: Apache-2.0
"""Server reflection: what a server itself says about the messages of its services.

Every GCS answers `grpc.reflection.v1alpha`, as a unary call too, without a token.

Invariant: pure functions over bytes; nothing is registered in protobuf's default pool.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

if TYPE_CHECKING:
    from google.protobuf.message import Message

PATH: Final = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
NOT_FOUND: Final = 5
"""The error code for a name that the server does not have."""

_Field = descriptor_pb2.FieldDescriptorProto
_PACKAGE: Final = "gcs_cffi.reflection"
# The part of the protocol that is used here: message, then name, number, type, message type.
_LAYOUT: Final = {
    "Request": (("file_containing_symbol", 4, _Field.TYPE_STRING, ""),),
    "Files": (("file_descriptor_proto", 1, _Field.TYPE_BYTES, ""),),
    "Failure": (
        ("error_code", 1, _Field.TYPE_INT32, ""),
        ("error_message", 2, _Field.TYPE_STRING, ""),
    ),
    "Response": (
        ("file_descriptor_response", 4, _Field.TYPE_MESSAGE, "Files"),
        ("error_response", 7, _Field.TYPE_MESSAGE, "Failure"),
    ),
}


def _make_classes() -> dict[str, type[Message]]:
    file = descriptor_pb2.FileDescriptorProto(
        name="gcs_cffi/reflection.proto", package=_PACKAGE, syntax="proto3"
    )
    for name, fields in _LAYOUT.items():
        message = file.message_type.add(name=name)
        for field, number, kind, type_name in fields:
            repeated = name == "Files"
            message.field.add(
                name=field,
                number=number,
                type=kind,
                label=_Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL,
                type_name=f".{_PACKAGE}.{type_name}" if type_name else None,
            )
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))
        for name in _LAYOUT
    }


_CLASSES: Final = _make_classes()


def request(symbol: str) -> bytes:
    """The request for the file that declares a name, and all that this file imports.

    Args:
        symbol: the full name of a service or a message.
    """
    message = _CLASSES["Request"](file_containing_symbol=symbol)
    return message.SerializeToString()


def files_in(response: bytes) -> list[bytes]:
    """The serialized FileDescriptorProtos of an answer, each once.

    Raises:
        LookupError: the server does not have the name.
        ValueError: the server refused for another reason, or these bytes are no answer.
    """
    answer: Any = _CLASSES["Response"]()
    try:
        answer.ParseFromString(response)
    except Exception as error:  # noqa: BLE001 (DecodeError has another base in each implementation)
        raise ValueError(f"its answer of {len(response)} bytes cannot be read: {error}") from None
    if answer.HasField("error_response"):
        failure = answer.error_response
        kind = LookupError if failure.error_code == NOT_FOUND else ValueError
        raise kind(f"error {failure.error_code}: {failure.error_message}")
    files = list(dict.fromkeys(answer.file_descriptor_response.file_descriptor_proto))
    if not files:
        raise ValueError("its answer holds no file")
    return files
