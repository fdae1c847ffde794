# SPDX-License-Identifier: Apache-2.0
"""gcs.nodes.list and gcs.nodes.address_and_liveness with their filters, on every release."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import pytest

from gcs_cffi import JobID, NodeID, messages
from matrix.arguments import (
    OtherID,
    check_counts,
    check_ids,
    check_timeouts,
    check_truth,
    refused_before_sending,
)
from matrix.nodes import end, fields_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcs_cffi import GcsClient
    from gcs_cffi.testing import GcsServer
    from matrix.conftest import Connect

ALIVE, DEAD = messages.GcsNodeInfo.ALIVE, messages.GcsNodeInfo.DEAD
LIMITS = (None, 0, 1, 2, 100)
HEAD, LIVING, SAME_NAME, ENDED = [NodeID(bytes([number]) * 28) for number in range(1, 5)]
UNKNOWN = NodeID(b"u" * 28)
NODES = {
    HEAD: ("head", "127.0.0.1", True, ALIVE),
    LIVING: ("node", "127.0.0.2", False, ALIVE),
    SAME_NAME: ("node", "127.0.0.3", False, ALIVE),
    ENDED: ("ended", "127.0.0.2", False, DEAD),
}
"""Name, address, whether it is the head, and state."""


async def register_all(gcs: GcsClient, release: tuple[int, ...]) -> None:
    for node, (name, address, is_head, _) in NODES.items():
        await gcs.nodes.register({**fields_of(node, name, address), "is_head_node": is_head})
    await end(gcs, release, ENDED)


def expected_nodes(
    ids: Any, names: Any, addresses: Any, is_head: bool | None, state: Any
) -> set[NodeID]:
    """What of NODES is to be listed."""
    wanted = None if ids is None else {OtherID.raw(given) for given in ids}
    states = {None: (ALIVE, DEAD), "ALIVE": (ALIVE,), "DEAD": (DEAD,), ALIVE: (ALIVE,)}
    selects = any(given is not None for given in (ids, names, addresses, is_head))
    return {
        node
        for node, (name, address, head, state_of_node) in NODES.items()
        if state_of_node in states[state]
        and (
            not selects
            or node in (wanted or ())
            or name in (names or ())
            or address in (addresses or ())
            or is_head is head
        )
    }


@pytest.mark.method("nodes.list")
async def test_nodes_are_listed_by_every_filter_and_their_combinations(
    own_server: GcsServer, connect: Connect, release: tuple[int, ...]
) -> None:
    async with connect(own_server.address) as gcs:
        await register_all(gcs, release)
        for ids, names, addresses, is_head, state, limit in product(
            (None, (), (HEAD, OtherID(ENDED), UNKNOWN, HEAD)),
            (None, ["node"], ["ended", "no such name"]),
            (None, ("127.0.0.2",), ("127.0.0.9", "127.0.0.3")),
            (None, True, False),
            (None, "ALIVE", "DEAD", ALIVE),
            (None, 1),
        ):
            asked = (ids, names, addresses, is_head, state, limit)
            expected = expected_nodes(*asked[:-1])
            found = await gcs.nodes.list(
                node_ids=ids,
                names=names,
                ip_addresses=addresses,
                is_head=is_head,
                state=state,
                limit=limit,
            )
            check(found, expected, limit, asked)


@pytest.mark.method("nodes.list")
async def test_no_more_nodes_are_listed_than_the_limit_says(
    own_server: GcsServer, connect: Connect, release: tuple[int, ...]
) -> None:
    async with connect(own_server.address) as gcs:
        await register_all(gcs, release)
        filters: list[dict[str, Any]] = [
            {},
            {"names": ["node"]},
            {"is_head": False},
            {"state": "ALIVE"},
            {"state": "DEAD", "ip_addresses": ["127.0.0.2"]},
            {"node_ids": []},
        ]
        for chosen, limit in product(filters, LIMITS):
            keys = ("node_ids", "names", "ip_addresses", "is_head", "state")
            expected = expected_nodes(*(chosen.get(key) for key in keys))
            check(await gcs.nodes.list(**chosen, limit=limit), expected, limit, chosen)


def check(found: Any, expected: set[NodeID], limit: int | None, asked: object) -> None:
    assert {type(node) for node in found} <= {NodeID}, asked
    assert found.keys() <= expected, (asked, limit)
    assert len(found) == min(len(expected), 100 if limit is None else limit), (asked, limit)
    for node, info in found.items():
        assert info.node_id == node
        assert info.node_manager_address == NODES[node][1]
        assert info.state == NODES[node][3]


@pytest.mark.method("nodes.address_and_liveness")
@pytest.mark.since("2.51")
async def test_addresses_are_listed_by_every_filter_and_their_combinations(
    own_server: GcsServer, connect: Connect, release: tuple[int, ...]
) -> None:
    async with connect(own_server.address) as gcs:
        assert await gcs.nodes.address_and_liveness() == {}
        await register_all(gcs, release)
        for ids, state, limit in product(
            (None, (), (HEAD, OtherID(ENDED), UNKNOWN, HEAD), [LIVING, SAME_NAME]),
            (None, "ALIVE", "DEAD", ALIVE),
            LIMITS,
        ):
            found = await gcs.nodes.address_and_liveness(node_ids=ids, state=state, limit=limit)
            expected = expected_nodes(ids, None, None, None, state)
            check(found, expected, limit, (ids, state))
            for info in found.values():
                assert type(info) is messages.GcsNodeAddressAndLiveness
                assert info.node_manager_port == 1


@pytest.mark.method("nodes.list")
async def test_filters_that_cannot_be_are_refused_before_they_are_sent(gcs: GcsClient) -> None:
    await check_counts(gcs, lambda wrong: gcs.nodes.list(limit=wrong))
    await check_truth(gcs, lambda wrong: gcs.nodes.list(is_head=wrong))
    await check_timeouts(gcs, gcs.nodes.list)
    await check_ids_and_states(gcs, gcs.nodes.list)
    for one in ("node", b"node", 7, [b"node"], [None], [7]):
        with refused_before_sending(gcs, TypeError):
            await gcs.nodes.list(names=one)  # type: ignore[arg-type]
        with refused_before_sending(gcs, TypeError):
            await gcs.nodes.list(ip_addresses=one)  # type: ignore[arg-type]


@pytest.mark.method("nodes.address_and_liveness")
async def test_filters_of_addresses_that_cannot_be_are_refused_before_they_are_sent(
    gcs: GcsClient,
) -> None:
    await check_counts(gcs, lambda wrong: gcs.nodes.address_and_liveness(limit=wrong))
    await check_ids_and_states(gcs, gcs.nodes.address_and_liveness)
    await check_timeouts(gcs, gcs.nodes.address_and_liveness)


async def check_ids_and_states(gcs: GcsClient, call: Callable[..., Any]) -> None:
    await check_ids(gcs, 28, lambda wrong: call(node_ids=[HEAD, wrong]))
    for one in (HEAD, bytes(HEAD), HEAD.hex(), 7, [JobID(b"xxxx")]):
        with refused_before_sending(gcs, TypeError):
            await call(node_ids=one)
    for unknown in ("NO_SUCH_STATE", "", 2, -1):
        with refused_before_sending(gcs, ValueError, "ALIVE, DEAD"):
            await call(state=unknown)
    for strange in (b"ALIVE", 1.0, True, ["ALIVE"]):
        with refused_before_sending(gcs, TypeError):
            await call(state=strange)
