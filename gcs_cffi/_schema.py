# SPDX-License-Identifier: Apache-2.0
"""Message classes over a descriptor pool of their own.

Invariants:
- Nothing here touches protobuf's default pool: `ray` registers the same full names there, with its
  own version of the same messages, and either may be loaded first.
- Every class is held for as long as the schema lives. protobuf itself keeps them weakly, and would
  make another class, without our module name, for a descriptor whose class was dropped.
- A class says the module and the qualified name under which it can be fetched, and pickle goes by
  that. (protobuf itself would look a nested class up in its default pool, and find none, or Ray's.)
- A schema does not change after it is made: it needs no lock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf.descriptor import Descriptor, FileDescriptor
    from google.protobuf.message import Message


class Schema:
    """The messages, enums and methods of a serialized FileDescriptorSet."""

    def __init__(self, descriptor_set: bytes, modules: Mapping[str, str]) -> None:
        """Builds every class.

        Args:
            descriptor_set: a serialized `google.protobuf.FileDescriptorSet`, imports first.
            modules: for each protobuf package in it, the importable name of the module that shows
                its names.
        """
        self._pool = descriptor_pool.DescriptorPool()
        self._classes: dict[str, type[Message]] = {}
        self._methods: dict[tuple[str, str], tuple[type[Message], type[Message]]] = {}
        self.names: dict[str, dict[str, object]] = {module: {} for module in modules.values()}
        files = descriptor_pb2.FileDescriptorSet.FromString(descriptor_set).file
        for file in files:
            self._pool.AddSerializedFile(file.SerializeToString())
        for file in files:
            self._add_types(self._pool.FindFileByName(file.name), modules[file.package])
        for file in files:
            self._add_methods(self._pool.FindFileByName(file.name))

    def message_class(self, full_name: str) -> type[Message]:
        """The class of a message by its full name; LookupError for a name not in the schema."""
        try:
            return self._classes[full_name]
        except KeyError:
            raise LookupError(
                f"no message {full_name!r} in the bundled schema; full names start with the "
                "package, for example 'ray.rpc.GcsStatus'"
            ) from None

    def method_types(self, service: str, method: str) -> tuple[type[Message], type[Message]] | None:
        """Request and reply class of a method, or None for one that is not in the schema."""
        return self._methods.get((service, method))

    def _add_types(self, file: FileDescriptor, module: str) -> None:
        shown = self.names[module]
        for name, message in file.message_types_by_name.items():
            shown[name] = self._add_message(message, module, name)
        for name, enum in file.enum_types_by_name.items():
            shown[name] = EnumTypeWrapper(enum)
            shown.update((value.name, value.number) for value in enum.values)

    def _add_message(self, message: Descriptor, module: str, qualified_name: str) -> type[Message]:
        cls: type[Message] = message_factory.GetMessageClass(message)
        cls.__module__ = module
        cls.__qualname__ = qualified_name
        cls.__reduce__ = _reduce  # type: ignore[method-assign,assignment]
        self._classes[message.full_name] = cls
        for nested in message.nested_types:
            # protobuf's implementation in pure Python does not do this by itself.
            name = f"{qualified_name}.{nested.name}"
            setattr(cls, nested.name, self._add_message(nested, module, name))
        return cls

    def _add_methods(self, file: FileDescriptor) -> None:
        for service in file.services_by_name.values():
            for method in service.methods:
                types = (
                    self._classes[method.input_type.full_name],
                    self._classes[method.output_type.full_name],
                )
                self._methods[service.full_name, method.name] = types
                self._methods[service.name, method.name] = types


def _reduce(message: Message) -> tuple[type[Message], tuple[()], dict[str, bytes]]:
    # The state is what protobuf's own __setstate__ takes.
    return type(message), (), {"serialized": message.SerializePartialToString()}
