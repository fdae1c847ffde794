# SPDX-License-Identifier: Apache-2.0
"""The nodes of a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcs_cffi import _status, messages
from gcs_cffi._arguments import Deadline, boolean, count, enum_number, several, text
from gcs_cffi._channel import redone
from gcs_cffi._methods import bundled, id_of
from gcs_cffi._node_filters import NodeFilters
from gcs_cffi._release import choose, known
from gcs_cffi._typed import call, server_of
from gcs_cffi.errors import from_status
from gcs_cffi.ids import NodeID
from gcs_cffi.pubsub import MAX_BYTES, MAX_MESSAGES
from gcs_cffi.watching import NodesWatch

if TYPE_CHECKING:
    import builtins
    from collections.abc import Iterable, Mapping
    from typing import Any

    from google.protobuf.message import Message

    from gcs_cffi._channel import Channel
    from gcs_cffi.ids import AnyID
    from gcs_cffi.watching import Watch

__all__ = ["Nodes"]

_ADDRESS_AND_LIVENESS = known("NodeInfoGcsService/GetAllNodeAddressAndLiveness")
_CHECK_ALIVE = known("NodeInfoGcsService/CheckAlive")
_DRAIN = known("NodeInfoGcsService/DrainNode")
_LIST = known("NodeInfoGcsService/GetAllNodeInfo")
_REGISTER = known("NodeInfoGcsService/RegisterNode")
_UNREGISTER = known("NodeInfoGcsService/UnregisterNode")

_CHECK_BY_ID_SINCE = (2, 49)


class Nodes:
    """The nodes; `gcs.nodes` of a client. RPCs: ray.rpc.NodeInfoGcsService.

    What all methods share: ids are checked for their length, and taken as `bytes`, as ids of
    `gcs_cffi` or of Ray. `timeout` is in seconds: None for the client's own, `math.inf` for none, 0
    has already expired. Every method raises

    - TypeError and ValueError for arguments that cannot be, before anything is sent;
    - DeadlineExceededError when the timeout expires; UnsupportedByServerError for what the server's
      release of Ray cannot do; GcsStatusError when the GCS refuses; another GcsError when the call
      fails.
    """

    __slots__ = ("_channel",)

    def __init__(self, channel: Channel) -> None:
        """Made by the client."""
        self._channel = channel

    @redone
    async def list(
        self,
        *,
        node_ids: Iterable[AnyID] | None = None,
        names: Iterable[str] | None = None,
        ip_addresses: Iterable[str] | None = None,
        is_head: bool | None = None,
        state: int | str | None = None,
        limit: int | None = None,
        timeout: float | None = None,
    ) -> dict[NodeID, messages.GcsNodeInfo]:
        """The nodes that the GCS knows, dead ones included, all or some. RPC: GetAllNodeInfo.

        A node is listed if any of `node_ids`, `names`, `ip_addresses` and `is_head` names it, or
        none of these is given.

        Args:
            node_ids: these.
            names: those of these names.
            ip_addresses: those with these addresses of their raylets.
            is_head: the head node (True), or the others (False).
            state: of these only those in this state, such as "ALIVE" or
                `messages.GcsNodeInfo.ALIVE`.
            limit: at most so many, whichever.
            timeout: in seconds; None for the client's own, `math.inf` for none.

        Returns:
            The nodes by their ids.
        """
        deadline = Deadline.of(timeout, self._channel.default_timeout)
        filters = NodeFilters(
            None if node_ids is None else {*_each_once(node_ids)},
            None if names is None else {text(name, "a name") for name in several(names, "names")},
            None
            if ip_addresses is None
            else {text(ip, "an address") for ip in several(ip_addresses, "ip_addresses")},
            None if is_head is None else boolean(is_head, "is_head"),
            None
            if state is None
            else enum_number(messages.GcsNodeInfo.GcsNodeState, state, "state"),
        )
        most = count(limit, "limit")
        server = await server_of(self._channel, deadline)
        request = filters.request(server.release, most)
        reply = await call(self._channel, _LIST, request, deadline, written_for=server)
        found = [node for node in reply.node_info_list if filters.fit(node)][:most]
        return {id_of(NodeID, node.node_id): node for node in found}

    def watch(
        self,
        *,
        max_messages: int = MAX_MESSAGES,
        max_bytes: int = MAX_BYTES,
        timeout: float | None = None,
    ) -> Watch[NodeID, messages.GcsNodeInfo]:
        """The nodes, and every change of them: a `Watch`, to be entered and iterated.

        It has what `list()` gives, but for what changes without a word: the `state_snapshot`, and
        of living nodes the `death_info`.

        Args:
            max_messages: how many messages are held that nobody has asked for, beside one reply of
                the server; more of them wait there.
            max_bytes: how many bytes of them; one message may be larger.
            timeout: in seconds, for entering; None for the client's own, `math.inf` for none.
        """
        return NodesWatch(self._channel, self, timeout, max_messages, max_bytes)

    async def get(
        self, node_id: AnyID, *, timeout: float | None = None
    ) -> messages.GcsNodeInfo | None:
        """What the GCS knows about a node. RPC: GetAllNodeInfo.

        Returns:
            The node, dead or alive; None if there is no such node, or not any more.
        """
        wanted = NodeID(node_id)
        return (await self.list(node_ids=[wanted], timeout=timeout)).get(wanted)

    @redone
    async def check_alive(
        self, node_ids: Iterable[AnyID], *, timeout: float | None = None
    ) -> dict[NodeID, bool]:
        """Which nodes are alive, as far as the GCS has noticed. RPC: CheckAlive.

        Before Ray 2.49, which asks by address, GetAllNodeInfo gives the addresses.

        Returns:
            For each node whether it is; a node that the GCS does not know is not.
        """
        deadline = Deadline.of(timeout, self._channel.default_timeout)
        wanted = _each_once(node_ids)
        server = await server_of(self._channel, deadline)
        if server.release.pair >= _CHECK_BY_ID_SINCE:
            request = messages.CheckAliveRequest(node_ids=wanted)
            reply = await call(self._channel, _CHECK_ALIVE, request, deadline, written_for=server)
            return self._each_alive(wanted, reply)
        listed = await call(self._channel, _LIST, b"", deadline, written_for=server)
        addresses = {
            id_of(
                NodeID, node.node_id
            ): f"{node.node_manager_address}:{node.node_manager_port}".encode()
            for node in listed.node_info_list
            if node.state == messages.GcsNodeInfo.ALIVE
        }
        asked = [node_id for node_id in wanted if node_id in addresses]
        # The field was `repeated string raylet_address`, of the same number.
        older = messages.CheckAliveRequest(node_ids=[addresses[node_id] for node_id in asked])
        body = older.SerializeToString()
        reply = await call(self._channel, _CHECK_ALIVE, body, deadline, written_for=server)
        alive = self._each_alive(asked, reply)
        return {node_id: alive.get(node_id, False) for node_id in wanted}

    def _each_alive(
        self, asked: builtins.list[NodeID], reply: messages.CheckAliveReply
    ) -> dict[NodeID, bool]:
        if len(reply.raylet_alive) != len(asked):
            raise from_status(
                _status.INTERNAL,
                _status.FLAG_LOCAL,
                f"the reply is about {len(reply.raylet_alive)} nodes, and not {len(asked)}",
                _CHECK_ALIVE[0].path,
                self._channel.address,
            )
        return dict(zip(asked, reply.raylet_alive, strict=True))

    async def drain(
        self, node_ids: Iterable[AnyID], *, timeout: float | None = None
    ) -> builtins.list[NodeID]:
        """Has raylets end at once. RPC: DrainNode.

        The gentle way is `gcs.autoscaler.drain_node()`.

        Returns:
            The nodes that the GCS has told so, or does not know.
        """
        request = messages.DrainNodeRequest(
            drain_node_data=[{"node_id": node_id} for node_id in _each_once(node_ids)]
        )
        reply = await call(self._channel, _DRAIN, request, timeout)
        return [id_of(NodeID, node.node_id) for node in reply.drain_node_status]

    async def register(
        self,
        node: messages.GcsNodeInfo | Message | Mapping[str, Any],
        *,
        timeout: float | None = None,
    ) -> None:
        """Tells the GCS about a node, as its raylet does. RPC: RegisterNode.

        Args:
            node: the node, with its `node_id`; a message or its fields.
            timeout: in seconds; None for the client's own, `math.inf` for none.
        """
        data = bundled(messages.GcsNodeInfo, node, "node")
        await call(self._channel, _REGISTER, messages.RegisterNodeRequest(node_info=data), timeout)

    @redone
    async def unregister(
        self,
        node_id: AnyID,
        *,
        reason: int | str = "EXPECTED_TERMINATION",
        message: str = "",
        timeout: float | None = None,
    ) -> None:
        """Tells the GCS that a node ends, as its raylet does. RPC: UnregisterNode, since Ray 2.23.

        The node is looked up first, and nothing is said about one that is unknown or dead: a GCS
        does not answer that.

        Args:
            node_id: the node.
            reason: why, such as "EXPECTED_TERMINATION" or
                `messages.NodeDeathInfo.EXPECTED_TERMINATION`.
            message: why, for people.
            timeout: in seconds; None for the client's own, `math.inf` for none.
        """
        death = messages.NodeDeathInfo(
            reason=enum_number(messages.NodeDeathInfo.Reason, reason, "reason"),
            reason_message=text(message, "message"),
        )
        deadline = Deadline.of(timeout, self._channel.default_timeout)
        wanted = NodeID(node_id)
        server = await server_of(self._channel, deadline)
        choose(_UNREGISTER, server.release, self._channel.address)
        filters = NodeFilters({wanted}, None, None, None, messages.GcsNodeInfo.ALIVE)
        request = filters.request(server.release, None)
        reply = await call(self._channel, _LIST, request, deadline, written_for=server)
        if not any(filters.fit(node) for node in reply.node_info_list):
            return
        ended = messages.UnregisterNodeRequest(node_id=wanted, node_death_info=death)
        await call(self._channel, _UNREGISTER, ended, deadline, written_for=server)

    async def address_and_liveness(
        self,
        *,
        node_ids: Iterable[AnyID] | None = None,
        state: int | str | None = None,
        limit: int | None = None,
        timeout: float | None = None,
    ) -> dict[NodeID, messages.GcsNodeAddressAndLiveness]:
        """The short form of `list()`. RPC: GetAllNodeAddressAndLiveness, since Ray 2.51.

        Args:
            node_ids: only these.
            state: only those in this state, such as "ALIVE".
            limit: at most so many, whichever.
            timeout: in seconds; None for the client's own, `math.inf` for none.

        Returns:
            Addresses and states by the nodes' ids.
        """
        most = count(limit, "limit")
        request = messages.GetAllNodeAddressAndLivenessRequest(limit=most)
        if node_ids is not None:
            request.node_ids.extend(_each_once(node_ids))
        if state is not None:
            states = messages.GcsNodeInfo.GcsNodeState
            request.state_filter = enum_number(states, state, "state")
        reply = await call(self._channel, _ADDRESS_AND_LIVENESS, request, timeout)
        found = [*reply.node_info_list][:most]
        if node_ids is not None and not request.node_ids:
            return {}
        return {id_of(NodeID, node.node_id): node for node in found}


def _each_once(node_ids: Iterable[AnyID]) -> list[NodeID]:
    return list(dict.fromkeys(NodeID(node_id) for node_id in several(node_ids, "node_ids")))
