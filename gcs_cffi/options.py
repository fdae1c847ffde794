# SPDX-License-Identifier: Apache-2.0
"""What can be chosen: the options of a client, and how an event loop is woken.

Invariant: whatever is wrong with an option is found here or when the client is made, before
    anything is sent. A token
never shows in a repr.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple, get_args

from gcs_cffi import _arguments
from gcs_cffi.ids import ClusterID

ClusterChange = Literal["error", "adopt"]
"""What happens when the GCS comes back as another cluster: every call fails with
ClusterChangedError, or the client takes the new cluster for its own."""

Retry = Literal["never", "safe", "always"]
"""When a call is sent again: never; when it cannot have run, or only reads ("safe", the default);
whenever its connection was lost."""

State = Literal["idle", "connecting", "ready", "lost", "closed"]
"""The states of a client. "lost" means that it is connecting again, or that it was given up since
the GCS has come back as another cluster."""


class DrainAnswer(NamedTuple):
    """What the GCS says to a request to drain a node."""

    is_accepted: bool
    """Whether the node is being drained now."""
    rejection_reason: str
    """Why it is not, for people; from Ray 2.10 on."""

    def __bool__(self) -> bool:
        """Whether it is accepted, so that `if await drain_node(...)` asks what it seems to ask."""
        return self.is_accepted


class StateChange(NamedTuple):
    """What a connection has become.

    Attributes:
        state: "idle", "connecting", "ready", "lost" or "closed".
        reason: why, in words. A state may come again with another reason: while the connection is
            lost, why the last attempt failed.
    """

    state: State
    reason: str


WakeMode = Literal["fd", "callback"]
"""How the library wakes an event loop: through a descriptor that the loop watches, or by
call_soon_threadsafe from the library's thread. The second costs more, and is for loops that cannot
watch a descriptor, where it is used without being asked for."""

_WAKE_VARIABLE: Final = "GCS_CFFI_WAKE"


@dataclass(frozen=True, kw_only=True)
class TlsConfig:
    """TLS with files of the application's own, each in PEM form.

    They are read when the client is made, and those that have changed again before it reconnects.
    With none of the three, they are those that RAY_TLS_CA_CERT, RAY_TLS_SERVER_CERT and
    RAY_TLS_SERVER_KEY name.
    """

    ca: str | os.PathLike[str] | None = None
    """The authorities that are trusted; None: the system's."""
    cert: str | os.PathLike[str] | None = None
    """The certificate to show, followed by those that lead to its authority; None: none is."""
    key: str | os.PathLike[str] | None = None
    """The certificate's private key, without a passphrase."""
    server_name: str | None = None
    """The host or IP address that the server's certificate must name; None: the address's host."""


@dataclass(frozen=True)
class ClientOptions:
    """The options of a client as the library takes them: times in nanoseconds."""

    address: str | None
    cluster_id: str | None
    token: str | None = field(repr=False)
    connect_timeout: int
    timeout: int
    tcp_user_timeout: int
    wait_for_ready: bool
    on_cluster_change: ClusterChange
    max_send_message: int | None
    max_receive_message: int | None
    max_pending_calls: int | None
    max_pending_bytes: int | None
    tls: bool | None
    tls_ca_file: bytes | None
    tls_cert_file: bytes | None
    tls_key_file: bytes | None
    tls_server_name: str | None


def client_options(
    address: str | None,
    *,
    connect_timeout: float | None,
    timeout: float | None,
    cluster_id: ClusterID | bytes | str | None,
    token: str | None,
    wait_for_ready: bool,
    on_cluster_change: ClusterChange,
    max_send_message: int | None,
    max_receive_message: int | None,
    tcp_user_timeout: float | None,
    max_pending_calls: int | None,
    max_pending_bytes: int | None,
    tls: bool | TlsConfig | None,
) -> ClientOptions:
    """Checks the arguments of `connect()`, where they are explained.

    Raises:
        TypeError: an argument of a wrong type.
        ValueError: an argument that cannot be.
    """
    if on_cluster_change not in get_args(ClusterChange):
        raise ValueError(f'on_cluster_change is "error" or "adopt", not {on_cluster_change!r}')
    files = tls if isinstance(tls, TlsConfig) else TlsConfig()
    return ClientOptions(
        address=_text("address", address),
        cluster_id=_cluster_id(cluster_id),
        token=_text("token", token),
        connect_timeout=_connect_timeout(connect_timeout),
        timeout=_arguments.nanoseconds(timeout),
        tcp_user_timeout=_arguments.nanoseconds(tcp_user_timeout, "tcp_user_timeout"),
        wait_for_ready=_arguments.boolean(wait_for_ready, "wait_for_ready"),
        on_cluster_change=on_cluster_change,
        max_send_message=_size("max_send_message", max_send_message),
        max_receive_message=_size("max_receive_message", max_receive_message),
        max_pending_calls=_size("max_pending_calls", max_pending_calls, "calls"),
        max_pending_bytes=_size("max_pending_bytes", max_pending_bytes),
        tls=_tls(tls),
        tls_ca_file=_path("tls.ca", files.ca),
        tls_cert_file=_path("tls.cert", files.cert),
        tls_key_file=_path("tls.key", files.key),
        tls_server_name=_text("tls.server_name", files.server_name),
    )


def _connect_timeout(seconds: float | None) -> int:
    time = _arguments.nanoseconds(seconds, "connect_timeout")
    if time == 0:
        raise ValueError(f"connect_timeout is a number of seconds above 0, not {seconds!r}")
    return time


def wake_mode() -> WakeMode:
    """How event loops that make their first call from now on are woken."""
    return _wake_mode


def set_wake_mode(mode: WakeMode) -> None:
    """Chooses how event loops are woken that make their first call from now on.

    The environment variable GCS_CFFI_WAKE, read at import, does the same.

    Raises:
        ValueError: `mode` is neither "fd" nor "callback".
    """
    global _wake_mode  # noqa: PLW0603 (one choice for the process)
    _wake_mode = _checked_mode(mode, "the wake mode")


def _checked_mode(mode: str, what: str) -> WakeMode:
    for known in get_args(WakeMode):
        if mode == known:
            return mode  # type: ignore[return-value]
    raise ValueError(f'{what} is "fd" or "callback", not {mode!r}')


def _text(name: str, text: str | None) -> str | None:
    if text is None:
        return None
    # Neither message shows the value: one of these is the token.
    if not isinstance(text, str):
        raise TypeError(f"{name} is a str, not {type(text).__name__}")
    if "\0" in text:
        raise ValueError(f"{name} has a NUL character in it")
    # Python's own error would show all of it, even as the context of another one.
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError(f"{name} has a surrogate in it, which is no character of its own")
    return text


def _tls(choice: bool | TlsConfig | None) -> bool | None:
    if choice is None or isinstance(choice, bool):
        return choice
    if isinstance(choice, TlsConfig):
        return True
    raise TypeError(f"tls is None, a bool or a TlsConfig, not {type(choice).__name__}")


def _path(name: str, path: str | os.PathLike[str] | None) -> bytes | None:
    if path is None:
        return None
    if isinstance(path, bytes) or not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"{name} is a path, not {type(path).__name__}")
    encoded = os.fsencode(path)
    if b"\0" in encoded:
        raise ValueError(f"{name} has a NUL character in it")
    return encoded


def _cluster_id(value: ClusterID | bytes | str | None) -> str | None:
    if value is None:
        return None
    return (ClusterID.from_hex(value) if isinstance(value, str) else ClusterID(value)).hex()


def _size(name: str, size: int | None, of: str = "bytes") -> int | None:
    if size is None:
        return None
    if not isinstance(size, int) or isinstance(size, bool):
        raise TypeError(f"{name} is a number of {of}, not {type(size).__name__}")
    if not 0 < size < 1 << 63:
        raise ValueError(f"{name} is a positive number of {of}, not {size}")
    return size


_wake_mode: WakeMode = _checked_mode(os.environ.get(_WAKE_VARIABLE) or "fd", _WAKE_VARIABLE)
