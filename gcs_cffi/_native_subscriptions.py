# SPDX-License-Identifier: Apache-2.0
"""Subscriptions, as the library has them; what `_native` is to the rest.

Invariant: nothing here blocks.
"""

from __future__ import annotations

from struct import Struct, calcsize, unpack_from
from typing import Final, Literal, NamedTuple

from gcs_cffi import _native, _status
from gcs_cffi._native import check, error_from

# Of the one module that has them.
ffi, lib = _native.ffi, _native.lib  # type: ignore[attr-defined]

Policy = Literal["wait", "drop_oldest", "drop_newest"]
"""What becomes of messages that are not taken in time: the server keeps them; or the oldest, or the
newest, of those kept here are dropped, and a `Resync` says how many."""

Reason = Literal["dropped", "reconnected", "too_large", "expired", "restarted"]
""""Why messages may be missing."""

_END_SIZE: Final = calcsize("=I")
_ENDS: Final = Struct("=II")
ENDS_SIZE: Final = _ENDS.size
"""What stands in front of a run for each of its messages, beside its bytes."""
ends_of_one: Final = _ENDS.unpack_from
"""Where key and message of a run of one end."""

SUBSCRIBED: Final[int] = lib.GCS_EVENT_SUBSCRIBED
MESSAGE: Final[int] = lib.GCS_EVENT_MESSAGE
RESYNC: Final[int] = lib.GCS_EVENT_RESYNC

POLICIES: Final[dict[str, int]] = {
    "wait": lib.GCS_POLICY_WAIT,
    "drop_oldest": lib.GCS_POLICY_DROP_OLDEST,
    "drop_newest": lib.GCS_POLICY_DROP_NEWEST,
}
REASONS: Final[dict[int, Reason]] = {
    lib.GCS_RESYNC_DROPPED: "dropped",
    lib.GCS_RESYNC_RECONNECTED: "reconnected",
    lib.GCS_RESYNC_TOO_LARGE: "too_large",
    lib.GCS_RESYNC_EXPIRED: "expired",
    lib.GCS_RESYNC_RESTARTED: "restarted",
}


class Topic(NamedTuple):
    """What is subscribed to, and how much of it may be held."""

    channel: str
    key: bytes
    policy: Policy
    timeout: int
    """In nanoseconds, until the server has it."""
    credit_messages: int
    """What the library may hand over before some of it is given back."""
    credit_bytes: int
    max_messages: int
    """What it may keep beside, under a policy that drops."""
    max_bytes: int


class Run(NamedTuple):
    """Messages of one subscription, as one event brings them."""

    data: bytes
    ends: tuple[int, ...]
    """Where the key and the message of each end in `data`, alternately."""
    first: int = 0
    """The first that has not been read."""

    @classmethod
    def of(cls, data: bytes, count: int) -> Run:
        """The bytes of an event with so many messages."""
        return cls(data, unpack_from(f"={2 * count}I", data))

    def keys(self) -> list[bytes]:
        """Those of the messages that have not been read."""
        ends, first = self.ends, 2 * self.first
        begin = ends[first - 1] if first else _END_SIZE * len(ends)
        pairs = zip((begin, *ends[first + 1 : -1 : 2]), ends[first::2], strict=True)
        return [self.data[at:end] for at, end in pairs]

    def messages(self) -> list[bytes]:
        """Those that have not been read."""
        first = 2 * self.first
        pairs = zip(self.ends[first::2], self.ends[first + 1 :: 2], strict=True)
        return [self.data[at:end] for at, end in pairs]

    def after(self, count: int) -> Run | None:
        """What is left of it when so many more have been read."""
        first = self.first + count
        return self._replace(first=first) if 2 * first < len(self.ends) else None


def subscribe(client: int, topic: Topic, number: int, queue: _native.Queue) -> None:
    """Subscribes: SUBSCRIBED, MESSAGE and RESYNC events with `number` come to the queue.

    Raises:
        InvalidRequestError: a topic that no server has.
        GcsError: the library has refused it.
    """
    options = ffi.new("gcs_subscribe_options *")
    size = ffi.sizeof("gcs_subscribe_options")
    check(lib.gcs_subscribe_options_init(options, size), "subscribe")
    options.policy = POLICIES[topic.policy]
    options.timeout = topic.timeout
    options.credit_messages = topic.credit_messages
    options.credit_bytes = topic.credit_bytes
    options.max_messages = topic.max_messages
    options.max_bytes = topic.max_bytes
    error = ffi.new("gcs_error **")
    key = ffi.from_buffer(topic.key)
    status = lib.gcs_subscribe(
        client,
        topic.channel.encode(),
        {"data": key, "size": len(topic.key)},
        options,
        ffi.new("uint64_t *", number),
        lib.gcs_cffi_queue_push,
        queue.user,
        error,
    )
    if status != _status.OK:
        raise error_from(status, error[0], "subscribe")


def grant(client: int, number: int, events: int, size: int) -> None:
    """Lets the library hand over so much more. One that has ended takes no notice."""
    lib.gcs_subscription_credit(client, number, events, size)
