# SPDX-License-Identifier: Apache-2.0
"""The fields that differ between two readings of one cluster at rest, each with its reason.

They are all that `./dev live` does not compare. Timestamps, loads and idle durations are not among
them: while nothing happens, the GCS says the same again; where one has moved, it is read anew.
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
}
