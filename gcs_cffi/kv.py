# SPDX-License-Identifier: Apache-2.0
"""The internal key-value store of the GCS.

Invariant: keys, prefixes, namespaces and values reach the server as the exact bytes that they are;
    a str is its UTF-8.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcs_cffi import _native
from gcs_cffi._arguments import boolean, key_bytes, key_list, nanoseconds, value_bytes
from gcs_cffi._packed import pack_keys
from gcs_cffi._release import known
from gcs_cffi._typed import call

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TypeVar

    from typing_extensions import Buffer

    from gcs_cffi._channel import Channel

    KeyT = TypeVar("KeyT", bound="bytes | str")

__all__ = ["KeyValueStore"]

_GET_INTERNAL_CONFIG = known(
    "InternalKVGcsService/GetInternalConfig", "NodeInfoGcsService/GetInternalConfig"
)


class KeyValueStore:
    """The key-value store; `gcs.kv` of a client. RPCs: ray.rpc.InternalKVGcsService.

    What all methods share: keys, prefixes and namespaces are bytes, or str that are taken as UTF-8;
    each may be empty, and an empty namespace is none. `timeout` is in seconds: None for the
    client's own, `math.inf` for none, 0 has already expired. Every method raises

    - TypeError and ValueError for arguments that cannot be, before anything is sent;
    - InvalidRequestError, likewise, for a key or prefix that starts with "@namespace_" without a
      namespace: Ray keeps its namespaces there;
    - DeadlineExceededError when the timeout expires; another GcsError when the call fails.

    Ray joins namespace and key with a colon, so that namespaces with a colon in them overlap: the
    key "b:c" of the namespace "a" is the key "c" of the namespace "a:b".
    """

    __slots__ = ("_channel",)

    def __init__(self, channel: Channel) -> None:
        """Made by the client."""
        self._channel = channel

    async def get(
        self, key: bytes | str, *, namespace: bytes | str = b"", timeout: float | None = None
    ) -> bytes | None:
        """Gets a value. RPC: InternalKVGet.

        Returns:
            The value, or None if there is no such key.
        """
        value: bytes | None = await self._channel.request(
            _native.KV_GET,
            0,
            0,
            key_bytes(namespace, "namespace"),
            key_bytes(key),
            b"",
            nanoseconds(timeout),
        )
        return value

    async def multi_get(
        self,
        keys: Iterable[KeyT],
        *,
        namespace: bytes | str = b"",
        timeout: float | None = None,
    ) -> dict[KeyT, bytes]:
        """Gets the values of several keys in one call. RPC: InternalKVMultiGet.

        Returns:
            The values by key, each key as it was given; keys that do not exist are absent.
        """
        given: dict[KeyT, bytes] = key_list(keys)
        found: dict[bytes, bytes] = await self._channel.request(
            _native.KV_MULTI_GET,
            0,
            0,
            key_bytes(namespace, "namespace"),
            pack_keys(dict.fromkeys(given.values())),
            b"",
            nanoseconds(timeout),
        )
        return {key: found[raw] for key, raw in given.items() if raw in found}

    async def put(
        self,
        key: bytes | str,
        value: Buffer,
        *,
        namespace: bytes | str = b"",
        overwrite: bool = True,
        timeout: float | None = None,
    ) -> bool:
        """Stores a value. RPC: InternalKVPut.

        Args:
            key: the key.
            value: bytes-like; str is refused.
            namespace: where the key is.
            overwrite: whether the value of a key that exists is replaced; otherwise it stays.
            timeout: in seconds; None for the client's own, `math.inf` for none.

        Returns:
            Whether the key is new.
        """
        new: bool = await self._channel.request(
            _native.KV_PUT,
            _native.OVERWRITE if boolean(overwrite, "overwrite") else 0,
            0,
            key_bytes(namespace, "namespace"),
            key_bytes(key),
            value_bytes(value),
            nanoseconds(timeout),
        )
        return new

    async def delete(
        self, key: bytes | str, *, namespace: bytes | str = b"", timeout: float | None = None
    ) -> bool:
        """Deletes a key. RPC: InternalKVDel.

        Returns:
            Whether there was such a key.
        """
        existed: bool = await self._channel.request(
            _native.KV_DELETE,
            0,
            0,
            key_bytes(namespace, "namespace"),
            key_bytes(key),
            b"",
            nanoseconds(timeout),
        )
        return existed

    async def delete_prefix(
        self,
        prefix: bytes | str,
        *,
        namespace: bytes | str = b"",
        all_namespaces: bool = False,
        timeout: float | None = None,
    ) -> int:
        """Deletes the keys that start with a prefix. RPC: InternalKVDel.

        Args:
            prefix: what the keys start with; empty for all keys of the namespace.
            namespace: where the keys are.
            all_namespaces: with an empty prefix and an empty namespace Ray deletes every key of
                every namespace, its own included. That is refused (InvalidRequestError) without
                this.
            timeout: in seconds; None for the client's own, `math.inf` for none.

        Returns:
            How many keys were deleted.
        """
        count: int = await self._channel.request(
            _native.KV_DELETE_PREFIX,
            _native.ALL_NAMESPACES if boolean(all_namespaces, "all_namespaces") else 0,
            0,
            key_bytes(namespace, "namespace"),
            key_bytes(prefix, "prefix"),
            b"",
            nanoseconds(timeout),
        )
        return count

    async def exists(
        self, key: bytes | str, *, namespace: bytes | str = b"", timeout: float | None = None
    ) -> bool:
        """Asks whether there is a key. RPC: InternalKVExists."""
        exists: bool = await self._channel.request(
            _native.KV_EXISTS,
            0,
            0,
            key_bytes(namespace, "namespace"),
            key_bytes(key),
            b"",
            nanoseconds(timeout),
        )
        return exists

    async def keys(
        self,
        prefix: bytes | str = b"",
        *,
        namespace: bytes | str = b"",
        all_namespaces: bool = False,
        timeout: float | None = None,
    ) -> list[bytes]:
        """Lists the keys that start with a prefix. RPC: InternalKVKeys.

        Args:
            prefix: what the keys start with; empty for all keys of the namespace.
            namespace: where the keys are.
            all_namespaces: with an empty prefix and an empty namespace Ray lists the keys of every
                namespace, each without its namespace. That is refused (InvalidRequestError) without
                this.
            timeout: in seconds; None for the client's own, `math.inf` for none.

        Returns:
            The keys, in no particular order.
        """
        keys: list[bytes] = await self._channel.request(
            _native.KV_KEYS,
            _native.ALL_NAMESPACES if boolean(all_namespaces, "all_namespaces") else 0,
            0,
            key_bytes(namespace, "namespace"),
            key_bytes(prefix, "prefix"),
            b"",
            nanoseconds(timeout),
        )
        return keys

    async def get_internal_config(self, *, timeout: float | None = None) -> str:
        """The configuration of the GCS. RPC: GetInternalConfig.

        Returns:
            What Ray's `_system_config` was when the cluster was started, as JSON text; "" or "{}"
            if nothing was set.
        """
        reply = await call(self._channel, _GET_INTERNAL_CONFIG, b"", timeout)
        config: str = reply.config
        return config
