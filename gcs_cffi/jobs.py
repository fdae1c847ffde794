# SPDX-License-Identifier: Apache-2.0
"""The jobs of a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcs_cffi import _methods, _native, messages
from gcs_cffi._arguments import nanoseconds
from gcs_cffi.ids import JobID

if TYPE_CHECKING:
    from gcs_cffi._channel import Channel

__all__ = ["Jobs"]


class Jobs:
    """The jobs; `gcs.jobs` of a client. RPCs: ray.rpc.JobInfoGcsService."""

    __slots__ = ("_channel",)

    def __init__(self, channel: Channel) -> None:
        """Made by the client."""
        self._channel = channel

    async def next_id(self, *, timeout: float | None = None) -> JobID:
        """Takes the next job id; no two callers get the same. RPC: GetNextJobID.

        It cannot be given back: Ray counts on.

        Args:
            timeout: in seconds; None for the client's own, `math.inf` for none, 0 has already
                expired.

        Raises:
            DeadlineExceededError: the timeout expired.
            GcsError: the call failed.
        """
        method = _methods.find("JobInfoGcsService", "GetNextJobID")
        body: bytes = await self._channel.request(
            _native.CALL, 0, method.number, method.name, b"", b"", nanoseconds(timeout)
        )
        address = self._channel.address
        reply = _methods.parse(messages.GetNextJobIDReply, body, method.path, address)
        return JobID.from_int(reply.job_id)
