# SPDX-License-Identifier: Apache-2.0
"""What is known about one server: its release of Ray, and how it lays out its messages.

Requests are written, and replies are read, as that server means them; who calls always has the
messages of `gcs_cffi.messages`.

Invariants:
- A server of the release that the bundled schema describes is never asked for its layout.
- What was learned about a server is never changed, only added to; a client that finds another
  release behind its address starts anew.
- Methods of one object may run in several threads: what they add is the same whoever adds it.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

from gcs_cffi import _methods, _release, _status, messages
from gcs_cffi._layout import Translator
from gcs_cffi._reflected import reflected_class
from gcs_cffi.errors import from_status

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
    from google.protobuf.message import Message

    from gcs_cffi._release import KnownMethod, Release
    from gcs_cffi.errors import GcsError


_BUNDLED: Final = frozenset(method.service for method in _release.METHODS.values())


class Server:
    """A server of one release."""

    def __init__(self, release: Release) -> None:
        """Knows the release alone."""
        self.release = release
        self._lock = threading.Lock()
        self._pool = descriptor_pool.DescriptorPool()
        self._files: dict[str, bytes] = {}
        self._types: dict[tuple[str, str], tuple[type[Message], type[Message]]] = {}
        self._translator = Translator()

    def needs_layout_of(self, service: str) -> bool:
        """Whether its files are to be got, and given to `add_files`, before its methods."""
        if self.release.pair == _release.SCHEMA_RELEASE and service in _BUNDLED:
            return False
        return self._service(service) is None

    def add_files(self, files: list[bytes]) -> None:
        """Adds serialized FileDescriptorProtos, together with all that they import.

        Raises:
            ValueError: they make no sense.
        """
        try:
            self._add_files(files)
        except Exception as error:  # noqa: BLE001 (protobuf and recursion: what a peer made of it)
            raise ValueError(f"its files make no sense: {error!r}") from None

    def _add_files(self, files: list[bytes]) -> None:
        parsed = {file.name: file for file in map(FileDescriptorProto.FromString, files)}

        def add(name: str) -> None:
            file = parsed.get(name)
            if file is None or name in self._files:
                return
            for needed in file.dependency:
                add(needed)
            serialized = file.SerializeToString()
            self._pool.AddSerializedFile(serialized)
            self._files[name] = serialized

        with self._lock:
            for name in parsed:
                add(name)

    def types_of(self, service: str, method: str) -> tuple[type[Message], type[Message]] | None:
        """Classes of the server's own messages, for a method that the bundled schema lacks."""
        known = self._types.get((service, method))
        if known is not None:
            return known
        found = self._method(service, method)
        if found is None:
            return None
        files = FileDescriptorSet()
        with self._lock:
            files.file.extend(map(FileDescriptorProto.FromString, self._files.values()))
        serialized = files.SerializeToString()
        request, reply = found.input_type.full_name, found.output_type.full_name
        types = reflected_class(serialized, request), reflected_class(serialized, reply)
        self._types[service, method] = types
        return types

    def encode(self, method: KnownMethod, request: Message, address: str) -> bytes:
        """A request, as this server reads it.

        Raises:
            UnsupportedByServerError: it says something that this server has no place for.
        """
        theirs = self._layout(method)
        if theirs is None:
            return request.SerializeToString()

        def missing(field: FieldDescriptor) -> None:
            message: Any = field.containing_type
            name = f"{message.name}.{field.name}"
            what = f"{method.path[1:]}: the request's {name}, or its value, is not known there"
            raise _release.unsupported(what, self.release, method.path, address)

        translated: Message = message_factory.GetMessageClass(theirs[0])()
        # Layouts that are interchangeable need it too: something may have no place there.
        self._translator.translate(request, translated, missing)
        return translated.SerializeToString()

    def decode(self, method: KnownMethod, reply: bytes, address: str) -> Message:
        """A reply of this server.

        Raises:
            GcsError: these bytes are no such message.
        """
        ours = messages.message_class(method.reply)
        theirs = self._layout(method)
        if theirs is None or self._agree(theirs[1], ours, method, address):
            return _methods.parse(ours, reply, method.path, address)
        return self._translated(theirs[1], ours, reply, method, address)

    def reader(self, name: str, method: KnownMethod, address: str) -> Callable[[bytes], Message]:
        """What reads messages of one name that the method's replies carry, as bytes.

        It raises an error of protobuf's, or a GcsError, for bytes that are no such message.
        """
        ours = messages.message_class(name)
        theirs: Any = None
        if self.release.pair != _release.SCHEMA_RELEASE:
            with suppress(KeyError):
                theirs = self._pool.FindMessageTypeByName(name)
        if theirs is None or self._agree(theirs, ours, method, address):
            return ours.FromString
        return lambda body: self._translated(theirs, ours, body, method, address)

    def _translated(
        self, theirs: Any, ours: type[Message], body: bytes, method: KnownMethod, address: str
    ) -> Message:
        own_class = message_factory.GetMessageClass(theirs)
        source: Message = _methods.parse(own_class, body, method.path, address)
        target = ours()
        try:
            self._translator.translate(source, target)
        except Exception as error:  # noqa: BLE001 (the peer's layout can be anything)
            raise self._strange(error, method, address) from None
        return target

    def _agree(self, theirs: Any, ours: type[Message], method: KnownMethod, address: str) -> bool:
        layout: Any = ours.DESCRIPTOR
        try:
            return self._translator.is_interchangeable(theirs, layout)
        except Exception as error:  # noqa: BLE001 (likewise)
            raise self._strange(error, method, address) from None

    @staticmethod
    def _strange(error: Exception, method: KnownMethod, address: str) -> GcsError:
        return from_status(
            _status.INTERNAL,
            _status.FLAG_LOCAL | _status.FLAG_MAYBE_EXECUTED,
            f"the server lays out {method.reply} as no Ray does: {error!r}",
            method.path,
            address,
        )

    def _layout(self, method: KnownMethod) -> tuple[Descriptor, Descriptor] | None:
        """What the server says about a method's messages; None: as the bundled schema."""
        if self.release.pair == _release.SCHEMA_RELEASE:
            return None
        found = self._method(method.service, method.path.rpartition("/")[2])
        return None if found is None else (found.input_type, found.output_type)

    def _method(self, service: str, method: str) -> MethodDescriptor | None:
        found = self._service(service)
        return None if found is None else found.methods_by_name.get(method)

    def _service(self, name: str) -> Any:
        try:
            return self._pool.FindServiceByName(name)
        except KeyError:
            return None
