# SPDX-License-Identifier: Apache-2.0
"""The blocking client: the names and arguments of the asynchronous one, without an event loop.

    with gcs_cffi.sync.connect("127.0.0.1:6379") as gcs:
        gcs.kv.put(b"key", b"value")

Threads may share a client. Ctrl-C ends a call that waits, and cancels its RPC.
"""

from gcs_cffi._sync.client import GcsClient, connect
from gcs_cffi._sync.connection import StateWatch
from gcs_cffi._sync.jobs import Jobs
from gcs_cffi._sync.kv import KeyValueStore
from gcs_cffi._sync.nodes import Nodes

__all__ = ["GcsClient", "Jobs", "KeyValueStore", "Nodes", "StateWatch", "connect"]
