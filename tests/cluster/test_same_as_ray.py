# SPDX-License-Identifier: Apache-2.0
"""Every accessor on a live cluster of three raylets, beside Ray 2.60's own clients.

Invariants:
- One cluster for all tests, in a child process with a home, a token and a temporary folder of its
  own; the test's process never imports Ray.
- What a test changes is its own: an actor, a group, a node, keys that no other test looks at.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest
from live.comparison import Clients, compare, tally
from live.listings import listings
from live.ray_process import RayProcess
from live.readings import KEYS, KV, readings

import gcs_cffi
from gcs_cffi import ActorID, JobID, NodeID, messages, sync

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EVENTUALLY_SECONDS = 30

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def ray_process() -> Iterator[RayProcess]:
    process = RayProcess()
    yield process
    process.end()


@pytest.fixture(scope="module")
def clients(ray_process: RayProcess) -> Iterator[Clients]:
    loop = asyncio.new_event_loop()

    async def connect() -> gcs_cffi.GcsClient:
        return await gcs_cffi.connect(ray_process.address, token=ray_process.token)

    awaited = loop.run_until_complete(connect())
    with sync.connect(ray_process.address, token=ray_process.token) as blocking:
        yield Clients(awaited, blocking, loop.run_until_complete)
    loop.run_until_complete(awaited.close())
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


def test_every_accessor_that_reads_gives_what_rays_own_clients_give(
    ray_process: RayProcess, clients: Clients
) -> None:
    for key, value in KEYS.items():
        clients.blocking.kv.put(key, value, namespace=KV)
    host = ray_process.address.rpartition(":")[0]
    workers = some_workers(ray_process, clients)
    results = [
        result
        for reading in [*readings(ray_process.made, host, workers), *listings()]
        for result in compare(reading, clients, ray_process)
    ]
    print(f"\n{tally(results)}")
    wrong = [
        f"{each.name} beside {each.way}: {line}"
        for each in results
        for line in (each.differences + each.moved)[:20]
    ]
    assert not wrong, "\n".join(wrong)


def some_workers(ray_process: RayProcess, clients: Clients) -> dict[str, bytes]:
    """A worker that lives on, since it is an actor's, and a dead one."""
    actor = clients.blocking.actors.get(ray_process.made.actors["alive"])
    assert actor is not None
    dead = clients.blocking.workers.list(is_alive=False)
    return {"alive": actor.address.worker_id, "dead": bytes(next(iter(dead)))}


def eventually(what: str, condition: Callable[[], bool]) -> None:
    """Waits for what the GCS does after it has answered."""
    deadline = time.monotonic() + EVENTUALLY_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"after {EVENTUALLY_SECONDS} s still not so: {what}"
        time.sleep(0.1)


def test_ray_reads_what_was_put_and_misses_what_was_deleted(
    ray_process: RayProcess, clients: Clients
) -> None:
    ours = clients.blocking.kv
    where: dict[str, Any] = {"namespace": b"live_put"}
    assert ours.put(b"key", b"first", **where)
    assert ray_process.ask("kv_get", key=b"key", **where) == b"first"
    assert not ours.put(b"key", b"second", **where)
    assert ray_process.ask("kv_get", key=b"key", **where) == b"second"
    assert not ours.put(b"key", b"third", overwrite=False, **where)
    assert ray_process.ask("kv_get", key=b"key", **where) == b"second"
    assert ray_process.ask("kv_put", key=b"theirs", value=b"x", overwrite=True, **where) == 1
    assert ours.get(b"theirs", **where) == b"x"
    assert ours.delete(b"key", **where)
    assert ray_process.ask("kv_get", key=b"key", **where) is None
    assert ours.delete_prefix(b"the", **where) == 1
    assert ray_process.ask("kv_keys", prefix=b"", **where) == []


def test_ray_counts_on_from_our_job_id_and_sees_the_job_that_was_added_and_finished(
    ray_process: RayProcess, clients: Clients
) -> None:
    job_id = clients.blocking.jobs.next_id()
    assert ray_process.ask("next_job_id_accessor") == job_id.to_int() + 1
    driver = clients.blocking.jobs.list()[JobID(ray_process.made.driver_job)]
    added = messages.JobTableData()
    added.CopyFrom(driver)
    added.job_id, added.entrypoint = bytes(job_id), "added by hand"
    added.ClearField("is_running_tasks")  # the GCS asks the driver, and stores nothing
    clients.blocking.jobs.add(added)
    job = ray_process.ask("jobs")[job_id.hex()]
    assert (job["entrypoint"], job.get("is_dead", False)) == ("added by hand", False)
    clients.blocking.jobs.mark_finished(job_id)
    eventually("the job has ended", lambda: ray_process.ask("jobs")[job_id.hex()].get("is_dead"))


def test_ray_sees_the_actor_dead_that_was_killed(ray_process: RayProcess, clients: Clients) -> None:
    actor_id = ray_process.made.actors["to_kill"]
    assert ray_process.ask("actor_accessor", actor_id=actor_id)["state"] == "ALIVE"
    clients.blocking.actors.kill(actor_id)
    eventually(
        "the actor is dead",
        lambda: ray_process.ask("actor_accessor", actor_id=actor_id)["state"] == "DEAD",
    )


def test_ray_sees_the_placement_group_that_was_created_and_removed(
    ray_process: RayProcess, clients: Clients
) -> None:
    """Built by hand: an id, the driver as its creator, and one bundle."""
    groups = clients.blocking.placement_groups
    job_id = ray_process.made.driver_job
    group_id = bytes([7] * 14) + job_id
    bundle = {
        "bundle_id": {"placement_group_id": group_id, "bundle_index": 0},
        "unit_resources": {"CPU": 0.1},
    }
    groups.create(
        {
            "placement_group_id": group_id,
            "name": "by_hand",
            "bundles": [bundle],
            "strategy": "PACK",
            "creator_job_id": job_id,
            "creator_actor_id": bytes(ActorID.nil()),
            "creator_actor_dead": True,
            "soft_target_node_id": bytes(NodeID.nil()),
        }
    )
    groups.wait_until_ready(group_id, timeout=30)
    group = ray_process.ask("group_accessor", group_id=group_id)
    assert (group["name"], group["state"]) == ("by_hand", "CREATED")
    groups.remove(group_id)
    eventually(
        "the group is removed",
        lambda: ray_process.ask("group_accessor", group_id=group_id)["state"] == "REMOVED",
    )

    groups.remove(ray_process.made.groups["to_remove"])
    eventually(
        "Ray's own group is removed",
        lambda: (
            ray_process.ask("group_accessor", group_id=ray_process.made.groups["to_remove"])[
                "state"
            ]
            == "REMOVED"
        ),
    )


def test_ray_sees_what_the_autoscaler_was_told(ray_process: RayProcess, clients: Clients) -> None:
    ours = clients.blocking.autoscaler
    ours.request_cluster_resource_constraint([{"CPU": 1}, {"GPU": 2}], counts=[3, 1])
    (constraint,) = ray_process.ask("cluster_resource_state")["cluster_resource_constraints"]
    asked = sorted(
        (each["count"], each["request"]["resources_bundle"])
        for each in constraint["resource_requests"]
    )
    assert asked == [(1, {"GPU": 2.0}), (3, {"CPU": 1.0})]
    ours.request_cluster_resource_constraint([])
    assert not ray_process.ask("cluster_resource_state")["cluster_resource_constraints"][0]

    version = 1 << 40
    ours.report_autoscaling_state(
        {
            "autoscaler_state_version": version,
            "pending_instance_requests": [{"ray_node_type_name": "large", "count": 2}],
        }
    )
    for way in ("cluster_status", "cluster_status_async"):
        state = ray_process.ask(way)["autoscaling_state"]
        assert state["autoscaler_state_version"] == version
        (pending,) = state["pending_instance_requests"]
        assert (pending["ray_node_type_name"], pending["count"]) == ("large", 2)

    ours.report_cluster_config({"max_resources": {"CPU": 64}})
    stored = ray_process.ask(
        "kv_get", key=b"__autoscaler_cluster_config", namespace=b"__autoscaler"
    )
    config = messages.autoscaler.ClusterConfig.FromString(stored)
    assert dict(config.max_resources) == {"CPU": 64}


def test_ray_sees_the_node_draining_and_resized(ray_process: RayProcess, clients: Clients) -> None:
    ours = clients.blocking.autoscaler
    node_id = ray_process.made.nodes["spare"]
    assert ours.resize_raylet_resource_instances(node_id, {"CPU": 3})["CPU"] == 3
    eventually(
        "the node has three CPUs",
        lambda: ray_process.ask("total_accessor")[node_id.hex()]["CPU"] == 3,
    )
    answer = ours.drain_node(node_id, reason="DRAIN_NODE_REASON_IDLE_TERMINATION")
    assert not answer.is_accepted
    assert answer.rejection_reason
    assert node_id.hex() not in ray_process.ask("draining")
    deadline = int(time.time() + 3600) * 1000
    answer = ours.drain_node(
        node_id, reason="DRAIN_NODE_REASON_PREEMPTION", message="spare", deadline_ms=deadline
    )
    assert answer.is_accepted
    eventually(
        "the node is draining",
        lambda: ray_process.ask("draining").get(node_id.hex()) == deadline,
    )


def test_ray_sees_the_node_dead_that_was_drained_for_good(
    ray_process: RayProcess, clients: Clients
) -> None:
    node_id = NodeID(ray_process.made.nodes["to_end"])
    assert clients.blocking.nodes.drain([node_id]) == [node_id]
    eventually(
        "the node is dead",
        lambda: ray_process.ask("node", node_id=bytes(node_id)).get("state") == "DEAD",
    )


def test_ray_sees_the_node_that_was_registered_and_unregistered(
    ray_process: RayProcess, clients: Clients
) -> None:
    node_id = bytes([6] * 28)
    clients.blocking.nodes.register(
        {
            "node_id": node_id,
            "node_manager_address": "127.0.0.1",
            "node_name": "made_up",
            "state": "ALIVE",
        }
    )
    node = ray_process.ask("node", node_id=node_id)
    assert (node["node_name"], node.get("state", "ALIVE")) == ("made_up", "ALIVE")
    clients.blocking.nodes.unregister(node_id, message="made up")
    eventually(
        "the node is dead",
        lambda: ray_process.ask("node", node_id=node_id).get("state") == "DEAD",
    )
    node = ray_process.ask("node", node_id=node_id)
    assert node["death_info"]["reason_message"] == "made up"


def test_rays_subscriber_hears_the_errors_that_were_published(
    ray_process: RayProcess, clients: Clients
) -> None:
    ray_process.ask("listen", what="errors")
    job_id = ray_process.made.driver_job
    clients.blocking.errors.publish("live_error", "published", job_id=job_id)
    clients.blocking.errors.report_job_error("live_error", "reported", job_id=job_id)
    heard: dict[str, Any] = {}
    while len(heard) < 2:
        key, error = ray_process.ask("hear", what="errors")
        assert key is not None, f"Ray's subscriber heard only {heard}"
        if error["type"] == "live_error":
            heard[error["error_message"]] = (key, error["job_id"])
    assert heard["published"] == (job_id.hex().encode(), job_id)
    assert heard["reported"][1] == job_id


def test_rays_subscriber_hears_the_logs_that_were_published(
    ray_process: RayProcess, clients: Clients
) -> None:
    ray_process.ask("listen", what="logs")
    clients.blocking.logs.publish(
        {"ip": "192.0.2.9", "pid": "77", "job_id": "0a000000", "lines": ["one", "two"]}
    )
    heard: dict[str, Any] = {}
    while heard.get("ip") != "192.0.2.9":
        heard = ray_process.ask("hear", what="logs")
        assert heard is not None, "Ray's subscriber heard nothing"
    assert (heard["pid"], heard["job"], heard["lines"]) == ("77", "0a000000", ["one", "two"])


def test_ray_sees_what_workers_were_noted_with(ray_process: RayProcess, clients: Clients) -> None:
    ours = clients.blocking.workers
    worker_id = some_workers(ray_process, clients)["alive"]
    ours.update_debugger_port(worker_id, 4711)
    assert ray_process.ask("debugger_port_accessor", worker_id=worker_id) == 4711
    ours.update_debugger_port(worker_id, 0)
    ours.update_paused_threads(worker_id, 2)
    assert ray_process.ask("worker_accessor", worker_id=worker_id)["num_paused_threads"] == 2
    paused = [("num_paused_threads", ">", "0")]
    assert [*ray_process.ask("workers_state_api", filters=paused)] == [worker_id.hex()]
    assert [*ours.list(has_paused_threads=True)] == [worker_id]
    ours.update_paused_threads(worker_id, -2)
    assert ray_process.ask("workers_state_api", filters=paused) == {}

    address = {
        "node_id": ray_process.made.nodes["head"],
        "worker_id": bytes([8] * 28),
        "ip_address": "192.0.2.9",
    }
    ours.add({"worker_address": address, "is_alive": True, "pid": 77})
    assert ray_process.ask("worker_accessor", worker_id=bytes([8] * 28))["pid"] == 77
    ours.report_failure(
        {"worker_address": address, "exit_type": "SYSTEM_ERROR", "exit_detail": "made up"}
    )
    eventually(
        "the worker has ended",
        lambda: (
            ray_process.ask("worker_accessor", worker_id=bytes([8] * 28)).get("exit_detail")
            == "made up"
        ),
    )


def test_ray_sees_the_task_events_that_were_added(
    ray_process: RayProcess, clients: Clients
) -> None:
    job_id = ray_process.made.driver_job
    task_id = bytes([9] * 20) + job_id
    clients.blocking.tasks.add_events(
        {
            "job_id": job_id,
            "events_by_task": [
                {
                    "task_id": task_id,
                    "job_id": job_id,
                    "task_info": {"task_id": task_id, "job_id": job_id, "name": "made_up"},
                    "state_updates": {"state_ts_ns": {messages.FINISHED: time.time_ns()}},
                }
            ],
        }
    )
    filters = [("name", "=", "made_up")]
    found = ray_process.ask("tasks_state_api", filters=filters)
    assert [*found] == [f"{task_id.hex()}/0"]


def test_ray_sees_the_task_that_an_event_defined(ray_process: RayProcess, clients: Clients) -> None:
    job_id = ray_process.made.driver_job
    task_id = bytes([10] * 20) + job_id
    event = messages.events.RayEvent(
        event_id=bytes(28),
        source_type="CORE_WORKER",
        event_type="TASK_DEFINITION_EVENT",
        severity="INFO",
        task_definition_event={
            "task_id": task_id,
            "job_id": job_id,
            "task_name": "defined_by_event",
        },
    )
    event.timestamp.GetCurrentTime()
    clients.blocking.events.add(messages.events.RayEventsData(events=[event]))
    filters = [("name", "=", "defined_by_event")]
    eventually(
        "the task is listed",
        lambda: [*ray_process.ask("tasks_state_api", filters=filters)] == [f"{task_id.hex()}/0"],
    )


def test_a_package_goes_when_its_pin_expires(ray_process: RayProcess, clients: Clients) -> None:
    """Ray deletes a package from the KV when nothing refers to it any more."""
    uri = "gcs://_ray_pkg_live.zip"
    clients.blocking.kv.put(uri, b"a package")
    clients.blocking.runtime_envs.pin_uri(uri, expiration_s=2)
    assert ray_process.ask("kv_exists", key=uri.encode(), namespace=b"")
    eventually(
        "the package is gone",
        lambda: not ray_process.ask("kv_exists", key=uri.encode(), namespace=b""),
    )
