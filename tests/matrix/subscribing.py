# SPDX-License-Identifier: Apache-2.0
"""A subscriber by plain calls, to see what arrives of what was published."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from gcs_cffi import messages

if TYPE_CHECKING:
    from gcs_cffi import GcsClient

_TWO_SERVICES_SINCE = (2, 56)
_WAIT = 20.0


class Subscriber:
    """Subscribes to errors or logs. RPCs: GcsSubscriberCommandBatch, GcsSubscriberPoll."""

    def __init__(self, gcs: GcsClient, release: tuple[int, ...]) -> None:
        """Has not subscribed to anything yet."""
        self._gcs = gcs
        split = release[:2] >= _TWO_SERVICES_SINCE
        self._service = "ObservabilityPubSubService" if split else "InternalPubSubGcsService"
        self._id = os.urandom(28)
        self._publisher = b""
        self._last = 0

    async def subscribe(self, channel: str, key: bytes = b"") -> None:
        """Subscribes to a channel, or to a key of it."""
        command = {"channel_type": channel, "key_id": key, "subscribe_message": {}}
        request = {"subscriber_id": self._id, "commands": [command]}
        await self._gcs.call(self._service, "GcsSubscriberCommandBatch", request)

    async def next(self) -> messages.PubMessage:
        """What arrives next, which must be a single message."""
        reply = await self._gcs.call(
            self._service,
            "GcsSubscriberPoll",
            {
                "subscriber_id": self._id,
                "publisher_id": self._publisher,
                "max_processed_sequence_id": self._last,
            },
            timeout=_WAIT,
        )
        assert type(reply) is messages.GcsSubscriberPollReply
        (message,) = reply.pub_messages
        self._publisher, self._last = reply.publisher_id, message.sequence_id
        return message
