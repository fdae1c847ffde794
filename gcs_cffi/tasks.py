# SPDX-License-Identifier: Apache-2.0
"""The tasks of a cluster, as far as they were reported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcs_cffi import messages
from gcs_cffi._arguments import Deadline, boolean, count
from gcs_cffi._channel import redone
from gcs_cffi._methods import bundled
from gcs_cffi._release import known
from gcs_cffi._task_filters import TaskFilters, conditions
from gcs_cffi._typed import call, server_of

if TYPE_CHECKING:
    import builtins
    from collections.abc import Iterable, Mapping
    from typing import Any

    from google.protobuf.message import Message

    from gcs_cffi._channel import Channel
    from gcs_cffi.ids import AnyID

__all__ = ["Tasks"]

_ADD = known("TaskInfoGcsService/AddTaskEventData")
_LIST = known("TaskInfoGcsService/GetTaskEvents")


class Tasks:
    """The tasks; `gcs.tasks` of a client. RPCs: ray.rpc.TaskInfoGcsService.

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

    @redone
    async def list(
        self,
        *,
        job_id: AnyID | None = None,
        task_id: AnyID | None = None,
        actor_id: AnyID | None = None,
        name: str | None = None,
        state: int | str | None = None,
        where: Iterable[tuple[str, str, AnyID | int | str]] = (),
        exclude_driver: bool = False,
        limit: int | None = None,
        timeout: float | None = None,
    ) -> builtins.list[messages.TaskEvents]:
        """Attempts of tasks, all or some. RPC: GetTaskEvents.

        An attempt is listed if all conditions hold. Before Ray 2.41, which has fewer of them, they
        are looked at here, and the server sends all that it has.

        Args:
            job_id: the job is this one.
            task_id: the task is this one; its attempts are listed.
            actor_id: the task is one of this actor's.
            name: the task's name is this one, in upper or lower case.
            state: the attempt's last state is this one, such as "RUNNING" or `messages.RUNNING`.
            where: more conditions, each a field out of these, "=" or "!=", and a value:
                `[("state", "!=", "FINISHED")]`.
            exclude_driver: leave out the tasks that stand for drivers.
            limit: at most so many, whichever.
            timeout: in seconds; None for the client's own, `math.inf` for none.

        Returns:
            The attempts, in no order. The GCS keeps a bounded number, and reports reach it late.
        """
        deadline = Deadline.of(timeout, self._channel.default_timeout)
        given = {
            "job_id": job_id,
            "task_id": task_id,
            "actor_id": actor_id,
            "name": name,
            "state": state,
        }
        filters = TaskFilters(conditions(given, where), boolean(exclude_driver, "exclude_driver"))
        most = count(limit, "limit")
        server = await server_of(self._channel, deadline)
        request = filters.request(server.release, most)
        reply = await call(self._channel, _LIST, request, deadline, written_for=server)
        found = [*reply.events_by_task]
        if not filters.is_asked_of(server.release):
            found = [task for task in found if filters.fit(task)]
        return found[:most]

    async def add_events(
        self,
        events: messages.TaskEventData | Message | Mapping[str, Any],
        *,
        timeout: float | None = None,
    ) -> None:
        """Reports what tasks have done, as workers do. RPC: AddTaskEventData.

        Args:
            events: what happened to which attempts; a message or its fields.
            timeout: in seconds; None for the client's own, `math.inf` for none.
        """
        data = bundled(messages.TaskEventData, events, "events")
        await call(self._channel, _ADD, messages.AddTaskEventDataRequest(data=data), timeout)
