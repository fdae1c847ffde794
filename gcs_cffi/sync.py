# SPDX-License-Identifier: Apache-2.0
"""The blocking client: the names and arguments of the asynchronous one, without an event loop.

    with gcs_cffi.sync.connect("127.0.0.1:6379") as gcs:
        gcs.kv.put(b"key", b"value")

Threads may share a client. Ctrl-C ends a call that waits, and cancels its RPC.
"""

from gcs_cffi._sync.actors import Actors
from gcs_cffi._sync.autoscaler import Autoscaler
from gcs_cffi._sync.client import GcsClient, connect
from gcs_cffi._sync.connection import StateWatch
from gcs_cffi._sync.events import Events
from gcs_cffi._sync.jobs import Jobs
from gcs_cffi._sync.kv import KeyValueStore
from gcs_cffi._sync.nodes import Nodes
from gcs_cffi._sync.placement_groups import PlacementGroups
from gcs_cffi._sync.publishing import Errors, Logs
from gcs_cffi._sync.pubsub import Subscription
from gcs_cffi._sync.resources import Resources
from gcs_cffi._sync.runtime_envs import RuntimeEnvs
from gcs_cffi._sync.tasks import Tasks
from gcs_cffi._sync.watching import Watch
from gcs_cffi._sync.workers import Workers

__all__ = [
    "Actors",
    "Autoscaler",
    "Errors",
    "Events",
    "GcsClient",
    "Jobs",
    "KeyValueStore",
    "Logs",
    "Nodes",
    "PlacementGroups",
    "Resources",
    "RuntimeEnvs",
    "StateWatch",
    "Subscription",
    "Tasks",
    "Watch",
    "Workers",
    "connect",
]
