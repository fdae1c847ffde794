# SPDX-License-Identifier: Apache-2.0
"""How calls end, as numbers: those of gcs_capi.h, in one place.

Invariant: values and names are the header's and the library's. 0 is success, 1 to 16 are the codes
of gRPC, RAY + n is Ray's own code n out of a reply, and what is negative was raised on this side.
"""

from __future__ import annotations

from typing import Final

OK: Final = 0

INVALID_ARGUMENT: Final = -1
BAD_HANDLE: Final = -2
CLOSED: Final = -3
CANCELLED: Final = -4
DEADLINE: Final = -5
CONNECTION_LOST: Final = -6
CLUSTER_CHANGED: Final = -7
FORKED: Final = -8
ABI: Final = -9
NO_MEMORY: Final = -10
WOULD_DEADLOCK: Final = -11
NOT_FOUND: Final = -12
LIMIT: Final = -13
UNSUPPORTED: Final = -14
INTERRUPTED: Final = -15
INTERNAL: Final = -16
UNAVAILABLE: Final = -17

RAY: Final = 1000
RAY_NOT_FOUND: Final = RAY + 17

GRPC_CANCELLED: Final = 1
GRPC_DEADLINE_EXCEEDED: Final = 4
GRPC_UNIMPLEMENTED: Final = 12
GRPC_UNAVAILABLE: Final = 14
GRPC_UNAUTHENTICATED: Final = 16

FLAG_LOCAL: Final = 1
FLAG_MAYBE_EXECUTED: Final = 2
FLAG_RETRYABLE: Final = 4
FLAG_TIMEOUT: Final = 8
FLAG_AUTH: Final = 16

_HINTS: Final[dict[int, str]] = {
    BAD_HANDLE: "it was closed",
    FORKED: "the client was made before this process was forked; make a new one here",
    LIMIT: "the client's max_pending_calls are pending",
}
"""What a status means for a client, where the library has no text about it."""

NAMES: Final[dict[int, str]] = {
    OK: "GCS_OK",
    INVALID_ARGUMENT: "GCS_INVALID_ARGUMENT",
    BAD_HANDLE: "GCS_BAD_HANDLE",
    CLOSED: "GCS_CLOSED",
    CANCELLED: "GCS_CANCELLED",
    DEADLINE: "GCS_DEADLINE",
    CONNECTION_LOST: "GCS_CONNECTION_LOST",
    CLUSTER_CHANGED: "GCS_CLUSTER_CHANGED",
    FORKED: "GCS_FORKED",
    ABI: "GCS_ABI",
    NO_MEMORY: "GCS_NO_MEMORY",
    WOULD_DEADLOCK: "GCS_WOULD_DEADLOCK",
    NOT_FOUND: "GCS_NOT_FOUND",
    LIMIT: "GCS_LIMIT",
    UNSUPPORTED: "GCS_UNSUPPORTED",
    INTERRUPTED: "GCS_INTERRUPTED",
    INTERNAL: "GCS_INTERNAL",
    UNAVAILABLE: "GCS_UNAVAILABLE",
    1: "CANCELLED",
    2: "UNKNOWN",
    3: "INVALID_ARGUMENT",
    4: "DEADLINE_EXCEEDED",
    5: "NOT_FOUND",
    6: "ALREADY_EXISTS",
    7: "PERMISSION_DENIED",
    8: "RESOURCE_EXHAUSTED",
    9: "FAILED_PRECONDITION",
    10: "ABORTED",
    11: "OUT_OF_RANGE",
    12: "UNIMPLEMENTED",
    13: "INTERNAL",
    14: "UNAVAILABLE",
    15: "DATA_LOSS",
    16: "UNAUTHENTICATED",
    RAY + 1: "RAY_OUT_OF_MEMORY",
    RAY + 2: "RAY_KEY_ERROR",
    RAY + 3: "RAY_TYPE_ERROR",
    RAY + 4: "RAY_INVALID",
    RAY + 5: "RAY_IO_ERROR",
    RAY + 9: "RAY_UNKNOWN_ERROR",
    RAY + 10: "RAY_NOT_IMPLEMENTED",
    RAY + 11: "RAY_REDIS_ERROR",
    RAY + 12: "RAY_TIMED_OUT",
    RAY + 13: "RAY_INTERRUPTED",
    RAY + 14: "RAY_INTENTIONAL_SYSTEM_EXIT",
    RAY + 15: "RAY_UNEXPECTED_SYSTEM_EXIT",
    RAY + 16: "RAY_CREATION_TASK_ERROR",
    RAY_NOT_FOUND: "RAY_NOT_FOUND",
    RAY + 18: "RAY_DISCONNECTED",
    RAY + 19: "RAY_SCHEDULING_CANCELLED",
    RAY + 20: "RAY_ALREADY_EXISTS",
    RAY + 21: "RAY_OBJECT_EXISTS",
    RAY + 22: "RAY_OBJECT_NOT_FOUND",
    RAY + 23: "RAY_OBJECT_ALREADY_SEALED",
    RAY + 24: "RAY_OBJECT_STORE_FULL",
    RAY + 25: "RAY_TRANSIENT_OBJECT_STORE_FULL",
    RAY + 26: "RAY_GRPC_UNAVAILABLE",
    RAY + 27: "RAY_GRPC_UNKNOWN",
    RAY + 28: "RAY_OUT_OF_DISK",
    RAY + 29: "RAY_OBJECT_UNKNOWN_OWNER",
    RAY + 30: "RAY_RPC_ERROR",
    RAY + 31: "RAY_OUT_OF_RESOURCE",
    RAY + 32: "RAY_OBJECT_REF_END_OF_STREAM",
    RAY + 33: "RAY_UNAUTHENTICATED",
    RAY + 34: "RAY_INVALID_ARGUMENT",
    RAY + 35: "RAY_CHANNEL_ERROR",
    RAY + 36: "RAY_CHANNEL_TIMEOUT_ERROR",
    RAY + 37: "RAY_PERMISSION_DENIED",
    RAY + 38: "RAY_GCS_PASSIVE",
}


def status_name(status: int) -> str:
    """The name of a status, such as "GCS_DEADLINE", "UNAVAILABLE" or "RAY_NOT_FOUND".

    A status that has no name gets one that shows its number: a server may send codes that are newer
    than this table.
    """
    name = NAMES.get(status)
    if name is not None:
        return name
    return f"RAY_STATUS_{status - RAY}" if status > RAY else f"STATUS_{status}"


def cannot(action: str, status: int) -> str:
    """What is said of an action that failed with this status, and without a text."""
    hint = _HINTS.get(status)
    return f"cannot {action}: {hint}" if hint else f"cannot {action}"
