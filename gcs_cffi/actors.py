# SPDX-License-Identifier: Apache-2.0
"""The actors of a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcs_cffi import messages
from gcs_cffi._arguments import Deadline, boolean, count, enum_number, text
from gcs_cffi._channel import redone
from gcs_cffi._methods import id_of
from gcs_cffi._release import known
from gcs_cffi._typed import call, find, server_of, unknown
from gcs_cffi.ids import ActorID, JobID
from gcs_cffi.pubsub import MAX_BYTES, MAX_MESSAGES
from gcs_cffi.watching import ActorsWatch

if TYPE_CHECKING:
    import builtins

    from gcs_cffi._channel import Channel
    from gcs_cffi.ids import AnyID
    from gcs_cffi.watching import Watch

__all__ = ["Actors"]

_GET = known("ActorInfoGcsService/GetActorInfo")
_GET_NAMED = known("ActorInfoGcsService/GetNamedActorInfo")
_KILL = known("ActorInfoGcsService/KillActorViaGcs")
_LIST = known("ActorInfoGcsService/GetAllActorInfo")
_LIST_NAMED = known("ActorInfoGcsService/ListNamedActors")

_KILLS_NOBODY_SINCE = (2, 48)
"""From when on a GCS says that there is nobody to kill."""


class Actors:
    """The actors; `gcs.actors` of a client. RPCs: ray.rpc.ActorInfoGcsService.

    What a core worker alone may say of an actor (RegisterActor, CreateActor, restarts, going out of
    scope) is said with `gcs.call()`.

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
        self, actor_id: AnyID, *, timeout: float | None = None
    ) -> messages.ActorTableData | None:
        """What the GCS knows about an actor. RPC: GetActorInfo.

        Returns:
            The actor, dead or alive; None if there is no such actor, or not any more.
        """
        request = messages.GetActorInfoRequest(actor_id=ActorID(actor_id))
        reply = await call(self._channel, _GET, request, timeout)
        return reply.actor_table_data if reply.HasField("actor_table_data") else None

    async def list(
        self,
        *,
        actor_id: AnyID | None = None,
        job_id: AnyID | None = None,
        state: int | str | None = None,
        show_dead_jobs: bool = False,
        limit: int | None = None,
        timeout: float | None = None,
    ) -> dict[ActorID, messages.ActorTableData]:
        """The actors, all or some. RPC: GetAllActorInfo.

        Args:
            actor_id: only this one.
            job_id: only those of this job.
            state: only those in this state, such as "ALIVE" or `messages.ActorTableData.ALIVE`.
            show_dead_jobs: read what the GCS has stored, which has the actors of finished jobs for
                longer, but not each state: an actor that waits for its place is
                DEPENDENCIES_UNREADY there. False, as in Ray's own clients: what the GCS works with.
            limit: at most so many, whichever.
            timeout: in seconds; None for the client's own, `math.inf` for none.

        Returns:
            The actors by their ids.
        """
        most = count(limit, "limit")
        request = messages.GetAllActorInfoRequest(
            show_dead_jobs=boolean(show_dead_jobs, "show_dead_jobs"), limit=most
        )
        filters = messages.GetAllActorInfoRequest.Filters()
        if actor_id is not None:
            filters.actor_id = ActorID(actor_id)
        if job_id is not None:
            filters.job_id = JobID(job_id)
        if state is not None:
            filters.state = enum_number(messages.ActorTableData.ActorState, state, "state")
        if filters.ListFields():
            request.filters.CopyFrom(filters)
        reply = await call(self._channel, _LIST, request, timeout)
        return {id_of(ActorID, actor.actor_id): actor for actor in reply.actor_table_data[:most]}

    def watch(
        self,
        *,
        max_messages: int = MAX_MESSAGES,
        max_bytes: int = MAX_BYTES,
        timeout: float | None = None,
    ) -> Watch[ActorID, messages.ActorTableData]:
        """The actors, and every change of them: a `Watch`, to be entered and iterated.

        It has what `list()` gives, but for what changes without a word: the `address` of actors
        that are being created or restarted. An event of the GCS holds a part of that, and the actor
        is read anew for the rest, which has become another by then if it changes quickly: of the
        states that have passed meanwhile, only what events hold is new.

        Args:
            max_messages: how many messages are held that nobody has asked for, beside one reply of
                the server; more of them wait there.
            max_bytes: how many bytes of them; one message may be larger.
            timeout: in seconds, for entering; None for the client's own, `math.inf` for none.
        """
        return ActorsWatch(self._channel, self, timeout, max_messages, max_bytes)

    async def get_named(
        self, name: str, *, namespace: str = "", timeout: float | None = None
    ) -> messages.ActorTableData | None:
        """The living actor of a name. RPC: GetNamedActorInfo.

        Args:
            name: the actor's name.
            namespace: Ray's namespace that the name was given in: what the driver passed to
                `ray.init()`, or one that Ray made up for it; "" is a namespace like another.
            timeout: in seconds; None for the client's own, `math.inf` for none.

        Returns:
            The actor, or None if no living actor has this name there.
        """
        request = messages.GetNamedActorInfoRequest(
            name=text(name, "name"), ray_namespace=text(namespace, "namespace")
        )
        reply = await find(self._channel, _GET_NAMED, request, timeout)
        if reply is None or not reply.HasField("actor_table_data"):
            return None
        actor: messages.ActorTableData = reply.actor_table_data
        return actor

    async def list_named(
        self,
        *,
        namespace: str = "",
        all_namespaces: bool = False,
        timeout: float | None = None,
    ) -> builtins.list[messages.NamedActorInfo]:
        """The names of living actors. RPC: ListNamedActors.

        Args:
            namespace: Ray's namespace that is listed.
            all_namespaces: list them all instead.
            timeout: in seconds; None for the client's own, `math.inf` for none.

        Returns:
            A `name` and its `ray_namespace` for each.
        """
        request = messages.ListNamedActorsRequest(
            all_namespaces=boolean(all_namespaces, "all_namespaces"),
            ray_namespace=text(namespace, "namespace"),
        )
        reply = await call(self._channel, _LIST_NAMED, request, timeout)
        return [*reply.named_actors_list]

    @redone
    async def kill(
        self,
        actor_id: AnyID,
        *,
        force: bool = True,
        no_restart: bool = True,
        timeout: float | None = None,
    ) -> None:
        """Ends an actor. RPC: KillActorViaGcs.

        The GCS sees to it after it has answered: the actor may live for a moment longer.

        Args:
            actor_id: the actor.
            force: end its process at once, without its exit handlers.
            no_restart: do not start it again, whatever its `max_restarts`.
            timeout: in seconds; None for the client's own, `math.inf` for none.

        Raises:
            GcsStatusError: there is no such actor, or it is dead (RAY_NOT_FOUND). Before Ray 2.48,
                which says nothing then, the actor is looked up first.
        """
        deadline = Deadline.of(timeout, self._channel.default_timeout)
        request = messages.KillActorViaGcsRequest(
            actor_id=ActorID(actor_id),
            force_kill=boolean(force, "force"),
            no_restart=boolean(no_restart, "no_restart"),
        )
        server = await server_of(self._channel, deadline)
        if server.release.pair < _KILLS_NOBODY_SINCE:
            await self._check_alive(ActorID(actor_id), deadline)
        await call(self._channel, _KILL, request, deadline, written_for=server)

    async def _check_alive(self, actor_id: ActorID, deadline: Deadline) -> None:
        request = messages.GetActorInfoRequest(actor_id=actor_id)
        actor = (await call(self._channel, _GET, request, deadline)).actor_table_data
        cause = actor.death_cause.actor_died_error_context.reason
        # Who is out of scope can be started again, and is known for as long.
        is_dead = actor.state == messages.ActorTableData.DEAD and (
            cause != messages.ActorDiedErrorContext.OUT_OF_SCOPE
        )
        if is_dead or not actor.actor_id:
            raise unknown(self._channel, f"living actor {actor_id}", _KILL)
