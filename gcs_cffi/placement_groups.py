# SPDX-License-Identifier: Apache-2.0
"""The placement groups of a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcs_cffi import messages
from gcs_cffi._arguments import Deadline, count, text
from gcs_cffi._channel import redone
from gcs_cffi._methods import bundled, id_of
from gcs_cffi._release import known
from gcs_cffi._typed import call, unknown
from gcs_cffi.ids import JobID, PlacementGroupID
from gcs_cffi.jobs import find_job

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from google.protobuf.message import Message

    from gcs_cffi._channel import Channel
    from gcs_cffi.ids import AnyID

__all__ = ["PlacementGroups"]

_CREATE = known("PlacementGroupInfoGcsService/CreatePlacementGroup")
_GET = known("PlacementGroupInfoGcsService/GetPlacementGroup")
_GET_NAMED = known("PlacementGroupInfoGcsService/GetNamedPlacementGroup")
_LIST = known("PlacementGroupInfoGcsService/GetAllPlacementGroup")
_REMOVE = known("PlacementGroupInfoGcsService/RemovePlacementGroup")
_WAIT = known("PlacementGroupInfoGcsService/WaitPlacementGroupUntilReady")


class PlacementGroups:
    """The placement groups; `gcs.placement_groups` of a client.

    RPCs: ray.rpc.PlacementGroupInfoGcsService.

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
    async def create(
        self,
        spec: messages.PlacementGroupSpec | Message | Mapping[str, Any],
        *,
        timeout: float | None = None,
    ) -> None:
        """Has a placement group made. RPC: CreatePlacementGroup.

        It is placed later: `wait_until_ready()` waits for that.

        Args:
            spec: the group; a message or its fields. It has a `placement_group_id`, such as
                `PlacementGroupID(os.urandom(14) + job_id)`; a `creator_job_id` that the GCS knows
                (it is looked up), whose namespace a `name` is in; and `bundles`, one at least,
                each with its `unit_resources`: `[{"unit_resources": {"CPU": 1}}]`. A bundle
                without a `bundle_id` gets its own here.
            timeout: in seconds; None for the client's own, `math.inf` for none.

        Raises:
            GcsStatusError: there is no such job (RAY_NOT_FOUND).
        """
        data = messages.PlacementGroupSpec()
        data.CopyFrom(bundled(messages.PlacementGroupSpec, spec, "spec"))
        deadline = Deadline.of(timeout, self._channel.default_timeout)
        for index, bundle in enumerate(data.bundles):
            if not bundle.HasField("bundle_id"):
                bundle.bundle_id.placement_group_id = data.placement_group_id
                bundle.bundle_id.bundle_index = index
        # A GCS that is given a group of a job which it does not know ends its process.
        # Of two with one index a GCS ends when it places them.
        if len({bundle.bundle_id.bundle_index for bundle in data.bundles}) < len(data.bundles):
            raise ValueError("two bundles of the spec have the same bundle_index")
        try:
            job_id = JobID(data.creator_job_id)
        except ValueError as error:
            raise ValueError(f"the spec's creator_job_id: {error}") from None
        if await find_job(self._channel, job_id, deadline) is None:
            raise unknown(self._channel, f"job {job_id}, the spec's creator_job_id", _CREATE)
        request = messages.CreatePlacementGroupRequest(placement_group_spec=data)
        await call(self._channel, _CREATE, request, deadline)

    async def remove(self, placement_group_id: AnyID, *, timeout: float | None = None) -> None:
        """Removes a placement group; none of this id is not an error. RPC: RemovePlacementGroup."""
        request = messages.RemovePlacementGroupRequest(
            placement_group_id=PlacementGroupID(placement_group_id)
        )
        await call(self._channel, _REMOVE, request, timeout)

    async def get(
        self, placement_group_id: AnyID, *, timeout: float | None = None
    ) -> messages.PlacementGroupTableData | None:
        """What the GCS knows about a placement group. RPC: GetPlacementGroup.

        Returns:
            The group, also a removed one; None if there is no such group, or not any more.
        """
        request = messages.GetPlacementGroupRequest(
            placement_group_id=PlacementGroupID(placement_group_id)
        )
        return _group(await call(self._channel, _GET, request, timeout))

    async def get_named(
        self, name: str, *, namespace: str = "", timeout: float | None = None
    ) -> messages.PlacementGroupTableData | None:
        """The placement group of a name. RPC: GetNamedPlacementGroup.

        Args:
            name: the group's name.
            namespace: Ray's namespace that the name was given in.
            timeout: in seconds; None for the client's own, `math.inf` for none.

        Returns:
            The group, or None if no group has this name there.
        """
        request = messages.GetNamedPlacementGroupRequest(
            name=text(name, "name"), ray_namespace=text(namespace, "namespace")
        )
        return _group(await call(self._channel, _GET_NAMED, request, timeout))

    async def list(
        self, *, limit: int | None = None, timeout: float | None = None
    ) -> dict[PlacementGroupID, messages.PlacementGroupTableData]:
        """The placement groups, removed ones included. RPC: GetAllPlacementGroup.

        Args:
            limit: at most so many, whichever.
            timeout: in seconds; None for the client's own, `math.inf` for none.

        Returns:
            The groups by their ids.
        """
        most = count(limit, "limit")
        request = messages.GetAllPlacementGroupRequest(limit=most)
        reply = await call(self._channel, _LIST, request, timeout)
        groups = reply.placement_group_table_data[:most]
        return {id_of(PlacementGroupID, group.placement_group_id): group for group in groups}

    async def wait_until_ready(
        self, placement_group_id: AnyID, *, timeout: float | None = None
    ) -> None:
        """Waits until a placement group is placed. RPC: WaitPlacementGroupUntilReady.

        The group is looked up first: about an unknown one a GCS says nothing.

        Raises:
            DeadlineExceededError: it was not placed within the timeout.
            GcsStatusError: there is no such group, or it was removed (RAY_NOT_FOUND).
        """
        deadline = Deadline.of(timeout, self._channel.default_timeout)
        wanted = PlacementGroupID(placement_group_id)
        known_request = messages.GetPlacementGroupRequest(placement_group_id=wanted)
        if _group(await call(self._channel, _GET, known_request, deadline)) is None:
            raise unknown(self._channel, f"placement group {wanted}", _WAIT)
        request = messages.WaitPlacementGroupUntilReadyRequest(placement_group_id=wanted)
        await call(self._channel, _WAIT, request, deadline)


def _group(
    reply: messages.GetPlacementGroupReply | messages.GetNamedPlacementGroupReply,
) -> messages.PlacementGroupTableData | None:
    found = reply.HasField("placement_group_table_data")
    return reply.placement_group_table_data if found else None
