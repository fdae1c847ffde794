# SPDX-License-Identifier: Apache-2.0
"""Tokens that change while a client is connected, and clusters that change with them.

Promises:
- A client whose token comes out of a file reads it again whenever it is refused: a rotated token
  heals the calls that wait, those in flight, and the client itself, without a new one.
- A file that is gone, empty or spoilt for a while does no harm that a good one does not mend.
- A token that was given stays as it was given.
- A wrong token is told apart from a cluster that has changed; when both are so, the token comes
  first, and the cluster once the token is right.
- Nothing that a client says about it shows a token.

A gcs_server keeps the token that it was started with: here it comes back with another one.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from typing import TYPE_CHECKING

import pytest
from helpers import PATIENCE, finished, pending_in_library, shown_by, wait_until

import gcs_cffi
from gcs_cffi import AuthenticationError, ClusterChangedError, sync
from gcs_cffi.testing import GcsServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gcs_cffi import GcsClient

OLD = "the-old-token-" + "o" * 24
NEW = "the-new-token-" + "n" * 24


@pytest.fixture(scope="module")
def lasting_server(hide_user: None) -> Iterator[GcsServer]:
    """A server that stays the same cluster over restarts."""
    with GcsServer(redis=True, token=OLD) as running:
        yield running


@pytest.fixture
def lasting(lasting_server: GcsServer) -> GcsServer:
    """The same, with the old token."""
    if lasting_server.token != OLD or not lasting_server.running:
        lasting_server.token = OLD
        lasting_server.restart()
    return lasting_server


@pytest.fixture
def forgetful(hide_user: None) -> Iterator[GcsServer]:
    """A server that is another cluster after each restart."""
    with GcsServer(token=OLD) as running:
        yield running


class TokenFile:
    """A file with a token."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self._path = path

    def write(self, token: str) -> None:
        """Puts another one there."""
        self._path.parent.mkdir(exist_ok=True)
        self._path.write_text(token)

    def remove(self) -> None:
        """Takes it away."""
        self._path.unlink()


@pytest.fixture
def home_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> TokenFile:
    """The file in the home; there is none yet."""
    monkeypatch.setenv("HOME", str(tmp_path))
    return TokenFile(tmp_path / ".ray" / "auth_token")


@pytest.fixture
def file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, home_file: TokenFile) -> TokenFile:
    """The file of RAY_AUTH_TOKEN_PATH, with the old token; nothing lies in the home."""
    named = TokenFile(tmp_path / "token")
    named.write(OLD)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", named.path)
    return named


def rotate(server: GcsServer, token: str | None = NEW) -> None:
    """Has the server come back with another token."""
    server.token = token
    server.restart()


async def get(gcs: GcsClient) -> bytes | None:
    return await gcs.kv.get("nothing", namespace="nowhere")


# ---- A file that changes ------------------------------------------------------------------------


async def test_the_call_after_a_rotation_succeeds(lasting: GcsServer, file: TokenFile) -> None:
    async with gcs_cffi.connect(lasting.address) as gcs:
        before = gcs.cluster_id
        assert await get(gcs) is None
        file.write(NEW)
        rotate(lasting)
        assert await get(gcs) is None
        assert await gcs.kv.put("key", b"value", namespace="rotation", overwrite=True) is not None
        assert gcs.cluster_id == before
        assert gcs.stats()["failed"] == 0


def test_the_call_after_a_rotation_succeeds_without_a_loop(
    lasting: GcsServer, file: TokenFile
) -> None:
    with sync.connect(lasting.address) as gcs:
        assert gcs.kv.get("nothing", namespace="nowhere") is None
        file.write(NEW)
        rotate(lasting)
        assert gcs.kv.get("nothing", namespace="nowhere") is None
        assert gcs.stats()["failed"] == 0


async def test_calls_in_flight_at_a_rotation_succeed(lasting: GcsServer, file: TokenFile) -> None:
    async with gcs_cffi.connect(lasting.address) as gcs:
        lasting.pause()
        tasks = [asyncio.ensure_future(get(gcs)) for _ in range(200)]
        while gcs.stats()["in_flight"] == 0:  # noqa: ASYNC110 (there is nothing to wait for)
            await asyncio.sleep(0.01)
        file.write(NEW)
        lasting.kill()
        await asyncio.to_thread(rotate, lasting)
        assert await finished(*tasks) == [None] * 200
        assert gcs.stats()["failed"] == 0


def test_calls_of_threads_in_flight_at_a_rotation_succeed(
    lasting: GcsServer, file: TokenFile
) -> None:
    got: list[object] = []

    def work() -> None:
        try:
            got.append(gcs.kv.get("nothing", namespace="nowhere"))
        except gcs_cffi.GcsError as error:
            got.append(error)

    with sync.connect(lasting.address) as gcs:
        lasting.pause()
        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        wait_until(lambda: pending_in_library(gcs) == 8, "eight calls are pending")
        file.write(NEW)
        lasting.kill()
        rotate(lasting)
        for thread in threads:
            thread.join(PATIENCE)
    assert got == [None] * 8


async def test_a_call_that_is_refused_before_the_file_changes_fails_and_the_next_succeeds(
    lasting: GcsServer, file: TokenFile
) -> None:
    async with gcs_cffi.connect(lasting.address) as gcs:
        rotate(lasting)
        for _ in range(3):
            began = time.monotonic()
            with pytest.raises(AuthenticationError) as caught:
                await get(gcs)
            assert time.monotonic() - began < PATIENCE, "it does not wait for its timeout"
            assert f"the token in {file.path} (RAY_AUTH_TOKEN_PATH) was sent" in str(caught.value)
            assert not caught.value.maybe_executed
            assert caught.value.method == "/ray.rpc.InternalKVGcsService/InternalKVGet"
        file.write(NEW)
        assert await get(gcs) is None


async def test_a_file_in_the_home_that_appears_is_found(
    lasting: GcsServer, home_file: TokenFile
) -> None:
    rotate(lasting, None)
    async with gcs_cffi.connect(lasting.address) as gcs:
        assert await get(gcs) is None
        home_file.write(NEW + "\n")
        rotate(lasting)
        assert await get(gcs) is None


async def test_a_file_that_is_gone_or_spoilt_keeps_the_token_that_was_read(
    lasting: GcsServer, file: TokenFile
) -> None:
    async with gcs_cffi.connect(lasting.address) as gcs:
        file.remove()
        lasting.restart()
        assert await get(gcs) is None
        file.write("no header can carry this")
        lasting.restart()
        assert await get(gcs) is None
        rotate(lasting)
        with pytest.raises(AuthenticationError, match=file.path):
            await get(gcs)
        file.write(NEW)
        assert await get(gcs) is None


async def test_a_file_that_is_empty_for_a_moment_does_no_lasting_harm(
    lasting: GcsServer, file: TokenFile
) -> None:
    async with gcs_cffi.connect(lasting.address) as gcs:
        file.write("")
        rotate(lasting)
        with pytest.raises(AuthenticationError, match="is empty"):
            await get(gcs)
        file.write(NEW)
        assert await get(gcs) is None


async def test_a_token_that_was_given_is_not_looked_for(
    lasting: GcsServer, file: TokenFile
) -> None:
    async with gcs_cffi.connect(lasting.address, token=OLD) as gcs:
        file.write(NEW)
        rotate(lasting)
        with pytest.raises(AuthenticationError, match="the token given was sent"):
            await get(gcs)
        rotate(lasting, OLD)
        assert await get(gcs) is None


async def test_connecting_goes_on_while_a_token_is_wrong_and_says_lost_and_ready(
    lasting: GcsServer, file: TokenFile
) -> None:
    async with gcs_cffi.connect(lasting.address) as gcs:
        rotate(lasting)
        with pytest.raises(AuthenticationError):
            await get(gcs)
        async with gcs.watch_state() as changes:
            assert (await anext(changes)).state == "lost"
            file.write(NEW)
            # Nobody calls meanwhile.
            assert (await asyncio.wait_for(anext(changes), PATIENCE)).state == "ready"


# ---- Token and cluster --------------------------------------------------------------------------


async def test_the_same_token_on_another_cluster_is_a_cluster_that_has_changed(
    forgetful: GcsServer, file: TokenFile
) -> None:
    async with gcs_cffi.connect(forgetful.address) as gcs:
        forgetful.restart()
        with pytest.raises(ClusterChangedError):
            await get(gcs)


async def test_another_token_on_another_cluster_is_a_wrong_token_and_then_another_cluster(
    forgetful: GcsServer, file: TokenFile
) -> None:
    async with gcs_cffi.connect(forgetful.address) as gcs:
        rotate(forgetful)
        with pytest.raises(AuthenticationError) as caught:
            await get(gcs)
        assert not caught.value.maybe_executed
        file.write(NEW)
        for _ in range(2):
            with pytest.raises(ClusterChangedError, match="this client was connected to"):
                await get(gcs)


@pytest.mark.parametrize("tokens", [(OLD, OLD), (OLD, NEW), (OLD, None), (None, NEW)])
async def test_a_client_that_adopts_goes_on_with_token_and_cluster_together(
    forgetful: GcsServer, file: TokenFile, tokens: tuple[str | None, str | None]
) -> None:
    if forgetful.token != tokens[0]:
        rotate(forgetful, tokens[0])
    async with gcs_cffi.connect(forgetful.address, on_cluster_change="adopt") as gcs:
        before = gcs.cluster_id
        assert await gcs.kv.put("key", b"value", namespace="adopt") is True
        file.write(tokens[1] or OLD)
        rotate(forgetful, tokens[1])
        assert await gcs.kv.get("key", namespace="adopt") is None
        assert await gcs.kv.put("key", b"value", namespace="adopt") is True
        assert gcs.cluster_id not in (None, before)
        assert gcs.stats()["failed"] == 0


async def test_a_client_that_adopts_waits_for_the_right_token_before_it_does(
    forgetful: GcsServer, file: TokenFile
) -> None:
    async with gcs_cffi.connect(forgetful.address, on_cluster_change="adopt") as gcs:
        before = gcs.cluster_id
        rotate(forgetful)
        with pytest.raises(AuthenticationError):
            await get(gcs)
        assert gcs.cluster_id == before
        file.write(NEW)
        assert await get(gcs) is None
        assert gcs.cluster_id != before


# ---- Nothing is shown ---------------------------------------------------------------------------


async def test_no_token_is_shown_by_a_rotation(
    lasting: GcsServer, file: TokenFile, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    said: list[str] = []
    async with gcs_cffi.connect(lasting.address) as gcs:
        stop = gcs.on_state_change(lambda change: said.append(repr(change)))
        rotate(lasting)
        with pytest.raises(AuthenticationError) as caught:
            await get(gcs)
        assert shown_by(caught.value, OLD) == shown_by(caught.value, NEW) == []
        said.append(json.dumps(gcs.stats()))
        file.write(NEW)
        assert await get(gcs) is None
        said += [json.dumps(gcs.stats()), repr(gcs)]
        stop()
    said += [caplog.text, *(ascii((record.msg, record.args)) for record in caplog.records)]
    assert "InvalidAuthToken" in "".join(said)
    for token in (OLD, NEW):
        assert not any(token in each for each in said)
