# SPDX-License-Identifier: Apache-2.0
"""The client, and how one is made.

Invariants:
- A client belongs to no event loop: each call runs in the loop that it is awaited in.
- Every method that is async is a coroutine function, so that it can be the start of a task.
- The blocking client is generated from this file, as tools/generate_sync.py describes.
"""

from __future__ import annotations

from functools import partial  # blocking:
from typing import TYPE_CHECKING, Any, overload

from gcs_cffi import _methods, _native
from gcs_cffi._arguments import Deadline, nanoseconds
from gcs_cffi._channel import Channel
from gcs_cffi._connecting import Connecting  # blocking:
from gcs_cffi._typed import call, call_for_bytes, call_unknown, server_of
from gcs_cffi.actors import Actors
from gcs_cffi.autoscaler import Autoscaler
from gcs_cffi.connection import StateWatch
from gcs_cffi.events import Events
from gcs_cffi.jobs import Jobs
from gcs_cffi.kv import KeyValueStore
from gcs_cffi.nodes import Nodes
from gcs_cffi.options import client_options
from gcs_cffi.placement_groups import PlacementGroups
from gcs_cffi.publishing import Errors, Logs
from gcs_cffi.pubsub import MAX_BYTES, MAX_MESSAGES, Subscription
from gcs_cffi.resources import Resources
from gcs_cffi.runtime_envs import RuntimeEnvs
from gcs_cffi.tasks import Tasks
from gcs_cffi.workers import Workers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType
    from typing import TypeVar

    from google.protobuf.message import Message
    from typing_extensions import Buffer, Self

    from gcs_cffi._native_subscriptions import Policy
    from gcs_cffi._published import ChannelName
    from gcs_cffi.ids import AnyID, ClusterID
    from gcs_cffi.options import (
        ClientOptions,
        ClusterChange,
        Retry,
        State,
        StateChange,
        TlsConfig,
    )

    MessageT = TypeVar("MessageT", bound=Message)

__all__ = ["GcsClient", "connect"]


def connect(
    address: str | None = None,
    *,
    connect_timeout: float | None = 5.0,
    timeout: float | None = 60.0,
    cluster_id: ClusterID | bytes | str | None = None,
    token: str | None = None,
    wait_for_ready: bool = True,
    on_cluster_change: ClusterChange = "error",
    max_send_message: int | None = None,
    max_receive_message: int | None = None,
    tcp_user_timeout: float | None = None,
    max_pending_calls: int | None = None,
    max_pending_bytes: int | None = None,
    tls: bool | TlsConfig | None = None,
) -> Connecting:  # blocking: ) -> GcsClient:
    """Connects to a GCS. RPC: NodeInfoGcsService.GetClusterId.

    Nothing happens until the result is awaited (`gcs = await connect(...)`, and `await gcs.close()`
    later) or entered (`async with connect(...) as gcs:`). It is no coroutine: for a task of its own
    use `asyncio.ensure_future(connect(...))`.

    Args:
        address: "host:port" or "[v6]:port". None: the environment variable RAY_ADDRESS, then the
            file that `ray start` leaves on its machine.
        connect_timeout: what connecting may take altogether, repeated attempts included, in
            seconds. One attempt takes no longer either. `math.inf`: a GCS that is not there yet is
            waited for.
        timeout: what a call may take that names no timeout of its own, in seconds; `math.inf` for
            no bound.
        cluster_id: the cluster that is expected, as an id or 56 hexadecimal digits; connecting to
            another one fails (ClusterChangedError). None: whichever answers.
        token: the token of a cluster that demands one. None: found as Ray finds it (RAY_AUTH_TOKEN,
            RAY_AUTH_TOKEN_PATH, ~/.ray/auth_token, ...); "": none is sent.
        wait_for_ready: whether calls wait, within their timeout, while there is no connection, or
            fail at once. Connecting itself always waits, for `connect_timeout`.
        on_cluster_change: "error": when the GCS comes back as another cluster, every call fails
            with ClusterChangedError; "adopt": the client goes on with the new one. A `cluster_id`
            holds for the first connection either way.
        max_send_message: the largest request, in bytes. None: 512 MiB.
        max_receive_message: the largest reply, in bytes. None: 512 MiB.
        tcp_user_timeout: how long sent data may stay unacknowledged before the connection counts as
            lost, in seconds. None: 20 s.
        max_pending_calls: how many calls and watches may be under way, or have ended without
            anybody having taken that; one more fails at once with LimitExceededError. None:
            1 000 000.
        max_pending_bytes: what their requests may have together, in bytes; likewise. None: 4 GiB.
        tls: whether the connection uses TLS: a `TlsConfig` that names the files; True: with the
            files of Ray's variables RAY_TLS_CA_CERT, RAY_TLS_SERVER_CERT and RAY_TLS_SERVER_KEY;
            False: without TLS. None: as RAY_USE_TLS says.

    Raises:
        TypeError: an argument of a wrong type.
        ValueError: an argument, such as an address or a file for TLS, that cannot be.
        UnavailableError: no connection could be made within connect_timeout.
        AuthenticationError: the token is wrong or missing.
        GcsError: no address was given, and none found; the message says where it was looked for.
    """
    options = client_options(
        address,
        connect_timeout=connect_timeout,
        timeout=timeout,
        cluster_id=cluster_id,
        token=token,
        wait_for_ready=wait_for_ready,
        on_cluster_change=on_cluster_change,
        max_send_message=max_send_message,
        max_receive_message=max_receive_message,
        tcp_user_timeout=tcp_user_timeout,
        max_pending_calls=max_pending_calls,
        max_pending_bytes=max_pending_bytes,
        tls=tls,
    )
    return Connecting(partial(_open, options))  # blocking: return _open(options)


async def _open(options: ClientOptions) -> GcsClient:
    return GcsClient(await Channel.connect(options))


class GcsClient:
    """A client of a GCS, made by `connect()`. Any thread may use it.

    Attributes:
        kv: the key-value store.
        actors: the actors.
        autoscaler: what the autoscaler tells, and learns.
        errors: errors that people are shown.
        events: structured events.
        jobs: the jobs.
        logs: lines that workers wrote.
        nodes: the nodes.
        placement_groups: the placement groups.
        resources: the nodes' resources.
        runtime_envs: packages of runtime environments.
        tasks: the tasks.
        workers: the worker processes.
    """

    __slots__ = (
        "__weakref__",
        "_channel",
        "actors",
        "autoscaler",
        "errors",
        "events",
        "jobs",
        "kv",
        "logs",
        "nodes",
        "placement_groups",
        "resources",
        "runtime_envs",
        "tasks",
        "workers",
    )

    def __init__(self, channel: Channel) -> None:
        """Made by `connect()`."""
        self._channel = channel
        self.kv = KeyValueStore(channel)
        self.actors = Actors(channel)
        self.autoscaler = Autoscaler(channel)
        self.errors = Errors(channel)
        self.events = Events(channel)
        self.jobs = Jobs(channel)
        self.logs = Logs(channel)
        self.nodes = Nodes(channel)
        self.placement_groups = PlacementGroups(channel)
        self.resources = Resources(channel)
        self.runtime_envs = RuntimeEnvs(channel)
        self.tasks = Tasks(channel)
        self.workers = Workers(channel)

    @property
    def address(self) -> str:
        """The server's "host:port"."""
        return self._channel.address

    @property
    def cluster_id(self) -> ClusterID | None:
        """The id of the cluster; None while it is not known."""
        return self._channel.cluster_id

    @property
    def ray_version(self) -> str | None:
        """The server's release of Ray; None until a call needed it, or `get_ray_version()`."""
        server = self._channel.server
        return None if server is None else server.release.text

    @property
    def state(self) -> State:
        """What the connection is: "idle", "connecting", "ready", "lost" or "closed"."""
        return self._channel.state

    def watch_state(self) -> StateWatch:
        """Watches the connection: its state now, then every change until the client is closed.

        `async with gcs.watch_state() as changes:` and then `async for change in changes:`; each
        has a `state` and a `reason`.
        """
        return StateWatch(self._channel)

    def on_state_change(self, callback: Callable[[StateChange], object]) -> Callable[[], None]:
        """Has the state now, and every change, told to a function, in the running event loop.

        Args:
            callback: gets a `StateChange`. What it raises goes to the loop's exception handler.
                It is told the next change all the same.

        Returns:
            A function that ends it.
            It ends by itself when the client is closed.

        Raises:
            TypeError: the callback is no function, or a coroutine function.
            ClientClosedError: the client is closed.
            LimitExceededError: `max_pending_calls` are pending; a watch counts as one.
        """
        return self._channel.watch_with(callback).close

    def subscribe(
        self,
        channel: ChannelName | str,
        key: bytes | str | AnyID | None = None,
        *,
        raw: bool = False,
        policy: Policy = "wait",
        max_messages: int = MAX_MESSAGES,
        max_bytes: int = MAX_BYTES,
        timeout: float | None = None,
    ) -> Subscription:
        """What the GCS publishes on a channel: a `Subscription`, to be entered and iterated.

        Args:
            channel: "errors", "logs", "resource_usage", "actors", "jobs", "nodes", "node_liveness"
                (from Ray 2.51 on) or "workers" (those that have died); or the name of another value
                of the server's ChannelType, whose messages come as bytes.
            key: only messages with this key: an actor's, job's, node's or worker's id; of errors,
                logs and resource usage what their publisher has chosen, which is for a job's errors
                and logs its id in hexadecimal digits: a `JobID` is taken for them. None or empty:
                all.
            raw: the messages come as bytes, as the server has laid them out.
            policy: what becomes of messages that are not taken in time. "wait": the server keeps
                them, until it restarts; "drop_oldest", "drop_newest": some are dropped here, and a
                `Resync` says so. The half of what is held that came first is not dropped any more:
                "drop_oldest" drops the oldest of the rest.
            max_messages: how many are held here; under "wait", one reply of the server beside.
            max_bytes: how many bytes of them; one message may be larger.
            timeout: in seconds, for entering; None for the client's own, `math.inf` for none.

        Raises:
            TypeError, ValueError: an argument that cannot be.
        """
        return Subscription(
            self._channel, channel, key, raw, policy, max_messages, max_bytes, timeout
        )

    def stats(self) -> dict[str, Any]:
        """What the client has counted since it was made.

        Returns:
            "state"; the calls "started", "completed" (with a reply), "failed" and "pending", of
            which "waiting" for a connection or for room on it, and "in_flight"; "not_taken" and
            "pending_bytes", which `max_pending_calls` and `max_pending_bytes` bound; "refused":
            those beyond these, which count nowhere else; "sent_again"; "connects", "disconnects";
            "last_disconnect": why the last connection was lost; "last_connect_error": why the last
            attempt to connect failed; "bytes_sent", "bytes_received"; "methods": for each path, or
            "other", how calls ended ("ok", "failed", "cancelled", "expired"), and how often they
            were "sent_again"; "latencies": from the call to its end, pairs of an upper bound in
            nanoseconds and a count. Connecting counts as a call, but has no method.

        Raises:
            ClientClosedError: the client is closed.
        """
        return self._channel.stats()

    async def get_ray_version(self, *, timeout: float | None = None) -> str:
        """The server's release of Ray, such as "2.60.0". RPC: NodeInfoGcsService.CheckAlive.

        Asked once, then remembered, until a call finds that another release has taken the server's
        place.

        Args:
            timeout: in seconds; None for the client's own, `math.inf` for none, 0 has already
                expired.

        Raises:
            DeadlineExceededError: the timeout expired.
            GcsError: the call failed.
        """
        server = await server_of(self._channel, Deadline(timeout, self._channel.default_timeout))
        return server.release.text

    @overload
    async def call(
        self,
        service: str,
        method: str,
        request: Buffer | Message | Mapping[str, Any] = ...,
        *,
        reply_type: type[MessageT],
        timeout: float | None = ...,
        retry: Retry | None = ...,
        wait_for_ready: bool | None = ...,
    ) -> MessageT: ...

    @overload
    async def call(
        self,
        service: str,
        method: str,
        request: Message | Mapping[str, Any],
        *,
        reply_type: None = ...,
        timeout: float | None = ...,
        retry: Retry | None = ...,
        wait_for_ready: bool | None = ...,
    ) -> Any: ...

    @overload
    async def call(
        self,
        service: str,
        method: str,
        request: Buffer = ...,
        *,
        reply_type: None = ...,
        timeout: float | None = ...,
        retry: Retry | None = ...,
        wait_for_ready: bool | None = ...,
    ) -> bytes: ...

    async def call(
        self,
        service: str,
        method: str,
        request: Buffer | Message | Mapping[str, Any] = b"",
        *,
        reply_type: type[Message] | None = None,
        timeout: float | None = None,
        retry: Retry | None = None,
        wait_for_ready: bool | None = None,
    ) -> Any:
        """Calls any unary method of the server.

        Args:
            service: the full name, such as "ray.rpc.NodeInfoGcsService", or the short one of a
                service of the GCS, such as "NodeInfoGcsService".
            method: the method's name.
            request: a serialized message as bytes; or a message, of `gcs_cffi.messages` or of Ray;
                or a dict of the request's fields, for a method whose messages `gcs_cffi.messages`
                has.
            reply_type: the message class to read the reply with. None: bytes come back for bytes,
                and a message of `gcs_cffi.messages` for a message or a dict.
            timeout: in seconds; None for the client's own, `math.inf` for none, 0 has already
                expired.
            retry: when the call is sent again: "never"; "safe", the default: when it cannot have
                run, or only reads; "always": whenever its connection was lost.
            wait_for_ready: whether the call waits while there is no connection; None: as the client
                does.

        Returns:
            The reply.

        Raises:
            TypeError: an argument of a wrong type, such as a message of another method.
            ValueError: an argument that cannot be.
            GcsStatusError: the reply holds a status of Ray's that is not OK.
            UnsupportedByServerError: the server has no such method.
            RpcError: the server refused the call.
            DeadlineExceededError: the timeout expired.
            GcsError: the call failed, or the reply is not the message expected.
        """
        prepared = _methods.prepare(service, method, request, reply_type, retry, wait_for_ready)
        called, reader = prepared.method, prepared.reply_type
        if prepared.is_raw:
            body: bytes = await self._channel.request(
                _native.CALL,
                prepared.flags,
                called.number,
                called.name,
                b"",
                prepared.request,
                nanoseconds(timeout),
            )
        elif prepared.known is None:
            return await call_unknown(
                self._channel, called, prepared.request, reader, timeout, prepared.flags
            )
        elif reader is None:
            return await call(
                self._channel, (prepared.known,), prepared.request, timeout, prepared.flags
            )
        else:
            body = await call_for_bytes(
                self._channel, (prepared.known,), prepared.request, timeout, prepared.flags
            )
        return body if reader is None else _methods.parse(reader, body, called.path, self.address)

    async def close(self) -> None:
        """Closes the client: pending calls end with ClientClosedError. Again does nothing."""
        await self._channel.close()

    async def __aenter__(self) -> Self:
        """Gives the client, which is closed when the block ends."""
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Closes the client."""
        await self.close()

    def __repr__(self) -> str:
        """Address and state."""
        return f"<gcs_cffi.GcsClient of {self.address}, {self.state}>"
