# SPDX-License-Identifier: Apache-2.0
"""Tokens: where they are found, what a wrong one gets, and that none is ever shown.

Promises:
- The argument comes first, then RAY_AUTH_TOKEN, the file of RAY_AUTH_TOKEN_PATH, the Kubernetes
  service account (if asked for), ~/.ray/auth_token. A variable that is empty is passed over.
- token="" sends none, and RAY_AUTH_MODE=disabled looks for none.
- White space around a token is not part of it; one that no header can carry is refused unsent.
- A wrong or missing token is an AuthenticationError that says where tokens were looked for. A wrong
  cluster is another error, and who has a wrong token learns nothing about the cluster.
- A token shows in no error, text, pickle, log record, state or counter.

The library reads the variables when a client is made: these tests set them in their own process,
and one gives them to another.
"""

from __future__ import annotations

import json
import logging
import pickle
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from helpers import PATIENCE, run_script, said_nothing, shown_by, unused_port

import gcs_cffi
from gcs_cffi import AuthenticationError, ClusterChangedError, sync
from gcs_cffi.testing import GcsServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RIGHT = "the-right-token-" + "r" * 24
WRONG = "the-wrong-token-" + "w" * 24
UNAUTHENTICATED = 16
INVALID_ARGUMENT = -1
OTHER_CLUSTER = "ab" * 28
PLACES = ("argument", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "home")


@pytest.fixture(scope="module")
def guarded(hide_user: None) -> Iterator[GcsServer]:
    """A server that wants the right token, and is left as it is."""
    with GcsServer(token=RIGHT) as running:
        yield running


class Places:
    """Where a token may lie, for the clients of one test.

    Attributes:
        arguments: what `connect()` is to be given.
        home: the user's folder.
    """

    def __init__(self, patch: pytest.MonkeyPatch, folder: Path) -> None:
        self.arguments: dict[str, Any] = {}
        self.home = folder / "home"
        self._patch = patch
        self._file = folder / "token"
        (self.home / ".ray").mkdir(parents=True)
        patch.setenv("HOME", str(self.home))

    def put(self, place: str, token: str) -> None:
        """Puts a token there."""
        if place == "argument":
            self.arguments["token"] = token
        elif place == "RAY_AUTH_TOKEN":
            self._patch.setenv(place, token)
        elif place == "RAY_AUTH_TOKEN_PATH":
            self._file.write_text(token)
            self._patch.setenv(place, str(self._file))
        else:
            (self.home / ".ray" / "auth_token").write_text(token)

    def named(self, place: str) -> str:
        """How an error calls the place."""
        return {
            "argument": "the token given",
            "RAY_AUTH_TOKEN": "in RAY_AUTH_TOKEN",
            "RAY_AUTH_TOKEN_PATH": f"in {self._file}",
            "home": f"in {self.home}/.ray/auth_token",
        }[place]


@pytest.fixture
def places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Places:
    """The places, all of them empty."""
    return Places(monkeypatch, tmp_path)


def accepted(server: GcsServer, **arguments: Any) -> bool:
    """Whether the server takes the calls of a client with these arguments."""
    with sync.connect(server.address, **arguments) as gcs:
        return gcs.kv.get("nothing", namespace="nowhere") is None


def refused(server: GcsServer, **arguments: Any) -> str:
    """What a client says that the server does not let in."""
    with pytest.raises(AuthenticationError) as caught:
        sync.connect(server.address, **arguments)
    return str(caught.value)


# ---- Where a token is found ---------------------------------------------------------------------


@pytest.mark.parametrize("place", PLACES)
def test_a_token_is_found_in_each_place(guarded: GcsServer, places: Places, place: str) -> None:
    places.put(place, RIGHT)
    assert accepted(guarded, **places.arguments)


@pytest.mark.parametrize("number", range(len(PLACES)), ids=PLACES)
def test_a_place_comes_before_all_that_follow(
    guarded: GcsServer, places: Places, number: int
) -> None:
    for later in PLACES[number + 1 :]:
        places.put(later, WRONG)
    places.put(PLACES[number], RIGHT)
    assert accepted(guarded, **places.arguments)
    for later in PLACES[number + 1 :]:
        places.put(later, RIGHT)
    places.put(PLACES[number], WRONG)
    text = refused(guarded, **places.arguments)
    assert places.named(PLACES[number]) in text
    assert "was sent" in text


def test_a_variable_that_is_empty_is_passed_over(guarded: GcsServer, places: Places) -> None:
    places.put("RAY_AUTH_TOKEN_PATH", RIGHT)
    for empty in ("", " \n"):
        places.put("RAY_AUTH_TOKEN", empty)
        assert accepted(guarded)


def test_a_named_file_that_is_empty_is_refused_and_no_other_token_is_sent(
    guarded: GcsServer, places: Places
) -> None:
    places.put("home", RIGHT)
    for empty in ("", " \n", "\nsecond line"):
        places.put("RAY_AUTH_TOKEN_PATH", empty)
        text = refused(guarded)
        assert "RAY_AUTH_TOKEN_PATH" in text
        assert "is empty" in text


def test_an_empty_argument_sends_none(guarded: GcsServer, places: Places) -> None:
    for place in PLACES[1:]:
        places.put(place, RIGHT)
    assert accepted(guarded)
    for empty in ("", "  "):
        assert "the token given is empty, so that none was sent" in refused(guarded, token=empty)


def test_where_authentication_is_disabled_none_is_looked_for(
    guarded: GcsServer, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in PLACES[1:]:
        places.put(place, RIGHT)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    assert 'RAY_AUTH_MODE is "disabled", so that none was sent' in refused(guarded)
    assert accepted(guarded, token=RIGHT)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    assert accepted(guarded)


def test_a_named_file_that_cannot_be_read_is_an_error_with_its_name_and_the_reason(
    guarded: GcsServer, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    places.put("home", RIGHT)
    absent = places.home / "absent"
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(absent))
    text = refused(guarded)
    for part in (str(absent), "RAY_AUTH_TOKEN_PATH", "No such file"):
        assert part in text
    places.put("RAY_AUTH_TOKEN", RIGHT)
    assert accepted(guarded), "a place that is not needed is not read"


async def test_the_variables_of_the_process_count_as_they_are_when_a_client_is_made(
    guarded: GcsServer, tmp_path: Path
) -> None:
    script = """
import asyncio, os, sys
import gcs_cffi
async def main():
    async with gcs_cffi.connect(sys.argv[1]) as gcs:
        del os.environ["RAY_AUTH_TOKEN"]
        assert await gcs.kv.get("nothing", namespace="nowhere") is None
        assert gcs.stats()["connects"] == 1
    try:
        await gcs_cffi.connect(sys.argv[1])
    except gcs_cffi.AuthenticationError as error:
        assert "RAY_AUTH_TOKEN is not set" in str(error), error
    else:
        raise AssertionError
asyncio.run(main())
"""
    env = {"RAY_AUTH_TOKEN": RIGHT, "HOME": str(tmp_path)}
    assert said_nothing(run_script(script, guarded.address, env=env))


def test_without_a_home_there_is_no_file_in_it(
    guarded: GcsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HOME")
    assert ".ray" not in refused(guarded)
    assert accepted(guarded, token=RIGHT)


# The folder of a pod's service account, in a mount namespace that only the script sees.
IN_A_POD = """
set -e
mount -t tmpfs none /var/run
mkdir -p /var/run/secrets/kubernetes.io/serviceaccount
exec "$@"
"""
SERVICE_ACCOUNT = """
import os, pathlib, sys
from gcs_cffi import AuthenticationError, sync
address, right = sys.argv[1:]
place = pathlib.Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
def accepted():
    try:
        sync.connect(address).close()
    except AuthenticationError as error:
        assert right not in str(error)
        return str(error)
    return True
place.write_text(right + "\\n")
assert str(place) not in accepted()
for yes in ("1", "true", "True"):
    os.environ["RAY_ENABLE_K8S_TOKEN_AUTH"] = yes
    assert accepted() is True, accepted()
home = pathlib.Path(os.environ["HOME"], ".ray", "auth_token")
home.write_text("wrong")
assert accepted() is True, "it comes before the home"
place.write_text("wrong")
home.write_text(right)
assert f"the token in {place} was sent" in accepted()
place.unlink()
assert accepted() is True, "without one the home comes next"
place.write_text(right)
os.environ["RAY_AUTH_TOKEN"] = "wrong"
assert "the token in RAY_AUTH_TOKEN was sent" in accepted()
"""


def test_the_service_account_of_kubernetes_is_a_place_when_asked_for(
    guarded: GcsServer, places: Places
) -> None:
    unshare = [shutil.which("unshare") or "unshare", "--map-root-user", "--mount"]
    if subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no mount namespace can be made here")
    script = [sys.executable, "-I", "-c", SERVICE_ACCOUNT, guarded.address, RIGHT]
    done = subprocess.run(
        [*unshare, "sh", "-c", IN_A_POD, "sh", *script],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert said_nothing(done)


# ---- What a token may be ------------------------------------------------------------------------


@pytest.mark.parametrize("place", PLACES)
def test_white_space_around_a_token_is_not_part_of_it(
    guarded: GcsServer, places: Places, place: str
) -> None:
    places.put(place, f" \t{RIGHT} \r\n")
    assert accepted(guarded, **places.arguments)


@pytest.mark.parametrize("place", PLACES[2:])
def test_only_the_first_line_of_a_file_counts(
    guarded: GcsServer, places: Places, place: str
) -> None:
    places.put(place, f"{RIGHT}\n{WRONG}\n")
    assert accepted(guarded)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("bad", ["se\tcret", "se\x01cret", "sécret", "se\x7fcret"])
def test_a_token_that_no_header_can_carry_is_refused_unsent_and_not_shown(
    places: Places, place: str, bad: str
) -> None:
    places.put(place, bad)
    began = time.monotonic()
    with pytest.raises(AuthenticationError) as caught:
        sync.connect(f"127.0.0.1:{unused_port()}", **places.arguments)
    assert time.monotonic() - began < 1
    assert caught.value.code == INVALID_ARGUMENT
    assert not caught.value.retryable
    assert places.named(place) in str(caught.value)
    assert shown_by(caught.value, bad) == []


@pytest.mark.parametrize("bad", ["sec\0ret", "sec\ud800ret"], ids=["NUL", "half a character"])
def test_an_argument_that_is_no_text_is_a_value_error_that_does_not_show_it(bad: str) -> None:
    for connect in (gcs_cffi.connect, sync.connect):
        with pytest.raises(ValueError, match="token") as caught:
            connect("127.0.0.1:1", token=bad)
        assert shown_by(caught.value, bad) == []


def test_a_token_may_have_four_thousand_characters(hide_user: None) -> None:
    long = "0123456789abcdef" * 250
    with GcsServer(token=long) as server:
        assert accepted(server, token=long)
        assert long[:100] not in refused(server, token=long[:-1] + "x")


async def test_a_server_without_tokens_takes_clients_that_have_one(
    server: GcsServer, places: Places
) -> None:
    async with gcs_cffi.connect(server.address, token=WRONG) as gcs:
        assert await gcs.kv.get("nothing", namespace="nowhere") is None
    for place in PLACES[1:]:
        places.put(place, WRONG)
        assert accepted(server)


# ---- What a wrong one gets ----------------------------------------------------------------------


@pytest.mark.parametrize("token", [WRONG, "", None], ids=["wrong", "empty", "missing"])
async def test_a_wrong_or_missing_token_is_an_authentication_error_with_all_that_is_known(
    guarded: GcsServer, places: Places, token: str | None
) -> None:
    began = time.monotonic()
    with pytest.raises(AuthenticationError, match="token is missing or incorrect") as caught:
        await gcs_cffi.connect(guarded.address, token=token)
    assert time.monotonic() - began < 2, "nothing is gained by waiting"
    error = caught.value
    assert type(error) is AuthenticationError
    assert not isinstance(error, (ConnectionError, TimeoutError, ValueError))
    assert (error.code, error.code_name) == (UNAUTHENTICATED, "UNAUTHENTICATED")
    assert error.address == guarded.address
    assert error.method == "/ray.rpc.NodeInfoGcsService/GetClusterId"
    assert not error.retryable
    assert not error.maybe_executed
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is AuthenticationError
    assert (str(again), vars(again)) == (str(error), vars(error))
    looked_for = {
        WRONG: ["the token given was sent"],
        "": ["the token given is empty"],
        None: ["RAY_AUTH_TOKEN ", "RAY_AUTH_TOKEN_PATH", f"{places.home}/.ray/auth_token"],
    }[token]
    for place in looked_for:
        assert place in str(error)


async def test_no_token_is_shown_while_connecting_or_connected(
    guarded: GcsServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(AuthenticationError) as caught:
        await gcs_cffi.connect(guarded.address, token=WRONG)
    assert shown_by(caught.value, WRONG) == shown_by(caught.value, RIGHT) == []
    connecting = gcs_cffi.connect(guarded.address, token=RIGHT)
    assert RIGHT not in f"{connecting!r} {connecting}"
    async with connecting as gcs, gcs.watch_state() as changes:
        await gcs.kv.get("nothing", namespace="nowhere")
        with pytest.raises(gcs_cffi.UnsupportedByServerError) as unknown:
            await gcs.call("ray.rpc.NodeInfoGcsService", "NoSuchMethod")
        assert shown_by(unknown.value, RIGHT) == []
        assert RIGHT not in f"{gcs!r} {gcs} {json.dumps(gcs.stats())} {await anext(changes)}"
    assert any(record.name == "gcs_cffi" for record in caplog.records)
    said = "\n".join(ascii((record.msg, record.args)) for record in caplog.records) + caplog.text
    assert RIGHT not in said
    assert WRONG not in said


@pytest.mark.parametrize(
    ("token", "cluster", "expected"),
    [
        (RIGHT, OTHER_CLUSTER, ClusterChangedError),
        (WRONG, None, AuthenticationError),
        (WRONG, OTHER_CLUSTER, AuthenticationError),
    ],
    ids=["the cluster", "the token", "both"],
)
async def test_whether_token_or_cluster_is_wrong_is_told_by_the_exception(
    guarded: GcsServer, token: str, cluster: str | None, expected: type[gcs_cffi.GcsError]
) -> None:
    with sync.connect(guarded.address, token=RIGHT) as gcs:
        actual = str(gcs.cluster_id)
    began = time.monotonic()
    with pytest.raises(gcs_cffi.GcsError) as caught:
        await gcs_cffi.connect(guarded.address, token=token, cluster_id=cluster)
    assert time.monotonic() - began < PATIENCE / 2
    assert type(caught.value) is expected
    if expected is ClusterChangedError:
        assert OTHER_CLUSTER in str(caught.value)
    else:
        assert OTHER_CLUSTER not in str(caught.value)
        assert actual not in str(caught.value), "it is none of a stranger's business"
