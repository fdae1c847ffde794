# SPDX-License-Identifier: Apache-2.0
"""gcs.kv on every release."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

import gcs_cffi
from gcs_cffi.testing import GcsServer
from matrix.arguments import check_timeouts

if TYPE_CHECKING:
    from gcs_cffi import GcsClient
    from matrix.conftest import Connect

BINARY = bytes(range(256))


@pytest.mark.method("kv.put", "kv.get")
async def test_a_value_is_read_back_as_it_was_put(gcs: GcsClient, namespace: str) -> None:
    for key, value in ((b"key", b"value"), (BINARY, BINARY), (b"", b"\0"), ("kéy", b"")):
        assert await gcs.kv.put(key, value, namespace=namespace) is True
        assert await gcs.kv.get(key, namespace=namespace) == value
    assert await gcs.kv.get("kéy".encode(), namespace=namespace) == b""


@pytest.mark.method("kv.get")
async def test_a_key_that_is_not_there_reads_as_none(gcs: GcsClient, namespace: str) -> None:
    assert await gcs.kv.get("no such key", namespace=namespace) is None


@pytest.mark.method("kv.put")
async def test_put_says_whether_the_key_is_new(gcs: GcsClient, namespace: str) -> None:
    assert await gcs.kv.put("key", b"1", namespace=namespace) is True
    assert await gcs.kv.put("key", b"2", namespace=namespace) is False
    assert await gcs.kv.get("key", namespace=namespace) == b"2"


@pytest.mark.method("kv.put")
async def test_a_value_stays_without_overwrite(gcs: GcsClient, namespace: str) -> None:
    assert await gcs.kv.put("key", b"1", namespace=namespace, overwrite=False) is True
    assert await gcs.kv.put("key", b"2", namespace=namespace, overwrite=False) is False
    assert await gcs.kv.get("key", namespace=namespace) == b"1"


@pytest.mark.method("kv.multi_get")
async def test_several_values_come_by_key_without_those_that_are_not_there(
    gcs: GcsClient, namespace: str
) -> None:
    await gcs.kv.put("a", b"1", namespace=namespace)
    await gcs.kv.put("b", b"", namespace=namespace)
    found = await gcs.kv.multi_get(["a", "b", "c", "a"], namespace=namespace)
    assert found == {"a": b"1", "b": b""}
    assert await gcs.kv.multi_get([], namespace=namespace) == {}


@pytest.mark.method("kv.exists", "kv.delete")
async def test_a_key_is_there_until_it_is_deleted(gcs: GcsClient, namespace: str) -> None:
    assert await gcs.kv.exists("key", namespace=namespace) is False
    await gcs.kv.put("key", b"", namespace=namespace)
    assert await gcs.kv.exists("key", namespace=namespace) is True
    assert await gcs.kv.delete("key", namespace=namespace) is True
    assert await gcs.kv.delete("key", namespace=namespace) is False
    assert await gcs.kv.exists("key", namespace=namespace) is False


@pytest.mark.method("kv.keys")
async def test_keys_are_listed_by_prefix(gcs: GcsClient, namespace: str) -> None:
    for key in (b"a", b"ab", b"*", b"a?[", BINARY):
        await gcs.kv.put(key, b"", namespace=namespace)
    assert sorted(await gcs.kv.keys("a", namespace=namespace)) == [b"a", b"a?[", b"ab"]
    assert await gcs.kv.keys(b"*", namespace=namespace) == [b"*"]
    assert await gcs.kv.keys("zz", namespace=namespace) == []
    assert set(await gcs.kv.keys(namespace=namespace)) == {b"a", b"ab", b"*", b"a?[", BINARY}


@pytest.mark.method("kv.delete_prefix")
async def test_keys_are_deleted_by_prefix_and_no_others(gcs: GcsClient, namespace: str) -> None:
    other = f"{namespace}_other"
    for key in ("a", "ab", "b"):
        await gcs.kv.put(key, b"", namespace=namespace)
        await gcs.kv.put(key, b"", namespace=other)
    assert await gcs.kv.delete_prefix("a", namespace=namespace) == 2
    assert await gcs.kv.delete_prefix("a", namespace=namespace) == 0
    assert await gcs.kv.keys(namespace=namespace) == [b"b"]
    assert len(await gcs.kv.keys(namespace=other)) == 3


@pytest.mark.method("kv.keys", "kv.delete_prefix")
async def test_all_namespaces_are_spanned_only_on_request(gcs: GcsClient, namespace: str) -> None:
    await gcs.kv.put(namespace, b"", namespace=namespace)
    with pytest.raises(gcs_cffi.InvalidRequestError):
        await gcs.kv.keys()
    with pytest.raises(gcs_cffi.InvalidRequestError):
        await gcs.kv.delete_prefix("")
    assert namespace.encode() in await gcs.kv.keys(all_namespaces=True)


@pytest.mark.method("kv.get_internal_config")
async def test_the_configuration_is_what_the_server_was_started_with(
    hide_user: None, connect: Connect
) -> None:
    config = {
        "health_check_period_ms": 4321,
        "event_stats": False,
        "gcs_server_rpc_server_thread_num": 1,
    }
    with GcsServer(config=config) as server:
        async with connect(server.address) as gcs:
            found = await gcs.kv.get_internal_config()
            assert type(found) is str
            assert json.loads(found).items() >= config.items()


@pytest.mark.method("kv.get_internal_config")
async def test_a_configuration_of_nothing_is_an_empty_object(gcs: GcsClient) -> None:
    assert json.loads(await gcs.kv.get_internal_config() or "{}") == {}
    await check_timeouts(gcs, gcs.kv.get_internal_config)
