# SPDX-License-Identifier: Apache-2.0
"""Which nodes are wanted: asked of the server as far as its release can, and looked at here.

Invariant: what fits is the same whatever the server left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from gcs_cffi import messages

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from gcs_cffi._release import Release
    from gcs_cffi.ids import NodeID

_SELECTORS_SINCE: Final = (2, 49)


class NodeFilters(NamedTuple):
    """The filters of `Nodes.list()`, where they are explained; None where there is none."""

    node_ids: AbstractSet[NodeID] | None
    names: AbstractSet[str] | None
    ip_addresses: AbstractSet[str] | None
    is_head: bool | None
    state: int | None

    def request(self, release: Release, limit: int | None) -> messages.GetAllNodeInfoRequest:
        """The request that leaves as much to the server as it can do."""
        request = messages.GetAllNodeInfoRequest()
        if release.pair < _SELECTORS_SINCE:
            return request
        selectors = request.node_selectors
        # A server knows the head only since 2.54, and then leaves out heads that are dead.
        if self.is_head is None:
            for node_id in self.node_ids or ():
                selectors.add(node_id=node_id)
            for name in self.names or ():
                selectors.add(node_name=name)
            for address in self.ip_addresses or ():
                selectors.add(node_ip_address=address)
        if self.state is not None:
            request.state_filter = self.state
        # A limit of 0 would mean none there.
        if limit and (selectors or not self._selects()):
            request.limit = limit
        return request

    def fit(self, node: messages.GcsNodeInfo) -> bool:
        """Whether the node is wanted."""
        if self.state is not None and node.state != self.state:
            return False
        return (
            not self._selects()
            or node.node_id in (self.node_ids or ())
            or node.node_name in (self.names or ())
            or node.node_manager_address in (self.ip_addresses or ())
            or (self.is_head is not None and node.is_head_node == self.is_head)
        )

    def _selects(self) -> bool:
        return any(
            given is not None
            for given in (self.node_ids, self.names, self.ip_addresses, self.is_head)
        )
