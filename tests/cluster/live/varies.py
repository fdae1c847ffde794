# SPDX-License-Identifier: Apache-2.0
"""The fields that differ between two readings of one cluster at rest, each with its reason.

They only grow, and are compared as such: Ray's reading, which lies between two of ours, is no less
than the one and no more than the other. Timestamps and loads are not among them: while nothing
happens, the GCS says the same again; where one has moved, it is read anew.
"""

from __future__ import annotations

VARIES: dict[tuple[str, str], str] = {
    (
        "ray.rpc.autoscaler.ClusterResourceState",
        "cluster_resource_state_version",
    ): "counts the replies of this GCS: each question, ours and Ray's, makes it one more",
    (
        "ray.rpc.autoscaler.NodeState",
        "node_state_version",
    ): "the version of the reply that it is in",
    (
        "ray.rpc.autoscaler.NodeState",
        "idle_duration_ms",
    ): "of a node on which nothing runs, the GCS counts it up to the moment of the reply",
}
