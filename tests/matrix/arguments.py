# SPDX-License-Identifier: Apache-2.0
"""What tests pass to the client: ids and messages of other packages; and what must not be sent."""

from __future__ import annotations

from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import pytest
from descriptors import ray_files
from google.protobuf import message_factory

from gcs_cffi import messages
from matrix.layouts import pool_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from google.protobuf.descriptor_pool import DescriptorPool

    from gcs_cffi import GcsClient

Kind = Literal["dict", "message", "foreign"]
KINDS: tuple[Kind, ...] = ("dict", "message", "foreign")
"""How a message is passed: as its fields, as one of ours, as one of the release's own schema."""


class OtherID:
    """An id as other packages have it, Ray's own for example: no bytes, but with `binary()`."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw

    def binary(self) -> bytes:
        return self._raw

    @staticmethod
    def raw(value: bytes | OtherID) -> bytes:
        """The bytes of an id of any package."""
        return value if isinstance(value, bytes) else value.binary()


def made(kind: Kind, name: str, **fields: Any) -> Any:
    """A message with these fields in one of the forms that the client takes.

    Args:
        kind: the form.
        name: the message's full name.
        fields: with the names that the form has for them.
    """
    if kind == "dict":
        return fields
    return (messages.message_class(name) if kind == "message" else foreign_class(name))(**fields)


def foreign_class(name: str) -> Any:
    """A message as the release at hand has it, in a descriptor pool of its own."""
    return message_factory.GetMessageClass(_pool().FindMessageTypeByName(name))


@lru_cache(maxsize=1)
def _pool() -> DescriptorPool:
    return pool_of(ray_files())


@contextmanager
def refused_before_sending(
    gcs: GcsClient, error: type[Exception], match: str | None = None
) -> Iterator[None]:
    """Expects an error of the block, and that the client has made no call."""
    before = gcs.stats()["started"]
    with pytest.raises(error, match=match):
        yield
    assert gcs.stats()["started"] == before


WRONG_TYPES: tuple[Any, ...] = ("x" * 28, None, 7, object(), ["x"])
"""What is no id of any length."""


def wrong_lengths(size: int) -> tuple[Any, ...]:
    """Ids of other lengths, as bytes and as an object."""
    return (b"", b"x" * (size - 1), b"x" * (size + 1), OtherID(b"x" * (size - 1)))


async def check_ids(gcs: GcsClient, size: int, call: Callable[..., Any], *rest: Any) -> None:
    """Expects that a method refuses whatever is no id of so many bytes, and sends nothing.

    Args:
        gcs: the client.
        size: how many bytes an id has.
        call: takes the id.
        rest: what it takes behind the id.
    """
    for wrong in wrong_lengths(size):
        with refused_before_sending(gcs, ValueError, f"{size} bytes"):
            await call(wrong, *rest)
    for wrong in WRONG_TYPES:
        with refused_before_sending(gcs, TypeError):
            await call(wrong, *rest)


async def check_counts(gcs: GcsClient, call: Callable[[Any], Any]) -> None:
    """Expects that a method refuses what is no limit, and sends nothing."""
    for number in (-1, 1 << 31):
        with refused_before_sending(gcs, ValueError, "limit"):
            await call(number)
    for strange in ("1", 1.0, True):
        with refused_before_sending(gcs, TypeError, "limit"):
            await call(strange)


async def check_truth(gcs: GcsClient, call: Callable[[Any], Any]) -> None:
    """Expects that a method refuses what is neither True nor False, and sends nothing."""
    for wrong in (0, 1, "True", b""):
        with refused_before_sending(gcs, TypeError):
            await call(wrong)


async def check_timeouts(gcs: GcsClient, call: Callable[..., Any], *arguments: Any) -> None:
    """Expects that a method with these arguments refuses what is no timeout, and sends nothing."""
    for wrong in (-1, float("nan")):
        with refused_before_sending(gcs, ValueError, "timeout"):
            await call(*arguments, timeout=wrong)
    with refused_before_sending(gcs, TypeError, "timeout"):
        await call(*arguments, timeout="1")


async def check_messages(
    gcs: GcsClient, call: Callable[[Any], Any], other: Any, wrong_value: dict[str, Any]
) -> None:
    """Expects that a method refuses what is not its message, and sends nothing.

    Args:
        gcs: the client.
        call: the method.
        other: a message of another name.
        wrong_value: fields of which one has a value of another type.
    """
    wrongs: tuple[Any, ...] = (other, wrong_value, b"", "x", None, 7, [{}])
    for wrong in wrongs:
        with refused_before_sending(gcs, TypeError):
            await call(wrong)
    with refused_before_sending(gcs, ValueError, "no_such_field"):
        await call({"no_such_field": 1})


def node_field(kind: Kind, release: tuple[int, ...]) -> str:
    """What an Address calls its node's id in a form of message, on a release."""
    return "raylet_id" if kind == "foreign" and release < (2, 49) else "node_id"
