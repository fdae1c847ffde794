# SPDX-License-Identifier: Apache-2.0
"""Certificates for tests, made when they run, by the `openssl` command."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gcs_cffi import TlsConfig
from gcs_cffi.testing import TlsFiles

if TYPE_CHECKING:
    from pathlib import Path

NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


def openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


@dataclass(frozen=True)
class Issued:
    """A certificate, its key, and the authority that signed it, as PEM files."""

    cert: Path
    key: Path
    ca: Path

    def config(self, *, ca: Path | None = None, server_name: str | None = None) -> TlsConfig:
        """As a client uses it."""
        return TlsConfig(ca=ca or self.ca, cert=self.cert, key=self.key, server_name=server_name)

    def files(self, client: Issued | None = None) -> TlsFiles:
        """As a server uses it."""
        client = client or self
        return TlsFiles(
            self.cert, self.key, self.ca, client_cert=client.cert, client_key=client.key
        )

    def variables(self) -> dict[str, str]:
        """Ray's."""
        return {
            "RAY_TLS_CA_CERT": str(self.ca),
            "RAY_TLS_SERVER_CERT": str(self.cert),
            "RAY_TLS_SERVER_KEY": str(self.key),
        }


class Authority:
    """An authority with a folder of its own."""

    def __init__(self, folder: Path, name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.cert = folder / "ca.pem"
        self._key = folder / "ca.key"
        openssl(
            *("req", "-x509", *NEW_KEY, "-keyout", self._key, "-out", self.cert),
            *("-subj", f"/CN={name}", "-days", "2"),
        )

    def issue(
        self, name: str, hosts: str = "IP:127.0.0.1, DNS:localhost", *, days: int = 2
    ) -> Issued:
        """Makes a certificate; with days below 0 one that has expired."""
        request, extensions = self._folder / "request.pem", self._folder / "extensions"
        made = Issued(self._folder / f"{name}.pem", self._folder / f"{name}.key", self.cert)
        extensions.write_text(f"subjectAltName = {hosts}\n")
        openssl("req", *NEW_KEY, "-keyout", made.key, "-out", request, "-subj", f"/CN={name}")
        openssl(
            *("x509", "-req", "-in", request, "-CA", self.cert, "-CAkey", self._key),
            *("-CAcreateserial", "-out", made.cert, "-days", str(days), "-extfile", extensions),
        )
        return made


@dataclass(frozen=True)
class Everyone:
    """Who has which certificate."""

    authority: Authority
    stranger_authority: Authority
    server: Issued
    client: Issued
