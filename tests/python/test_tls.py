# SPDX-License-Identifier: Apache-2.0
"""TLS with a real GCS, which asks every client for a certificate: what works, and what is said when
it does not."""

from __future__ import annotations

import asyncio
import shutil
import time
from typing import TYPE_CHECKING, Any

import pytest
from certificates import Authority, Everyone, Issued
from helpers import PATIENCE, descriptors_flat

import gcs_cffi
from gcs_cffi import TlsConfig, sync
from gcs_cffi.testing import GcsServer

if TYPE_CHECKING:
    from pathlib import Path


def refused(address: str, timeout: float = 5.0, **arguments: Any) -> str:
    """What a client says that cannot connect."""
    with pytest.raises(gcs_cffi.UnavailableError) as caught:
        sync.connect(address, connect_timeout=timeout, **arguments)
    return str(caught.value)


# ---- What works --------------------------------------------------------------------------------


async def test_with_arguments(tls_server: GcsServer, everyone: Everyone, namespace: str) -> None:
    large = bytes(range(256)) * (32 << 10)
    async with gcs_cffi.connect(tls_server.address, tls=everyone.client.config()) as gcs:
        assert await gcs.kv.put("key", large, namespace=namespace) is True
        assert await gcs.kv.get("key", namespace=namespace) == large
        assert await gcs.get_ray_version() == tls_server.version
        got = await asyncio.gather(
            *(gcs.kv.get(f"none {number}", namespace=namespace) for number in range(2000))
        )
        assert set(got) == {None}


def test_with_arguments_and_without_a_loop(
    tls_server: GcsServer, everyone: Everyone, namespace: str
) -> None:
    with sync.connect(tls_server.address, tls=everyone.client.config()) as gcs:
        assert gcs.kv.put("key", b"value", namespace=namespace) is True
        assert gcs.kv.get("key", namespace=namespace) == b"value"


def test_files_may_be_named_by_str(tls_server: GcsServer, everyone: Everyone) -> None:
    client = everyone.client
    tls = TlsConfig(ca=str(client.ca), cert=str(client.cert), key=str(client.key))
    sync.connect(tls_server.address, tls=tls).close()


def test_with_rays_variables(
    tls_server: GcsServer, everyone: Everyone, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in everyone.client.variables().items():
        monkeypatch.setenv(name, value)
    sync.connect(tls_server.address, tls=True).close()
    sync.connect(tls_server.address, tls=TlsConfig()).close()
    assert "TLS?" in refused(tls_server.address, 0.5)
    for yes in ("1", "true"):
        monkeypatch.setenv("RAY_USE_TLS", yes)
        sync.connect(tls_server.address).close()
    assert "TLS?" in refused(tls_server.address, 0.5, tls=False)


def test_with_tls_off_whatever_the_variables_say(
    server: GcsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_USE_TLS", "1")
    sync.connect(server.address, tls=False).close()
    assert "the peer speaks HTTP/2 without TLS" in refused(server.address)


def test_with_a_token(hide_user: None, everyone: Everyone) -> None:
    tls = everyone.client.config()
    with GcsServer(tls=everyone.server.files(), token="correct-horse") as server:
        with sync.connect(server.address, tls=tls, token="correct-horse") as gcs:
            assert gcs.kv.get("nothing", namespace="nowhere") is None
        with pytest.raises(gcs_cffi.AuthenticationError) as caught:
            sync.connect(server.address, tls=tls, token="battery-staple")
        assert "battery" not in str(caught.value)
        assert "correct-horse" not in refused(server.address, 0.5, token="correct-horse")


def test_the_certificate_may_name_an_address_only(hide_user: None, everyone: Everyone) -> None:
    named = everyone.authority.issue("addressed", "IP:127.0.0.1")
    tls = everyone.client.config()
    with GcsServer(tls=named.files()) as server:
        sync.connect(server.address, tls=tls).close()
        text = refused(f"localhost:{server.port}", tls=tls)
        assert "CN=addressed is for 127.0.0.1, and not for localhost" in text


def test_the_certificate_may_name_another_host(hide_user: None, everyone: Everyone) -> None:
    named = everyone.authority.issue("named", "DNS:gcs.example")
    with GcsServer(tls=named.files()) as server:
        for name in ("gcs.example", None):
            tls = everyone.client.config(server_name=name)
            if name:
                sync.connect(server.address, tls=tls).close()
            else:
                text = refused(server.address, tls=tls)
                assert "CN=named is for gcs.example, and not for 127.0.0.1" in text


# ---- What does not, and why --------------------------------------------------------------------


def secrets_of(*issued: Issued) -> list[str]:
    return [line for one in issued for line in one.key.read_text().splitlines()[1:-1]]


def test_refusals_of_the_server_say_which_certificate_and_why(
    tls_server: GcsServer, everyone: Everyone
) -> None:
    theirs = everyone.stranger_authority
    cases: list[tuple[TlsConfig, list[str]]] = [
        (
            everyone.client.config(ca=theirs.cert),
            ["the server's certificate CN=server, issued by CN=test CA", str(theirs.cert)],
        ),
        (
            TlsConfig(cert=everyone.client.cert, key=everyone.client.key),
            ["CN=server", "an authority that this system trusts", "no CA file was given"],
        ),
        (
            everyone.client.config(server_name="other.example"),
            ["CN=server is for 127.0.0.1, localhost, and not for other.example"],
        ),
    ]
    for tls, words in cases:
        began = time.monotonic()
        text = refused(tls_server.address, tls=tls)
        assert time.monotonic() - began < 2
        assert tls_server.address in text
        for word in words:
            assert word in text
        assert not any(secret in text for secret in secrets_of(everyone.client, everyone.server))


def test_refusals_by_the_server_say_which_certificate_and_why(
    tls_server: GcsServer, everyone: Everyone
) -> None:
    expired = everyone.authority.issue("expired", days=-1)
    began = time.monotonic()
    text = refused(tls_server.address, tls=TlsConfig(ca=everyone.authority.cert))
    assert "the server wants a client certificate, and none was given" in text
    text = refused(tls_server.address, tls=expired.config())
    assert f"the client certificate CN=expired ({expired.cert}), which expired on 20" in text
    assert time.monotonic() - began < 2
    # Of an authority that it does not know the server says nothing: it may be anything else, too.
    unknown = everyone.stranger_authority.issue("unknown")
    text = refused(tls_server.address, 0.5, tls=unknown.config(ca=everyone.authority.cert))
    assert f"the client certificate CN=unknown ({unknown.cert}), which it may not trust" in text
    assert not any(secret in text for secret in secrets_of(expired, unknown))


def test_an_expired_server_is_refused_with_the_date(hide_user: None, everyone: Everyone) -> None:
    expired = everyone.authority.issue("outdated", days=-1)
    with GcsServer(tls=expired.files(client=everyone.client)) as server:
        text = refused(server.address, tls=everyone.client.config())
        assert "the server's certificate CN=outdated expired on 20" in text


async def test_a_plaintext_server_ends_waiting_calls_at_once(
    server: GcsServer, everyone: Everyone
) -> None:
    began = time.monotonic()
    with pytest.raises(gcs_cffi.UnavailableError, match="speaks HTTP/2 without TLS"):
        await gcs_cffi.connect(server.address, tls=everyone.client.config())
    assert time.monotonic() - began < 2


async def test_refused_connections_leave_nothing_behind(
    tls_server: GcsServer, everyone: Everyone
) -> None:
    tls = TlsConfig(ca=everyone.authority.cert)
    with pytest.raises(gcs_cffi.UnavailableError):  # what the loop itself needs
        await gcs_cffi.connect(tls_server.address, tls=tls)
    with descriptors_flat():
        for _ in range(5):
            with pytest.raises(gcs_cffi.UnavailableError):
                await gcs_cffi.connect(tls_server.address, tls=tls)


def test_files_that_cannot_be_used_are_refused_before_anything_is_sent(
    everyone: Everyone, tmp_path: Path
) -> None:
    client, text = everyone.client, tmp_path / "text"
    text.write_text("no certificate\n")
    cases = [
        (TlsConfig(ca="/absent/ca.pem"), "the CA file /absent/ca.pem cannot be read: no such file"),
        (TlsConfig(ca=text), f"the CA file {text} has no certificate in PEM form"),
        (TlsConfig(cert=client.cert), "was given without its key"),
        (TlsConfig(key=client.key), "was given without a certificate"),
        (
            TlsConfig(cert=client.cert, key=everyone.server.key),
            f"the key file {everyone.server.key} does not belong to the certificate in",
        ),
    ]
    for tls, words in cases:
        with pytest.raises(ValueError, match="TLS cannot be used") as caught:
            sync.connect("127.0.0.1:1", tls=tls)
        assert isinstance(caught.value, gcs_cffi.InvalidRequestError)
        assert words in str(caught.value)


def test_arguments_of_other_types_are_refused() -> None:
    for tls in ("yes", 1, b"", TlsConfig(ca=b"ca.pem"), TlsConfig(server_name=5)):  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="tls"):
            sync.connect("127.0.0.1:1", tls=tls)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="NUL"):
        sync.connect("127.0.0.1:1", tls=TlsConfig(ca="a\0b"))


# ---- Over time ---------------------------------------------------------------------------------


def copied(issued: Issued, folder: Path) -> Issued:
    """The same files, under the same names whoever they are of."""
    copy = Issued(folder / "cert.pem", folder / "key.pem", folder / "ca.pem")
    pairs = ((issued.cert, copy.cert), (issued.key, copy.key), (issued.ca, copy.ca))
    for source, target in pairs:
        shutil.copy(source, target)
    return copy


def test_rotated_files_are_used_when_it_connects_again(
    hide_user: None, everyone: Everyone, tmp_path: Path
) -> None:
    now, later = Authority(tmp_path / "now", "now CA"), Authority(tmp_path / "later", "later CA")
    used = copied(now.issue("both"), tmp_path)
    with (
        GcsServer(tls=used.files()) as server,
        sync.connect(server.address, tls=used.config(), on_cluster_change="adopt") as gcs,
    ):
        gcs.kv.put("key", b"value", namespace="rotation")
        server.stop()
        copied(later.issue("both"), tmp_path)
        server.start()
        assert gcs.kv.get("key", namespace="rotation") is None
        assert gcs.state == "ready"


async def test_rotated_files_that_cannot_be_used_are_told_and_the_old_ones_go_on(
    hide_user: None, everyone: Everyone, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own = copied(everyone.client, tmp_path)
    told: list[str] = []
    with GcsServer(tls=everyone.server.files()) as server:
        async with gcs_cffi.connect(
            server.address, tls=own.config(), on_cluster_change="adopt"
        ) as gcs:
            await asyncio.to_thread(server.stop)
            own.cert.write_text("no certificate")
            await asyncio.to_thread(server.start)
            assert await gcs.kv.get("key", namespace="rotation") is None
            end = time.monotonic() + PATIENCE
            while not told and time.monotonic() < end:
                await asyncio.sleep(0.01)
                said = [record.getMessage() for record in caplog.records]
                told = [message for message in said if "TLS" in message]
    assert len(told) == 1
    assert str(own.cert) in told[0]
