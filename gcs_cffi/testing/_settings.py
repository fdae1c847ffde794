# SPDX-License-Identifier: Apache-2.0
"""What a gcs_server is told: its environment and its command line.

Invariants:
- The environment is made from nothing, so that no RAY_* variable and no ~/.ray of the user's gets
  in.
- What the environment says about token and TLS holds for the probe too, whoever put it there.
"""

from __future__ import annotations

import base64
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gcs_cffi.testing._probe import TlsFiles
from gcs_cffi.testing._processes import base_environment

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class ServerSettings:
    """What stays the same over all starts of a server."""

    node_address: str
    config: dict[str, object]
    env: dict[str, str]
    tls: TlsFiles | None

    def environment(self, folder: Path, token: str | os.PathLike[str] | None) -> dict[str, str]:
        """The environment of a server whose home is `folder`."""
        env = base_environment() | {"HOME": str(folder)}
        env["RAY_AUTH_MODE"] = "disabled" if token is None else "token"
        if isinstance(token, str):
            env["RAY_AUTH_TOKEN"] = token
        elif token is not None:
            env["RAY_AUTH_TOKEN_PATH"] = _existing("token", token)
        if self.tls is not None:
            env["RAY_USE_TLS"] = "1"
            env["RAY_TLS_SERVER_CERT"] = _existing("tls.cert", self.tls.cert)
            env["RAY_TLS_SERVER_KEY"] = _existing("tls.key", self.tls.key)
            env["RAY_TLS_CA_CERT"] = _existing("tls.ca", self.tls.ca)
        return env | self.env

    def arguments(
        self, flags: frozenset[str], port: int, folder: Path, redis_address: str | None
    ) -> list[str]:
        """The arguments of a server that knows `flags`, with all that it writes in `folder`."""
        logs, session = folder / "logs", folder / "session"
        logs.mkdir(exist_ok=True)
        session.mkdir(exist_ok=True)
        values = {
            "log_dir": str(logs),
            "session_dir": str(session),
            "session_name": "session",
            "node_id": os.urandom(28).hex(),
            "node_ip_address": self.node_address,
            "gcs_server_port": str(port),
            "metrics_agent_port": "0",
            "config_list": base64.b64encode(json.dumps(self.config).encode()).decode(),
        }
        if redis_address is not None:
            host, redis_port = split_address(redis_address)
            values["redis_address"] = host
            values["redis_port"] = str(redis_port)
            values["redis_enable_ssl"] = "false"
        return [f"--{name}={value}" for name, value in values.items() if name in flags]


def split_address(address: str) -> tuple[str, int]:
    """Host and port of a Redis; ValueError for what is not host:port."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise ValueError(f"{address!r} is no address of a Redis: it must be host:port")
    return host, int(port)


def token_in(env: Mapping[str, str]) -> str | None:
    """The token that a server with this environment wants."""
    if env.get("RAY_AUTH_MODE") != "token":
        return None
    if "RAY_AUTH_TOKEN" in env:
        return env["RAY_AUTH_TOKEN"]
    path = env.get("RAY_AUTH_TOKEN_PATH")
    try:
        return Path(path).read_text().split("\n", 1)[0].strip() if path else None
    except OSError:
        return None  # the server will say what it thinks of that


def _existing(name: str, path: str | os.PathLike[str]) -> str:
    """The path as the server, which has another working directory, finds it."""
    found = Path(path).absolute()
    if not found.is_file():
        raise FileNotFoundError(f"{name}: there is no file {found}")
    return str(found)


def tls_in(env: Mapping[str, str], given: TlsFiles | None) -> TlsFiles | None:
    """The files with which to speak to a server with this environment; None for plaintext.

    The client's own are not in the environment, but in what the server was `given`.
    """
    if env.get("RAY_USE_TLS", "").lower() not in {"1", "true"}:
        return None
    cert, key, ca = (
        env.get(f"RAY_TLS_{name}", "") for name in ("SERVER_CERT", "SERVER_KEY", "CA_CERT")
    )
    if given is None:
        return TlsFiles(cert, key, ca)
    return TlsFiles(cert, key, ca, client_cert=given.client_cert, client_key=given.client_key)
