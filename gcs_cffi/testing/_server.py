# SPDX-License-Identifier: Apache-2.0
"""`GcsServer`: a real gcs_server for the length of a test.

Invariants:
- The server sees none of the user's RAY_* variables and not the user's home, so that neither a
  token nor a setting of the user's changes what it does.
- `start` returns only when this very process listens at the port and has answered a request there.
- Whatever way the owner ends, the server ends too, and its folder goes: see _processes.py.
- `_lock` is held by each operation as a whole; `_given_up` makes a start under way end early.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from gcs_cffi.testing._locate import find_server, flags_of
from gcs_cffi.testing._ports import free_port, is_free, listens
from gcs_cffi.testing._probe import ProbeError, ray_version
from gcs_cffi.testing._processes import GcsServerError, SupervisedProcesses
from gcs_cffi.testing._redis import start_redis
from gcs_cffi.testing._settings import ServerSettings, split_address, tls_in, token_in

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from typing_extensions import Self

    from gcs_cffi.testing._probe import TlsFiles

_T = TypeVar("_T")
_NAME = "gcs_server"
_ATTEMPTS = 10
_STOP_GRACE = 5.0  # seconds
_POLL_INTERVAL = 0.02  # seconds
_PROBE_TIMEOUT = 1.0  # seconds
_LOG_LINES_SHOWN = 40
_EVERYWHERE = "0.0.0.0"

# A gcs_server can be held to loopback, and to nothing else: given any other address it listens on
# all.
_NODE_ADDRESSES = {"127.0.0.1": "127.0.0.1", "localhost": "127.0.0.1", _EVERYWHERE: _EVERYWHERE}


class GcsServer:
    """A real GCS in a process of its own, for tests.

        with GcsServer() as server:
            subprocess.run(["python", "-m", "gcs_cffi", "demo", "--address", server.address])

    Entered with `with` or `async with`, it is started, and closed at the end. Without them, call
    `start()` and `close()`. Every method blocks until what it says is done, and may be called from
    any thread.
    """

    host: Final[str]
    """Where the server listens, as it was given."""
    token: str | os.PathLike[str] | None
    """What the next start uses; change it to see what a rotated token does."""

    _processes: SupervisedProcesses | None = None

    def __init__(
        self,
        ray: str | os.PathLike[str] | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        config: Mapping[str, object] | None = None,
        env: Mapping[str, str] | None = None,
        token: str | os.PathLike[str] | None = None,
        tls: TlsFiles | None = None,
        redis: str | bool | None = None,
        start_timeout: float = 30.0,
    ) -> None:
        """Describes a server; nothing runs yet.

        Args:
            ray: which server: None for the installed Ray's (or what the environment variable
                GCS_CFFI_GCS_SERVER names), a version ("2.40.0") for the one in the folder of that
                name below GCS_CFFI_SERVERS (default ~/.cache/gcs-cffi/servers), or a path.
            host: "127.0.0.1", "localhost", or "0.0.0.0" for every address of this machine.
            port: 0 for a free one, which stays the same over restarts.
            config: Ray's system configuration (what `ray.init(_system_config=...)` takes).
            env: environment variables for the server, over all others.
            token: the token that clients must show: a str, or the path of a file that holds it.
                Without one, authentication is disabled.
            tls: the files for mutual TLS, which set the server's RAY_USE_TLS and RAY_TLS_*
                variables; None for plaintext.
            redis: "host:port" of a Redis to keep the state in, or True for an own one that lives as
                long as this object; None keeps it in memory.
            start_timeout: seconds until a server that does not answer counts as failed.

        Raises:
            ValueError: a host that the server cannot be held to, or an address that is none.
        """
        if host not in _NODE_ADDRESSES:
            raise ValueError(
                f"a gcs_server cannot listen on {host!r} alone: it would listen on every address. "
                f"Use one of {', '.join(_NODE_ADDRESSES)}"
            )
        if isinstance(redis, str):
            split_address(redis)
        self.host = host
        self.token = token
        self._ray = ray
        self._port = port
        self._settings = ServerSettings(
            node_address=_NODE_ADDRESSES[host],
            config=dict(config or {}),
            env=dict(env or {}),
            tls=tls,
        )
        self._own_redis = redis is True
        self._redis_address = redis if isinstance(redis, str) else None
        self._start_timeout = start_timeout
        self._owner = os.getpid()
        self._lock = threading.RLock()
        self._given_up = threading.Event()
        self._pid: int | None = None
        self._version: str | None = None
        self._last_log = ""

    @property
    def address(self) -> str:
        """`"host:port"`, for a client."""
        return f"{self.host}:{self.port}"

    @property
    def port(self) -> int:
        """The port; known from the first start on."""
        if not self._port:
            raise GcsServerError("the server has no port before it is started")
        return self._port

    @property
    def pid(self) -> int:
        """The id of the server's process, which may have ended."""
        if self._pid is None:
            raise GcsServerError("the server has no process before it is started")
        return self._pid

    @property
    def version(self) -> str:
        """The server's version of Ray, as it says itself; known from the first start on."""
        if self._version is None:
            raise GcsServerError("the server's version is not known before it is started")
        return self._version

    @property
    def running(self) -> bool:
        """Whether the process is there; a paused one is."""
        return self._started and self.returncode is None

    @property
    def returncode(self) -> int | None:
        """How the last process ended: its exit status, or the negative number of a signal."""
        if self._processes is None or self._pid is None or self._processes.closed:
            return None
        return self._processes.returncode(_NAME)

    @property
    def folder(self) -> Path:
        """The server's temporary folder; there from the first start until `close()`."""
        return self._open_processes().folder

    @property
    def redis_address(self) -> str | None:
        """`"host:port"` of the Redis with the state; None without one, or before the start."""
        return self._redis_address

    def log_text(self) -> str:
        """Everything that the server has written, over all its starts; also after `close()`."""
        if self._processes is not None and not self._processes.closed:
            with contextlib.suppress(FileNotFoundError):
                self._last_log = self._processes.log(_NAME).read_text(errors="replace")
        return self._last_log

    def start(self) -> None:
        """Starts the server, and returns when it answers.

        Raises:
            GcsServerError: there is no such server, it runs already, its port is taken, it ended,
                or it does not answer within `start_timeout`. The text has the end of its log.
            FileNotFoundError: a file for its token or for TLS is not there.
        """
        with self._lock:
            if self._processes is not None and self._processes.closed:
                raise GcsServerError("the server was closed; make another one")
            if self.running:
                raise GcsServerError(f"the server runs already, at {self.address}")
            server = find_server(self._ray)
            flags = flags_of(server)
            if self._processes is None:
                self._processes = SupervisedProcesses()
            if self._own_redis and self._redis_address is None:
                self._redis_address = start_redis(self._processes)
            deadline = time.monotonic() + self._start_timeout
            listen_address = _NODE_ADDRESSES[self.host]
            for _ in range(_ATTEMPTS):
                port = self._port or free_port(listen_address)
                if self._launch(server, flags, port, deadline):
                    self._port = port
                    return
                if self._port:
                    break
            raise GcsServerError(f"port {port} of {self.host} is taken{self._log_tail()}")

    def stop(self) -> None:
        """Ends the server as an operator would (SIGTERM, SIGKILL after 5 s). The folder stays."""
        with self._lock:
            if self.running:
                self._open_processes().stop(_NAME, _STOP_GRACE)

    def kill(self) -> None:
        """Ends the server with SIGKILL. The folder stays."""
        with self._lock:
            if self.running:
                self._open_processes().kill(_NAME)

    def pause(self) -> None:
        """Makes the server stand still (SIGSTOP): connections stay open and nothing answers."""
        with self._lock:
            self._running_processes().pause(_NAME)

    def resume(self) -> None:
        """Lets a paused server go on."""
        with self._lock:
            self._running_processes().resume(_NAME)

    def restart(self) -> None:
        """Stops the server if it runs, and starts it at the same port. Errors as in `start()`.

        A server that keeps its state in memory comes back as another cluster.
        """
        with self._lock:
            self.stop()
            self.start()

    def close(self) -> None:
        """Ends the server and its Redis, and removes the folder. The second time does nothing."""
        self._given_up.set()
        with self._lock:
            if self._processes is not None and not self._processes.closed:
                try:
                    self.stop()
                    self.log_text()
                except GcsServerError:
                    pass  # the supervisor was killed: what is left to do is below
                self._processes.close()

    def __enter__(self) -> Self:
        """Starts the server unless it runs; closes it if that fails."""
        try:
            if not self.running:
                self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Closes the server."""
        self.close()

    async def __aenter__(self) -> Self:
        """As `with`, on a thread; a cancelled start leaves nothing behind."""
        return await _on_thread(self.__enter__, if_cancelled=self.close)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Closes the server, on a thread."""
        await _on_thread(self.close)

    def __repr__(self) -> str:
        """The address and the version; never the token."""
        where = f" at {self.address}" if self._port else ""
        return f"<GcsServer{where}, Ray {self._version or 'not known yet'}>"

    def __del__(self) -> None:
        """Warns about a server that was not closed; its end follows with that of its processes."""
        processes = self._processes
        if processes is not None and not processes.closed and os.getpid() == self._owner:
            warnings.warn(f"unclosed {self!r}", ResourceWarning, source=self, stacklevel=1)

    @property
    def _started(self) -> bool:
        return self._pid is not None and self._processes is not None and not self._processes.closed

    def _open_processes(self) -> SupervisedProcesses:
        if self._processes is None:
            raise GcsServerError("the server was not started yet")
        return self._processes

    def _running_processes(self) -> SupervisedProcesses:
        if not self.running:
            raise GcsServerError("the server does not run")
        return self._open_processes()

    def _launch(self, server: Path, flags: frozenset[str], port: int, deadline: float) -> bool:
        """Starts the server at the port. False if somebody else has that port."""
        processes = self._open_processes()
        node_address = _NODE_ADDRESSES[self.host]
        if not is_free(node_address, port):
            return False
        settings = self._settings
        env = settings.environment(processes.folder, self.token)
        arguments = settings.arguments(flags, port, processes.folder, self._redis_address)
        argv = [str(server), *arguments]
        self._pid = processes.start(_NAME, str(server), argv, env)
        try:
            while processes.returncode(_NAME) is None:
                failure = self._try_to_reach(port, env)
                if failure is None:
                    return True
                if time.monotonic() > deadline:
                    raise GcsServerError(
                        f"the gcs_server at port {port} of {self.host} did not answer within "
                        f"{self._start_timeout:g} s: {failure}{self._log_tail()}"
                    )
                if self._given_up.wait(_POLL_INTERVAL):
                    raise GcsServerError("the server was closed while it was starting")
        except BaseException:
            processes.kill(_NAME)
            raise
        if not is_free(node_address, port):
            return False
        code = processes.returncode(_NAME)
        raise GcsServerError(
            f"the gcs_server ended with status {code} as it was started{self._log_tail()}"
        )

    def _try_to_reach(self, port: int, env: Mapping[str, str]) -> str | None:
        """None when the server has answered; else why it has not."""
        host = "127.0.0.1" if self.host == _EVERYWHERE else _NODE_ADDRESSES[self.host]
        try:
            version = ray_version(
                host,
                port,
                token=token_in(env),
                tls=tls_in(env, self._settings.tls),
                timeout=_PROBE_TIMEOUT,
            )
        except ProbeError as error:
            return str(error)
        if not listens(self.pid, port):
            return "another process answers at that port"
        self._version = version
        return None

    def _log_tail(self) -> str:
        lines = self.log_text().strip().splitlines()
        if not lines:
            return ". It has written nothing"
        shown = "\n".join(lines[-_LOG_LINES_SHOWN:])
        return f". The end of its log:\n{shown}"


async def _on_thread(
    work: Callable[[], _T], *, if_cancelled: Callable[[], None] | None = None
) -> _T:
    """Runs `work` on a thread to its end, whether or not the task is cancelled meanwhile."""
    running = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        if if_cancelled is not None:
            await asyncio.to_thread(if_cancelled)
        await asyncio.wait([running])
        if not running.cancelled():
            running.exception()
        raise
