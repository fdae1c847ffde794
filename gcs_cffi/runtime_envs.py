# SPDX-License-Identifier: Apache-2.0
"""Runtime environments' packages, as the GCS stores them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcs_cffi import messages
from gcs_cffi._arguments import integer, text
from gcs_cffi._release import known
from gcs_cffi._typed import call

if TYPE_CHECKING:
    from gcs_cffi._channel import Channel

__all__ = ["RuntimeEnvs"]

_PIN = known("RuntimeEnvGcsService/PinRuntimeEnvURI")


class RuntimeEnvs:
    """Packages of runtime environments; `gcs.runtime_envs` of a client.

    RPCs: ray.rpc.RuntimeEnvGcsService.

    What all methods share: ids are checked for their length, and taken as `bytes`, as ids of
    `gcs_cffi` or of Ray. `timeout` is in seconds: None for the client's own, `math.inf` for none, 0
    has already expired. Every method raises

    - TypeError and ValueError for arguments that cannot be, before anything is sent;
    - DeadlineExceededError when the timeout expires; UnsupportedByServerError for what the server's
      release of Ray cannot do; GcsStatusError when the GCS refuses; another GcsError when the call
      fails.
    """

    __slots__ = ("_channel",)

    def __init__(self, channel: Channel) -> None:
        """Made by the client."""
        self._channel = channel

    async def pin_uri(self, uri: str, *, expiration_s: int, timeout: float | None = None) -> None:
        """Keeps a package from being deleted for a while. RPC: PinRuntimeEnvURI.

        Args:
            uri: the package, such as "gcs://_ray_pkg_0123456789abcdef.zip".
            expiration_s: for how long, in whole seconds.
            timeout: in seconds; None for the client's own, `math.inf` for none.
        """
        request = messages.PinRuntimeEnvURIRequest(
            uri=text(uri, "uri"),
            expiration_s=integer(expiration_s, "expiration_s", 0, (1 << 31) - 1),
        )
        await call(self._channel, _PIN, request, timeout)
