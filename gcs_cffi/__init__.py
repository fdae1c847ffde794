# SPDX-License-Identifier: Apache-2.0
"""A client of Ray's GCS (Global Control Service) for asyncio, and for threads in `gcs_cffi.sync`.

    async with gcs_cffi.connect("127.0.0.1:6379") as gcs:
        await gcs.kv.put(b"key", b"value", namespace=b"app")

Invariant: importing this package starts no thread and imports no protobuf.
"""

from gcs_cffi import errors, ids, options, sync
from gcs_cffi._native import version as _version
from gcs_cffi.client import Connecting, GcsClient, connect
from gcs_cffi.connection import StateWatch
from gcs_cffi.errors import (
    AuthenticationError,
    ClientClosedError,
    ClusterChangedError,
    ConnectionLostError,
    DeadlineExceededError,
    ForkedError,
    GcsError,
    GcsStatusError,
    InvalidRequestError,
    LimitExceededError,
    RpcError,
    UnavailableError,
    UnsupportedByServerError,
)
from gcs_cffi.ids import (
    ActorID,
    BaseID,
    ClusterID,
    JobID,
    NodeID,
    ObjectID,
    PlacementGroupID,
    TaskID,
    WorkerID,
)
from gcs_cffi.jobs import Jobs
from gcs_cffi.kv import KeyValueStore
from gcs_cffi.nodes import Nodes
from gcs_cffi.options import ClusterChange, Retry, State, StateChange, TlsConfig

__version__ = _version()

__all__ = [
    "ActorID",
    "AuthenticationError",
    "BaseID",
    "ClientClosedError",
    "ClusterChange",
    "ClusterChangedError",
    "ClusterID",
    "Connecting",
    "ConnectionLostError",
    "DeadlineExceededError",
    "ForkedError",
    "GcsClient",
    "GcsError",
    "GcsStatusError",
    "InvalidRequestError",
    "JobID",
    "Jobs",
    "KeyValueStore",
    "LimitExceededError",
    "NodeID",
    "Nodes",
    "ObjectID",
    "PlacementGroupID",
    "Retry",
    "RpcError",
    "State",
    "StateChange",
    "StateWatch",
    "TaskID",
    "TlsConfig",
    "UnavailableError",
    "UnsupportedByServerError",
    "WorkerID",
    "connect",
    "errors",
    "ids",
    "options",
    "sync",
]
