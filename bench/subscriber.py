# SPDX-License-Identifier: Apache-2.0
"""One measurement of one subscriber: so many messages, one after the other or many at a time.

Started as `python -I subscriber.py CONTENDER ADDRESS MESSAGES PER_PUBLICATION`; prints a line of
JSON. `python -I subscriber.py publish ...` is the publisher, which it starts itself.

Invariants:
- The publisher is a process of its own, on our client for every contender. Nothing is published
  before the subscriber is ready.
- With one message per publication the next is published when the last has been taken: the server
  answers each poll with one message. What asking for it costs, a line on a pipe, is the same for
  every contender, and counted.
- Messages have 100 bytes of text. The first is not counted: the clocks start when it is there.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
)
from typing import Any

_TEXT = "x" * 92
_KEY = "bench"


class Meter:
    """Counts messages, and asks the publisher for the next.

    Args:
        asked: the descriptor of the publisher's standard input.
        messages: how many there will be.
        one_by_one: whether each is asked for.
    """

    def __init__(self, asked: int, messages: int, one_by_one: bool) -> None:
        self._asked = asked
        self._messages = messages
        self._one_by_one = one_by_one
        self._count = 0
        self._cpu = self._began = 0.0

    def start(self) -> None:
        """Has the publisher begin."""
        self._ask()

    def take(self) -> bool:
        """A message was taken; whether it was the last."""
        if self._count == 0:
            self._cpu, self._began = time.process_time(), time.perf_counter()
        self._count += 1
        if self._count == self._messages:
            return True
        if self._one_by_one:
            self._ask()
        return False

    def result(self) -> dict[str, float]:
        """CPU of all threads per message, and messages per second."""
        counted = self._messages - 1
        return {
            "cpu_us": (time.process_time() - self._cpu) / counted * 1e6,
            "messages_per_second": counted / (time.perf_counter() - self._began),
        }

    def _ask(self) -> None:
        os.write(self._asked, b"\n")


Consume = Callable[[str, Meter], None]


def asynchronous(
    subscribe: Callable[[str], AbstractAsyncContextManager[AsyncIterator[Any]]],
) -> Consume:
    """A contender whose messages are awaited; it has subscribed when it is entered."""

    async def consume(address: str, meter: Meter) -> None:
        async with subscribe(address) as messages:
            meter.start()
            async for _ in messages:
                if meter.take():
                    break

    return lambda address, meter: asyncio.run(consume(address, meter))


def blocking(subscribe: Callable[[str], AbstractContextManager[Iterator[Any]]]) -> Consume:
    """The same without an event loop."""

    def consume(address: str, meter: Meter) -> None:
        with subscribe(address) as messages:
            meter.start()
            for _ in messages:
                if meter.take():
                    break

    return consume


@asynccontextmanager
async def ours(address: str, raw: bool) -> AsyncIterator[AsyncIterator[Any]]:
    """Our client on asyncio."""
    import gcs_cffi

    async with (
        gcs_cffi.connect(address) as gcs,
        gcs.subscribe("errors", _KEY, raw=raw, max_messages=10_000) as errors,
    ):
        yield errors


@contextmanager
def ours_blocking(address: str, raw: bool) -> Iterator[Iterator[Any]]:
    """Our client for threads."""
    from gcs_cffi import sync

    with (
        sync.connect(address) as gcs,
        gcs.subscribe("errors", _KEY, raw=raw, max_messages=10_000) as errors,
    ):
        yield errors


@asynccontextmanager
async def rays(address: str) -> AsyncIterator[AsyncIterator[Any]]:
    """Ray's subscriber on asyncio; it has one for usage, and none for errors."""
    from ray._private.gcs_pubsub import GcsAioResourceUsageSubscriber

    subscriber = GcsAioResourceUsageSubscriber(address=address)
    await subscriber.subscribe()

    async def polled() -> AsyncIterator[Any]:
        while True:
            key, usage = await subscriber.poll()
            if key is not None:
                yield usage

    yield polled()


@contextmanager
def rays_blocking(address: str) -> Iterator[Iterator[Any]]:
    """Ray's subscriber for threads."""
    from ray._raylet import GcsErrorSubscriber  # type: ignore[attr-defined]

    subscriber = GcsErrorSubscriber(address)
    subscriber.subscribe()

    def polled() -> Iterator[Any]:
        while True:
            key, error = subscriber.poll()
            if key is not None:
                yield error

    yield polled()


CONTENDERS: dict[str, Consume] = {
    "ours": asynchronous(lambda address: ours(address, raw=False)),
    "ours-raw": asynchronous(lambda address: ours(address, raw=True)),
    "ray": asynchronous(rays),
    "ours-blocking": blocking(lambda address: ours_blocking(address, raw=False)),
    "ours-blocking-raw": blocking(lambda address: ours_blocking(address, raw=True)),
    "ray-blocking": blocking(rays_blocking),
}
USAGE = frozenset({"ray"})
"""Contenders that hear resource usage, and not errors."""


def publish(address: str, messages: int, per_publication: int, usage: bool) -> None:
    """Publishes; with one message per publication a line of input asks for each."""
    from gcs_cffi import messages as m
    from gcs_cffi import sync

    def message(number: int) -> m.PubMessage:
        text = f"{number:08}{_TEXT}"
        if usage:
            return m.PubMessage(
                channel_type="RAY_NODE_RESOURCE_USAGE_CHANNEL",
                key_id=_KEY.encode(),
                node_resource_usage_message=m.NodeResourceUsage(json=text),
            )
        error = m.ErrorTableData(job_id=b"\1\0\0\0", type="bench", error_message=text)
        return m.PubMessage(
            channel_type="RAY_ERROR_INFO_CHANNEL", key_id=_KEY.encode(), error_info_message=error
        )

    requests = [
        m.GcsPublishRequest(pub_messages=[message(n) for n in range(at, at + per_publication)])
        for at in range(0, messages, per_publication)
    ]
    with sync.connect(address) as gcs:
        for number, request in enumerate(requests):
            if per_publication == 1 or number == 0:
                sys.stdin.readline()
            gcs.call("ObservabilityPubSubService", "GcsPublish", request)


def main(arguments: list[str]) -> None:
    """Measures, or publishes."""
    name, address, messages, per_publication = arguments[:4]
    count, each = int(messages), int(per_publication)
    if name == "publish":
        publish(address, count, each, usage=arguments[4] == "usage")
        return
    channel = "usage" if name in USAGE else "errors"
    command = [sys.executable, "-I", __file__, "publish", address, messages, per_publication]
    with subprocess.Popen([*command, channel], stdin=subprocess.PIPE, text=True) as publisher:
        assert publisher.stdin is not None
        meter = Meter(publisher.stdin.fileno(), count, one_by_one=each == 1)
        CONTENDERS[name](address, meter)
        result = meter.result()
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1:])
