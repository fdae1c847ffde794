# SPDX-License-Identifier: Apache-2.0
"""What the autoscaler tells the GCS, and learns from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcs_cffi import messages
from gcs_cffi._arguments import Deadline, amounts, enum_number, integer, text
from gcs_cffi._channel import redone
from gcs_cffi._methods import bundled
from gcs_cffi._release import known, require
from gcs_cffi._typed import call, server_of
from gcs_cffi.ids import NodeID
from gcs_cffi.options import DrainAnswer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from google.protobuf.message import Message

    from gcs_cffi._channel import Channel
    from gcs_cffi._release import KnownMethod
    from gcs_cffi.ids import AnyID

__all__ = ["Autoscaler"]

_SERVICE = "autoscaler.AutoscalerStateService"
_DRAIN = known(f"{_SERVICE}/DrainNode")
_REPORT_CONFIG = known(f"{_SERVICE}/ReportClusterConfig")
_REPORT_STATE = known(f"{_SERVICE}/ReportAutoscalingState")
_REQUEST = known(f"{_SERVICE}/RequestClusterResourceConstraint")
_RESIZE = known(f"{_SERVICE}/ResizeRayletResourceInstances")
_RESOURCE_STATE = known(f"{_SERVICE}/GetClusterResourceState")
_STATUS = known(f"{_SERVICE}/GetClusterStatus")

_DEADLINE_SINCE = (2, 10)
_SELECTORS_SINCE = (2, 45)
_LONGEST = (1 << 63) - 1


class Autoscaler:
    """The autoscaler's interface; `gcs.autoscaler` of a client.

    RPCs: ray.rpc.autoscaler.AutoscalerStateService, whose replies hold no status: the GCS refuses
    with an RpcError or a GcsStatusError.

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

    async def get_cluster_status(
        self, *, timeout: float | None = None
    ) -> messages.autoscaler.GetClusterStatusReply:
        """What the autoscaler last reported, and what the cluster needs. RPC: GetClusterStatus.

        Returns:
            `autoscaling_state`, empty until an autoscaler has reported, and
            `cluster_resource_state`.
        """
        reply: messages.autoscaler.GetClusterStatusReply = await call(
            self._channel, _STATUS, b"", timeout
        )
        return reply

    async def get_cluster_resource_state(
        self, *, timeout: float | None = None
    ) -> messages.autoscaler.ClusterResourceState:
        """Nodes, demands and constraints. RPC: GetClusterResourceState."""
        reply = await call(self._channel, _RESOURCE_STATE, b"", timeout)
        state: messages.autoscaler.ClusterResourceState = reply.cluster_resource_state
        return state

    async def report_autoscaling_state(
        self,
        state: messages.autoscaler.AutoscalingState | Message | Mapping[str, Any],
        *,
        timeout: float | None = None,
    ) -> None:
        """Reports what the autoscaler does. RPC: ReportAutoscalingState.

        Args:
            state: the state, whose `autoscaler_state_version` grows with each report: the GCS
                ignores an older one; a message or its fields.
            timeout: in seconds; None for the client's own, `math.inf` for none.
        """
        data = bundled(messages.autoscaler.AutoscalingState, state, "state")
        request = messages.autoscaler.ReportAutoscalingStateRequest(autoscaling_state=data)
        await call(self._channel, _REPORT_STATE, request, timeout)

    async def report_cluster_config(
        self,
        config: messages.autoscaler.ClusterConfig | Message | Mapping[str, Any],
        *,
        timeout: float | None = None,
    ) -> None:
        """Reports what the cluster may grow to. RPC: ReportClusterConfig, of Ray 2.41 and newer.

        Args:
            config: the configuration; a message or its fields.
            timeout: in seconds; None for the client's own, `math.inf` for none.
        """
        data = bundled(messages.autoscaler.ClusterConfig, config, "config")
        request = messages.autoscaler.ReportClusterConfigRequest(cluster_config=data)
        await call(self._channel, _REPORT_CONFIG, request, timeout)

    @redone
    async def request_cluster_resource_constraint(
        self,
        bundles: Iterable[Mapping[str, float]],
        *,
        counts: Iterable[int] | None = None,
        label_selectors: Iterable[messages.LabelSelector | Message | Mapping[str, Any]]
        | None = None,
        timeout: float | None = None,
    ) -> None:
        """Asks for a cluster of at least this size. RPC: RequestClusterResourceConstraint.

        It replaces what was asked for before.

        Args:
            bundles: amounts by the resources' names, such as {"CPU": 1}; none for no constraint.
            counts: how many of each bundle. None: one of each.
            label_selectors: for each bundle which nodes will do; a message or its fields. None:
                any. From Ray 2.45 on.
            timeout: in seconds; None for the client's own, `math.inf` for none.
        """
        shapes = [amounts(bundle, "a bundle") for bundle in bundles]
        wanted = (
            [1] * len(shapes)
            if counts is None
            else [integer(number, "a count", 0, _LONGEST) for number in counts]
        )
        selectors = (
            None
            if label_selectors is None
            else [
                bundled(messages.LabelSelector, selector, "a label selector")
                for selector in label_selectors
            ]
        )
        if len(wanted) != len(shapes) or (selectors is not None and len(selectors) != len(shapes)):
            raise ValueError("counts and label_selectors have an entry for each bundle")
        constraint = messages.autoscaler.ClusterResourceConstraint()
        for index, shape in enumerate(shapes):
            entry = constraint.resource_requests.add(count=wanted[index])
            entry.request.resources_bundle.update(shape)
            if selectors is not None:
                entry.request.label_selectors.append(selectors[index])
        request = messages.autoscaler.RequestClusterResourceConstraintRequest(
            cluster_resource_constraint=constraint
        )
        deadline = Deadline.of(timeout, self._channel.default_timeout)
        if selectors:
            await self._require(_SELECTORS_SINCE, "label_selectors", _REQUEST[0], deadline)
        await call(self._channel, _REQUEST, request, deadline)

    @redone
    async def drain_node(
        self,
        node_id: AnyID,
        *,
        reason: int | str,
        message: str = "",
        deadline_ms: int = 0,
        timeout: float | None = None,
    ) -> DrainAnswer:
        """Asks a node to take no more work, and to end when it has none. RPC: DrainNode.

        Args:
            node_id: the node. Of one that the GCS does not know it says that it accepts.
            reason: "DRAIN_NODE_REASON_IDLE_TERMINATION", which a busy node rejects, or
                "DRAIN_NODE_REASON_PREEMPTION", which none does; or the number.
            message: why, for people.
            deadline_ms: when the node will be ended in any case, in milliseconds since the Unix
                epoch; 0 for no bound. From Ray 2.10 on.
            timeout: in seconds; None for the client's own, `math.inf` for none.
        """
        number = enum_number(messages.autoscaler.DrainNodeReason, reason, "reason")
        if number == messages.autoscaler.DRAIN_NODE_REASON_UNSPECIFIED:
            raise ValueError("a node is drained for a reason: an unspecified one ends its raylet")
        request = messages.autoscaler.DrainNodeRequest(
            node_id=NodeID(node_id),
            reason=number,
            reason_message=text(message, "message"),
            deadline_timestamp_ms=integer(deadline_ms, "deadline_ms", 0, _LONGEST),
        )
        deadline = Deadline.of(timeout, self._channel.default_timeout)
        if deadline_ms:
            await self._require(_DEADLINE_SINCE, "deadline_ms", _DRAIN[0], deadline)
        reply = await call(self._channel, _DRAIN, request, deadline)
        return DrainAnswer(reply.is_accepted, reply.rejection_reason_message)

    async def resize_raylet_resource_instances(
        self, node_id: AnyID, resources: Mapping[str, float], *, timeout: float | None = None
    ) -> dict[str, float]:
        """Changes how much of its resources a node has.

        RPC: ResizeRayletResourceInstances, of Ray 2.55 and newer.

        Args:
            node_id: the node.
            resources: the new amounts by the resources' names, such as {"CPU": 8}.
            timeout: in seconds; None for the client's own, `math.inf` for none.

        Returns:
            What the node has altogether now.
        """
        request = messages.autoscaler.ResizeRayletResourceInstancesRequest(
            node_id=NodeID(node_id), resources=amounts(resources, "resources")
        )
        reply = await call(self._channel, _RESIZE, request, timeout)
        return dict(reply.total_resources)

    async def _require(
        self, first: tuple[int, int], what: str, method: KnownMethod, deadline: Deadline
    ) -> None:
        release = (await server_of(self._channel, deadline)).release
        require(first, what, method, release, self._channel.address)
