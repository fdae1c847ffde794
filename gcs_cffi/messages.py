# SPDX-License-Identifier: Apache-2.0
"""The GCS's protobuf messages, in the layout of Ray 2.60.

The attributes of this module are the message classes and enums of the package `ray.rpc`, by their
short names: `messages.GcsNodeInfo`, `messages.GcsNodeInfo.DEAD`. They are ordinary protobuf
classes, and can be pickled and copied.

Invariants:
- Importing this module imports no protobuf. The first use of an attribute does, and builds all
  classes.
- They are not the classes of an installed `ray`. To turn one into the other, go through bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from gcs_cffi._schema import Schema


def message_class(full_name: str) -> type[Message]:
    """Finds the class of a message.

    Args:
        full_name: package and name, for example `"ray.rpc.GcsNodeInfo"`.

    Raises:
        LookupError: the bundled schema has no such message.
    """
    return _schema().message_class(full_name)


def method_types(service: str, method: str) -> tuple[type[Message], type[Message]] | None:
    """Finds the request and the reply class of a method.

    Args:
        service: the service's full name, or the short one of a service in `ray.rpc`:
            `"ray.rpc.NodeInfoGcsService"` and `"NodeInfoGcsService"` are the same.
        method: the method's name, for example `"GetAllNodeInfo"`.

    Returns:
        The two classes, or None when the bundled schema has no such method.
    """
    return _schema().method_types(service, method)


def _schema() -> Schema:
    from gcs_cffi._bundled_schema import SCHEMA

    return SCHEMA


def __getattr__(name: str) -> object:
    if name == "__all__":
        return __dir__()
    # Tools ask every module for names such as __path__: that must not cost an import of protobuf.
    if not name.startswith("__"):
        names = _schema().names
        if name in names:
            value = globals()[name] = names[name]
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({"message_class", "method_types", *_schema().names})
