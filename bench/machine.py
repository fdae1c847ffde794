# SPDX-License-Identifier: Apache-2.0
"""What a reader has to know of the machine before the numbers mean anything."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import time
from collections.abc import Iterable
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_QUIET_SHARE = 0.1


def describe_machine() -> dict[str, object]:
    """Processor, cores, kernel and Python."""
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
    }


def versions_of(packages: Iterable[str]) -> dict[str, str]:
    """The installed versions of the distributions."""
    return {name: importlib.metadata.version(name) for name in packages}


def machine_lines(
    machine: dict[str, object], versions: dict[str, str], server_version: str
) -> list[str]:
    """Machine and versions as text."""
    cores = machine["cores"]
    hardware = f"{machine['cpu']}, {cores} core{'' if cores == 1 else 's'}"
    packages = ", ".join(f"{name} {version}" for name, version in versions.items())
    return [
        f"machine   {hardware}, {machine['kernel']}, {machine['python']}",
        f"versions  {packages}; gcs_server of Ray {server_version}, in memory, on this machine",
    ]


class OtherProcesses:
    """How much of the machine's processors others take from now on, its hypervisor among them.

    Args:
        own: the ids of the processes that are not others; they live until `share` is called.
    """

    def __init__(self, own: list[int]) -> None:
        self._own = own
        self._began = time.monotonic()
        self._taken = self._taken_by_others()

    def share(self) -> float:
        """What they have taken since, from 0 to 1, where 1 is every core all the time."""
        taken = self._taken_by_others() - self._taken
        capacity = (time.monotonic() - self._began) * (os.cpu_count() or 1)
        return min(1.0, max(0.0, taken / capacity))

    def _taken_by_others(self) -> float:
        return _machine_seconds() - sum(_process_seconds(pid) for pid in self._own)


def share_lines(share: float) -> list[str]:
    """What a reader has to know of it."""
    text = f"Other processes took {share:.0%} of this machine's processors meanwhile"
    if share <= _QUIET_SHARE:
        return [f"{text}."]
    return [f"{text.upper()}: RATIOS AND TARGETS ARE NOT TO BE RELIED ON."]


def _machine_seconds() -> float:
    """CPU time of all processors since boot, in use or taken by the hypervisor."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    user, nice, system, _idle, _iowait, irq, softirq, steal = (int(one) for one in fields[:8])
    return (user + nice + system + irq + softirq + steal) / _TICKS


def _process_seconds(pid: int) -> float:
    """CPU time of one process, all its threads, and of the children that it has waited for."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(one) for one in fields[11:15]) / _TICKS


def _cpu_model() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.machine()
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()
