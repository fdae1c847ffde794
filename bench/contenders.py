# SPDX-License-Identifier: Apache-2.0
"""The clients that are compared, and the operations that each of them can do.

Invariants:
- Nothing is imported before `connect` but what the standard library has, so that the process that
  drives a run loads no client, and each worker its own only.
- Each client is used as its own users use it, with the timeout that it gives a call which names
  none: ours and its native deadline of 60 s, Ray's and grpc.aio none, which costs them nothing.
- A call that does not end with the value that was asked for raises.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import operator
import random
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

_NAMESPACE = b"gcs_cffi_bench"
_LARGEST_COMPARED = 4096
"""Bytes up to which each value is compared as a whole, which costs what comparing sizes costs."""
_CONNECT_TIMEOUT = 30.0
"""Seconds; where a client has no bound of its own."""

Getter = Callable[[], Awaitable["bytes | None"]]


@dataclass(frozen=True)
class Operation:
    """What a worker repeats.

    Attributes:
        call: makes one call.
        is_right: whether what a call gave is what it had to give; cheap, since it is measured too.
    """

    call: Callable[[], Awaitable[Any]]
    is_right: Callable[[Any], bool]


class Contender(ABC):
    """One client, in a process of its own."""

    title: ClassVar[str]
    packages: ClassVar[tuple[str, ...]]
    """The distributions whose versions say what was measured."""
    modules: ClassVar[tuple[str, ...]]
    """What has to be there to import."""

    @classmethod
    def missing(cls) -> list[str]:
        """Those of its modules that are not installed."""
        return [name for name in cls.modules if importlib.util.find_spec(name) is None]

    @staticmethod
    def new_event_loop() -> asyncio.AbstractEventLoop:
        """The event loop that it runs on."""
        return asyncio.new_event_loop()

    @abstractmethod
    async def connect(self, address: str) -> None:
        """Connects, once."""

    @abstractmethod
    async def put(self, key: bytes, value: bytes) -> None:
        """Stores a value."""

    @abstractmethod
    def getter(self, key: bytes) -> Getter:
        """What gets the value of a key."""

    @abstractmethod
    async def close(self) -> None:
        """Ends the connection."""


class Ours(Contender):
    title = "gcs_cffi"
    packages: ClassVar[tuple[str, ...]] = ("gcs_cffi",)
    modules: ClassVar[tuple[str, ...]] = ("gcs_cffi",)

    async def connect(self, address: str) -> None:
        import gcs_cffi

        self._client = await gcs_cffi.connect(address)

    async def put(self, key: bytes, value: bytes) -> None:
        await self._client.kv.put(key, value, namespace=_NAMESPACE)

    def getter(self, key: bytes) -> Getter:
        return partial(self._client.kv.get, key, namespace=_NAMESPACE)

    async def close(self) -> None:
        await self._client.close()


class OursOnUvloop(Ours):
    title = "gcs_cffi, uvloop"
    packages = ("gcs_cffi", "uvloop")
    modules = ("gcs_cffi", "uvloop")

    @staticmethod
    def new_event_loop() -> asyncio.AbstractEventLoop:
        loop: asyncio.AbstractEventLoop = importlib.import_module("uvloop").new_event_loop()
        return loop


class RayAsync(Contender):
    title = "Ray, async"
    packages = ("ray",)
    modules = ("ray",)

    async def connect(self, address: str) -> None:
        raylet = importlib.import_module("ray._raylet")
        self._client: Any = raylet.GcsClient(address=address)

    async def put(self, key: bytes, value: bytes) -> None:
        await self._client.async_internal_kv_put(key, value, overwrite=True, namespace=_NAMESPACE)

    def getter(self, key: bytes) -> Getter:
        return partial(self._client.async_internal_kv_get, key, namespace=_NAMESPACE)

    async def close(self) -> None:
        del self._client  # it has no close()


class GrpcAio(Contender):
    title = "grpc.aio"
    packages = ("grpcio", "protobuf")
    modules = ("grpc", "ray")

    async def connect(self, address: str) -> None:
        import grpc.aio
        from ray.core.generated import gcs_service_pb2, gcs_service_pb2_grpc

        # A proxy of the machine's would take calls to loopback too.
        self._channel = grpc.aio.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)])
        await asyncio.wait_for(self._channel.channel_ready(), _CONNECT_TIMEOUT)
        self._messages = gcs_service_pb2
        self._stub = gcs_service_pb2_grpc.InternalKVGcsServiceStub(self._channel)

    async def put(self, key: bytes, value: bytes) -> None:
        request = self._messages.InternalKVPutRequest(
            namespace=_NAMESPACE, key=key, value=value, overwrite=True
        )
        reply = await self._stub.InternalKVPut(request)
        if reply.status.code:
            raise RuntimeError(f"InternalKVPut gave {reply.status}")

    def getter(self, key: bytes) -> Getter:
        method = self._stub.InternalKVGet
        request_type = self._messages.InternalKVGetRequest

        async def get() -> bytes:
            reply = await method(request_type(namespace=_NAMESPACE, key=key))
            if reply.status.code:
                raise RuntimeError(f"InternalKVGet gave {reply.status}")
            value: bytes = reply.value
            return value

        return get

    async def close(self) -> None:
        await self._channel.close()


CONTENDERS: dict[str, type[Contender]] = {
    "ours": Ours,
    "ray": RayAsync,
    "grpc.aio": GrpcAio,
    "ours-uvloop": OursOnUvloop,
}
OURS = "ours"
BASELINE = "ray"
OPTIONAL = frozenset({"ours-uvloop"})
"""Those that a run leaves out where their modules are missing; without the others it fails."""


async def _kv_get(client: Contender, value_size: int) -> Operation:
    """Gets of one key, whose value was stored through the same client and has to come back.

    Raises:
        RuntimeError: what came back is not what was stored.
    """
    key = b"bench-value-%d" % value_size
    value = random.Random(value_size).randbytes(value_size)
    await client.put(key, value)
    get = client.getter(key)
    if await get() != value:
        raise RuntimeError(f"{client.title} did not get back the {value_size} bytes that it stored")
    if value_size <= _LARGEST_COMPARED:
        return Operation(get, partial(operator.eq, value))
    return Operation(get, lambda got: got is not None and len(got) == value_size)


OPERATIONS: dict[str, Callable[[Contender, int], Awaitable[Operation]]] = {"kv_get": _kv_get}
