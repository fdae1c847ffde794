# SPDX-License-Identifier: Apache-2.0
"""The jobs of a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcs_cffi import messages
from gcs_cffi._arguments import Deadline, boolean, count
from gcs_cffi._channel import redone
from gcs_cffi._methods import bundled, id_of
from gcs_cffi._release import known
from gcs_cffi._typed import call, server_of
from gcs_cffi.ids import BaseID, JobID
from gcs_cffi.pubsub import MAX_BYTES, MAX_MESSAGES
from gcs_cffi.watching import JobsWatch

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from google.protobuf.message import Message

    from gcs_cffi._channel import Channel
    from gcs_cffi.ids import AnyID
    from gcs_cffi.watching import Watch

__all__ = ["Jobs"]

_ADD = known("JobInfoGcsService/AddJob")
_LIST = known("JobInfoGcsService/GetAllJobInfo")
_MARK_FINISHED = known("JobInfoGcsService/MarkJobFinished")
_NEXT_ID = known("JobInfoGcsService/GetNextJobID")

_FILTERS_SINCE = (2, 37)
_FINISHES_TWICE_SINCE = (2, 48)
_SUBMISSION_ID = "job_submission_id"
"""Where a job's configuration names the submission that it came from."""


class Jobs:
    """The jobs; `gcs.jobs` of a client. RPCs: ray.rpc.JobInfoGcsService.

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

    async def next_id(self, *, timeout: float | None = None) -> JobID:
        """Takes the next job id; no two callers get the same. RPC: GetNextJobID.

        It cannot be given back: Ray counts on.
        """
        reply = await call(self._channel, _NEXT_ID, b"", timeout)
        return JobID.from_int(reply.job_id)

    @redone
    async def list(
        self,
        *,
        job_or_submission_id: AnyID | str | None = None,
        skip_submission_info: bool = False,
        skip_is_running_tasks: bool = False,
        limit: int | None = None,
        timeout: float | None = None,
    ) -> dict[JobID, messages.JobTableData]:
        """The jobs, finished ones included, all or some. RPC: GetAllJobInfo.

        Args:
            job_or_submission_id: only the one of this id, or those that came from this submission.
            skip_submission_info: leave out `job_info`, which the server has to look up.
            skip_is_running_tasks: leave out `is_running_tasks`, for which the server asks each
                driver.
            limit: at most so many, whichever.
            timeout: in seconds; None for the client's own, `math.inf` for none.

        Returns:
            The jobs by their ids.
        """
        deadline = Deadline.of(timeout, self._channel.default_timeout)
        wanted = _id_text(job_or_submission_id)
        no_info = boolean(skip_submission_info, "skip_submission_info")
        no_tasks = boolean(skip_is_running_tasks, "skip_is_running_tasks")
        most = count(limit, "limit")
        request = messages.GetAllJobInfoRequest()
        server = await server_of(self._channel, deadline)
        can_skip = server.release.pair >= _FILTERS_SINCE
        if can_skip:
            request = messages.GetAllJobInfoRequest(
                limit=most,
                job_or_submission_id=wanted,
                skip_submission_job_info_field=no_info or None,
                skip_is_running_tasks_field=no_tasks or None,
            )
        elif wanted is None:
            request = messages.GetAllJobInfoRequest(limit=most)
        reply = await call(self._channel, _LIST, request, deadline, written_for=server)
        found = [job for job in reply.job_info_list if _fits(job, wanted)][:most]
        for job in found:
            if no_info and not can_skip:
                job.ClearField("job_info")
            if no_tasks and not can_skip:
                job.ClearField("is_running_tasks")
        return {id_of(JobID, job.job_id): job for job in found}

    def watch(
        self,
        *,
        max_messages: int = MAX_MESSAGES,
        max_bytes: int = MAX_BYTES,
        timeout: float | None = None,
    ) -> Watch[JobID, messages.JobTableData]:
        """The jobs, and every change of them: a `Watch`, to be entered and iterated.

        It has what `list()` gives with `skip_submission_info` and `skip_is_running_tasks`: a server
        finds these two out when it is asked.

        Args:
            max_messages: how many messages are held that nobody has asked for, beside one reply of
                the server; more of them wait there.
            max_bytes: how many bytes of them; one message may be larger.
            timeout: in seconds, for entering; None for the client's own, `math.inf` for none.
        """
        return JobsWatch(self._channel, self, timeout, max_messages, max_bytes)

    async def add(
        self,
        job: messages.JobTableData | Message | Mapping[str, Any],
        *,
        timeout: float | None = None,
    ) -> None:
        """Tells the GCS about a job, as its driver does. RPC: AddJob.

        Args:
            job: the job, with its `job_id` and its driver's `driver_address.worker_id`; a message
                or its fields.
            timeout: in seconds; None for the client's own, `math.inf` for none.
        """
        data = bundled(messages.JobTableData, job, "job")
        await call(self._channel, _ADD, messages.AddJobRequest(data=data), timeout)

    @redone
    async def mark_finished(self, job_id: AnyID, *, timeout: float | None = None) -> None:
        """Tells the GCS that a job has finished. RPC: MarkJobFinished.

        The GCS ends what the job has left, its actors for example. A job that is unknown or has
        finished already is not an error. (An older GCS ends itself when it is told so twice: before
        Ray 2.48 the job is looked up first, which leaves two clients that do it at once.)
        """
        deadline = Deadline.of(timeout, self._channel.default_timeout)
        wanted = JobID(job_id)
        server = await server_of(self._channel, deadline)
        if server.release.pair < _FINISHES_TWICE_SINCE:
            job = await find_job(self._channel, wanted, deadline)
            if job is None or job.is_dead:
                return
        request = messages.MarkJobFinishedRequest(job_id=wanted)
        await call(self._channel, _MARK_FINISHED, request, deadline, written_for=server)


async def find_job(
    channel: Channel, job_id: JobID, deadline: Deadline
) -> messages.JobTableData | None:
    """What the GCS knows about a job; None if there is no such job. RPC: GetAllJobInfo."""
    request = messages.GetAllJobInfoRequest()
    server = await server_of(channel, deadline)
    if server.release.pair >= _FILTERS_SINCE:
        request = messages.GetAllJobInfoRequest(
            job_or_submission_id=job_id.hex(),
            skip_submission_job_info_field=True,
            skip_is_running_tasks_field=True,
        )
    reply = await call(channel, _LIST, request, deadline, written_for=server)
    for job in reply.job_info_list:
        if job.job_id == job_id:
            found: messages.JobTableData = job
            return found
    return None


def _id_text(value: AnyID | str | None) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, BaseID) and not isinstance(value, JobID):
        raise TypeError(f"job_or_submission_id is a JobID or a str, not {type(value).__name__}")
    return JobID(value).hex()


def _fits(job: messages.JobTableData, wanted: str | None) -> bool:
    if wanted is None:
        return True
    return wanted in (job.job_id.hex(), job.config.metadata.get(_SUBMISSION_ID))
