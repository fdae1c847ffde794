# SPDX-License-Identifier: Apache-2.0
"""What a subscription gives, whether it is awaited or not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, NamedTuple, TypeVar

from gcs_cffi import _status
from gcs_cffi.errors import from_status
from gcs_cffi.ids import ActorID, BaseID, JobID, NodeID, WorkerID

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcs_cffi._native_subscriptions import Reason
    from gcs_cffi.errors import GcsError
    from gcs_cffi.ids import AnyID

ChannelName = Literal[
    "errors", "logs", "resource_usage", "actors", "jobs", "nodes", "node_liveness", "workers"
]
"""What can be subscribed to."""

MESSAGES: Final[dict[str, tuple[str, Callable[[bytes], Any]]]] = {
    "errors": ("ray.rpc.ErrorTableData", bytes),
    "logs": ("ray.rpc.LogBatch", bytes),
    "resource_usage": ("ray.rpc.NodeResourceUsage", bytes),
    "actors": ("ray.rpc.ActorTableData", ActorID),
    "jobs": ("ray.rpc.JobTableData", JobID),
    "nodes": ("ray.rpc.GcsNodeInfo", NodeID),
    "node_liveness": ("ray.rpc.GcsNodeAddressAndLiveness", NodeID),
    "workers": ("ray.rpc.WorkerDeltaData", WorkerID),
}
"""Of each channel the message, and the type of the key."""


IdT = TypeVar("IdT", bound=bytes)
ValueT = TypeVar("ValueT")


class Message(NamedTuple):
    """Something that was published.

    Attributes:
        key: what it is about: an `ActorID`, `JobID`, `NodeID` (of nodes and node_liveness) or
            `WorkerID`; of errors, logs and resource_usage bytes that the publisher has chosen.
        value: a message of `gcs_cffi.messages`: `ErrorTableData` (errors), `LogBatch` (logs),
            `NodeResourceUsage` (resource_usage), `ActorTableData`, `JobTableData`, `GcsNodeInfo`
            (nodes), `GcsNodeAddressAndLiveness` (node_liveness), `WorkerDeltaData`; its bytes where
            `raw` was asked for, and of other channels.
    """

    key: Any
    value: Any


class Resync(NamedTuple):
    """Messages may be missing here: what was derived from them is to be read anew.

    Attributes:
        reason: "restarted": the GCS has, and what it had not delivered is gone; "expired": the
            server was not asked for longer than it keeps messages; "too_large": a reply was over
            `max_receive_message`; "reconnected": the connection was lost, and this channel tells of
            changes of a table; "dropped": the policy has dropped some, or they could not be read.
            Of several reasons the first of these.
        lost: how many were dropped here. How many a server has lost nobody knows: 0 does not mean
            that there are none.
        text: the reason, in words.
    """

    reason: Reason
    lost: int
    text: str


@dataclass(frozen=True, slots=True)
class Change(Generic[IdT, ValueT]):
    """An entry of a table that has come, changed or gone.

    Attributes:
        id: whose entry it is.
        value: the entry, a message of `gcs_cffi.messages`; None if the table does not have it any
            more.
        before: the same before; None if it is new.
    """

    id: IdT
    value: ValueT | None
    before: ValueT | None


def unknown_channel(error: GcsError) -> GcsError:
    """The library's error of a channel that the server does not have, with our own names, too."""
    names = ", ".join(f'"{name}"' for name in MESSAGES)
    text = f"{error.message}; gcs.subscribe() takes these names, and {names}"
    return from_status(error.code, _status.FLAG_LOCAL, text, error.method, error.address)


def key_of(channel: str, key: bytes | str | AnyID | None) -> bytes:
    """A key of a channel as bytes; none is empty. Jobs' errors and logs have ids as digits."""
    if key is None:
        return b""
    if isinstance(key, str):
        return key.encode()
    raw = key if isinstance(key, bytes) else getattr(key, "binary", lambda: None)()
    if not isinstance(raw, bytes):
        raise TypeError(f"a key is bytes, str or an id, not {type(key).__name__}")
    is_id = isinstance(key, BaseID) or not isinstance(key, bytes)
    return raw.hex().encode() if is_id and channel in ("errors", "logs") else bytes(raw)
