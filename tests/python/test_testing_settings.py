# SPDX-License-Identifier: Apache-2.0
"""gcs_cffi.testing.GcsServer: which server runs, where it listens, and what it is told."""

from __future__ import annotations

import base64
import importlib.metadata
import json
import os
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gcs_cffi.testing import GcsServer, GcsServerError, TlsFiles, _ports, _probe, _server

if TYPE_CHECKING:
    from collections.abc import Iterator

RAY_VERSION = importlib.metadata.version("ray")


def answers(
    server: GcsServer,
    *,
    token: str | None = None,
    tls: TlsFiles | None = None,
    timeout: float = 5.0,
) -> bool:
    try:
        version = _probe.ray_version(
            "127.0.0.1", server.port, token=token, tls=tls, timeout=timeout
        )
    except _probe.ProbeError:
        return False
    return version == RAY_VERSION


def accepts(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=5.0).close()
    except OSError:
        return False
    return True


def environment_of(pid: int) -> dict[str, str]:
    entries = Path(f"/proc/{pid}/environ").read_bytes().rstrip(b"\0").split(b"\0")
    return dict(entry.decode().split("=", 1) for entry in entries)


def arguments_of(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").decode().split("\0")


@pytest.fixture(scope="module")
def shared() -> Iterator[GcsServer]:
    """A server for the tests that only look at it."""
    with GcsServer() as server:
        yield server


def test_it_listens_on_its_host_only(shared: GcsServer) -> None:
    assert accepts("127.0.0.1", shared.port)
    assert not accepts("127.0.0.2", shared.port)


def test_all_addresses_are_there_for_who_asks_for_them() -> None:
    with GcsServer(host="0.0.0.0") as server:
        assert accepts("127.0.0.2", server.port)


def test_localhost_is_loopback_by_name() -> None:
    with GcsServer(host="localhost") as server:
        assert server.address == f"localhost:{server.port}"
        assert accepts("127.0.0.1", server.port)
        assert not accepts("127.0.0.2", server.port)


@pytest.mark.parametrize("host", ["::1", "192.0.2.1", "", "127.0.0.2"])
def test_a_host_that_the_server_cannot_be_held_to_is_refused(host: str) -> None:
    with pytest.raises(ValueError, match="every address"):
        GcsServer(host=host)


def test_the_server_sees_nothing_of_the_users_ray_or_home(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "users-token")
    monkeypatch.setenv("RAY_gcs_rpc_server_reconnect_timeout_s", "1")
    monkeypatch.setenv("RAY_ADDRESS", "192.0.2.1:6379")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("http_proxy", "http://192.0.2.1")
    with GcsServer() as server:
        seen = environment_of(server.pid)
        assert {name for name in seen if name.startswith("RAY_")} == {"RAY_AUTH_MODE"}
        assert seen["RAY_AUTH_MODE"] == "disabled"
        assert seen["HOME"] == str(server.folder)
        assert set(seen) <= {"RAY_AUTH_MODE", "HOME", "PATH", "LD_LIBRARY_PATH", "TZ"}


def test_env_is_for_the_server_and_over_all_others() -> None:
    with GcsServer(env={"RAY_some_setting": "1", "HOME": "/nowhere"}) as server:
        seen = environment_of(server.pid)
    assert seen["RAY_some_setting"] == "1"
    assert seen["HOME"] == "/nowhere"
    assert "RAY_some_setting" not in os.environ


def test_config_reaches_the_server() -> None:
    config = {"health_check_period_ms": 1234}
    with GcsServer(config=config) as server:
        (argument,) = [a for a in arguments_of(server.pid) if a.startswith("--config_list=")]
    assert json.loads(base64.b64decode(argument.removeprefix("--config_list="))) == config


def test_a_server_with_a_token_refuses_who_has_none_or_another() -> None:
    with GcsServer(token="correct-horse") as server:
        assert answers(server, token="correct-horse")
        assert not answers(server, token="Correct-Horse")
        assert not answers(server)
        assert "correct-horse" not in repr(server) + " ".join(arguments_of(server.pid))
        server.token = "battery-staple"
        server.restart()
        assert answers(server, token="battery-staple")
        assert not answers(server, token="correct-horse")


def test_a_token_can_come_out_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("correct-horse\n")
    with GcsServer(token=file) as server:
        assert answers(server, token="correct-horse")
        assert not answers(server)
        assert "correct-horse" not in environment_of(server.pid).values()


def openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    folder = tmp_path_factory.mktemp("certificates")
    extensions = folder / "extensions"
    extensions.write_text("subjectAltName = IP:127.0.0.1, DNS:localhost\n")
    key, request, cert = folder / "key.pem", folder / "request.pem", folder / "cert.pem"
    ca_key, ca = folder / "ca_key.pem", folder / "ca.pem"
    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    openssl(
        "req",
        "-x509",
        *new_key,
        "-keyout",
        ca_key,
        "-out",
        ca,
        "-subj",
        "/CN=test CA",
        "-days",
        "2",
    )
    openssl("req", *new_key, "-keyout", key, "-out", request, "-subj", "/CN=gcs")
    openssl(
        *("x509", "-req", "-in", request, "-CA", ca, "-CAkey", ca_key, "-CAcreateserial"),
        *("-out", cert, "-days", "2", "-extfile", extensions),
    )
    return TlsFiles(cert, key, ca)


def test_a_server_with_tls_speaks_to_those_with_a_certificate(certificates: TlsFiles) -> None:
    with GcsServer(tls=certificates) as server:
        assert answers(server, tls=certificates)
        assert not answers(server)


def test_files_may_be_named_from_the_working_directory(
    certificates: TlsFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(certificates.cert).parent)
    paths = (certificates.cert, certificates.key, certificates.ca)
    named = TlsFiles(*(Path(path).name for path in paths))
    with GcsServer(tls=named) as server:
        assert answers(server, tls=certificates)


def test_files_that_are_not_there_are_named_before_anything_is_started(
    certificates: TlsFiles, tmp_path: Path
) -> None:
    gone = tmp_path / "gone.pem"
    servers = {
        "tls.key": GcsServer(tls=TlsFiles(certificates.cert, gone, certificates.ca)),
        "token": GcsServer(token=gone),
    }
    for name, server in servers.items():
        with pytest.raises(FileNotFoundError, match=rf"{name}: there is no file .*gone\.pem"):
            server.__enter__()


def redis_says(address: str, command: bytes) -> bytes:
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=5.0) as connection:
        connection.sendall(command + b"\r\n")
        return connection.recv(1 << 16)


def test_an_own_redis_holds_the_state_and_lives_as_long_as_the_object() -> None:
    with GcsServer(redis=True) as server:
        address = server.redis_address
        assert address is not None
        assert b"RAY" in redis_says(address, b"KEYS *")
        run = redis_says(address, b"INFO server").partition(b"run_id:")[2][:40]
        server.kill()
        server.start()
        assert server.redis_address == address
        assert redis_says(address, b"INFO server").partition(b"run_id:")[2][:40] == run
        with GcsServer(redis=address) as second:
            assert second.redis_address == address
            assert answers(second)
            assert f"--redis_port={address.rpartition(':')[2]}" in arguments_of(second.pid)
        assert redis_says(address, b"PING") == b"+PONG\r\n"
    host, _, port = address.rpartition(":")
    assert not accepts(host, int(port))


@pytest.mark.parametrize("address", ["", "127.0.0.1", ":6379", "127.0.0.1:port"])
def test_an_address_that_no_redis_can_have_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="host:port"):
        GcsServer(redis=address)


def test_a_given_port_is_used() -> None:
    port = _ports.free_port("127.0.0.1")
    with GcsServer(port=port) as server:
        assert server.port == port


def test_a_given_port_that_is_taken_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        server = GcsServer(port=port)
        with pytest.raises(GcsServerError, match=f"port {port} of 127.0.0.1 is taken"), server:
            pass


def test_a_port_that_another_server_takes_at_the_last_moment_is_replaced(
    shared: GcsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    proposals = [shared.port]

    def propose(host: str) -> int:
        return proposals.pop() if proposals else _ports.free_port(host)

    looks = [True]  # it looks free just before the server is started

    def look(host: str, port: int) -> bool:
        return looks.pop() if looks else _ports.is_free(host, port)

    monkeypatch.setattr(_server, "free_port", propose)
    monkeypatch.setattr(_server, "is_free", look)
    with GcsServer() as server:
        assert not proposals
        assert server.port != shared.port
        assert answers(server)


def test_another_server_that_answers_at_the_port_is_not_taken_for_this_one(
    shared: GcsServer,
) -> None:
    assert _ports.listens(shared.pid, shared.port)
    assert not _ports.listens(os.getpid(), shared.port)
    assert not _ports.listens(shared.pid, shared.port + 1)


def test_ports_lie_where_no_outgoing_connection_gets_its_own() -> None:
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    highest = first - 1 if first > 21000 else 32767
    assert all(20000 <= _ports.free_port("127.0.0.1") <= highest for _ in range(50))


def test_two_servers_run_side_by_side(shared: GcsServer) -> None:
    with GcsServer() as second:
        assert second.port != shared.port
        assert second.folder != shared.folder
        assert answers(second)
    assert answers(shared)
    assert shared.folder.is_dir()


def installed_server() -> Path:
    with GcsServer() as server:
        return Path(arguments_of(server.pid)[0])


def test_a_server_is_found_by_path_folder_version_and_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    binary = installed_server()
    folder = tmp_path / "9.9.9"
    folder.mkdir()
    (folder / "gcs_server").symlink_to(binary)
    monkeypatch.setenv("GCS_CFFI_SERVERS", str(tmp_path))
    for ray in (binary, str(binary), folder, "9.9.9", RAY_VERSION):
        with GcsServer(ray) as server:
            assert server.version == RAY_VERSION
    monkeypatch.setenv("GCS_CFFI_GCS_SERVER", str(folder / "gcs_server"))
    with GcsServer() as server:
        assert answers(server)


def test_a_server_that_is_not_there_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GCS_CFFI_SERVERS", str(tmp_path))
    wanted = {
        "9.9.9": tmp_path / "9.9.9" / "gcs_server",
        str(tmp_path / "no_file"): tmp_path / "no_file",
        str(tmp_path): tmp_path / "gcs_server",
    }
    for ray, place in wanted.items():
        with pytest.raises(GcsServerError, match=str(place)):
            GcsServer(ray).start()
    monkeypatch.setenv("GCS_CFFI_GCS_SERVER", str(tmp_path / "elsewhere"))
    with pytest.raises(GcsServerError, match="elsewhere"):
        GcsServer().start()


def test_a_file_that_is_no_gcs_server_is_refused(tmp_path: Path) -> None:
    script = tmp_path / "gcs_server"
    script.write_text("#!/bin/sh\necho hello\n")
    with pytest.raises(GcsServerError, match="chmod"):
        GcsServer(script).start()
    script.chmod(0o700)
    with pytest.raises(GcsServerError, match="is no gcs_server"):
        GcsServer(script).start()
    script.write_bytes(b"\x00\x01\x02")
    other = tmp_path / "other"
    other.write_bytes(b"\x7fELFnot")
    other.chmod(0o700)
    with pytest.raises(GcsServerError, match="does not run on this machine"):
        GcsServer(other).start()
