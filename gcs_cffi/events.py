# SPDX-License-Identifier: Apache-2.0
"""Ray's structured events, as they are exported through the GCS."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcs_cffi import messages
from gcs_cffi._methods import bundled
from gcs_cffi._release import known
from gcs_cffi._typed import call

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from google.protobuf.message import Message

    from gcs_cffi._channel import Channel

__all__ = ["Events"]

_ADD = known("RayEventExportGcsService/AddEvents")


class Events:
    """Structured events; `gcs.events` of a client. RPCs: ray.rpc.RayEventExportGcsService.

    What all methods share: ids are checked for their length, and taken as `bytes`, as ids of
    `gcs_cffi` or of Ray. `timeout` is in seconds: None for the client's own, `math.inf` for none, 0
    has already expired. Every method raises

    - TypeError and ValueError for arguments that cannot be, before anything is sent;
    - DeadlineExceededError when the timeout expires; UnsupportedByServerError for what the server's
      release of Ray cannot do; GcsStatusError when the GCS refuses; another GcsError when the call
      fails.
    """

    __slots__ = ("_channel",)

    def __init__(self, channel: Channel) -> None:
        """Made by the client."""
        self._channel = channel

    async def add(
        self,
        events: messages.events.RayEventsData | Message | Mapping[str, Any],
        *,
        timeout: float | None = None,
    ) -> None:
        """Hands events to the GCS. RPC: AddEvents, of Ray 2.49 and newer.

        What they say of tasks is found by `gcs.tasks.list()`; Ray 2.49 takes them and does nothing.

        Args:
            events: the events, and which task attempts have lost some; a message or its fields.
            timeout: in seconds; None for the client's own, `math.inf` for none.
        """
        data = bundled(messages.events.RayEventsData, events, "events")
        request = messages.events.AddEventsRequest(events_data=data)
        await call(self._channel, _ADD, request, timeout)
