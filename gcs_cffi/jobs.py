# SPDX-License-Identifier: Apache-2.0
"""The jobs of a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcs_cffi._release import known
from gcs_cffi._typed import call
from gcs_cffi.ids import JobID

if TYPE_CHECKING:
    from gcs_cffi._channel import Channel

__all__ = ["Jobs"]

_NEXT_ID = known("JobInfoGcsService/GetNextJobID")


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
        reply = await call(self._channel, _NEXT_ID, b"", timeout)
        return JobID.from_int(reply.job_id)
