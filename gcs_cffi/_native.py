# SPDX-License-Identifier: Apache-2.0
"""The library behind the package: bytes and numbers in and out, statuses into exceptions.

Invariants:
- The only module that touches cffi. It imports no protobuf and starts no thread.
- Nothing here blocks, but `Queue.drain()` with a timeout, and the hook at exit.
- What the library lends is copied before the function returns; what it hands over is freed here.
- A `Queue` belongs to one thread at a time, but `close()`, which may be called from any, finalizers
  included.
- In a forked child, nothing is done to a queue or a client of the parent.
"""

from __future__ import annotations

import atexit
import itertools
import os
import struct
import sys
from typing import TYPE_CHECKING, Any, Final

from gcs_cffi import _status
from gcs_cffi.errors import GcsError, from_status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gcs_cffi.options import ClientOptions

try:
    from gcs_cffi._gcs_capi import ffi, lib
except ImportError as _error:
    raise ImportError(
        f"gcs_cffi cannot be used from {os.path.dirname(__file__)}: its native library is not "
        f"there ({_error}); a source tree has none: install the package, and run Python from "
        "another folder, or with -I, so that the tree does not hide it"
    ) from None

if lib.gcs_abi_check(lib.GCS_ABI_VERSION) != _status.OK:
    raise ImportError(
        f"gcs_cffi was built for ABI {lib.GCS_ABI_VERSION} of libgcs_capi, but the one that was "
        f"loaded has ABI {lib.gcs_abi_version()}: reinstall the package"
    )

CALL: Final[int] = lib.GCS_EVENT_CALL
KV_GET: Final[int] = lib.GCS_EVENT_KV_GET
KV_MULTI_GET: Final[int] = lib.GCS_EVENT_KV_MULTI_GET
KV_PUT: Final[int] = lib.GCS_EVENT_KV_PUT
KV_DELETE: Final[int] = lib.GCS_EVENT_KV_DELETE
KV_DELETE_PREFIX: Final[int] = lib.GCS_EVENT_KV_DELETE_PREFIX
KV_EXISTS: Final[int] = lib.GCS_EVENT_KV_EXISTS
KV_KEYS: Final[int] = lib.GCS_EVENT_KV_KEYS
CONNECT: Final[int] = lib.GCS_EVENT_CONNECT
STATE: Final[int] = lib.GCS_EVENT_STATE
LOG: Final[int] = lib.GCS_EVENT_LOG
CANCEL: Final[int] = lib.GCS_PACKED_CANCEL

OVERWRITE: Final[int] = lib.GCS_PACKED_OVERWRITE
ALL_NAMESPACES: Final[int] = lib.GCS_PACKED_ALL_NAMESPACES
NO_WAIT: Final[int] = lib.GCS_PACKED_NO_WAIT
WAIT: Final[int] = lib.GCS_PACKED_WAIT
RETRY_NEVER: Final[int] = lib.GCS_PACKED_RETRY_NEVER
RETRY_ALWAYS: Final[int] = lib.GCS_PACKED_RETRY_ALWAYS
BODY_POINTER: Final[int] = lib.GCS_PACKED_BODY_POINTER

TIMEOUT_NONE: Final[int] = lib.GCS_TIMEOUT_NONE
TIMEOUT_DEFAULT: Final[int] = lib.GCS_TIMEOUT_DEFAULT

CLUSTER_CHANGE: Final[dict[str, int]] = {
    "error": lib.GCS_CLUSTER_CHANGE_ERROR,
    "adopt": lib.GCS_CLUSTER_CHANGE_ADOPT,
}
_TLS_TEXTS = ("tls_ca_file", "tls_cert_file", "tls_key_file", "tls_server_name")
_TEXTS = ("address", "cluster_id", "token", *_TLS_TEXTS)
_SIZES = ("max_send_message", "max_receive_message", "max_pending_calls", "max_pending_bytes")

CALL_RECORD: Final = struct.Struct("=IHHQQqqIIQQI4x")
EVENT_RECORD: Final = struct.Struct("=QiHHqQQQ")
for _structure, _record in (("gcs_packed_call", CALL_RECORD), ("gcs_packed_event", EVENT_RECORD)):
    if ffi.sizeof(_structure) != _record.size:
        raise ImportError(f"gcs_cffi does not fit libgcs_capi ({_structure}): reinstall it")

_ID_BLOCK = 4096
_EXIT_WAIT = 2_000_000_000  # nanoseconds that the process's end waits for a wake-up in flight

_reserve_ids = lib.gcs_reserve_ids
_call_batch_packed = lib.gcs_call_batch_packed
_drain_packed = lib.gcs_queue_drain_packed
_buffer_data = lib.gcs_buffer_data
_buffer_size = lib.gcs_buffer_size
_buffer_free = lib.gcs_buffer_free
_bytes_at = ffi.buffer
_buffer_pointer = ffi.typeof("gcs_buffer *")
_cast = ffi.cast
# The memory is written by the library before it is read.
_allocate = ffi.new_allocator(should_clear_after_alloc=False)


def version() -> str:
    """The library's release."""
    return text_of(lib.gcs_version())


def status_name(status: int) -> str:
    """The name that the library has for a status."""
    return text_of(lib.gcs_status_name(status))


def statuses() -> list[int]:
    """Every status that the library knows."""
    out = ffi.new("gcs_status *")
    found: list[int] = []
    while lib.gcs_status_at(len(found), out) == _status.OK:
        found.append(int(out[0]))
    return found


def ray_version_number(text: str) -> int:
    """A release of Ray as the library takes it; 0 for a text that is none."""
    return int(lib.gcs_ray_version_number(text.encode()))


def address_of(body: bytes) -> bytes:
    """Where `body` lies, as a record carries it. Valid while the object lives."""
    return int(_cast("uintptr_t", ffi.from_buffer(body))).to_bytes(8, "little")


# ---- Clients -----------------------------------------------------------------------------------


def client_create(settings: ClientOptions) -> int:
    """Makes a client, not connected yet.

    Raises:
        InvalidRequestError: an option that cannot be.
        GcsError: no address was found anywhere (code GCS_NOT_FOUND), and other failures.
    """
    options = ffi.new("gcs_client_options *")
    check(lib.gcs_client_options_init(options, ffi.sizeof("gcs_client_options")), "make a client")
    texts = []
    for name in _TEXTS:
        text = getattr(settings, name)
        if text is not None:
            texts.append(ffi.new("char[]", text.encode() if isinstance(text, str) else text))
            setattr(options, name, texts[-1])
    for name in ("connect_timeout", "timeout", "tcp_user_timeout"):
        if getattr(settings, name) != TIMEOUT_DEFAULT:
            setattr(options, name, getattr(settings, name))
    if settings.connect_timeout == TIMEOUT_NONE:  # for all attempts together; one has its bound
        options.connect_timeout = TIMEOUT_DEFAULT
    for name in _SIZES:
        if getattr(settings, name) is not None:
            setattr(options, name, getattr(settings, name))
    options.on_cluster_change = CLUSTER_CHANGE[settings.on_cluster_change]
    options.wait_for_ready = int(settings.wait_for_ready)
    options.tls = -1 if settings.tls is None else int(settings.tls)
    client = ffi.new("gcs_client *")
    error = ffi.new("gcs_error **")
    status = lib.gcs_client_create(options, client, error)
    if status != _status.OK:
        raise error_from(status, error[0], "make a client")
    return int(client[0])


def client_connect(client: int, call_id: int, queue: Queue, timeout: int) -> None:
    """Starts connecting; a CONNECT event with `call_id` will come to the queue."""
    number = ffi.new("uint64_t *", call_id)
    status = lib.gcs_client_connect(client, timeout, number, lib.gcs_cffi_queue_push, queue.user)
    check(status, "connect")


def client_watch(client: int, call_id: int, queue: Queue) -> None:
    """Starts watching the state: STATE events with `call_id` come to the queue, until a cancel."""
    number = ffi.new("uint64_t *", call_id)
    check(lib.gcs_client_watch(client, number, lib.gcs_cffi_queue_push, queue.user), "watch it")


def client_close(client: int) -> None:
    """Ends a client; its pending calls end as closed. Any thread, any time, never blocks."""
    lib.gcs_client_close(client)


def client_state(client: int) -> int:
    """One of GCS_STATE_*."""
    out = ffi.new("int32_t *")
    check(lib.gcs_client_state(client, out), "ask for the client's state")
    return int(out[0])


def client_address(client: int) -> str:
    """The address that the client goes to, "host:port"."""
    return _text_out(lib.gcs_client_address, client)


def client_cluster_id(client: int) -> str:
    """The cluster's id in hexadecimal; empty while not known."""
    return _text_out(lib.gcs_client_cluster_id, client)


def client_stats(client: int) -> str:
    """Counters of the client, as a JSON object."""
    return _text_out(lib.gcs_client_stats, client)


def cancel(client: int, call_id: int) -> None:
    """Asks for a call's end. Any thread, any time, never blocks."""
    lib.gcs_cancel(client, call_id)


# ---- Queues ------------------------------------------------------------------------------------

_wakes: dict[int, Callable[[], None]] = {}
_wake_numbers = itertools.count(1)


@ffi.def_extern()  # type: ignore[untyped-decorator]
def gcs_cffi_wake(user: Any) -> None:
    """Called by the library, on its thread, when a queue with a wake function gets events."""
    wake = _wakes.get(int(_cast("uintptr_t", user)))
    if wake is not None:
        wake()


class Queue:
    """A completion queue, and the memory that it is drained into.

    Args:
        capacity: how many events one drain takes at most.
        arena_size: how many bytes of small bodies one drain takes at most.
        wake: called from any thread when the queue turns non-empty; without it the queue has an fd.

    Attributes:
        handle: the library's number for it; 0 once closed.
        user: the same as what a completion function gets.
        next_id: gives an id for a call; ids grow.
        arena: gives the bytes of the last drain's events when it is sliced.
        report: what the last drain said, `gcs_packed_drain`. Whoever has the events sets its count
            to 0: until then an interrupt may have come between the library and them.
    """

    __slots__ = (
        "__weakref__",
        "_arena_memory",
        "_arena_size",
        "_capacity",
        "_events",
        "_process",
        "_records",
        "_wake",
        "arena",
        "handle",
        "next_id",
        "report",
        "user",
    )

    def __init__(
        self, *, capacity: int, arena_size: int, wake: Callable[[], None] | None = None
    ) -> None:
        self.handle = 0
        self._process = _process
        self._wake = 0
        options = ffi.NULL
        if wake is not None:
            options = ffi.new("gcs_queue_options *")
            options.struct_size = ffi.sizeof("gcs_queue_options")
            options.wake = lib.gcs_cffi_wake
            self._wake = next(_wake_numbers)
            options.wake_user = _cast("void *", self._wake)
            _wakes[self._wake] = wake
        out = ffi.new("gcs_queue *")
        error = ffi.new("gcs_error **")
        status = lib.gcs_queue_create(options, out, error)
        if status != _status.OK:
            _wakes.pop(self._wake, None)
            raise error_from(status, error[0], "make a completion queue")
        self.handle = int(out[0])
        self.user = _cast("void *", self.handle)
        if self._wake:
            _exit_queues.add(self.handle)
            if wakes_ended:  # looked at behind the line above: one of us two sees the other
                self.close()
                raise from_status(_status.CLOSED, _status.FLAG_LOCAL, "the interpreter is ending")
        self._capacity = capacity
        self._events = _allocate("gcs_packed_event[]", capacity)
        self._records = _bytes_at(self._events)
        self._arena_size = max(arena_size, lib.GCS_PACKED_ARENA_MIN)
        self._arena_memory = _allocate("char[]", self._arena_size)
        self.arena = _bytes_at(self._arena_memory)
        self.report = ffi.new("gcs_packed_drain *")
        blocks = iter(_reserve_block, None)
        self.next_id: Callable[[], int] = itertools.chain.from_iterable(blocks).__next__

    def fd(self) -> int:
        """A descriptor that is readable while the queue holds events: only to be polled."""
        out = ffi.new("int32_t *")
        check(lib.gcs_queue_fd(self.handle, out), "open a queue's descriptor (ulimit -n)")
        return int(out[0])

    def submit(self, batch: bytes) -> int:
        """Hands over packed calls, whose completions come to this queue; gives the status."""
        return int(_call_batch_packed(self.handle, batch, len(batch)))

    def drain(self, timeout: int) -> tuple[int, Iterator[tuple[int, ...]]]:
        """Takes events: the status, and EVENT_RECORD of each.

        Their bytes are in `arena` until the next drain, but a record's last field, if it is not 0,
        is for `take_buffer()`. `timeout` is what the first event is waited for, in nanoseconds; 0
        does not wait.
        """
        report = self.report
        status = _drain_packed(
            self.handle,
            timeout,
            self._events,
            self._capacity,
            self._arena_memory,
            self._arena_size,
            report,
        )
        if status:
            return status, iter(())
        # Of a copy: CPython's collector may clear a view before the iterator over it, and crash.
        return 0, EVENT_RECORD.iter_unpack(self._records[: report.count * EVENT_RECORD.size])

    def drained(self) -> Iterator[tuple[int, ...]]:
        """EVENT_RECORD of each event of the last drain, once more."""
        return EVENT_RECORD.iter_unpack(self._records[: self.report.count * EVENT_RECORD.size])

    @property
    def inherited(self) -> bool:
        """Whether this is a forked child, and the queue its parent's."""
        return self._process is not _process

    def close(self) -> None:
        """Gives the queue up: its calls are cancelled, and what it holds is freed."""
        handle, self.handle = self.handle, 0
        if handle and not self.inherited:
            _wakes.pop(self._wake, None)
            _exit_queues.discard(handle)
            lib.gcs_queue_close(handle)

    def __del__(self, ending: Callable[[], bool] = sys.is_finalizing) -> None:
        if not ending() and hasattr(self, "handle"):
            self.close()


def take_buffer(buffer: int) -> bytes:
    """The bytes of a large body that a drain handed over; it is freed."""
    try:
        return copy_of_buffer(buffer)
    finally:
        free_buffer(buffer)


def copy_of_buffer(buffer: int) -> bytes:
    """The bytes of a large body that a drain handed over."""
    pointer = _cast(_buffer_pointer, buffer)
    return bytes(_bytes_at(_buffer_data(pointer), _buffer_size(pointer)))


def free_buffer(buffer: int) -> None:
    """Frees a large body that a drain handed over."""
    _buffer_free(_cast(_buffer_pointer, buffer))


def _reserve_block() -> range:
    first = _reserve_ids(_ID_BLOCK)
    return range(first, first + _ID_BLOCK)


# ---- The ends of a process ---------------------------------------------------------------------

# Another object in a forked child; what was made before the fork still refers to the parent's.
_process = object()


def process() -> object:
    """An object that stands for this process: it is another one in a forked child."""
    return _process


# The queues with a wake function. A wake-up must not reach an interpreter that is being taken down:
# they end before that, and none is made by exit handlers that come after ours.
_exit_queues: set[int] = set()
wakes_ended = False


def _end_wakes() -> None:
    global wakes_ended  # noqa: PLW0603 (once, for the process)
    wakes_ended = True
    for handle in tuple(_exit_queues):
        lib.gcs_queue_destroy(handle, _EXIT_WAIT)


def _after_fork_in_child() -> None:
    global _process  # noqa: PLW0603 (its identity is what it is for)
    _process = object()
    _exit_queues.clear()
    _wakes.clear()


atexit.register(_end_wakes)
os.register_at_fork(after_in_child=_after_fork_in_child)


# ---- Errors and text ---------------------------------------------------------------------------


def check(status: int, action: str) -> None:
    """Raises unless a function has succeeded."""
    if status != _status.OK:
        raise error_from(status, ffi.NULL, action)


def error_from(status: int, error: Any, action: str) -> GcsError:
    """Makes the exception of a failed function, and frees the library's object for it."""
    if error == ffi.NULL:
        return from_status(status, _status.FLAG_LOCAL, _status.cannot(action, status))
    try:
        flags = lib.gcs_error_flags(error)
        return from_status(status, flags, text_of(lib.gcs_error_message(error)))
    finally:
        lib.gcs_error_free(error)


def text_of(chars: Any) -> str:
    """A string of the library's."""
    return str(ffi.string(chars).decode("utf-8", "replace"))


def _text_out(function: Any, client: int) -> str:
    out = ffi.new("gcs_buffer **")
    check(function(client, out), "ask about the client")
    return take_buffer(int(_cast("uintptr_t", out[0]))).decode()
