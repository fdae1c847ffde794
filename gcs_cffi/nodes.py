# SPDX-License-Identifier: Apache-2.0
"""The nodes of a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcs_cffi._release import known
from gcs_cffi._typed import call
from gcs_cffi.ids import NodeID

if TYPE_CHECKING:
    from gcs_cffi import messages
    from gcs_cffi._channel import Channel

__all__ = ["Nodes"]

_LIST = known("NodeInfoGcsService/GetAllNodeInfo")


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
        reply = await call(self._channel, _LIST, b"", timeout)
        return {NodeID(node.node_id): node for node in reply.node_info_list}
