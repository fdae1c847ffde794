# SPDX-License-Identifier: Apache-2.0
"""The resources of a cluster's nodes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from gcs_cffi import messages
from gcs_cffi._arguments import key_bytes
from gcs_cffi._methods import id_of
from gcs_cffi._release import known
from gcs_cffi._typed import call
from gcs_cffi.ids import NodeID

if TYPE_CHECKING:
    from typing import Any

    from gcs_cffi._channel import Channel

__all__ = ["Resources"]

_AVAILABLE = known("NodeResourceInfoGcsService/GetAllAvailableResources")
_DRAINING = known("NodeResourceInfoGcsService/GetDrainingNodes")
_PUBLISH = known("ObservabilityPubSubService/GcsPublish", "InternalPubSubGcsService/GcsPublish")
_TOTAL = known("NodeResourceInfoGcsService/GetAllTotalResources")
_USAGE = known("NodeResourceInfoGcsService/GetAllResourceUsage")


class Resources:
    """The resources; `gcs.resources` of a client. RPCs: ray.rpc.NodeResourceInfoGcsService.

    To publish: ray.rpc.ObservabilityPubSubService; of Ray before 2.56 InternalPubSubGcsService.

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

    async def available(self, *, timeout: float | None = None) -> dict[NodeID, dict[str, float]]:
        """What the living nodes have left. RPC: GetAllAvailableResources.

        Returns:
            For each node amounts by the resources' names, "CPU" and the like; memory in bytes. What
            is used up may be missing.
        """
        reply = await call(self._channel, _AVAILABLE, b"", timeout)
        return {
            id_of(NodeID, node.node_id): dict(node.resources_available)
            for node in reply.resources_list
        }

    async def total(self, *, timeout: float | None = None) -> dict[NodeID, dict[str, float]]:
        """What the living nodes have. RPC: GetAllTotalResources, of Ray 2.30 and newer.

        Returns:
            For each node amounts by the resources' names, "CPU" and the like; memory in bytes.
        """
        reply = await call(self._channel, _TOTAL, b"", timeout)
        return {
            id_of(NodeID, node.node_id): dict(node.resources_total) for node in reply.resources_list
        }

    async def usage(self, *, timeout: float | None = None) -> messages.ResourceUsageBatchData:
        """What the nodes last reported, and what is asked of them. RPC: GetAllResourceUsage.

        Returns:
            `batch` has a ResourcesData for each node; `resource_load_by_shape` the demands that
            wait, and `placement_group_load` the placement groups that do.
        """
        reply = await call(self._channel, _USAGE, b"", timeout)
        usage: messages.ResourceUsageBatchData = reply.resource_usage_data
        return usage

    async def draining_nodes(self, *, timeout: float | None = None) -> dict[NodeID, int]:
        """The nodes that are being drained. RPC: GetDrainingNodes.

        Returns:
            For each node when it will be ended, in milliseconds since the Unix epoch; 0 for no
            bound, and always 0 from Ray 2.9, which does not say.
        """
        reply = await call(self._channel, _DRAINING, b"", timeout)
        return {
            id_of(NodeID, node.node_id): node.draining_deadline_timestamp_ms
            for node in reply.draining_nodes
        }

    async def publish_usage(
        self,
        usage: str | Mapping[str, Any],
        *,
        key: bytes | str,
        timeout: float | None = None,
    ) -> None:
        """Publishes to those who have subscribed to "resource_usage". RPC: GcsPublish.

        Args:
            usage: what a node uses; JSON text, or a mapping that is made into it. Nobody looks into
                it on the way.
            key: what subscribers of one key find it by. Ray's own agents take
                "RAY_REPORTER:" and the node's id in hexadecimal digits.
            timeout: in seconds; None for the client's own, `math.inf` for none.
        """
        published = messages.PubMessage(
            channel_type="RAY_NODE_RESOURCE_USAGE_CHANNEL",
            key_id=key_bytes(key),
            node_resource_usage_message={"json": _json(usage)},
        )
        request = messages.GcsPublishRequest(pub_messages=[published])
        await call(self._channel, _PUBLISH, request, timeout)


def _json(usage: str | Mapping[str, Any]) -> str:
    if isinstance(usage, str):
        return usage
    if not isinstance(usage, Mapping):
        raise TypeError(f"usage is JSON text or a mapping, not {type(usage).__name__}")
    return json.dumps(dict(usage))
