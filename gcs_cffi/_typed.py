# SPDX-License-Identifier: Apache-2.0
"""Calls with messages: written for the server at hand, and read back into the bundled schema.

What a channel learns about its server is kept with it, and learned when the first such call needs
it: the release by CheckAlive, the layout of a service's messages by reflection. A call goes out for
exactly the release that it was written for; when another one has taken the server's place, the call
never ran, what was learned is dropped, and the call is written anew.

Invariants:
- One deadline covers all that a call needs.
- In an event loop one task at a time asks a server about itself; the others wait for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gcs_cffi import _methods, _native, _release, _status, messages
from gcs_cffi._arguments import Deadline
from gcs_cffi.errors import GcsStatusError, UnsupportedByServerError, from_status

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message

    from gcs_cffi._channel import Channel
    from gcs_cffi._methods import Method
    from gcs_cffi._release import KnownMethod, Release
    from gcs_cffi._server import Server
    from gcs_cffi.errors import GcsError

_CHECK_ALIVE = _release.known("NodeInfoGcsService/CheckAlive")[0]
_REFLECTION = _release.METHODS["/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"]
_WAITING = _native.WAIT | _native.NO_WAIT
"""What a call's flags say for the questions that come before it, too."""


async def call(
    channel: Channel,
    methods: tuple[KnownMethod, ...],
    request: Message | bytes,
    timeout: float | Deadline | None,
    flags: int = 0,
    written_for: Server | None = None,
) -> Any:
    """Makes a call, and gives its reply as a message of the bundled schema.

    Args:
        channel: the client's.
        methods: the method; several, when it has moved from one to the other.
        request: a message of the bundled schema; or bytes, which go as they are.
        timeout: as the accessors take it, or a deadline that covers more than this call.
        flags: of the packed record.
        written_for: the server whose release the request, or what is done with the reply, is
            right for: see `redone()` of the channel's module.
    """
    server, method, reply = await _call(channel, methods, request, timeout, flags, written_for)
    return server.decode(method, reply, channel.address)


async def find(
    channel: Channel,
    methods: tuple[KnownMethod, ...],
    request: Message,
    timeout: float | Deadline | None,
) -> Any:
    """The same; None where the GCS says that there is no such thing."""
    try:
        return await call(channel, methods, request, timeout)
    except GcsStatusError as error:
        if error.code != _status.RAY_NOT_FOUND:
            raise
        return None


def unknown(channel: Channel, what: str, methods: tuple[KnownMethod, ...]) -> GcsError:
    """The error for what the GCS does not know, so that a call about it was not made."""
    return from_status(
        _status.RAY_NOT_FOUND,
        _status.FLAG_LOCAL,
        f"the GCS knows no {what}",
        methods[0].path,
        channel.address,
    )


async def call_for_bytes(
    channel: Channel,
    methods: tuple[KnownMethod, ...],
    request: Message | bytes,
    timeout: float | Deadline | None,
    flags: int = 0,
) -> bytes:
    """The same; gives the reply as it came."""
    return (await _call(channel, methods, request, timeout, flags))[2]


async def _call(
    channel: Channel,
    methods: tuple[KnownMethod, ...],
    request: Message | bytes,
    timeout: float | Deadline | None,
    flags: int,
    written_for: Server | None = None,
) -> tuple[Server, KnownMethod, bytes]:
    deadline = Deadline.of(timeout, channel.default_timeout)
    while True:
        server = await server_of(channel, deadline, flags)
        if written_for is not None and written_for is not server:
            raise _release.ReplacedError
        method = _release.choose(methods, server.release, channel.address)
        try:
            await learn_layout(channel, server, method.service, deadline, flags)
            body = request
            if not isinstance(body, bytes):
                body = server.encode(method, body, channel.address)
            reply = await _request(channel, server, method.number, b"", body, deadline, flags)
        except UnsupportedByServerError as error:
            _check_replaced(channel, server, error)
            continue
        return server, method, reply


async def call_unknown(
    channel: Channel,
    method: Method,
    request: Any,
    reply_type: type[Message] | None,
    timeout: float | None,
    flags: int,
) -> Any:
    """Makes a call of a method whose messages the bundled schema lacks.

    Args:
        channel: the client's.
        method: the method.
        request: its fields, as a mapping; or a message of it, of any schema.
        reply_type: the class to read the reply with; None for the server's own.
        timeout: as the accessors take it.
        flags: of the packed record.

    Returns:
        The reply.
    """
    deadline = Deadline(timeout, channel.default_timeout)
    service, _, name = method.path[1:].partition("/")
    while True:
        server = await server_of(channel, deadline, flags)
        try:
            await learn_layout(channel, server, service, deadline, flags)
            types = server.types_of(service, name)
            if types is None:
                what = f"{method.path[1:]}: the server does not have this method"
                raise _release.unsupported(what, server.release, method.path, channel.address)
            body = _methods.reflected_request(method.path, types[0], request)
            number, name_bytes = method.number, method.name
            reply = await _request(channel, server, number, name_bytes, body, deadline, flags)
        except UnsupportedByServerError as error:
            _check_replaced(channel, server, error)
            continue
        return _methods.parse(reply_type or types[1], reply, method.path, channel.address)


async def _request(
    channel: Channel,
    server: Server,
    number: int,
    name: bytes,
    body: bytes,
    deadline: Deadline,
    flags: int = 0,
) -> bytes:
    reply: bytes = await channel.request(
        _native.CALL, flags, number, name, b"", body, deadline.left(), server.release.number
    )
    return reply


def _check_replaced(channel: Channel, server: Server, error: UnsupportedByServerError) -> None:
    """Forgets the server if another release has taken its place; else raises the error."""
    if not error.retryable:
        raise error
    channel.forget_server(server)


async def server_of(channel: Channel, deadline: Deadline, flags: int = 0) -> Server:
    """What is known about the server. RPC: NodeInfoGcsService.CheckAlive, the first time."""
    while channel.server is None:
        asking = await channel.begin_asking(deadline)
        if asking is None:
            raise _expired(channel)
        try:
            if channel.server is None:
                from gcs_cffi._server import Server

                channel.server = Server(await _ask_release(channel, deadline, flags))
        finally:
            channel.end_asking(asking)
    return channel.server


async def learn_layout(
    channel: Channel, server: Server, service: str, deadline: Deadline, flags: int = 0
) -> None:
    """Has the server's files about a service, if they are needed. RPC: reflection.

    Raises:
        UnsupportedByServerError: the server does not have the service.
    """
    while server.needs_layout_of(service):
        asking = await channel.begin_asking(deadline)
        if asking is None:
            raise _expired(channel)
        try:
            if server.needs_layout_of(service):
                files = await _ask_files(channel, server, service, deadline, flags)
                try:
                    server.add_files(files)
                except ValueError as error:
                    raise _no_layout(channel, service, error) from None
                if server.needs_layout_of(service):
                    raise _no_layout(channel, service, "its answer does not have the service")
        finally:
            channel.end_asking(asking)


async def reader_of(
    channel: Channel,
    methods: tuple[KnownMethod, ...],
    name: str,
    deadline: Deadline,
) -> Callable[[bytes], Any]:
    """What reads messages of one name, as the server at hand lays them out.

    Args:
        channel: the client's.
        methods: whose service describes the message.
        name: its full name.
        deadline: of all that this needs.
    """
    while True:
        server = await server_of(channel, deadline)
        method = _release.choose(methods, server.release, channel.address)
        try:
            await learn_layout(channel, server, method.service, deadline)
        except UnsupportedByServerError as error:
            _check_replaced(channel, server, error)
            continue
        return server.reader(name, method, channel.address)


async def _ask_release(channel: Channel, deadline: Deadline, flags: int) -> Release:
    body: bytes = await channel.request(
        _native.CALL, flags & _WAITING, _CHECK_ALIVE.number, b"", b"", b"", deadline.left()
    )
    reply = _methods.parse(messages.CheckAliveReply, body, _CHECK_ALIVE.path, channel.address)
    return _release.Release.parse(reply.ray_version)


async def _ask_files(
    channel: Channel, server: Server, service: str, deadline: Deadline, flags: int
) -> list[bytes]:
    from gcs_cffi import _reflection

    body = _reflection.request(service)
    waiting = flags & _WAITING
    answer = await _request(channel, server, _REFLECTION.number, b"", body, deadline, waiting)
    try:
        return _reflection.files_in(answer)
    except LookupError:
        what = f"the service {service}: the server does not have it"
        raise _release.unsupported(what, server.release, "", channel.address) from None
    except ValueError as error:
        raise _no_layout(channel, service, error) from None


def _no_layout(channel: Channel, service: str, why: object) -> Exception:
    return from_status(
        _status.INTERNAL,
        _status.FLAG_LOCAL,
        f"the server cannot say how it lays out the messages of {service}: {why}",
        _REFLECTION.path,
        channel.address,
    )


def _expired(channel: Channel) -> Exception:
    return from_status(
        _status.DEADLINE,
        _status.FLAG_LOCAL | _status.FLAG_TIMEOUT | _status.FLAG_RETRYABLE,
        "the timeout expired while another call asked the server about itself",
        address=channel.address,
    )
