# SPDX-License-Identifier: Apache-2.0
"""The worker processes of a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcs_cffi import messages
from gcs_cffi._arguments import Deadline, boolean, count, integer
from gcs_cffi._channel import redone
from gcs_cffi._methods import bundled, id_of
from gcs_cffi._release import known
from gcs_cffi._typed import call, find, server_of, unknown
from gcs_cffi.ids import WorkerID

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from google.protobuf.message import Message

    from gcs_cffi._channel import Channel
    from gcs_cffi._release import KnownMethod
    from gcs_cffi.ids import AnyID

__all__ = ["Workers"]

_ADD = known("WorkerInfoGcsService/AddWorkerInfo")
_GET = known("WorkerInfoGcsService/GetWorkerInfo")
_LIST = known("WorkerInfoGcsService/GetAllWorkerInfo")
_REPORT_FAILURE = known("WorkerInfoGcsService/ReportWorkerFailure")
_UPDATE_DEBUGGER_PORT = known("WorkerInfoGcsService/UpdateWorkerDebuggerPort")
_UPDATE_PAUSED_THREADS = known("WorkerInfoGcsService/UpdateWorkerNumPausedThreads")

_FILTERS_SINCE = (2, 36)


class Workers:
    """The workers; `gcs.workers` of a client. RPCs: ray.rpc.WorkerInfoGcsService.

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

    async def get(
        self, worker_id: AnyID, *, timeout: float | None = None
    ) -> messages.WorkerTableData | None:
        """What the GCS knows about a worker. RPC: GetWorkerInfo.

        Returns:
            The worker, dead or alive; None if there is no such worker, or not any more.
        """
        return await self._find(WorkerID(worker_id), timeout)

    @redone
    async def list(
        self,
        *,
        is_alive: bool | None = None,
        has_paused_threads: bool | None = None,
        limit: int | None = None,
        timeout: float | None = None,
    ) -> dict[WorkerID, messages.WorkerTableData]:
        """The workers, all or some, drivers included. RPC: GetAllWorkerInfo.

        Args:
            is_alive: only the living ones (True), or the dead ones (False).
            has_paused_threads: only those with threads that wait for a debugger (True), or those
                without (False).
            limit: at most so many, whichever.
            timeout: in seconds; None for the client's own, `math.inf` for none.

        Returns:
            The workers by their ids.
        """
        deadline = Deadline.of(timeout, self._channel.default_timeout)
        wanted = {
            "is_alive": None if is_alive is None else boolean(is_alive, "is_alive"),
            "exist_paused_threads": None
            if has_paused_threads is None
            else boolean(has_paused_threads, "has_paused_threads"),
        }
        most = count(limit, "limit")
        server = await server_of(self._channel, deadline)
        request = messages.GetAllWorkerInfoRequest()
        if not any(asked is False for asked in wanted.values()):  # which the server does not heed
            if not any(wanted.values()):
                request = messages.GetAllWorkerInfoRequest(limit=most)
            elif server.release.pair >= _FILTERS_SINCE:
                request = messages.GetAllWorkerInfoRequest(limit=most, filters=wanted)
        reply = await call(self._channel, _LIST, request, deadline, written_for=server)
        found = [
            worker
            for worker in reply.worker_table_data
            if is_alive in (None, worker.is_alive)
            and has_paused_threads in (None, worker.num_paused_threads > 0)
        ]
        return {id_of(WorkerID, worker.worker_address.worker_id): worker for worker in found[:most]}

    async def add(
        self,
        worker: messages.WorkerTableData | Message | Mapping[str, Any],
        *,
        timeout: float | None = None,
    ) -> None:
        """Tells the GCS about a worker. RPC: AddWorkerInfo.

        Args:
            worker: the worker, with `worker_address.worker_id`; a message or its fields.
            timeout: in seconds; None for the client's own, `math.inf` for none.
        """
        data = bundled(messages.WorkerTableData, worker, "worker")
        await call(self._channel, _ADD, messages.AddWorkerInfoRequest(worker_data=data), timeout)

    async def report_failure(
        self,
        worker: messages.WorkerTableData | Message | Mapping[str, Any],
        *,
        timeout: float | None = None,
    ) -> None:
        """Tells the GCS that a worker has ended. RPC: ReportWorkerFailure.

        The GCS ends what depends on it, such as its actors, and tells those who subscribed.

        Args:
            worker: the worker, with `worker_address` and why it ended (`exit_type`,
                `exit_detail`); a message or its fields.
            timeout: in seconds; None for the client's own, `math.inf` for none.
        """
        data = bundled(messages.WorkerTableData, worker, "worker")
        request = messages.ReportWorkerFailureRequest(worker_failure=data)
        await call(self._channel, _REPORT_FAILURE, request, timeout)

    async def update_debugger_port(
        self, worker_id: AnyID, port: int, *, timeout: float | None = None
    ) -> None:
        """Notes where a worker's debugger listens. RPC: UpdateWorkerDebuggerPort.

        The worker is looked up first: a GCS ends itself when it is told about an unknown one.

        Args:
            worker_id: the worker.
            port: the port; 0 when it does not listen any more.
            timeout: in seconds; None for the client's own, `math.inf` for none.

        Raises:
            GcsStatusError: there is no such worker (RAY_NOT_FOUND).
        """
        request = messages.UpdateWorkerDebuggerPortRequest(
            worker_id=WorkerID(worker_id), debugger_port=integer(port, "port", 0, 65535)
        )
        deadline = Deadline.of(timeout, self._channel.default_timeout)
        await self._check_known(request.worker_id, _UPDATE_DEBUGGER_PORT, deadline)
        await call(self._channel, _UPDATE_DEBUGGER_PORT, request, deadline)

    async def update_paused_threads(
        self, worker_id: AnyID, delta: int, *, timeout: float | None = None
    ) -> None:
        """Counts a worker's threads that wait for a debugger. RPC: UpdateWorkerNumPausedThreads.

        The worker is looked up first: a GCS ends itself when it is told about an unknown one.

        Args:
            worker_id: the worker.
            delta: how many more wait now; negative for fewer.
            timeout: in seconds; None for the client's own, `math.inf` for none.

        Raises:
            GcsStatusError: there is no such worker (RAY_NOT_FOUND).
        """
        low, high = -(1 << 31), (1 << 31) - 1
        request = messages.UpdateWorkerNumPausedThreadsRequest(
            worker_id=WorkerID(worker_id),
            num_paused_threads_delta=integer(delta, "delta", low, high),
        )
        deadline = Deadline.of(timeout, self._channel.default_timeout)
        await self._check_known(request.worker_id, _UPDATE_PAUSED_THREADS, deadline)
        await call(self._channel, _UPDATE_PAUSED_THREADS, request, deadline)

    async def _check_known(
        self, worker_id: bytes, methods: tuple[KnownMethod, ...], deadline: Deadline
    ) -> None:
        # A GCS that is told about a worker which it does not know ends its process.
        if await self._find(worker_id, deadline) is None:
            raise unknown(self._channel, f"worker {worker_id.hex()}", methods)

    async def _find(
        self, worker_id: bytes, timeout: float | Deadline | None
    ) -> messages.WorkerTableData | None:
        request = messages.GetWorkerInfoRequest(worker_id=worker_id)
        reply = await find(self._channel, _GET, request, timeout)
        if reply is None or not reply.HasField("worker_table_data"):
            return None
        worker: messages.WorkerTableData = reply.worker_table_data
        return worker
