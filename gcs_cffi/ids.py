# SPDX-License-Identifier: Apache-2.0
"""The ids of a Ray cluster.

Every id is a `bytes` of one exact length, so that it goes into a request as it is, and compares and
hashes like the bytes that replies carry: a dict keyed by `NodeID` can be asked with raw bytes too.

Invariant: no object of these classes has another length than its class's SIZE. (A GCS that is sent
an id of the wrong length ends its process.)
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, ClassVar, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

__all__ = [
    "ActorID",
    "AnyID",
    "BaseID",
    "ClusterID",
    "JobID",
    "NodeID",
    "ObjectID",
    "PlacementGroupID",
    "SupportsBinary",
    "TaskID",
    "WorkerID",
]


class SupportsBinary(Protocol):
    """An id of another package, such as Ray's own."""

    def binary(self) -> bytes:
        """The id's bytes."""


AnyID: TypeAlias = bytes | SupportsBinary
"""What methods take for an id: its bytes, an id of this module, or one of Ray's."""


def _binary_of(value: object) -> bytes | None:
    """What an id of another package holds; None for anything that is not one."""
    binary = None if isinstance(value, type) else getattr(value, "binary", None)
    raw = binary() if callable(binary) else None
    return raw if isinstance(raw, bytes) else None


class BaseID(bytes):
    """What the ids have in common. Use one of its subclasses."""

    __slots__ = ()

    SIZE: ClassVar[int]
    """How many bytes an id of this kind has."""

    def __new__(cls, value: bytes | bytearray | memoryview | SupportsBinary) -> Self:
        """Checks the value and makes the id.

        Args:
            value: the id's bytes, an id of the same kind, or any object whose `binary()` gives the
                bytes (Ray's own ids do).

        Raises:
            ValueError: the length is not the one of this kind of id.
            TypeError: `value` is something else, or an id of another kind.
        """
        if cls is BaseID:
            raise TypeError("BaseID stands for every kind of id: use one of its subclasses")
        if isinstance(value, BaseID) and not isinstance(value, cls):
            raise TypeError(f"{type(value).__name__} is not {cls.__name__}")
        raw = value if isinstance(value, (bytes, bytearray, memoryview)) else _binary_of(value)
        if raw is None:
            hint = "; use from_hex()" if isinstance(value, str) else ""
            raise TypeError(
                f"{cls.__name__} takes {cls.SIZE} bytes or an id, not {type(value).__name__}{hint}"
            )
        raw = bytes(raw)
        if len(raw) != cls.SIZE:
            raise ValueError(f"{cls.__name__} has {cls.SIZE} bytes, not {len(raw)}")
        return super().__new__(cls, raw)

    @classmethod
    def from_hex(cls, text: str) -> Self:
        """Makes an id of its hexadecimal form, in either case.

        Raises:
            ValueError: not exactly two hexadecimal digits for each byte of the id.
        """
        digits = cls.SIZE * 2
        # bytes.fromhex() lets spaces through, which no id has.
        if len(text) == digits and not any(character.isspace() for character in text):
            try:
                return cls(bytes.fromhex(text))
            except ValueError:
                pass
        raise ValueError(f"{cls.__name__} has {digits} hexadecimal digits; got {text!r}")

    @classmethod
    def nil(cls) -> Self:
        """The id that stands for none: every bit set."""
        return cls(b"\xff" * cls.SIZE)

    @property
    def is_nil(self) -> bool:
        """Whether this is the id that stands for none."""
        return self == b"\xff" * self.SIZE

    def binary(self) -> bytes:
        """The id as plain bytes, under the name that Ray's own ids have for it."""
        return bytes(self)

    def __repr__(self) -> str:
        """The expression that makes this id."""
        return f"{type(self).__name__}.from_hex({self.hex()!r})"

    def __str__(self) -> str:
        """The hexadecimal form, as Ray prints ids."""
        return self.hex()

    def __reduce__(self) -> tuple[Callable[[bytes], Self], tuple[bytes]]:
        """Pickles as the class and the plain bytes, in every protocol."""
        return type(self), (bytes(self),)


class JobID(BaseID):
    """A job (4 bytes): a number that counts up from 1, in little-endian order."""

    __slots__ = ()
    SIZE = 4

    @classmethod
    def from_int(cls, number: int) -> Self:
        """Makes a job id of its number.

        Raises:
            ValueError: the number is negative or has more than 32 bits.
            TypeError: it is no integer.
        """
        number = operator.index(number)
        if not 0 <= number < 1 << 32:
            raise ValueError(f"a job's number lies between 0 and {(1 << 32) - 1}, not {number}")
        return cls(number.to_bytes(cls.SIZE, "little"))

    def to_int(self) -> int:
        """The job's number."""
        return int.from_bytes(self, "little")

    def __int__(self) -> int:
        """The job's number."""
        return self.to_int()


class NodeID(BaseID):
    """A node (28 bytes)."""

    __slots__ = ()
    SIZE = 28


class WorkerID(BaseID):
    """A worker process (28 bytes)."""

    __slots__ = ()
    SIZE = 28


class ClusterID(BaseID):
    """A cluster (28 bytes): the identity of one GCS and its state."""

    __slots__ = ()
    SIZE = 28


class ActorID(BaseID):
    """An actor (16 bytes): 12 of its own, then the job's 4."""

    __slots__ = ()
    SIZE = 16

    @property
    def job_id(self) -> JobID:
        """The job that the actor belongs to."""
        return JobID(self[-JobID.SIZE :])


class PlacementGroupID(BaseID):
    """A placement group (18 bytes): 14 of its own, then the job's 4."""

    __slots__ = ()
    SIZE = 18

    @property
    def job_id(self) -> JobID:
        """The job that the placement group belongs to."""
        return JobID(self[-JobID.SIZE :])


class TaskID(BaseID):
    """A task (24 bytes): 8 of its own, then the actor's 16."""

    __slots__ = ()
    SIZE = 24

    @property
    def actor_id(self) -> ActorID:
        """The actor that runs the task; if there is none, its own 12 bytes have every bit set."""
        return ActorID(self[-ActorID.SIZE :])

    @property
    def job_id(self) -> JobID:
        """The job that the task belongs to."""
        return self.actor_id.job_id


class ObjectID(BaseID):
    """An object (28 bytes): the task's 24, then the object's number, in little-endian order."""

    __slots__ = ()
    SIZE = 28

    @property
    def task_id(self) -> TaskID:
        """The task that made the object."""
        return TaskID(self[: TaskID.SIZE])
