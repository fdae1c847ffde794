# SPDX-License-Identifier: Apache-2.0
"""What may differ between two readings of one cluster, field by field, each with its reason."""

from __future__ import annotations

# Another moment has another value.
VARIES: dict[tuple[str, str], str] = {
    (
        "ray.rpc.autoscaler.ClusterResourceState",
        "cluster_resource_state_version",
    ): "counts the replies of this GCS: each question, ours and Ray's, makes it one more",
    (
        "ray.rpc.autoscaler.NodeState",
        "node_state_version",
    ): "the version of the reply that it is in",
}

# The GCS walks a hash map to fill these: the same entries come in any order.
UNORDERED: set[tuple[str, str]] = set()
