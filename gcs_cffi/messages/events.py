# SPDX-License-Identifier: Apache-2.0
"""The messages and enums of the package `ray.rpc.events`; see `gcs_cffi.messages`.

`Timestamp` is protobuf's own, with its `ToDatetime()` and `FromDatetime()`.
"""

from __future__ import annotations

from gcs_cffi import _lazy_messages


def __getattr__(name: str) -> object:
    return _lazy_messages.attribute(__name__, name)


def __dir__() -> list[str]:
    return sorted(_lazy_messages.names(__name__))
