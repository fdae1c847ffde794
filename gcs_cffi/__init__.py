# SPDX-License-Identifier: Apache-2.0
"""A client of Ray's GCS (Global Control Service) for asyncio, and for threads in `gcs_cffi.sync`.

    async with gcs_cffi.connect("127.0.0.1:6379") as gcs:
        await gcs.kv.put(b"key", b"value", namespace=b"app")

Invariant: importing this package starts no thread and imports no protobuf.
"""

from gcs_cffi import errors, ids, messages, options, sync
from gcs_cffi._connecting import Connecting
from gcs_cffi._native import version as _version
from gcs_cffi._published import Change, Message, Resync
from gcs_cffi.actors import Actors
from gcs_cffi.autoscaler import Autoscaler
from gcs_cffi.client import GcsClient, connect
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
from gcs_cffi.events import Events
from gcs_cffi.ids import (
    ActorID,
    AnyID,
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
from gcs_cffi.options import ClusterChange, DrainAnswer, Retry, State, StateChange, TlsConfig
from gcs_cffi.placement_groups import PlacementGroups
from gcs_cffi.publishing import Errors, Logs
from gcs_cffi.pubsub import Subscription
from gcs_cffi.resources import Resources
from gcs_cffi.runtime_envs import RuntimeEnvs
from gcs_cffi.tasks import Tasks
from gcs_cffi.watching import Watch
from gcs_cffi.workers import Workers

__version__ = _version()

__all__ = [
    "ActorID",
    "Actors",
    "AnyID",
    "AuthenticationError",
    "Autoscaler",
    "BaseID",
    "Change",
    "ClientClosedError",
    "ClusterChange",
    "ClusterChangedError",
    "ClusterID",
    "Connecting",
    "ConnectionLostError",
    "DeadlineExceededError",
    "DrainAnswer",
    "Errors",
    "Events",
    "ForkedError",
    "GcsClient",
    "GcsError",
    "GcsStatusError",
    "InvalidRequestError",
    "JobID",
    "Jobs",
    "KeyValueStore",
    "LimitExceededError",
    "Logs",
    "Message",
    "NodeID",
    "Nodes",
    "ObjectID",
    "PlacementGroupID",
    "PlacementGroups",
    "Resources",
    "Resync",
    "Retry",
    "RpcError",
    "RuntimeEnvs",
    "State",
    "StateChange",
    "StateWatch",
    "Subscription",
    "TaskID",
    "Tasks",
    "TlsConfig",
    "UnavailableError",
    "UnsupportedByServerError",
    "Watch",
    "WorkerID",
    "Workers",
    "connect",
    "errors",
    "ids",
    "messages",
    "options",
    "sync",
]
