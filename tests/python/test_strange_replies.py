# SPDX-License-Identifier: Apache-2.0
"""Replies that hold less, or something else, than they promise; and values at their bounds."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest

import gcs_cffi
from gcs_cffi import GcsError, NodeID, _reflection, messages
from gcs_cffi._arguments import amounts
from gcs_cffi._methods import id_of
from gcs_cffi.options import DrainAnswer

if TYPE_CHECKING:
    from gcs_cffi import GcsClient, sync

HEALTH = "grpc.health.v1.Health"


def test_an_id_that_a_reply_lacks_is_nil_and_one_of_another_length_an_error() -> None:
    assert id_of(NodeID, b"").is_nil
    assert id_of(NodeID, b"n" * 28) == b"n" * 28
    with pytest.raises(GcsError, match="id that is none"):
        id_of(NodeID, b"n" * 27)


async def test_an_answer_about_fewer_nodes_than_were_asked_for_is_an_error(gcs: GcsClient) -> None:
    asked = [NodeID(bytes([number]) * 28) for number in range(2)]
    whole = messages.CheckAliveReply(raylet_alive=[True, False])
    assert gcs.nodes._each_alive(asked, whole) == {asked[0]: True, asked[1]: False}
    for short in ([], [True], [True, True, True]):
        with pytest.raises(GcsError, match="and not 2"):
            gcs.nodes._each_alive(asked, messages.CheckAliveReply(raylet_alive=short))


@pytest.mark.parametrize("files", [[], [b"\x0a\x01a"]], ids=["none", "another"])
def test_a_layout_without_the_service_is_an_error_and_no_endless_question(
    blocking_gcs: sync.GcsClient, monkeypatch: pytest.MonkeyPatch, files: list[bytes]
) -> None:
    asked: list[Any] = []

    def answer(reply: bytes) -> list[bytes]:
        asked.append(reply)
        return files

    monkeypatch.setattr(_reflection, "files_in", answer)
    with pytest.raises(GcsError, match="does not have the service"):
        blocking_gcs.call(HEALTH, "Check", {})
    assert len(asked) == 1
    monkeypatch.undo()
    assert blocking_gcs.call(HEALTH, "Check", {}).status == 1


def test_amounts_of_resources_have_bounds() -> None:
    most = ((1 << 63) - 1) // 10_000
    assert amounts({"CPU": 0, "GPU": 0.5, "memory": most}, "a bundle") == {
        "CPU": 0.0,
        "GPU": 0.5,
        "memory": float(most),
    }
    for wrong in (-1, -1e-9, most + 1, math.inf, math.nan):
        with pytest.raises(ValueError, match="'CPU' in a bundle is between 0 and"):
            amounts({"CPU": wrong}, "a bundle")
    for strange in ("1", True, None):
        with pytest.raises(TypeError, match="'CPU' in a bundle is a number"):
            amounts({"CPU": strange}, "a bundle")  # type: ignore[dict-item]


def test_the_answer_to_a_drain_is_true_where_it_is_accepted() -> None:
    assert DrainAnswer(True, "")
    assert not DrainAnswer(False, "the node is busy")


async def test_two_bundles_with_one_index_are_refused_before_anything_is_sent(
    gcs: GcsClient,
) -> None:
    spec = messages.PlacementGroupSpec(placement_group_id=b"p" * 18)
    for index in (1, 1):
        bundle = spec.bundles.add(unit_resources={"CPU": 1.0})
        bundle.bundle_id.placement_group_id = spec.placement_group_id
        bundle.bundle_id.bundle_index = index
    before = gcs.stats()["started"]
    with pytest.raises(ValueError, match="the same bundle_index"):
        await gcs.placement_groups.create(spec)
    assert gcs.stats()["started"] == before


def test_what_connect_gives_names_the_way_to_a_client() -> None:
    connecting: Any = gcs_cffi.connect("127.0.0.1:1")
    for wrong in ("kv", "close", "no_such"):
        with pytest.raises(AttributeError, match=f"no '{wrong}': await it"):
            getattr(connecting, wrong)
