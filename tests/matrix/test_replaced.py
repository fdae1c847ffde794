# SPDX-License-Identifier: Apache-2.0
"""A server that comes back as another release of Ray under a client that knows the one before."""

from __future__ import annotations

import asyncio
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gcs_cffi import GcsStatusError, JobID, NodeID, messages
from gcs_cffi.testing import GcsServer
from matrix.conftest import numbers_of

if TYPE_CHECKING:
    from matrix.conftest import Connect

NODE = NodeID(b"\x31" * 28)


def newest_server() -> Path:
    """The gcs_server of the installed Ray."""
    spec = importlib.util.find_spec("ray")
    assert spec is not None
    assert spec.submodule_search_locations
    folder = Path(spec.submodule_search_locations[0])
    return folder / "core" / "src" / "ray" / "gcs" / "gcs_server"


@pytest.mark.method("nodes.list", "nodes.check_alive", "get_ray_version")
@pytest.mark.parametrize("upgrade", [True, False], ids=["upgraded", "downgraded"])
async def test_calls_are_written_anew_for_the_release_that_came_back(
    connect: Connect, hide_user: None, release: tuple[int, ...], upgrade: bool
) -> None:
    own, newest = None, newest_server()
    first, second = (own, newest) if upgrade else (newest, own)
    with GcsServer(ray=first) as server:
        port = server.port
        context = connect(server.address, on_cluster_change="adopt")
        gcs = await context.__aenter__()
        assert await gcs.nodes.list(state="ALIVE") == {}
        assert await gcs.nodes.check_alive([NODE]) == {NODE: False}
        versions = [await gcs.get_ray_version()]
    with GcsServer(ray=second, port=port):
        # Each of them looks at the release that it remembers.
        assert await asyncio.gather(
            gcs.nodes.check_alive([NODE]),
            gcs.nodes.list(node_ids=[NODE], state="ALIVE"),
            gcs.jobs.list(job_or_submission_id="none"),
            gcs.jobs.mark_finished(JobID.from_int(7)),
            gcs.workers.list(is_alive=True),
            gcs.tasks.list(job_id=JobID.from_int(7)),
        ) == [{NODE: False}, {}, {}, None, {}, []]
        with pytest.raises(GcsStatusError, match=r"no living actor|not found|Could not find"):
            await gcs.actors.kill(b"a" * 12 + JobID.from_int(7))
        await gcs.nodes.register(
            {"node_id": NODE, "node_manager_address": "127.0.0.1", "node_manager_port": 1}
        )
        listed = await gcs.nodes.list(node_ids=[NODE], state=messages.GcsNodeInfo.ALIVE)
        assert list(listed) == [NODE]
        assert await gcs.nodes.check_alive([NODE]) == {NODE: True}
        versions.append(await gcs.get_ray_version())
        await context.__aexit__(None, None, None)
    this = versions[0] if upgrade else versions[1]
    assert numbers_of(this) == release
    assert numbers_of(versions[1] if upgrade else versions[0]) >= release
