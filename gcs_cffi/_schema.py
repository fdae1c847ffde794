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
    from google.protobuf.descriptor import Descriptor, FileDescriptor
    from google.protobuf.message import Message


class Schema:
    """The messages, enums and methods of a serialized FileDescriptorSet."""

    def __init__(self, descriptor_set: bytes, *, package: str, module: str) -> None:
        """Builds every class.

        Args:
            descriptor_set: a serialized `google.protobuf.FileDescriptorSet`, imports first.
            package: the protobuf package whose names become attributes of the module.
            module: the importable name of the module that shows them.
        """
        self._package = package
        self._module = module
        self._pool = descriptor_pool.DescriptorPool()
        self._classes: dict[str, type[Message]] = {}
        self._methods: dict[tuple[str, str], tuple[type[Message], type[Message]]] = {}
        self.names: dict[str, object] = {}
        files = descriptor_pb2.FileDescriptorSet.FromString(descriptor_set).file
        for file in files:
            self._pool.AddSerializedFile(file.SerializeToString())
        for file in files:
            self._add_types(self._pool.FindFileByName(file.name))
        for file in files:
            self._add_methods(self._pool.FindFileByName(file.name))

    def message_class(self, full_name: str) -> type[Message]:
        """The class of a message by its full name; LookupError for a name not in the schema."""
        try:
            return self._classes[full_name]
        except KeyError:
            raise LookupError(
                f"no message {full_name!r} in the bundled schema; full names start with the "
                f"package, for example '{self._package}.GcsStatus'"
            ) from None

    def method_types(self, service: str, method: str) -> tuple[type[Message], type[Message]] | None:
        """Request and reply class of a method, or None for one that is not in the schema."""
        full_name = service if "." in service else f"{self._package}.{service}"
        return self._methods.get((full_name, method))

    def _add_types(self, file: FileDescriptor) -> None:
        shown = file.package == self._package
        for name, message in file.message_types_by_name.items():
            cls = self._add_message(message, name)
            if shown:
                self.names[name] = cls
        if shown:
            for name, enum in file.enum_types_by_name.items():
                self.names[name] = EnumTypeWrapper(enum)
                self.names.update((value.name, value.number) for value in enum.values)

    def _add_message(self, message: Descriptor, qualified_name: str) -> type[Message]:
        cls: type[Message] = message_factory.GetMessageClass(message)
        cls.__module__ = self._module
        cls.__qualname__ = qualified_name
        cls.__reduce__ = _reduce  # type: ignore[method-assign,assignment]
        self._classes[message.full_name] = cls
        for nested in message.nested_types:
            # protobuf's implementation in pure Python does not do this by itself.
            setattr(cls, nested.name, self._add_message(nested, f"{qualified_name}.{nested.name}"))
        return cls

    def _add_methods(self, file: FileDescriptor) -> None:
        for service in file.services_by_name.values():
            for method in service.methods:
                self._methods[service.full_name, method.name] = (
                    self._classes[method.input_type.full_name],
                    self._classes[method.output_type.full_name],
                )


def _reduce(message: Message) -> tuple[type[Message], tuple[()], dict[str, bytes]]:
    # The state is what protobuf's own __setstate__ takes.
    return type(message), (), {"serialized": message.SerializePartialToString()}
