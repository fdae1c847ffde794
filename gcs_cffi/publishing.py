# SPDX-License-Identifier: Apache-2.0
"""Errors and logs of the application, as the drivers of a cluster are shown them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from gcs_cffi import messages
from gcs_cffi._arguments import key_bytes, text
from gcs_cffi._methods import bundled
from gcs_cffi._release import known
from gcs_cffi._typed import call
from gcs_cffi.ids import JobID

if TYPE_CHECKING:
    from typing import Any

    from google.protobuf.message import Message

    from gcs_cffi._channel import Channel
    from gcs_cffi.ids import AnyID

__all__ = ["Errors", "Logs"]

_PUBLISH = known("ObservabilityPubSubService/GcsPublish", "InternalPubSubGcsService/GcsPublish")
_REPORT = known("ObservabilityPubSubService/ReportJobError", "JobInfoGcsService/ReportJobError")


class Errors:
    """Errors that people are shown; `gcs.errors` of a client.

    RPCs: ray.rpc.ObservabilityPubSubService; of Ray before 2.56 InternalPubSubGcsService and
    JobInfoGcsService.

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

    async def publish(
        self,
        error_type: str,
        message: str,
        *,
        job_id: AnyID | None = None,
        key: bytes | str | None = None,
        timeout: float | None = None,
    ) -> None:
        """Publishes an error to those who have subscribed to errors. RPC: GcsPublish.

        Args:
            error_type: what kind of error, such as "worker_crash".
            message: what happened, for people.
            job_id: the job that it is about; None for none.
            key: what subscribers of one key find it by. None: the job's id in hexadecimal digits.
            timeout: in seconds; None for the client's own, `math.inf` for none.
        """
        data = _error(error_type, message, job_id)
        if key is None:
            key = data.job_id.hex()
        published = messages.PubMessage(
            channel_type="RAY_ERROR_INFO_CHANNEL",
            key_id=key_bytes(key),
            error_info_message=data,
        )
        request = messages.GcsPublishRequest(pub_messages=[published])
        await call(self._channel, _PUBLISH, request, timeout)

    async def report_job_error(
        self,
        error_type: str,
        message: str,
        *,
        job_id: AnyID,
        timeout: float | None = None,
    ) -> None:
        """Has the GCS publish an error about a job to its driver. RPC: ReportJobError.

        Args:
            error_type: what kind of error, such as "worker_crash".
            message: what happened, for people.
            job_id: the job.
            timeout: in seconds; None for the client's own, `math.inf` for none.
        """
        data = _error(error_type, message, JobID(job_id))
        request = messages.ReportJobErrorRequest(job_error=data)
        await call(self._channel, _REPORT, request, timeout)


class Logs:
    """Lines that workers wrote, for their drivers; `gcs.logs` of a client.

    RPCs: ray.rpc.ObservabilityPubSubService; of Ray before 2.56 InternalPubSubGcsService.

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

    async def publish(
        self,
        batch: messages.LogBatch | Message | Mapping[str, Any],
        *,
        key: bytes | str | None = None,
        timeout: float | None = None,
    ) -> None:
        """Publishes lines to those who have subscribed to logs. RPC: GcsPublish.

        Args:
            batch: the lines, with `ip`, `pid` (a str) and `job_id` of who wrote them; a message or
                its fields. In a message `job_id` is in hexadecimal digits; as a field it may be an
                id or its bytes as well.
            key: what subscribers of one key find it by. None: the `job_id`.
            timeout: in seconds; None for the client's own, `math.inf` for none.
        """
        if isinstance(batch, Mapping):
            job_id = batch.get("job_id", "")
            if not isinstance(job_id, str):
                batch = {**batch, "job_id": JobID(job_id).hex()}
            if isinstance(batch.get("lines"), str):
                raise TypeError("batch: lines is a list of str, and not one of them")
        data = bundled(messages.LogBatch, batch, "batch")
        if key is None:
            key = data.job_id
        published = messages.PubMessage(
            channel_type="RAY_LOG_CHANNEL",
            key_id=key_bytes(key),
            log_batch_message=data,
        )
        request = messages.GcsPublishRequest(pub_messages=[published])
        await call(self._channel, _PUBLISH, request, timeout)


def _error(error_type: str, message: str, job_id: AnyID | None) -> messages.ErrorTableData:
    return messages.ErrorTableData(
        job_id=JobID.nil() if job_id is None else JobID(job_id),
        type=text(error_type, "error_type"),
        error_message=text(message, "message"),
        timestamp=time.time(),
    )
