# SPDX-License-Identifier: Apache-2.0
"""The messages of gcs_cffi once more, out of a descriptor pool of their own, as Ray's would be."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from descriptors import all_bundled_files
from google.protobuf import message_factory
from google.protobuf.descriptor_pool import DescriptorPool

if TYPE_CHECKING:
    from google.protobuf.message import Message


@lru_cache(maxsize=1)
def _pool() -> DescriptorPool:
    pool = DescriptorPool()
    for file in all_bundled_files():
        pool.AddSerializedFile(file.SerializeToString())
    return pool


def foreign(message: Message) -> Message:
    """The same message, of the same full name, that is of no class of `gcs_cffi.messages`."""
    layout = _pool().FindMessageTypeByName(message.DESCRIPTOR.full_name)
    made: Message = message_factory.GetMessageClass(layout)()
    made.MergeFromString(message.SerializeToString())
    assert not isinstance(made, type(message))
    return made
