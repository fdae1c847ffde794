# SPDX-License-Identifier: Apache-2.0
"""What a subscription gives, whether it is awaited or not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, NamedTuple, TypeVar

from gcs_cffi.ids import ActorID, JobID, NodeID, WorkerID

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcs_cffi._native_subscriptions import Reason
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
    """Something that was published."""

    key: Any
    """What it is about: an id for actors, jobs, nodes, node_liveness and workers, else bytes."""
    value: Any
    """The message, of `gcs_cffi.messages`; its bytes where `raw` was asked for."""


class Resync(NamedTuple):
    """Messages may be missing here: what was derived from them is to be read anew."""

    reason: Reason
    """"restarted": the GCS has; "expired": the server was not asked for longer than it keeps
    messages; "too_large": a reply was over `max_receive_message`; "reconnected": the connection was
    lost, and this channel tells of changes of a table; "dropped": the policy has dropped some. Of
    several reasons the first of these."""
    lost: int
    """How many were dropped here."""
    text: str
    """The reason, in words."""


@dataclass(frozen=True, slots=True)
class Change(Generic[IdT, ValueT]):
    """An entry of a table that has come, changed or gone."""

    id: IdT
    """Whose entry it is."""
    value: ValueT | None
    """The entry, a message of `gcs_cffi.messages`; None if the table does not have it any more."""
    before: ValueT | None
    """The same before; None if it is new."""


def key_of(key: bytes | str | AnyID | None) -> bytes:
    """A key as bytes; none is empty."""
    if key is None:
        return b""
    if isinstance(key, str):
        return key.encode()
    raw = key if isinstance(key, bytes) else getattr(key, "binary", lambda: None)()
    if not isinstance(raw, bytes):
        raise TypeError(f"a key is bytes, str or an id, not {type(key).__name__}")
    return bytes(raw)
