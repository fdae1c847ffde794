# SPDX-License-Identifier: Apache-2.0
"""Checks of what callers pass, each a plain function that gives what the library takes.

Invariant: TypeError for what is of a wrong type, ValueError for what is of the right type and
    cannot be; both before anything is sent.
"""

from __future__ import annotations

import math
import numbers
import operator
from collections.abc import Mapping
from time import monotonic_ns
from typing import TYPE_CHECKING, Final, overload

from gcs_cffi import _native
from gcs_cffi._method_table import ROWS

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TypeVar

    from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper
    from typing_extensions import Buffer

    ItemT = TypeVar("ItemT")
    KeyT = TypeVar("KeyT", bound="bytes | str")

_LONGEST: Final = (1 << 63) - 1
_MOST: Final = (1 << 31) - 1
# Ray counts in units of 1/10000, in 64 bits.
_MOST_RESOURCES: Final = _LONGEST // 10_000

_SERVICES: Final = {
    name.rpartition(".")[2]: name
    for name in (row[1][1:].partition("/")[0] for row in ROWS)
    if name.startswith("ray.rpc.")
}


def key_bytes(value: bytes | str, what: str = "key") -> bytes:
    """A key, prefix or namespace as bytes; a str is taken as UTF-8."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    raise TypeError(f"a {what} is bytes or str, not {type(value).__name__}")


def key_list(keys: Iterable[KeyT]) -> dict[KeyT, bytes]:
    """Several keys, each as given and as bytes."""
    if isinstance(keys, (bytes, str)):
        raise TypeError(f"keys are several keys, not one {type(keys).__name__}: use get() for one")
    return {key: key_bytes(key) for key in keys}


def value_bytes(value: Buffer) -> bytes:
    """A value as bytes. What can change is copied, so that the call sends what was passed."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        raise TypeError("a value is bytes-like, not str: encode it")
    try:
        return memoryview(value).tobytes()
    except TypeError:
        raise TypeError(f"a value is bytes-like, not {type(value).__name__}") from None


def boolean(value: bool, what: str) -> bool:
    """A truth value; anything else is more likely a mistake than meant."""
    if isinstance(value, bool):
        return value
    raise TypeError(f"{what} is True or False, not {type(value).__name__}")


def text(value: str, what: str) -> str:
    """A text."""
    if isinstance(value, str):
        return value
    raise TypeError(f"{what} is a str, not {type(value).__name__}")


def integer(value: int, what: str, low: int, high: int) -> int:
    """An integer within bounds, both included."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{what} is an int, not {type(value).__name__}")
    number = operator.index(value)
    if not low <= number <= high:
        raise ValueError(f"{what} is between {low} and {high}, not {number}")
    return number


@overload
def count(value: int, what: str) -> int: ...
@overload
def count(value: int | None, what: str) -> int | None: ...
def count(value: int | None, what: str) -> int | None:
    """How many; None for no bound."""
    return None if value is None else integer(value, what, 0, _MOST)


def enum_number(enum: EnumTypeWrapper, value: int | str, what: str) -> int:
    """A value of an enum, by its number or its name."""
    names = enum.keys()
    if isinstance(value, str):
        if value.upper() in names:
            return enum.Value(value.upper())
    elif isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{what} is an int or a str, not {type(value).__name__}")
    elif operator.index(value) in enum.values():
        return operator.index(value)
    raise ValueError(f"{what} is one of {', '.join(names)}, and not {value!r}")


def several(values: Iterable[ItemT], what: str) -> Iterable[ItemT]:
    """Several values: one text or one id is more likely a mistake than meant as its characters."""
    passed: object = values
    if isinstance(passed, (bytes, str)):
        raise TypeError(f"{what} are several, not one {type(passed).__name__}")
    return values


def amounts(value: Mapping[str, float], what: str) -> dict[str, float]:
    """Amounts of resources by their names."""
    if not isinstance(value, Mapping):
        raise TypeError(f"{what} is a mapping of names to amounts, not {type(value).__name__}")
    for name, amount in value.items():
        if not text(name, f"the name of a resource in {what}"):
            raise ValueError(f"a resource in {what} has no name")
        if isinstance(amount, bool) or not isinstance(amount, (float, int, numbers.Real)):
            kind = type(amount).__name__
            raise TypeError(f"the amount of {name!r} in {what} is a number, not {kind}")
        if not 0 <= amount <= _MOST_RESOURCES:
            raise ValueError(
                f"the amount of {name!r} in {what} is between 0 and {_MOST_RESOURCES}, not {amount}"
            )
    return {name: float(amount) for name, amount in value.items()}


def nanoseconds(timeout: float | None, what: str = "timeout") -> int:
    """A timeout, in seconds, as the library takes it: None for the default, `math.inf` for none."""
    if timeout is None:
        return _native.TIMEOUT_DEFAULT
    if isinstance(timeout, bool) or not isinstance(timeout, (float, int, numbers.Real)):
        raise TypeError(f"{what} is a number of seconds, not {type(timeout).__name__}")
    if not timeout >= 0:  # NaN too
        raise ValueError(f"{what} is a number of seconds from 0 on, not {timeout}")
    if timeout > _LONGEST / 1e9:
        return _native.TIMEOUT_NONE
    return min(math.ceil(timeout * 1_000_000_000), _LONGEST)


class Deadline:
    """When a call, or several that make up one, must have ended."""

    __slots__ = ("_end",)

    def __init__(self, timeout: float | None, default: int) -> None:
        """Begins now.

        Args:
            timeout: in seconds; None for the default, `math.inf` for none.
            default: in nanoseconds, as the library takes it.
        """
        wanted = nanoseconds(timeout)
        wanted = default if wanted == _native.TIMEOUT_DEFAULT else wanted
        self._end = None if wanted == _native.TIMEOUT_NONE else monotonic_ns() + wanted

    @classmethod
    def of(cls, timeout: float | Deadline | None, default: int) -> Deadline:
        """The deadline itself, or a new one."""
        return timeout if isinstance(timeout, Deadline) else cls(timeout, default)

    def left(self) -> int:
        """What is left, in nanoseconds, as the library takes it."""
        return _native.TIMEOUT_NONE if self._end is None else max(0, self._end - monotonic_ns())

    def left_seconds(self) -> float | None:
        """What is left; None for no bound."""
        return None if self._end is None else self.left() / 1e9


def method_path(service: str, method: str) -> str:
    """The path of a method: "NodeInfoGcsService" and its full name are the same."""
    for what, name in (("service", service), ("method", method)):
        if not isinstance(name, str):
            raise TypeError(f"a {what} is a str, not {type(name).__name__}")
        if not name.isascii() or not name.replace(".", "_").isidentifier():
            raise ValueError(f"{name!r} cannot be the name of a {what}")
    if "." in method:
        raise ValueError(f"{method!r} cannot be the name of a method: the service goes before it")
    full_name = service if "." in service else _SERVICES.get(service)
    if full_name is None:
        known = ", ".join(sorted(_SERVICES))
        raise ValueError(
            f"no service is known by the short name {service!r}: give its full name, such as "
            f"'ray.rpc.{service}'; short names are {known}"
        )
    return f"/{full_name}/{method}"
