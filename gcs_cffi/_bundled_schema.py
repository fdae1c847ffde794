# SPDX-License-Identifier: Apache-2.0
"""The schema that comes with the package: `SCHEMA`, made when this module is first imported.

Invariant: the import system runs this once per process, whatever number of threads asks first, and
a fork in the middle of it does not leave a child waiting for a lock that nobody holds.
"""

from __future__ import annotations

from importlib import resources
from typing import Final

from gcs_cffi._schema import Schema

_FILE = "schema.binpb"


def _read_descriptor_set() -> bytes:
    file = resources.files("gcs_cffi") / _FILE
    try:
        return file.read_bytes()
    except FileNotFoundError:
        raise ImportError(
            f"{file} is missing: it is compiled when the package is built, so a source tree does "
            "not have it; install the package and import that"
        ) from None


_MODULES = {
    "ray.rpc": "gcs_cffi.messages",
    "ray.rpc.autoscaler": "gcs_cffi.messages.autoscaler",
    "ray.rpc.events": "gcs_cffi.messages.events",
    "google.protobuf": "gcs_cffi.messages.events",
}

SCHEMA: Final = Schema(_read_descriptor_set(), _MODULES)
