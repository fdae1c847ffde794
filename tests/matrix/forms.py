# SPDX-License-Identifier: Apache-2.0
"""The two forms of the client under one face, and the list of their public methods.

Invariant: whatever the asynchronous client has to be awaited for, and nothing else, is awaited of
    the blocking one too, which runs it on another thread meanwhile.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal, cast

import gcs_cffi

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from typing_extensions import Self

    from gcs_cffi import GcsClient

Form = Literal["async", "blocking"]
FORMS: tuple[Form, ...] = ("async", "blocking")

_ENTERED = frozenset({"subscribe", "watch"})
"""Methods that give something to be entered, and are not awaited themselves."""
_BLOCKING = "gcs_cffi._sync"
_ASYNC = "gcs_cffi"


class Awaited:
    """A blocking client, or an accessor of one, whose methods are awaited."""

    def __init__(self, blocking: object) -> None:
        """Args: blocking: the client or accessor."""
        self._blocking = blocking

    def __getattr__(self, name: str) -> Any:
        """An accessor, or a method as a coroutine function; anything else as it is."""
        value = getattr(self._blocking, name)
        if _is_accessor(value):
            return Awaited(value)
        if name in _ENTERED:
            return lambda *args, **kwargs: Entered(value(*args, **kwargs))
        if not inspect.iscoroutinefunction(getattr(_counterpart(type(self._blocking)), name, None)):
            return value

        async def call(*args: Any, **kwargs: Any) -> Any:
            return await asyncio.to_thread(value, *args, **kwargs)

        return call


class Entered(Awaited):
    """Something of a blocking client that is entered and iterated, as if it were asynchronous."""

    def __init__(self, blocking: Any) -> None:
        """Args: blocking: what is to be entered."""
        super().__init__(blocking)
        self._entered = blocking

    async def __aenter__(self) -> Self:
        """Enters it."""
        await asyncio.to_thread(self._entered.__enter__)
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Leaves it."""
        await asyncio.to_thread(self._entered.__exit__, *exc)

    def __aiter__(self) -> Self:
        """Itself."""
        return self

    async def __anext__(self) -> Any:
        """The next."""
        end = object()
        item = await asyncio.to_thread(next, self._entered, end)
        if item is end:
            raise StopAsyncIteration
        return item


@asynccontextmanager
async def connected(form: Form, address: str, **options: Any) -> AsyncIterator[GcsClient]:
    """A client in one of the forms, which is closed in the end; options as of `connect()`."""
    if form == "async":
        async with gcs_cffi.connect(address, **options) as client:
            yield client
    else:
        blocking = await asyncio.to_thread(gcs_cffi.sync.connect, address, **options)
        with blocking:
            yield cast("GcsClient", Awaited(blocking))


def public_methods(client: GcsClient) -> list[str]:
    """The methods of a client and of its accessors that are awaited or entered: "kv.get", ..."""
    found = _coroutine_methods(client)
    for name in _public_names(client):
        value = getattr(client, name)
        if _is_accessor(value):
            found += [f"{name}.{method}" for method in _coroutine_methods(value)]
    return found


def _public_names(thing: object) -> list[str]:
    return [name for name in dir(thing) if not name.startswith("_")]


def _coroutine_methods(thing: object) -> list[str]:
    return [
        name
        for name in _public_names(thing)
        if name in _ENTERED or inspect.iscoroutinefunction(_of(thing, name))
    ]


def _of(thing: object, name: str) -> object:
    return getattr(type(thing), name, None)


def _is_accessor(value: object) -> bool:
    kind = type(value)
    if kind.__module__.split(".")[0] != _ASYNC or inspect.isroutine(value):
        return False
    return any(
        inspect.iscoroutinefunction(getattr(_counterpart(kind), name))
        for name in dir(_counterpart(kind))
        if not name.startswith("_")
    )


def _counterpart(kind: type) -> type:
    """The asynchronous class that a blocking one was made from; another class itself."""
    module = kind.__module__
    if module != _BLOCKING and not module.startswith(f"{_BLOCKING}."):
        return kind
    source = importlib.import_module(_ASYNC + module[len(_BLOCKING) :])
    return cast("type", getattr(source, kind.__name__))
