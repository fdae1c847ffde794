# SPDX-License-Identifier: Apache-2.0
"""That the comparison with Ray, which `./dev live` makes, would see a difference."""

from __future__ import annotations

from typing import Any

import pytest
from live.comparison import compare_once, tally
from live.plain import plain

from gcs_cffi import NodeID, messages


def node(**fields: Any) -> messages.GcsNodeInfo:
    return messages.GcsNodeInfo(node_id=bytes(28), node_name="a", labels={"k": "v"}, **fields)


def test_a_message_is_all_its_fields_with_enums_by_name_and_ids_in_hex() -> None:
    made = plain({NodeID(bytes(28)): node(state="DEAD", resources_total={"CPU": 1.0})})
    assert made == {
        "00" * 28: {
            "node_id": bytes(28),
            "node_name": "a",
            "labels": {"k": "v"},
            "state": "DEAD",
            "resources_total": {"CPU": 1.0},
        }
    }


def test_a_field_that_the_schema_lacks_is_not_dropped() -> None:
    later = messages.GcsNodeInfo.FromString(node().SerializeToString() + b"\xf8\x3f\x07")
    assert plain(later) != plain(node())


@pytest.mark.parametrize(
    "theirs",
    [
        node(node_manager_port=1),
        node(state="DEAD"),
        messages.GcsNodeInfo(node_id=bytes(28), node_name="b", labels={"k": "v"}),
        messages.GcsNodeInfo(node_id=bytes(28), node_name="a", labels={"k": "w"}),
        messages.GcsNodeInfo(node_id=bytes(28), node_name="a"),
    ],
)
def test_each_kind_of_difference_is_found(theirs: messages.GcsNodeInfo) -> None:
    ours = {"x": plain(node())}
    assert compare_once("a", "b", ours, {"x": plain(theirs)}, ours).differences


def test_an_entry_more_or_less_is_found() -> None:
    one, two = {"x": plain(node())}, {"x": plain(node()), "y": plain(node())}
    assert compare_once("a", "b", one, two, one).differences
    assert compare_once("a", "b", two, one, two).differences
    assert compare_once("a", "b", {}, one, {}).differences
    assert compare_once("a", "b", None, one, None).differences


def test_what_moved_is_told_apart_and_fails_too() -> None:
    before, after = plain(node()), plain(node(node_manager_port=1))
    result = compare_once("a", "b", before, before, after)
    assert (len(result.moved), len(result.differences)) == (1, 0)
    (total,) = [line for line in tally([result]).splitlines() if line.startswith("1 accessors")]
    assert total.split()[-1] == "1"


def versions(*numbers: int) -> list[Any]:
    return [
        plain(
            messages.autoscaler.ClusterResourceState(
                cluster_resource_state_version=number,
                last_seen_autoscaler_state_version=3,
            )
        )
        for number in numbers
    ]


def test_what_grows_with_time_is_counted_apart_where_rays_lies_between_ours() -> None:
    for numbers in ((1, 2, 3), (1, 1, 1), (1, 1, 3)):
        result = compare_once("a", "b", *versions(*numbers))
        assert (result.fields, result.varying, result.differences, result.moved) == (1, 1, [], [])


def test_what_grows_with_time_is_a_difference_where_rays_lies_outside_of_ours() -> None:
    for numbers in ((2, 1, 3), (1, 4, 3), (3, 2, 1), (3, 3, 2)):
        assert len(compare_once("a", "b", *versions(*numbers)).differences) == 1
    one, none = versions(1), versions(0)
    assert compare_once("a", "b", *one, *none, *one).differences
