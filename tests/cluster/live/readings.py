# SPDX-License-Identifier: Apache-2.0
"""Every accessor that reads, with its filters, beside Ray's ways to the same."""

from __future__ import annotations

import json
from typing import Any

from live.comparison import Reading
from live.plain import by_task
from live.ray_process import Made

NAMESPACE = "elsewhere"
KV = b"live_kv"
KEYS = {b"one": b"1", b"binary\x00\xff": bytes(range(256)), b"empty": b"", b"prefix/a": b"a"}


def readings(made: Made, host: str, workers: dict[str, bytes]) -> list[Reading]:
    """All readings of a cluster.

    Args:
        made: what runs there.
        host: the address of each node.
        workers: ids of workers, by a word for each.
    """
    return [
        *_kv(),
        *_jobs(made),
        *_actors(made),
        *_nodes(made, host),
        *_workers(workers),
        *_groups(made),
        *_resources(),
        *_tasks(made),
    ]


def _limited(accessor: str, limit: int, ways: dict[str, Any]) -> Reading:
    """A reading with a limit: how many. Which ones is up to the GCS, and can differ each time."""
    return Reading(accessor, {"limit": limit}, ways, "limit", len, len)


def _kv() -> list[Reading]:
    made = []
    asked: dict[str, Any]
    for key in [*KEYS, b"missing"]:
        asked = {"key": key, "namespace": KV}
        ways: dict[str, Any] = {"kv_get": asked, "kv_get_async": asked}
        made.append(Reading("kv.get", asked, ways, repr(key)))
        exists: dict[str, Any] = {"kv_exists": asked, "kv_exists_async": asked}
        made.append(Reading("kv.exists", asked, exists, repr(key)))
    for namespace, key in ((b"session", b"session_name"), (b"cluster", b"CLUSTER_METADATA")):
        asked = {"key": key, "namespace": namespace}
        ways = {"kv_get": asked, "kv_get_accessor": asked}
        made.append(Reading("kv.get", asked, ways, f"Ray's {key.decode()}"))
    asked = {"keys": [*KEYS, b"missing"], "namespace": KV}
    ways = {"kv_multi_get": asked, "kv_multi_get_async": asked}
    made.append(Reading("kv.multi_get", asked, ways))
    for namespace, prefix in ((KV, b""), (KV, b"prefix/"), (b"fun", b""), (b"session", b"")):
        asked = {"prefix": prefix, "namespace": namespace}
        ways = {"kv_keys": asked, "kv_keys_async": asked}
        note = f"{namespace.decode()}, {prefix!r}"
        made.append(Reading("kv.keys", asked, ways, note, sorted))
    made.append(
        Reading("kv.get_internal_config", {}, {"internal_config_accessor": {}}, ours_as=json.loads)
    )
    return made


def _jobs(made: Made) -> list[Reading]:
    name = "jobs.list"
    own = made.driver_job.hex()
    result = [
        Reading(name, {}, {"jobs": {}, "jobs_async": {}, "jobs_accessor": {}}),
        _limited(name, 2, {"jobs_stub": {"limit": 2}}),
    ]
    asked: dict[str, Any]
    for wanted in (own, "submitted", "no such job"):
        asked = {"job_or_submission_id": wanted}
        ways: dict[str, Any] = {"jobs": asked, "jobs_async": asked}
        result.append(Reading(name, asked, ways, wanted))
    for ours, theirs in (
        ("skip_submission_info", "skip_submission_job_info_field"),
        ("skip_is_running_tasks", "skip_is_running_tasks_field"),
    ):
        asked = {theirs: True}
        ways = {"jobs": asked, "jobs_async": asked, "jobs_accessor": asked}
        result.append(Reading(name, {ours: True}, ways, ours))
    return result


def _actors(made: Made) -> list[Reading]:
    name = "actors.list"
    result = [
        Reading(
            name,
            {},
            {"actors_async": {}, "actors_accessor": {}, "actors_state_api": {"filters": []}},
        ),
        Reading(
            name,
            {"show_dead_jobs": True},
            {"actors_stub": {"show_dead_jobs": True}},
            "with those of dead jobs",
        ),
        _limited(name, 3, {"actors_state_api": {"filters": [], "limit": 3}}),
    ]
    for state in ("ALIVE", "DEAD", "PENDING_CREATION", "RESTARTING", "DEPENDENCIES_UNREADY"):
        ways: dict[str, Any] = {
            "actors_async": {"state": state},
            "actors_accessor": {"state": state},
        }
        result.append(Reading(name, {"state": state}, ways, state))
    job = made.driver_job
    ways = {
        "actors_async": {"job_id": job},
        "actors_accessor": {"job_id": job},
    }
    result.append(Reading(name, {"job_id": job}, ways, "of a job"))
    ways = {"actors_async": {"job_id": job, "state": "DEAD"}}
    result.append(Reading(name, {"job_id": job, "state": "DEAD"}, ways, "of a job, DEAD"))
    asked: dict[str, Any]
    for word, actor in {**made.actors, "unknown": bytes(16)}.items():
        asked = {"actor_id": actor}
        result.append(Reading("actors.get", asked, {"actor_accessor": asked}, word))
        if word in ("alive", "failed", "unknown"):
            result.append(Reading(name, asked, {"actors_async": asked}, word))
    for actor_name, namespace in (
        ("known", NAMESPACE),
        ("known", "third"),
        ("stays", NAMESPACE),
        ("gone", NAMESPACE),
        ("known", "no such namespace"),
    ):
        asked = {"name": actor_name, "namespace": namespace}
        note = f"{actor_name} in {namespace}"
        result.append(Reading("actors.get_named", asked, {"ray_get_actor": asked}, note))
    everywhere = {"all_namespaces": True}
    result.append(
        Reading(
            "actors.list_named",
            everywhere,
            {"ray_list_named_actors": {}},
            "all",
            lambda found: sorted([each.ray_namespace, each.name] for each in found),
        )
    )
    result.append(
        Reading(
            "actors.list_named",
            {"namespace": NAMESPACE},
            {"ray_list_named_actors_here": {}},
            "one namespace",
            lambda found: sorted(each.name for each in found),
        )
    )
    return result


def _nodes(made: Made, host: str) -> list[Reading]:
    name = "nodes.list"
    result = [
        Reading(name, {}, {"nodes": {}, "nodes_async": {}}),
    ]
    for state in ("ALIVE", "DEAD"):
        ways: dict[str, Any] = {"nodes": {"state": state}, "nodes_async": {"state": state}}
        result.append(Reading(name, {"state": state}, ways, state))
    some = [made.nodes["head"], made.nodes["ended"], bytes(28)]
    selectors = [{"node_id": each} for each in some]
    ways = {"nodes": {"selectors": selectors}, "nodes_async": {"selectors": selectors}}
    result.append(Reading(name, {"node_ids": some}, ways, "by ids"))
    ways = {"nodes": {"selectors": selectors, "state": "ALIVE"}}
    result.append(Reading(name, {"node_ids": some, "state": "ALIVE"}, ways, "by ids, ALIVE"))
    ways = {"nodes": {"selectors": [{"is_head_node": True}]}}
    result.append(Reading(name, {"is_head": True}, ways, "the head"))
    # A node that was given no name has its address for one.
    for wanted, which in ((host, "all"), ("no such", "none")):
        ways = {"nodes": {"selectors": [{"node_name": wanted}]}}
        result.append(Reading(name, {"names": [wanted]}, ways, f"by name, {which}"))
        ways = {"nodes": {"selectors": [{"node_ip_address": wanted}]}}
        result.append(Reading(name, {"ip_addresses": [wanted]}, ways, f"by address, {which}"))
    result.append(_limited(name, 2, {"nodes_async": {"limit": 2}}))
    for word, node in {**made.nodes, "unknown": bytes(28)}.items():
        ways = {"node": {"node_id": node}}
        result.append(Reading("nodes.get", {"node_id": node}, ways, word))
    everyone = {"node_ids": [*made.nodes.values(), bytes(28)]}
    ways = {"check_alive": everyone, "check_alive_async": everyone}
    result.append(Reading("nodes.check_alive", everyone, ways))
    liveness = "nodes.address_and_liveness"
    result.append(Reading(liveness, {}, {"address_and_liveness": {}}))
    result.append(_limited(liveness, 2, {"address_and_liveness": {"limit": 2}}))
    ways = {"address_and_liveness": {"state_filter": 1}}
    result.append(Reading(liveness, {"state": "DEAD"}, ways, "DEAD"))
    asked = {"node_ids": some}
    result.append(Reading(liveness, asked, {"address_and_liveness": asked}, "by ids"))
    return result


def _workers(workers: dict[str, bytes]) -> list[Reading]:
    name = "workers.list"
    alive = [("is_alive", "=", "True")]
    paused = [("num_paused_threads", ">", "0")]
    result = [
        Reading(name, {}, {"workers_accessor": {}, "workers_state_api": {"filters": []}}),
        Reading(name, {"is_alive": True}, {"workers_state_api": {"filters": alive}}, "alive"),
        Reading(
            name,
            {"is_alive": False},
            {"workers_accessor": {}},
            "dead",
            theirs_as=lambda found: {
                worker: each for worker, each in found.items() if not each.get("is_alive")
            },
        ),
        Reading(
            name, {"has_paused_threads": True}, {"workers_state_api": {"filters": paused}}, "paused"
        ),
        _limited(name, 3, {"workers_state_api": {"filters": [], "limit": 3}}),
    ]
    for word, worker in {**workers, "unknown": bytes(28)}.items():
        asked = {"worker_id": worker}
        result.append(Reading("workers.get", asked, {"worker_accessor": asked}, word))
    return result


def _groups(made: Made) -> list[Reading]:
    name = "placement_groups.list"
    result = [
        Reading(name, {}, {"groups_accessor": {}, "groups_state_api": {}}),
        _limited(name, 2, {"groups_state_api": {"limit": 2}}),
    ]
    for word, group in {**made.groups, "unknown": bytes(18)}.items():
        ways: dict[str, Any] = {"group_accessor": {"group_id": group}}
        asked: dict[str, Any] = {"placement_group_id": group}
        result.append(Reading("placement_groups.get", asked, ways, word))
    for group_name in ("known", "gone", "missing"):
        asked = {"name": group_name, "namespace": NAMESPACE}
        ways = {"named_group_accessor": asked}
        result.append(Reading("placement_groups.get_named", asked, ways, group_name))
    return result


def _resources() -> list[Reading]:
    return [
        Reading("resources.available", {}, {"available_accessor": {}}),
        Reading("resources.total", {}, {"total_accessor": {}}),
        Reading("resources.usage", {}, {"usage": {}, "usage_accessor": {}}),
        Reading("resources.draining_nodes", {}, {"draining": {}, "draining_accessor": {}}),
        Reading(
            "autoscaler.get_cluster_status",
            {},
            {"cluster_status": {}, "cluster_status_async": {}},
        ),
        Reading("autoscaler.get_cluster_resource_state", {}, {"cluster_resource_state": {}}),
    ]


def _tasks(made: Made) -> list[Reading]:
    name = "tasks.list"
    ways: dict[str, Any] = {"tasks_accessor": {}, "tasks_state_api": {"filters": []}}
    result = [
        Reading(name, {}, ways, ours_as=by_task),
        Reading(
            name,
            {"exclude_driver": True},
            {"tasks_state_api": {"filters": [], "exclude_driver": True}},
            "without drivers",
            by_task,
        ),
        _limited(name, 4, {"tasks_state_api": {"filters": [], "limit": 4}}),
    ]
    job, actor = made.driver_job, made.actors["alive"]
    failed = made.tasks["failed"]
    filters: dict[str, tuple[dict[str, Any], list[tuple[str, str, str]]]] = {
        "of a job": ({"job_id": job}, [("job_id", "=", job.hex())]),
        "of an actor": ({"actor_id": actor}, [("actor_id", "=", actor.hex())]),
        "one task": ({"task_id": failed}, [("task_id", "=", failed.hex())]),
        "by name": ({"name": "ends_well"}, [("name", "=", "ends_well")]),
        "FAILED": ({"state": "FAILED"}, [("state", "=", "FAILED")]),
        "RUNNING": ({"state": "RUNNING"}, [("state", "=", "RUNNING")]),
        "of a job, FINISHED": (
            {"job_id": job, "state": "FINISHED"},
            [("job_id", "=", job.hex()), ("state", "=", "FINISHED")],
        ),
        "not of a job": ({"where": [("job_id", "!=", job)]}, [("job_id", "!=", job.hex())]),
        "not by name": (
            {"where": [("name", "!=", "ends_well")]},
            [("name", "!=", "ends_well")],
        ),
        "of no job": ({"job_id": bytes([9, 9, 9, 9])}, [("job_id", "=", "09090909")]),
    }
    for note, (ours, theirs) in filters.items():
        ways = {"tasks_state_api": {"filters": theirs}}
        result.append(Reading(name, ours, ways, note, by_task))
    return result
