# SPDX-License-Identifier: Apache-2.0
"""Classes of messages that the bundled schema lacks, made from what a server says about them.

Invariants:
- Such a message carries its own layout when it is pickled, so that another process, which has never
  spoken to that server, can read it.
- The same layout makes the same classes, once per process.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor_pb2 import FileDescriptorSet

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message


@lru_cache(maxsize=256)
def reflected_class(descriptor_set: bytes, full_name: str) -> type[Message]:
    """The class of a message.

    Args:
        descriptor_set: a serialized FileDescriptorSet that has it, imports first.
        full_name: the message's package and name.
    """
    cls: type[Message] = message_factory.GetMessageClass(
        _pool_of(descriptor_set).FindMessageTypeByName(full_name)
    )

    def reduce(
        message: Message,
    ) -> tuple[Callable[[bytes, str, bytes], Message], tuple[bytes, str, bytes]]:
        return restore, (descriptor_set, full_name, message.SerializePartialToString())

    cls.__reduce__ = reduce  # type: ignore[method-assign,assignment]
    return cls


def restore(descriptor_set: bytes, full_name: str, serialized: bytes) -> Message:
    """What unpickling calls."""
    return reflected_class(descriptor_set, full_name).FromString(serialized)


@lru_cache(maxsize=16)
def _pool_of(descriptor_set: bytes) -> descriptor_pool.DescriptorPool:
    pool = descriptor_pool.DescriptorPool()
    for file in FileDescriptorSet.FromString(descriptor_set).file:
        pool.AddSerializedFile(file.SerializeToString())
    return pool
