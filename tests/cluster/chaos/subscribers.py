# SPDX-License-Identifier: Apache-2.0
"""A publisher in another process, subscribers of each kind, and what they must have heard.

The publisher numbers its errors, and goes on to the next number whether or not the GCS took one.

Invariants:
- A subscriber hears each number at most once, in order. Between two numbers that do not follow one
  another stands a `Resync`.
- A publication is never repeated: what the publisher does not know to have arrived is given up.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gcs_cffi import Message, Resync, sync

if TYPE_CHECKING:
    from typing_extensions import Self

    from gcs_cffi.sync import GcsClient

KEY = "numbered"

PUBLISHER = """
import sys, time
from gcs_cffi import GcsError, sync
address, count, pause = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
taken = 0
with sync.connect(address, on_cluster_change="adopt", timeout=100.0) as gcs:
    for number in range(count):
        try:
            gcs.errors.publish("numbered", str(number), key="numbered")
            taken += 1
        except GcsError:
            pass
        if pause:
            time.sleep(pause)
print(taken)
"""


class Publisher:
    """Publishes numbered errors, in a process of its own."""

    def __init__(self, address: str, count: int, pause: float = 0.0) -> None:
        """Begins.

        Args:
            address: the server's, not a proxy's.
            count: how many errors there will be.
            pause: seconds between two of them.
        """
        command = [sys.executable, "-I", "-c", PUBLISHER, address, str(count), str(pause)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    @property
    def is_done(self) -> bool:
        """Whether all were published."""
        return self._process.poll() is not None

    def taken(self, patience: float) -> int:
        """Waits for the end: how many the GCS has taken, that is known."""
        output, _ = self._process.communicate(timeout=patience)
        assert self._process.returncode == 0
        return int(output)

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Ends the process."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()


@dataclass
class Heard:
    """What one subscriber has heard."""

    policy: str
    messages: int = 0
    resyncs: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    wrong: list[str] = field(default_factory=list)
    last: int = -1
    last_at: float = 0.0
    """When the last message came, by time.monotonic()."""
    told: bool = True
    """Whether something may be missing before the next message."""

    def note(self, event: Message | Resync) -> None:
        """Judges what comes next."""
        if isinstance(event, Resync):
            self.resyncs[event.reason] += 1
            self.lost += event.lost
            self.told = True
            return
        number = int(event.value.error_message)
        if number <= self.last:
            self.wrong.append(f"{number} after {self.last}")
        elif number > self.last + 1 and not self.told:
            self.wrong.append(f"{self.last + 1} to {number - 1} missing without a resync")
        self.messages += 1
        self.last, self.last_at, self.told = number, time.monotonic(), False

    def __str__(self) -> str:
        """A line for people."""
        return f"{self.policy}: {self.messages} messages, {dict(self.resyncs)}, lost {self.lost}"


class Subscribers:
    """Threads that subscribe, one for each policy, and judge what they hear."""

    def __init__(self, gcs: GcsClient, policies: tuple[Any, ...], **limits: Any) -> None:
        """Subscribes.

        Args:
            gcs: the client, which adopts other clusters.
            policies: one subscriber each.
            limits: of `subscribe()`.
        """
        self.heard = [Heard(policy) for policy in policies]
        self._failures: list[BaseException] = []
        self._subscriptions = [
            gcs.subscribe("errors", KEY, policy=policy, **limits).__enter__() for policy in policies
        ]
        self._threads = [
            threading.Thread(target=self._listen, args=each, daemon=True)
            for each in zip(self._subscriptions, self.heard, strict=True)
        ]
        for thread in self._threads:
            thread.start()

    def _listen(self, subscription: sync.Subscription, heard: Heard) -> None:
        try:
            for event in subscription:
                heard.note(event)
        except BaseException as error:  # noqa: BLE001 (whatever it is, the test is told)
            self._failures.append(error)

    def flow_since(self, moment: float, patience: float) -> float:
        """Waits until each has heard a message after a moment; how long after, at most."""
        while not all(heard.last_at > moment for heard in self.heard):
            assert time.monotonic() - moment < patience, [str(heard) for heard in self.heard]
            time.sleep(0.002)
        return max(heard.last_at for heard in self.heard) - moment

    def settle(self, patience: float) -> None:
        """Waits until nothing has come for half a second."""
        end = time.monotonic() + patience
        while time.monotonic() - max(heard.last_at for heard in self.heard) < 0.5:
            assert time.monotonic() < end
            time.sleep(0.05)

    def check(self) -> None:
        """Ends them; fails if one has heard what it must not."""
        for subscription in self._subscriptions:
            subscription.close()
        for thread in self._threads:
            thread.join(10)
        for heard in self.heard:
            print(heard)
        assert not self._failures, self._failures
        for heard in self.heard:
            assert not heard.wrong, (heard.policy, heard.wrong[:10])
            assert heard.messages
