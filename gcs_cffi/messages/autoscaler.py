# SPDX-License-Identifier: Apache-2.0
"""The messages and enums of the package `ray.rpc.autoscaler`; see `gcs_cffi.messages`."""

from __future__ import annotations

from gcs_cffi import _lazy_messages


def __getattr__(name: str) -> object:
    return _lazy_messages.attribute(__name__, name)


def __dir__() -> list[str]:
    return sorted(_lazy_messages.names(__name__))
