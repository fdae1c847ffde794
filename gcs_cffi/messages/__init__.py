# SPDX-License-Identifier: Apache-2.0
"""The GCS's protobuf messages, in the layout of Ray 2.60.

The attributes of this module are the message classes and enums of the package `ray.rpc`, by their
short names: `messages.GcsNodeInfo`, `messages.GcsNodeInfo.DEAD`. Those of `ray.rpc.autoscaler` are
in `messages.autoscaler`, those of `ray.rpc.events` in `messages.events`. They are ordinary protobuf
classes, can be pickled and copied, and are turned into JSON and back by
`google.protobuf.json_format`.

Invariants:
- Importing this module imports no protobuf. The first use of an attribute does, and builds all
  classes.
- They are not the classes of an installed `ray`. To turn one into the other, go through bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcs_cffi import _lazy_messages
from gcs_cffi.messages import autoscaler, events

if TYPE_CHECKING:
    from google.protobuf.message import Message

_SHOWN = {"autoscaler": autoscaler, "events": events}


def message_class(full_name: str) -> type[Message]:
    """Finds the class of a message.

    Args:
        full_name: package and name, for example `"ray.rpc.GcsNodeInfo"`.

    Raises:
        LookupError: the bundled schema has no such message.
    """
    return _lazy_messages.schema().message_class(full_name)


def method_types(service: str, method: str) -> tuple[type[Message], type[Message]] | None:
    """Finds the request and the reply class of a method.

    Args:
        service: the service's full name, or its last part: `"ray.rpc.NodeInfoGcsService"` and
            `"NodeInfoGcsService"` are the same.
        method: the method's name, for example `"GetAllNodeInfo"`.

    Returns:
        The two classes, or None when the bundled schema has no such method.
    """
    return _lazy_messages.schema().method_types(service, method)


def __getattr__(name: str) -> object:
    return _lazy_messages.attribute(__name__, name)


def __dir__() -> list[str]:
    return sorted({"message_class", "method_types", *_SHOWN, *_lazy_messages.names(__name__)})
