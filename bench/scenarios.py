# SPDX-License-Identifier: Apache-2.0
"""What is measured, and what is to be reached: each scenario is one entry of SCENARIOS.

Invariants:
- This is data only, which the process that drives a run and its workers share. What an operation
  does is in contenders.py, under the operation's name.
- Targets are ratios between two clients in the same run, never absolute numbers: those belong to
  one machine.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Level:
    """One load, and what is asked of us under it.

    Attributes:
        in_flight: how many calls are pending at any time.
        calls_target: how many times the baseline's calls per second are to be reached.
        cpu_target: how many times less client CPU per call than the baseline's is to be used; None
            where nothing is asked.
    """

    in_flight: int
    calls_target: float
    cpu_target: float | None


@dataclass(frozen=True)
class Scenario:
    """One thing to measure, at several levels.

    Attributes:
        name: how the command line and the JSON call it.
        title: what the table says about it.
        operation: the key of `OPERATIONS` in contenders.py.
        value_size: the size of the value that goes to and fro, in bytes.
        levels: in the order in which they are measured.
    """

    name: str
    title: str
    operation: str
    value_size: int
    levels: tuple[Level, ...]


SCENARIOS: dict[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        Scenario(
            name="kv-get-100",
            title="KV get of 100 bytes",
            operation="kv_get",
            value_size=100,
            levels=(
                Level(in_flight=1, calls_target=1.4, cpu_target=None),
                Level(in_flight=16, calls_target=3.0, cpu_target=6.0),
                Level(in_flight=128, calls_target=3.5, cpu_target=6.0),
                Level(in_flight=1024, calls_target=2.5, cpu_target=6.0),
            ),
        ),
    )
}
