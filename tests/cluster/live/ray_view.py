# SPDX-License-Identifier: Apache-2.0
"""The cluster as Ray 2.60's own clients see it, in plain values.

Where Ray offers several ways to the same thing, each has a method here. Ways, in the order of
preference: the client and the state accessor of Ray's native library, the data source of its state
API, and, for what none of them asks, the stubs that Ray generates from its protocol.

Invariants:
- Runs in the child process only; the module imports Ray.
- A method returns plain values (see `live.plain`), with ids as hexadecimal digits.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from enum import Enum
from typing import Any

import ray
import ray._raylet
from ray._private.grpc_utils import init_grpc_channel
from ray._private.state import GlobalState
from ray.core.generated import (
    autoscaler_pb2,
    gcs_pb2,
    gcs_service_pb2,
    gcs_service_pb2_grpc,
)
from ray.util.state import api as state_api
from ray.util.state.state_manager import StateDataSourceClient

from live.plain import by_task, plain

SECONDS = 20.0


class RayView:
    """Ray's readings; a method for each, called by name from the test's process."""

    def __init__(self, address: str, dashboard: str) -> None:
        """Of the cluster to which this process is connected as a driver."""
        self._address = address
        self._dashboard = dashboard
        self._gcs: Any = ray._private.worker.global_worker.gcs_client
        state = GlobalState()
        state._initialize_global_state(ray._private.state.state.gcs_options)
        self._state: Any = state._connect_and_get_accessor()
        self._channel = init_grpc_channel(address)
        self._loop = asyncio.new_event_loop()
        self._subscribers: dict[str, Any] = {}

    # KV: the client, blocking and async.

    def kv_get(self, key: bytes, namespace: bytes) -> Any:
        return self._gcs.internal_kv_get(key, namespace, SECONDS)

    def kv_get_async(self, key: bytes, namespace: bytes) -> Any:
        return self._run("async_internal_kv_get", key, namespace, SECONDS)

    def kv_multi_get(self, keys: list[bytes], namespace: bytes) -> Any:
        return plain(self._gcs.internal_kv_multi_get(keys, namespace, SECONDS))

    def kv_multi_get_async(self, keys: list[bytes], namespace: bytes) -> Any:
        return plain(self._run("async_internal_kv_multi_get", keys, namespace, SECONDS))

    def kv_exists(self, key: bytes, namespace: bytes) -> Any:
        return self._gcs.internal_kv_exists(key, namespace, SECONDS)

    def kv_exists_async(self, key: bytes, namespace: bytes) -> Any:
        return self._run("async_internal_kv_exists", key, namespace, SECONDS)

    def kv_keys(self, prefix: bytes, namespace: bytes) -> Any:
        return sorted(self._gcs.internal_kv_keys(prefix, namespace, SECONDS))

    def kv_keys_async(self, prefix: bytes, namespace: bytes) -> Any:
        return sorted(self._run("async_internal_kv_keys", prefix, namespace, SECONDS))

    def kv_get_accessor(self, key: bytes, namespace: bytes) -> Any:
        return self._state.get_internal_kv(namespace, key)

    def kv_put(self, key: bytes, value: bytes, overwrite: bool, namespace: bytes) -> Any:
        return self._gcs.internal_kv_put(key, value, overwrite, namespace, SECONDS)

    def internal_config_accessor(self) -> Any:
        return json.loads(self._state.get_system_config())

    # Jobs.

    def jobs(self, **filters: Any) -> Any:
        return plain(self._gcs.get_all_job_info(**filters, timeout=SECONDS))

    def jobs_async(self, **filters: Any) -> Any:
        return plain(self._run("async_get_all_job_info", **filters, timeout=SECONDS))

    def jobs_accessor(self, **filters: Any) -> Any:
        return _by("job_id", gcs_pb2.JobTableData, self._state.get_job_table(**filters))

    def jobs_stub(self, limit: int) -> Any:
        request = gcs_service_pb2.GetAllJobInfoRequest(limit=limit)
        reply = self._stub("JobInfoGcsService").GetAllJobInfo(request, timeout=SECONDS)
        return _keyed("job_id", reply.job_info_list)

    def next_job_id_accessor(self) -> int:
        return int(self._state.get_next_job_id())

    # Actors.

    def actors_async(
        self,
        actor_id: bytes | None = None,
        job_id: bytes | None = None,
        state: str | None = None,
    ) -> Any:
        ids = (actor_id and ray.ActorID(actor_id), job_id and ray.JobID(job_id))
        return plain(self._run("async_get_all_actor_info", *ids, state, SECONDS))

    def actors_accessor(self, job_id: bytes | None = None, state: str | None = None) -> Any:
        table = self._state.get_actor_table(job_id and ray.JobID(job_id), state)
        return _by("actor_id", gcs_pb2.ActorTableData, table)

    def actors_state_api(self, filters: list[tuple[str, str, str]], limit: int = 10000) -> Any:
        reply = self._source("get_all_actor_info", filters=filters, limit=limit)
        return _keyed("actor_id", reply.actor_table_data)

    def actors_stub(self, show_dead_jobs: bool) -> Any:
        request = gcs_service_pb2.GetAllActorInfoRequest(show_dead_jobs=show_dead_jobs)
        reply = self._stub("ActorInfoGcsService").GetAllActorInfo(request, timeout=SECONDS)
        return _keyed("actor_id", reply.actor_table_data)

    def actor_accessor(self, actor_id: bytes) -> Any:
        return _parsed(gcs_pb2.ActorTableData, self._state.get_actor_info(ray.ActorID(actor_id)))

    def ray_get_actor(self, name: str, namespace: str) -> Any:
        try:
            handle = ray.get_actor(name, namespace)
        except ValueError:
            return None
        return self.actor_accessor(handle._actor_id.binary())

    def ray_list_named_actors(self) -> Any:
        found = ray.util.list_named_actors(all_namespaces=True)
        return sorted([each["namespace"], each["name"]] for each in found)

    def ray_list_named_actors_here(self) -> Any:
        return sorted(ray.util.list_named_actors())

    # Nodes.

    def nodes(self, selectors: Iterable[dict[str, Any]] = (), state: str | None = None) -> Any:
        return plain(self._gcs.get_all_node_info(SECONDS, *self._node_filters(selectors, state)))

    def nodes_async(
        self,
        selectors: Iterable[dict[str, Any]] = (),
        state: str | None = None,
        limit: int | None = None,
    ) -> Any:
        filters = self._node_filters(selectors, state)
        found, _ = self._run("async_get_all_node_info", SECONDS, *filters, limit)
        return plain(found)

    def node(self, node_id: bytes) -> Any:
        return self.nodes([{"node_id": node_id}]).get(node_id.hex())

    def ray_nodes(self) -> Any:
        """The dicts of `ray.nodes()`."""
        return {node["NodeID"]: node for node in self._state.get_node_table()}

    def check_alive(self, node_ids: list[bytes]) -> Any:
        ids = [ray.NodeID(each) for each in node_ids]
        answer = self._gcs.check_alive(ids, SECONDS)
        return dict(zip([each.hex() for each in ids], answer, strict=True))

    def check_alive_async(self, node_ids: list[bytes]) -> Any:
        ids = [ray.NodeID(each) for each in node_ids]
        answer = self._run("async_check_alive", ids, SECONDS)
        return dict(zip([each.hex() for each in ids], answer, strict=True))

    def address_and_liveness(self, **fields: Any) -> Any:
        request = gcs_service_pb2.GetAllNodeAddressAndLivenessRequest(**fields)
        stub = self._stub("NodeInfoGcsService")
        reply = stub.GetAllNodeAddressAndLiveness(request, timeout=SECONDS)
        return _keyed("node_id", reply.node_info_list)

    # Workers.

    def workers_accessor(self) -> Any:
        return _workers(
            gcs_pb2.WorkerTableData.FromString(each) for each in self._state.get_worker_table()
        )

    def workers_state_api(self, filters: list[tuple[str, str, str]], limit: int = 10000) -> Any:
        return _workers(
            self._source("get_all_worker_info", filters=filters, limit=limit).worker_table_data
        )

    def worker_accessor(self, worker_id: bytes) -> Any:
        return _parsed(
            gcs_pb2.WorkerTableData, self._state.get_worker_info(ray.WorkerID(worker_id))
        )

    def debugger_port_accessor(self, worker_id: bytes) -> int:
        return int(self._state.get_worker_debugger_port(ray.WorkerID(worker_id)))

    # Placement groups.

    def groups_accessor(self) -> Any:
        table = self._state.get_placement_group_table()
        return _by("placement_group_id", gcs_pb2.PlacementGroupTableData, table)

    def groups_state_api(self, limit: int = 10000) -> Any:
        reply = self._source("get_all_placement_group_info", limit=limit)
        return _keyed("placement_group_id", reply.placement_group_table_data)

    def group_accessor(self, group_id: bytes) -> Any:
        found = self._state.get_placement_group_info(ray.PlacementGroupID(group_id))
        return _parsed(gcs_pb2.PlacementGroupTableData, found)

    def named_group_accessor(self, name: str, namespace: str) -> Any:
        found = self._state.get_placement_group_by_name(name, namespace)
        return _parsed(gcs_pb2.PlacementGroupTableData, found)

    # Resources.

    def available_accessor(self) -> Any:
        return {
            each.node_id.hex(): dict(each.resources_available)
            for each in map(
                gcs_pb2.AvailableResources.FromString, self._state.get_all_available_resources()
            )
        }

    def total_accessor(self) -> Any:
        return {
            each.node_id.hex(): dict(each.resources_total)
            for each in map(
                gcs_pb2.TotalResources.FromString, self._state.get_all_total_resources()
            )
        }

    def usage(self) -> Any:
        return plain(self._gcs.get_all_resource_usage(SECONDS).resource_usage_data)

    def usage_accessor(self) -> Any:
        return plain(
            gcs_pb2.ResourceUsageBatchData.FromString(self._state.get_all_resource_usage())
        )

    def draining(self) -> Any:
        return dict(self._gcs.get_draining_nodes(SECONDS))

    def draining_accessor(self) -> Any:
        return dict(self._state.get_draining_nodes())

    # Tasks.

    def tasks_accessor(self) -> Any:
        return by_task(map(gcs_pb2.TaskEvents.FromString, self._state.get_task_events()))

    def tasks_state_api(
        self,
        filters: list[tuple[str, str, str]],
        exclude_driver: bool = False,
        limit: int = 10000,
    ) -> Any:
        reply = self._source(
            "get_all_task_info", filters=filters, exclude_driver=exclude_driver, limit=limit
        )
        return by_task(reply.events_by_task)

    # Autoscaler.

    def cluster_status(self) -> Any:
        return _parsed(autoscaler_pb2.GetClusterStatusReply, self._gcs.get_cluster_status(SECONDS))

    def cluster_status_async(self) -> Any:
        return plain(self._run("async_get_cluster_status", SECONDS))

    def cluster_resource_state(self) -> Any:
        reply = autoscaler_pb2.GetClusterResourceStateReply.FromString(
            self._gcs.get_cluster_resource_state(SECONDS)
        )
        return plain(reply.cluster_resource_state)

    # What is published.

    def listen(self, what: str) -> None:
        """Subscribes to "errors" or "logs"."""
        kind = {"errors": "GcsErrorSubscriber", "logs": "GcsLogSubscriber"}[what]
        self._subscribers[what] = getattr(ray._raylet, kind)(address=self._address)
        self._subscribers[what].subscribe()

    def hear(self, what: str) -> Any:
        """The next that was published; None if nothing comes."""
        return self._subscribers[what].poll(timeout=SECONDS)

    # The state API as people use it, through the dashboard.

    def ray_util_state_list(self, what: str, key: str) -> Any:
        found = getattr(state_api, f"list_{what}")(
            address=self._dashboard, limit=10000, detail=True, raise_on_missing_output=True
        )
        rows: list[dict[str, Any]] = [each.asdict() for each in found]
        # Values that the other process can read without Ray.
        return {
            row[key]: {
                name: value.value if isinstance(value, Enum) else value
                for name, value in row.items()
            }
            for row in rows
        }

    def close(self) -> None:
        """Ends the subscriptions."""
        for each in self._subscribers.values():
            each.close()

    def _run(self, method: str, *arguments: Any, **named: Any) -> Any:
        """Awaits an async method of Ray's client, which wants to be called in a running loop."""

        async def ask() -> Any:
            return await getattr(self._gcs, method)(*arguments, **named)

        return self._loop.run_until_complete(ask())

    def _stub(self, service: str) -> Any:
        return getattr(gcs_service_pb2_grpc, f"{service}Stub")(self._channel)

    def _source(self, method: str, **arguments: Any) -> Any:
        """Asks by the data source of Ray's state API, on a channel of its own."""

        async def ask() -> Any:
            channel = init_grpc_channel(self._address, asynchronous=True)
            source = StateDataSourceClient(channel, self._gcs)
            try:
                return await getattr(source, method)(timeout=SECONDS, **arguments)
            finally:
                await source._client_session.close()
                await channel.close()

        return self._loop.run_until_complete(ask())

    def _node_filters(
        self, selectors: Iterable[dict[str, Any]], state: str | None
    ) -> tuple[list[Any], int | None]:
        made = [
            gcs_service_pb2.GetAllNodeInfoRequest.NodeSelector(**fields) for fields in selectors
        ]
        return made, None if state is None else gcs_pb2.GcsNodeInfo.GcsNodeState.Value(state)


def _workers(table: Iterable[Any]) -> dict[str, Any]:
    return {each.worker_address.worker_id.hex(): plain(each) for each in table}


def _keyed(key: str, found: Iterable[Any]) -> dict[str, Any]:
    return {getattr(each, key).hex(): plain(each) for each in found}


def _by(key: str, kind: Any, table: Iterable[bytes]) -> dict[str, Any]:
    return _keyed(key, map(kind.FromString, table))


def _parsed(kind: Any, data: bytes | None) -> Any:
    return None if data is None else plain(kind.FromString(data))
