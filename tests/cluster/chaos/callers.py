# SPDX-License-Identifier: Apache-2.0
"""Who makes the calls: what each caller does next, and what it writes down of it.

Invariants:
- A caller makes one call after the other, and has keys that nobody else has: what it may read next
  follows from what it was told before. A key of which that is not certain any more (a put or a
  delete that may have run) is never touched again.
- What a caller does comes from its seed, and from how its calls ended.
"""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from chaos.record import READS, Call, End, end_line, read_value, start_line, value_of
from gcs_cffi import GcsError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

    from chaos.workloads import Workload
    from gcs_cffi import GcsClient, sync

_SLOTS: Final = 2
NAMESPACE: Final = b"chaos"
WARM_NAMES: Final = "warm-"
"""What the names of callers begin with that only warm the process up."""


class Log:
    """Where the callers of one thread write their calls down.

    Args:
        out: the file.
        number: of the thread; of the numbers of its calls the rest modulo 256.
        workload: what is run.
    """

    def __init__(self, out: TextIO, number: int, workload: Workload) -> None:
        self.workload = workload
        self.ended = 0
        self._out = out
        self._next = number

    def start(self, caller: str, operation: str, keys: tuple[str, ...], timeout: float) -> Call:
        """Writes down a call that is about to be made."""
        self._next += 256
        call = Call(self._next, caller, operation, keys, timeout, time.monotonic())
        self._out.write(start_line(call))
        return call

    def end(self, call: Call, end: End) -> None:
        """Writes down how a call ended."""
        self.ended += 1
        self._out.write(end_line(call.number, end))

    def close(self) -> None:
        """Ends the file."""
        self._out.close()


@dataclass
class Intent:
    """What a caller is about to do."""

    call: Call
    explicit: float | None
    """The timeout to pass; None for the client's own."""
    cancel_after: float | None


class Caller:
    """One that makes calls, one after the other."""

    def __init__(self, name: str, seed: str, log: Log, can_cancel: bool) -> None:
        self._name = name
        self._log = log
        self._workload = log.workload
        self._random = random.Random(seed)
        self._operations = sorted(log.workload.mix)
        self._weights = [log.workload.mix[operation] for operation in self._operations]
        self._generations = [0] * _SLOTS
        self._can_cancel = can_cancel
        self._unique = 0

    def next(self) -> Intent:
        """Decides on the next call, and writes it down."""
        load, chance = self._workload, self._random
        operation = chance.choices(self._operations, self._weights)[0]
        explicit = None
        if chance.random() < load.deadline_share:
            explicit = chance.uniform(*load.deadline)
        cancel_after = None
        if self._can_cancel and chance.random() < load.cancel_share:
            cancel_after = chance.uniform(*load.cancel_after)
        timeout = load.timeout if explicit is None else explicit
        call = self._log.start(self._name, operation, self._keys(operation), timeout)
        return Intent(call, explicit, cancel_after)

    def ended(self, call: Call, end: End) -> None:
        """Writes down how a call ended, and gives up keys that are not certain any more."""
        self._log.end(call, end)
        if end.outcome != "ok" and end.maybe and call.operation in ("put", "delete"):
            self._generations[int(call.keys[0].split("/")[1])] += 1

    def _keys(self, operation: str) -> tuple[str, ...]:
        if operation == "put_new":
            self._unique += 1
            return (f"{self._name}/unique/{self._unique}",)
        if operation == "multi_get":
            return tuple(self._key(slot) for slot in range(_SLOTS))
        if operation in ("get", "put", "delete"):
            return (self._key(self._random.randrange(_SLOTS)),)
        return ()

    def _key(self, slot: int) -> str:
        return f"{self._name}/{slot}/{self._generations[slot]}"


def make(gcs: Any, intent: Intent, workload: Workload) -> Any:
    """Makes the call: its result, or of an asynchronous client what is to be awaited for it."""
    call, timeout = intent.call, intent.explicit
    where: Any = {"namespace": NAMESPACE, "timeout": timeout}
    if call.operation == "get":
        return gcs.kv.get(call.keys[0], **where)
    if call.operation == "multi_get":
        return gcs.kv.multi_get(call.keys, **where)
    if call.operation == "delete":
        return gcs.kv.delete(call.keys[0], **where)
    if call.operation in ("put", "put_new"):
        value = value_of(call.number, workload.value_size)
        return gcs.kv.put(call.keys[0], value, overwrite=call.operation == "put", **where)
    if call.operation == "next_id":
        return gcs.jobs.next_id(timeout=timeout)
    if call.operation == "nodes":
        return gcs.nodes.list(timeout=timeout)
    if call.operation == "raw_next_id":
        service, method = "JobInfoGcsService", "GetNextJobID"
    else:
        service, method = "NodeInfoGcsService", "CheckAlive"
    return gcs.call(service, method, {}, timeout=timeout, retry=workload.retry)


def good_end(call: Call, result: Any, size: int) -> End:
    """The end of a call that has a result."""
    at = time.monotonic()
    operation = call.operation
    if operation == "get":
        text = read_value(result, size)
    elif operation == "multi_get":
        text = ",".join(read_value(result.get(key), size) for key in call.keys)
    elif operation == "next_id":
        text = str(result.to_int())
    elif operation == "raw_next_id":
        text = str(result.job_id)
    elif operation in READS:
        text = "-"
    else:
        text = str(int(result))
    return End("ok", at, result=text)


def bad_end(error: BaseException, cancelled_at: float | None) -> End:
    """The end of a call that raised."""
    if isinstance(error, asyncio.CancelledError):
        return End("cancelled", time.monotonic(), True, cancelled_at=cancelled_at)
    outcome, maybe = type(error).__name__, True
    if isinstance(error, GcsError):
        maybe = error.maybe_executed
        if error.code > 0:  # the server's word: which one matters
            outcome += f":{error.code_name}"
    return End(outcome, time.monotonic(), maybe, cancelled_at=cancelled_at)


async def call_on(gcs: GcsClient, caller: Caller, workload: Workload) -> None:
    """Makes a caller's next call on an event loop, and cancels it if that is its fate."""
    intent = caller.next()
    call, cancelled_at = intent.call, None
    try:
        if intent.cancel_after is None:
            result = await make(gcs, intent, workload)
        else:
            task = asyncio.ensure_future(make(gcs, intent, workload))
            try:
                await asyncio.wait([task], timeout=intent.cancel_after)
                if not task.done():
                    cancelled_at = time.monotonic()
                    task.cancel()
                result = await task
            except asyncio.CancelledError:
                if cancelled_at is None:
                    task.cancel()
                    raise
                caller.ended(call, bad_end(asyncio.CancelledError(), cancelled_at))
                return
        end = good_end(call, result, workload.value_size)
        end.cancelled_at = cancelled_at
    except Exception as error:  # noqa: BLE001 (whatever it is, the oracles judge it)
        end = bad_end(error, cancelled_at)
    caller.ended(call, end)


def call_blocking(gcs: sync.GcsClient, caller: Caller, workload: Workload) -> None:
    """Makes a caller's next call on this thread."""
    intent = caller.next()
    try:
        result = make(gcs, intent, workload)
        end = good_end(intent.call, result, workload.value_size)
    except Exception as error:  # noqa: BLE001 (whatever it is, the oracles judge it)
        end = bad_end(error, None)
    caller.ended(intent.call, end)


async def keep_calling(
    gcs: GcsClient, caller: Caller, workload: Workload, more: Callable[[], bool]
) -> None:
    """Calls for as long as there is more to do."""
    while more():
        await call_on(gcs, caller, workload)
