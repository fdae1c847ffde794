# SPDX-License-Identifier: Apache-2.0
"""The nodes of a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcs_cffi import _methods, _native, messages
from gcs_cffi._arguments import nanoseconds
from gcs_cffi.ids import NodeID

if TYPE_CHECKING:
    from gcs_cffi._channel import Channel

__all__ = ["Nodes"]


class Nodes:
    """The nodes; `gcs.nodes` of a client. RPCs: ray.rpc.NodeInfoGcsService."""

    __slots__ = ("_channel",)

    def __init__(self, channel: Channel) -> None:
        """Made by the client."""
        self._channel = channel

    async def list(self, *, timeout: float | None = None) -> dict[NodeID, messages.GcsNodeInfo]:
        """The nodes that the GCS knows, by their ids, dead ones included. RPC: GetAllNodeInfo.

        Args:
            timeout: in seconds; None for the client's own, `math.inf` for none, 0 has already
                expired.

        Returns:
            What the GCS knows about each node, by its id.

        Raises:
            DeadlineExceededError: the timeout expired.
            GcsError: the call failed.
        """
        method = _methods.find("NodeInfoGcsService", "GetAllNodeInfo")
        body: bytes = await self._channel.request(
            _native.CALL, 0, method.number, method.name, b"", b"", nanoseconds(timeout)
        )
        address = self._channel.address
        reply = _methods.parse(messages.GetAllNodeInfoReply, body, method.path, address)
        return {NodeID(node.node_id): node for node in reply.node_info_list}
