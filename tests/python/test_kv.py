# SPDX-License-Identifier: Apache-2.0
"""gcs.kv: what is stored comes back, byte for byte, and every method says what its doc says."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import gcs_cffi

if TYPE_CHECKING:
    from gcs_cffi import GcsClient, sync
    from gcs_cffi.testing import GcsServer

ANY_BYTES = st.binary(max_size=64)
# A colon in a namespace moves the border between namespace and key, which Ray does not keep.
ANY_NAMESPACE = st.binary(min_size=1, max_size=32).filter(lambda name: b":" not in name)


async def test_put_tells_whether_the_key_is_new(gcs: GcsClient, namespace: str) -> None:
    assert await gcs.kv.put("key", b"one", namespace=namespace) is True
    assert await gcs.kv.put("key", b"two", namespace=namespace) is False
    assert await gcs.kv.get("key", namespace=namespace) == b"two"


async def test_put_without_overwrite_leaves_a_value_alone(gcs: GcsClient, namespace: str) -> None:
    assert await gcs.kv.put("key", b"one", namespace=namespace, overwrite=False) is True
    assert await gcs.kv.put("key", b"two", namespace=namespace, overwrite=False) is False
    assert await gcs.kv.get("key", namespace=namespace) == b"one"


async def test_get_of_no_key_is_none_and_of_an_empty_value_is_empty(
    gcs: GcsClient, namespace: str
) -> None:
    assert await gcs.kv.get("key", namespace=namespace) is None
    await gcs.kv.put("key", b"", namespace=namespace)
    assert await gcs.kv.get("key", namespace=namespace) == b""


async def test_exists_and_delete_tell_whether_there_is_a_key(
    gcs: GcsClient, namespace: str
) -> None:
    assert await gcs.kv.exists("key", namespace=namespace) is False
    assert await gcs.kv.delete("key", namespace=namespace) is False
    await gcs.kv.put("key", b"value", namespace=namespace)
    assert await gcs.kv.exists("key", namespace=namespace) is True
    assert await gcs.kv.delete("key", namespace=namespace) is True
    assert await gcs.kv.exists("key", namespace=namespace) is False


async def test_str_and_bytes_keys_are_the_same_key(gcs: GcsClient, namespace: str) -> None:
    await gcs.kv.put("clé", b"value", namespace=namespace)
    assert await gcs.kv.get("clé".encode(), namespace=namespace.encode()) == b"value"
    assert await gcs.kv.keys(namespace=namespace) == ["clé".encode()]


async def test_keys_and_delete_prefix_keep_to_prefix_and_namespace(
    gcs: GcsClient, namespace: str
) -> None:
    other = namespace + "_other"
    for where in (namespace, other):
        for key in ("a/1", "a/2", "b/1"):
            await gcs.kv.put(key, key.encode(), namespace=where)
    assert sorted(await gcs.kv.keys("a/", namespace=namespace)) == [b"a/1", b"a/2"]
    assert sorted(await gcs.kv.keys(namespace=namespace)) == [b"a/1", b"a/2", b"b/1"]
    assert await gcs.kv.keys("nothing", namespace=namespace) == []
    assert await gcs.kv.delete_prefix("a/", namespace=namespace) == 2
    assert await gcs.kv.delete_prefix("a/", namespace=namespace) == 0
    assert await gcs.kv.keys(namespace=namespace) == [b"b/1"]
    assert len(await gcs.kv.keys(namespace=other)) == 3
    assert await gcs.kv.delete_prefix("", namespace=other) == 3


async def test_multi_get_is_keyed_as_given_and_leaves_out_what_is_missing(
    gcs: GcsClient, namespace: str
) -> None:
    await gcs.kv.put("a", b"1", namespace=namespace)
    await gcs.kv.put("b", b"", namespace=namespace)
    found = await gcs.kv.multi_get(["a", "b", "c"], namespace=namespace)
    assert found == {"a": b"1", "b": b""}
    mixed: list[bytes | str] = ["a", b"a", b"b", "a"]
    assert await gcs.kv.multi_get(mixed, namespace=namespace) == {"a": b"1", b"a": b"1", b"b": b""}
    assert await gcs.kv.multi_get(iter(["a"]), namespace=namespace) == {"a": b"1"}
    assert await gcs.kv.multi_get([], namespace=namespace) == {}


async def test_namespaces_with_a_colon_overlap_as_documented(
    gcs: GcsClient, namespace: str
) -> None:
    await gcs.kv.put("c", b"value", namespace=f"{namespace}:b")
    assert await gcs.kv.get("b:c", namespace=namespace) == b"value"


async def test_all_namespaces_are_listed_only_with_the_flag(gcs: GcsClient, namespace: str) -> None:
    await gcs.kv.put(f"key of {namespace}", b"", namespace=namespace)
    with pytest.raises(gcs_cffi.InvalidRequestError, match="namespace"):
        await gcs.kv.keys()
    with pytest.raises(gcs_cffi.InvalidRequestError, match="namespace"):
        await gcs.kv.delete_prefix("")
    assert f"key of {namespace}".encode() in await gcs.kv.keys(all_namespaces=True)


async def test_delete_prefix_over_all_namespaces_deletes_them_all(own_server: GcsServer) -> None:
    async with gcs_cffi.connect(own_server.address) as gcs:
        await gcs.kv.put("key", b"value", namespace="some")
        assert await gcs.kv.delete_prefix("", all_namespaces=True) > 0
        assert await gcs.kv.keys(all_namespaces=True) == []


@pytest.mark.parametrize("size", [16383, 16384, 16385, 1 << 20, 5 << 20])
async def test_values_of_every_size_come_back(gcs: GcsClient, namespace: str, size: int) -> None:
    value = bytes(range(256)) * (size // 256 + 1)
    value = value[:size]
    assert await gcs.kv.put("key", value, namespace=namespace) is True
    assert await gcs.kv.get("key", namespace=namespace) == value
    assert await gcs.kv.multi_get(["key"], namespace=namespace) == {"key": value}
    await gcs.kv.delete("key", namespace=namespace)


async def test_what_changes_after_the_call_is_sent_as_it_was(
    gcs: GcsClient, namespace: str
) -> None:
    for size in (10, 100_000):
        value = bytearray(b"a" * size)
        put = asyncio.ensure_future(gcs.kv.put("key", value, namespace=namespace))
        await asyncio.sleep(0)  # the call is made, and not handed over yet
        value[:] = b"b" * size
        await put
        assert await gcs.kv.get("key", namespace=namespace) == b"a" * size


@pytest.mark.parametrize(
    "value",
    [bytearray(b"abcd"), memoryview(b"abcd"), memoryview(b"a-b-c-d")[::2]],
    ids=["bytearray", "memoryview", "strided"],
)
async def test_any_bytes_like_value_is_stored(
    gcs: GcsClient, namespace: str, value: bytearray | memoryview
) -> None:
    await gcs.kv.put("key", value, namespace=namespace)
    assert await gcs.kv.get("key", namespace=namespace) == b"abcd"


@given(key=ANY_BYTES, value=ANY_BYTES, name=ANY_NAMESPACE)
@settings(
    max_examples=100,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_any_bytes_are_stored_and_returned_exactly(
    blocking_gcs: sync.GcsClient, key: bytes, value: bytes, name: bytes
) -> None:
    kv = blocking_gcs.kv
    kv.put(key, value, namespace=name)
    assert kv.get(key, namespace=name) == value
    assert kv.exists(key, namespace=name)
    assert kv.multi_get([key], namespace=name) == {key: value}
    assert kv.keys(namespace=name) == [key]
    assert kv.delete(key, namespace=name)
    assert kv.get(key, namespace=name) is None


@pytest.mark.parametrize("key", [b"", b"\0", b"a\0b", bytes(range(256)), b"*?[\\"])
async def test_nul_empty_and_any_other_byte_in_keys_values_and_namespaces(
    gcs: GcsClient, namespace: str, key: bytes
) -> None:
    name = namespace.encode() + key.replace(b":", b"")
    assert await gcs.kv.put(key, key, namespace=name) is True
    assert await gcs.kv.get(key, namespace=name) == key
    assert await gcs.kv.keys(key, namespace=name) == [key]
    assert await gcs.kv.delete(key, namespace=name) is True
