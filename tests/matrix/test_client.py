# SPDX-License-Identifier: Apache-2.0
"""What the client does itself, on every release: any method by its name, the version, closing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import gcs_cffi
from gcs_cffi import messages

if TYPE_CHECKING:
    from gcs_cffi import GcsClient
    from gcs_cffi.testing import GcsServer
    from matrix.conftest import Connect

GET = ("InternalKVGcsService", "InternalKVGet")


@pytest.mark.method("get_ray_version")
async def test_the_version_is_the_servers(gcs: GcsClient, server: GcsServer) -> None:
    assert gcs.ray_version is None
    assert await gcs.get_ray_version() == server.version
    assert gcs.ray_version == server.version


@pytest.mark.method("call (raw)")
async def test_bytes_are_answered_with_bytes(gcs: GcsClient, namespace: str) -> None:
    await gcs.kv.put("key", b"value", namespace=namespace)
    request = messages.InternalKVGetRequest(key=b"key", namespace=namespace.encode())
    body = await gcs.call(*GET, request.SerializeToString())
    assert type(body) is bytes
    assert messages.InternalKVGetReply.FromString(body).value == b"value"


@pytest.mark.method("call (raw)")
async def test_a_method_that_the_library_does_not_know_is_called_by_its_path(
    gcs: GcsClient,
) -> None:
    # grpc.health.v1.HealthCheckResponse: field 1 is 1, which is SERVING.
    assert await gcs.call("grpc.health.v1.Health", "Check") == b"\x08\x01"


@pytest.mark.method("call (raw)")
async def test_a_method_that_the_server_lacks_is_named_in_the_error(gcs: GcsClient) -> None:
    with pytest.raises(gcs_cffi.GcsError, match="NoSuchMethod") as caught:
        await gcs.call("ray.rpc.NodeInfoGcsService", "NoSuchMethod")
    assert caught.value.method == "/ray.rpc.NodeInfoGcsService/NoSuchMethod"


@pytest.mark.method("call (dict)")
async def test_a_dict_is_answered_with_a_message(gcs: GcsClient, namespace: str) -> None:
    await gcs.kv.put("key", b"value", namespace=namespace)
    reply = await gcs.call(*GET, {"key": b"key", "namespace": namespace.encode()})
    assert type(reply) is messages.InternalKVGetReply
    assert reply.value == b"value"


@pytest.mark.method("call (message)")
async def test_a_message_is_answered_with_a_message(gcs: GcsClient, namespace: str) -> None:
    await gcs.kv.put("key", b"value", namespace=namespace)
    request = messages.InternalKVGetRequest(key=b"key", namespace=namespace.encode())
    reply = await gcs.call(*GET, request)
    assert type(reply) is messages.InternalKVGetReply
    assert reply.value == b"value"


@pytest.mark.method("call (message)")
async def test_a_status_of_rays_in_the_reply_is_raised(gcs: GcsClient, namespace: str) -> None:
    request = messages.InternalKVGetRequest(key=b"key", namespace=namespace.encode())
    with pytest.raises(gcs_cffi.GcsStatusError) as caught:
        await gcs.call(*GET, request)
    assert caught.value.ray_code == 17


@pytest.mark.method("close")
async def test_a_closed_client_refuses_calls(server: GcsServer, connect: Connect) -> None:
    async with connect(server.address) as gcs:
        await gcs.close()
        await gcs.close()
        with pytest.raises(gcs_cffi.ClientClosedError):
            await gcs.kv.get("key")
