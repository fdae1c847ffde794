# SPDX-License-Identifier: Apache-2.0
"""What a reader has to know of the machine before the numbers mean anything."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Iterable
from pathlib import Path

_BUSY_LOAD = 0.5


def describe_machine() -> dict[str, object]:
    """Processor, cores, kernel, Python, and how busy the machine is before the run."""
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "load_before": round(os.getloadavg()[0], 2),
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
    lines = [
        f"machine   {hardware}, {machine['kernel']}, {machine['python']}",
        f"versions  {packages}; gcs_server of Ray {server_version}, in memory, on this machine",
    ]
    load = machine["load_before"]
    if isinstance(load, float) and load > _BUSY_LOAD:
        lines.append(
            f"note      the machine was busy before the run (load {load}): trust the ratios, "
            "and them no further than their spread"
        )
    return lines


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
