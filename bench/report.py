# SPDX-License-Identifier: Apache-2.0
"""From the rounds of a run to its table and its JSON.

Invariants:
- A ratio is formed inside one round, between measurements that were taken moments apart, and only
  then is its median taken over the rounds: the machine's drift cancels out.
- A target is met when that median reaches it; nothing is rounded before it is compared.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

from contenders import BASELINE, CONTENDERS, OURS
from machine import share_lines
from scenarios import Level, Scenario

_RESULTS = Path(__file__).resolve().with_name("results")

Round = dict[str, float]
"""What one contender measured at one level in one round; the keys are those of worker.measure."""


@dataclass(frozen=True)
class Spread:
    """Median, least and greatest over the rounds."""

    median: float
    least: float
    greatest: float

    @classmethod
    def of(cls, values: list[float]) -> Spread:
        return cls(median(values), min(values), max(values))

    def as_json(self) -> dict[str, float]:
        return {"median": self.median, "min": self.least, "max": self.greatest}

    def text(self, prefix: str = "", scale: float = 1.0) -> str:
        middle, least, greatest = (
            _digits(value * scale) for value in (self.median, self.least, self.greatest)
        )
        return f"{prefix}{middle} ({least}-{greatest})"


class LevelResult:
    """All rounds of all contenders at one level of one scenario."""

    def __init__(self, level: Level, names: list[str]) -> None:
        self.level = level
        self.rounds: dict[str, list[Round]] = {name: [] for name in names}

    def spread(self, name: str, key: str) -> Spread:
        """What a contender measured."""
        return Spread.of([one[key] for one in self.rounds[name]])

    def calls_ratio(self, name: str) -> Spread | None:
        """How many times the baseline's calls per second; None without a baseline."""
        return self._ratio(
            name, lambda own, base: own["calls_per_second"] / base["calls_per_second"]
        )

    def cpu_ratio(self, name: str) -> Spread | None:
        """How many times less client CPU per call than the baseline; None without a baseline."""
        return self._ratio(name, lambda own, base: base["cpu_us"] / own["cpu_us"])

    def targets(self) -> Iterator[tuple[str, float, Spread]]:
        """What was to be reached by ours: its name, the target and the ratio."""
        if OURS not in self.rounds:
            return
        calls, cpu = self.calls_ratio(OURS), self.cpu_ratio(OURS)
        if calls is not None:
            yield "calls/s", self.level.calls_target, calls
        if cpu is not None and self.level.cpu_target is not None:
            yield "CPU", self.level.cpu_target, cpu

    def as_json(self) -> dict[str, Any]:
        return {
            "in_flight": self.level.in_flight,
            "contenders": {name: self._contender_json(name) for name in self.rounds},
            "targets": [
                {"what": what, "target": target, "reached": ratio.median, "met": met(target, ratio)}
                for what, target, ratio in self.targets()
            ],
        }

    def _ratio(self, name: str, divide: Callable[[Round, Round], float]) -> Spread | None:
        if BASELINE not in self.rounds or name == BASELINE:
            return None
        pairs = zip(self.rounds[name], self.rounds[BASELINE], strict=True)
        return Spread.of([divide(own, base) for own, base in pairs])

    def _contender_json(self, name: str) -> dict[str, Any]:
        keys = ("calls_per_second", "p50_us", "p99_us", "cpu_us")
        calls, cpu = self.calls_ratio(name), self.cpu_ratio(name)
        return {
            **{key: self.spread(name, key).as_json() for key in keys},
            "calls_ratio": calls.as_json() if calls else None,
            "cpu_ratio": cpu.as_json() if cpu else None,
            "rounds": self.rounds[name],
        }


def save(report: dict[str, Any], started: datetime, kind: str) -> None:
    """Writes a run's JSON, and says where, and how much of the machine others took."""
    _RESULTS.mkdir(exist_ok=True)
    path = _RESULTS / f"{started:%Y%m%d-%H%M%S}-{kind}.json"
    path.write_text(json.dumps(report, indent=1) + "\n")
    print("\n" + "\n".join(share_lines(report["share_of_other_processes"])))
    print(f"written to {path}")


def met(target: float, ratio: Spread) -> bool:
    """Whether a target was reached."""
    return ratio.median >= target


def table(scenario: Scenario, results: list[LevelResult]) -> list[str]:
    """The table of one scenario, with its targets below."""
    base = CONTENDERS[BASELINE].title
    head = ["in flight", "client", "calls/s", "p50 ms", "p99 ms", "CPU us/call"]
    compared = any(BASELINE in result.rounds for result in results)
    if compared:
        head += ["calls/s ratio", "CPU ratio"]
    rows: list[list[str] | None] = []
    for result in results:
        rows.append(None)
        for number, name in enumerate(result.rounds):
            row = [
                str(result.level.in_flight) if number == 0 else "",
                CONTENDERS[name].title,
                result.spread(name, "calls_per_second").text(),
                result.spread(name, "p50_us").text(scale=1e-3),
                result.spread(name, "p99_us").text(scale=1e-3),
                result.spread(name, "cpu_us").text(),
            ]
            if compared:
                calls, cpu = result.calls_ratio(name), result.cpu_ratio(name)
                row.append(calls.text("x") if calls else "baseline")
                row.append(cpu.text("1/") if cpu else "baseline")
            rows.append(row)
    lines = [f"{scenario.title}: median over the rounds (least-greatest)", ""]
    lines += _aligned(head, rows)
    targets = [
        (result.level.in_flight, what, target, ratio)
        for result in results
        for what, target, ratio in result.targets()
    ]
    if targets:
        lines += ["", f"Targets for {CONTENDERS[OURS].title} against {base}, in the same round:"]
    for in_flight, what, target, ratio in targets:
        sign = "x" if what == "calls/s" else "1/"
        verdict = "met" if met(target, ratio) else "NOT MET"
        lines.append(
            f"  {in_flight:>5} in flight  {what:<8} to reach {sign}{target:<4g} "
            f"reached {sign}{ratio.median:<6.2f} {verdict}"
        )
    return lines


def _aligned(head: list[str], rows: list[list[str] | None]) -> Iterator[str]:
    widths = [
        max(len(cell) for cell in column)
        for column in zip(head, *(row for row in rows if row is not None), strict=True)
    ]

    def line(cells: list[str]) -> str:
        padded = (
            cell.rjust(width) if number == 0 else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return "  ".join(padded).rstrip()

    yield line(head)
    for row in rows:
        yield "-" * (sum(widths) + 2 * len(widths) - 2) if row is None else line(row)


def _digits(value: float) -> str:
    """Three digits, or all of an integer part that has more."""
    decimals = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:.{decimals}f}"
