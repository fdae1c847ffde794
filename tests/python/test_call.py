# SPDX-License-Identifier: Apache-2.0
"""gcs.call(): any method, in bytes, messages and dicts."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

import gcs_cffi
from gcs_cffi import GcsClient, messages

CHECK_ALIVE = ("NodeInfoGcsService", "CheckAlive")
UNKNOWN_SERVICE = "grpc.health.v1.Health"


async def test_bytes_in_bytes_out(gcs: GcsClient) -> None:
    body = await gcs.call(*CHECK_ALIVE)
    assert type(body) is bytes
    assert messages.CheckAliveReply.FromString(body).ray_version
    assert await gcs.call(*CHECK_ALIVE, bytearray()) == body
    assert await gcs.call("ray.rpc.NodeInfoGcsService", "CheckAlive", memoryview(b"")) == body


async def test_a_dict_or_a_message_in_our_message_out(gcs: GcsClient) -> None:
    for request in ({}, {"node_ids": [bytes(28)]}, messages.CheckAliveRequest()):
        reply = await gcs.call(*CHECK_ALIVE, request)
        assert type(reply) is messages.CheckAliveReply
        assert reply.ray_version
    assert await gcs.call("NodeInfoGcsService", "GetAllNodeInfo", {}) is not None


async def test_a_reply_type_is_what_the_reply_is_read_with(gcs: GcsClient) -> None:
    reply = await gcs.call(*CHECK_ALIVE, reply_type=messages.CheckAliveReply)
    assert type(reply) is messages.CheckAliveReply
    requests: tuple[Any, ...] = (b"", {})
    for request in requests:
        with pytest.raises(TypeError, match=r"CheckAliveReply, not a .*GetClusterIdReply"):
            await gcs.call(*CHECK_ALIVE, request, reply_type=messages.GetClusterIdReply)


async def test_a_message_of_another_package_with_the_same_name_is_taken(gcs: GcsClient) -> None:
    file = descriptor_pb2.FileDescriptorProto(name="their.proto", package="ray.rpc")
    file.message_type.add(name="CheckAliveRequest")
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    their_class = message_factory.GetMessageClass(
        pool.FindMessageTypeByName("ray.rpc.CheckAliveRequest")
    )
    reply = await gcs.call(*CHECK_ALIVE, their_class())
    assert type(reply) is messages.CheckAliveReply


async def test_a_method_that_the_library_does_not_know_is_called_by_its_path(
    gcs: GcsClient,
) -> None:
    # grpc.health.v1.HealthCheckResponse: field 1 is 1, which is SERVING.
    assert await gcs.call(UNKNOWN_SERVICE, "Check") == b"\x08\x01"


async def test_a_method_that_the_server_lacks_is_named_in_the_error(gcs: GcsClient) -> None:
    for service in ("ray.rpc.NodeInfoGcsService", "no.such.Service"):
        with pytest.raises(gcs_cffi.UnsupportedByServerError, match="NoSuchMethod") as caught:
            await gcs.call(service, "NoSuchMethod")
        assert caught.value.code == 12
        assert caught.value.code_name == "UNIMPLEMENTED"
        assert caught.value.method == f"/{service}/NoSuchMethod"
        assert caught.value.address == gcs.address


async def test_a_reply_that_is_not_the_message_fails_that_call_alone(
    gcs: GcsClient, namespace: str
) -> None:
    good = asyncio.ensure_future(gcs.kv.put("key", b"value", namespace=namespace))
    await gcs.kv.put("bad", b"\xff\xfe", namespace=namespace)
    request = messages.InternalKVGetRequest(key=b"bad", namespace=namespace.encode())
    # The field that has the value there is text here, and this is not UTF-8.
    pool = descriptor_pool.DescriptorPool()
    file = descriptor_pb2.FileDescriptorProto(
        name="other.proto", package="ray.rpc", syntax="proto3"
    )
    field = file.message_type.add(name="InternalKVGetReply").field.add(name="value", number=2)
    field.type = descriptor_pb2.FieldDescriptorProto.TYPE_STRING
    field.label = descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL
    pool.AddSerializedFile(file.SerializeToString())
    other = message_factory.GetMessageClass(
        pool.FindMessageTypeByName("ray.rpc.InternalKVGetReply")
    )
    with pytest.raises(gcs_cffi.GcsError, match="InternalKVGetReply") as caught:
        await gcs.call("InternalKVGcsService", "InternalKVGet", request, reply_type=other)
    assert caught.value.code_name == "GCS_INTERNAL"
    assert caught.value.method == "/ray.rpc.InternalKVGcsService/InternalKVGet"
    assert await good is True
    assert await gcs.kv.get("key", namespace=namespace) == b"value"


async def test_a_status_of_rays_in_the_reply_is_raised(gcs: GcsClient) -> None:
    request = messages.InternalKVGetRequest(key=b"nothing at all", namespace=b"nowhere")
    with pytest.raises(gcs_cffi.GcsStatusError) as caught:
        await gcs.call("InternalKVGcsService", "InternalKVGet", request)
    assert caught.value.ray_code == 17
    assert caught.value.code_name == "RAY_NOT_FOUND"


@pytest.mark.parametrize("retry", [None, "never", "safe", "always"])
@pytest.mark.parametrize("wait_for_ready", [None, True, False])
async def test_retry_and_wait_for_ready_are_taken(
    gcs: GcsClient, retry: Any, wait_for_ready: bool | None
) -> None:
    assert await gcs.call(*CHECK_ALIVE, retry=retry, wait_for_ready=wait_for_ready)


async def test_big_requests_and_replies_pass(gcs: GcsClient, namespace: str) -> None:
    value = bytes(3 << 20)
    put = messages.InternalKVPutRequest(key=b"key", value=value, namespace=namespace.encode())
    assert (await gcs.call("InternalKVGcsService", "InternalKVPut", put)).added
    get = {"key": b"key", "namespace": namespace.encode()}
    reply = await gcs.call("InternalKVGcsService", "InternalKVGet", get)
    assert reply.value == value


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ((1, "CheckAlive"), TypeError, "service"),
        (("NodeInfoGcsService", None), TypeError, "method"),
        (("NoService", "CheckAlive"), ValueError, "full name"),
        (("", "CheckAlive"), ValueError, "name of a service"),
        (("NodeInfoGcsService", ""), ValueError, "name of a method"),
        (("NodeInfoGcsService", "a.b"), ValueError, "name of a method"),
        (("NodeInfo/Gcs", "CheckAlive"), ValueError, "name of a service"),
        (("a.b c", "CheckAlive"), ValueError, "name of a service"),
        ((*CHECK_ALIVE, "text"), TypeError, "bytes, a message or a dict"),
        ((*CHECK_ALIVE, 5), TypeError, "bytes, a message or a dict"),
        ((*CHECK_ALIVE, None), TypeError, "bytes, a message or a dict"),
        ((*CHECK_ALIVE, {"no_such_field": 1}), ValueError, "no_such_field"),
        ((*CHECK_ALIVE, {"node_ids": 5}), TypeError, "iterable"),
        ((*CHECK_ALIVE, messages.GetClusterIdRequest()), TypeError, "GetClusterIdRequest"),
    ],
)
async def test_what_cannot_be_called_is_refused_before_anything_is_sent(
    gcs: GcsClient, arguments: tuple[Any, ...], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        await gcs.call(*arguments)


async def test_options_of_a_call_are_checked(gcs: GcsClient) -> None:
    with pytest.raises(ValueError, match="retry"):
        await gcs.call(*CHECK_ALIVE, retry="sometimes")  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="wait_for_ready"):
        await gcs.call(*CHECK_ALIVE, wait_for_ready=1)  # type: ignore[call-overload]
