# SPDX-License-Identifier: Apache-2.0
"""The table of methods by releases, out of what became of the tests on each.

    table.py FOLDER RELEASE... [--partial] [--markdown PATH]

Invariants:
- A cell is "ok" or "unsupported" only if tests ran for it, in both forms of the client, and each
  of them passed or was refused as expected. Anything else is WRONG, with a reason below the table.
- What fails beside the cells (a test about no single method, a run that ended badly, a server of
  another release) has a row of its own, and is counted.
- The exit status is 0 only if something ran and nothing is wrong.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

OK, UNSUPPORTED, WRONG = "ok", "unsupported", "WRONG"
SHORT = {OK: "ok", UNSUPPORTED: "unsup.", WRONG: "WRONG"}
REST = "(everything else)"
FORMS = ("async", "blocking")
NO_TESTS = "no test is about it"


@dataclass
class Table:
    """A row for each method, a column for each release."""

    releases: list[str]
    rows: dict[str, dict[str, str]] = field(default_factory=dict)
    """Cells by method and release."""
    rest: dict[str, str] = field(default_factory=dict)
    """For each release, what became of everything that is about no method."""
    faults: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    """What is wrong with a method or with REST, and on which releases it is."""
    left_out: list[str] = field(default_factory=list)
    """Methods for which nothing ran, where only a part of the tests was asked for."""

    @property
    def counts(self) -> Counter[str]:
        """How many cells of the methods are what."""
        return Counter(cell for row in self.rows.values() for cell in row.values())

    @property
    def good(self) -> bool:
        """Whether something ran, and nothing is wrong."""
        return bool(self.rows) and not self.faults

    def blame(self, name: str, release: str, faults: list[str]) -> None:
        """Note what is wrong with a method, or with REST, on a release."""
        for fault in faults:
            self.faults.setdefault((name, fault), []).append(release)

    @property
    def reasons(self) -> list[str]:
        """What is wrong, a line each."""
        return [
            f"{name} on {', '.join(releases)}: {fault}"
            for (name, fault), releases in self.faults.items()
        ]

    @property
    def tally(self) -> str:
        """The table in a line."""
        counts = self.counts
        rest = sum(cell == WRONG for cell in self.rest.values())
        text = (
            f"{len(self.rows)} methods x {len(self.releases)} releases: {counts[OK]} ok, "
            f"{counts[UNSUPPORTED]} unsupported as expected, {counts[WRONG]} wrong"
        )
        return f"{text}; everything else: {rest} wrong" if rest else text

    def groups(self) -> dict[str, list[str]]:
        """The methods by accessor; the client's own first."""
        found: dict[str, list[str]] = {}
        for method in sorted(self.rows, key=_by_accessor):
            found.setdefault(_accessor(method), []).append(method)
        return found


def build(runs: dict[str, dict[str, Any]], releases: list[str], *, partial: bool = False) -> Table:
    """Make the table.

    Args:
        runs: what became of the tests, by release; a release whose run left nothing is absent.
        releases: the columns.
        partial: whether a part of the tests was asked for, so that a method without any is no
            fault.
    """
    table = Table(releases)
    public = {name for run in runs.values() for name in run["public"]}
    outcomes = {
        release: runs[release]["outcomes"] if release in runs else [] for release in releases
    }
    marked = {name for each in outcomes.values() for test in each for name in test["methods"]}
    covered = {_method(name) for name in marked}
    for name in sorted(marked | (public - covered), key=_by_accessor):
        if name not in marked and partial:
            table.left_out.append(name)
            continue
        row = table.rows[name] = {}
        for release in releases:
            tests = [test for test in outcomes[release] if name in test["methods"]]
            faults = _faults(tests)
            if public and _method(name) not in public:
                faults.append("the client has no such method")
            row[release] = _cell(tests, faults)
            table.blame(name, release, faults)
    for release in releases:
        faults = _faults_of_run(release, runs.get(release), outcomes[release])
        if not table.rows:
            faults.append("nothing ran")
        table.rest[release] = WRONG if faults else OK
        table.blame(REST, release, faults)
    return table


def _faults(tests: list[dict[str, Any]]) -> list[str]:
    if not tests:
        return [NO_TESTS]
    faults = [_fault(test) for test in tests if test["outcome"] not in ("passed", UNSUPPORTED)]
    forms = {test["form"] for test in tests}
    missing = [form for form in FORMS if form not in forms]
    if missing:
        faults.append(f"no test of it is {' or '.join(missing)}")
    return faults


def _fault(test: dict[str, Any]) -> str:
    return f"{test['outcome']}: {test['test']}: {test['why']}"


def _cell(tests: list[dict[str, Any]], faults: list[str]) -> str:
    if faults:
        return WRONG
    return UNSUPPORTED if any(test["outcome"] == UNSUPPORTED for test in tests) else OK


def _faults_of_run(
    release: str, run: dict[str, Any] | None, tests: list[dict[str, Any]]
) -> list[str]:
    if run is None:
        return ["the run left no report: it crashed, or never began"]
    faults = [
        _fault(test)
        for test in tests
        if not test["methods"] and test["outcome"] not in ("passed", UNSUPPORTED)
    ]
    if run["release"] != release:
        faults.append(f"the server says that it is Ray {run['release'] or '(nothing)'}")
    if not run["public"]:
        faults.append("the client's methods are not known")
    failed = any(test["outcome"] == "failed" for test in tests)
    if run["exit_status"] != (1 if failed else 0):
        faults.append(f"pytest ended with status {run['exit_status']}")
    return faults


def _method(name: str) -> str:
    """The method that a row is about: "call" for "call (raw)"."""
    return name.partition(" (")[0]


def _accessor(name: str) -> str:
    accessor, dot, _ = _method(name).partition(".")
    return accessor if dot else ""


def _by_accessor(name: str) -> tuple[str, str]:
    return _accessor(name), name


def as_text(table: Table) -> str:
    """The table for a terminal."""
    names = [*table.rows, REST]
    width = max(len(name) for name in names) + 2
    widths = [max(len(release), *map(len, SHORT.values())) + 1 for release in table.releases]

    def line(name: str, cells: list[str]) -> str:
        shown = "".join(cell.rjust(size) for cell, size in zip(cells, widths, strict=True))
        return f"  {name.ljust(width)}{shown}"

    lines = [line("", table.releases)]
    for methods in table.groups().values():
        lines.append("")
        lines += [line(name, _cells(table, table.rows[name], SHORT)) for name in methods]
    lines += ["", line(REST, _cells(table, table.rest, SHORT)), ""]
    if table.counts[UNSUPPORTED]:
        lines.append("  unsup.: the release cannot do that, and the client says so, as expected\n")
    return "\n".join([*lines, *_closing(table)]) + "\n"


def as_markdown(table: Table) -> str:
    """The table for a document."""
    lines = ["# Methods by releases of Ray", "", f"**{table.tally}**", ""]
    lines.append("| method | " + " | ".join(table.releases) + " |")
    lines.append("|---" * (len(table.releases) + 1) + "|")
    shown = {OK: OK, UNSUPPORTED: UNSUPPORTED, WRONG: f"**{WRONG}**"}
    for methods in table.groups().values():
        for name in methods:
            cells = _cells(table, table.rows[name], shown)
            lines.append(f"| `{name}` | " + " | ".join(cells) + " |")
    lines.append(f"| {REST} | " + " | ".join(_cells(table, table.rest, shown)) + " |")
    return "\n".join([*lines, "", *_closing(table, "- ")]) + "\n"


def _cells(table: Table, row: dict[str, str], shown: dict[str, str]) -> list[str]:
    return [shown[row[release]] for release in table.releases]


def _closing(table: Table, bullet: str = "  ") -> list[str]:
    lines: list[str] = []
    if table.reasons:
        lines += [*(f"{bullet}{WRONG}: {reason}" for reason in table.reasons), ""]
    if table.left_out:
        lines.append(f"Left out, since no test of theirs was asked for: {len(table.left_out)}")
    return [*lines, table.tally]


def main(arguments: list[str]) -> int:
    """Print the table, and give the process's exit status."""
    parser = argparse.ArgumentParser(prog="table.py", description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="where RELEASE.json are")
    parser.add_argument("releases", nargs="+")
    parser.add_argument("--partial", action="store_true", help="a part of the tests was asked for")
    parser.add_argument("--markdown", type=Path, help="a file for the same table")
    chosen = parser.parse_args(arguments)
    runs = {}
    for release in chosen.releases:
        path = chosen.folder / f"{release}.json"
        if path.exists():
            runs[release] = json.loads(path.read_text())
    table = build(runs, chosen.releases, partial=chosen.partial)
    print(as_text(table))
    if chosen.markdown:
        chosen.markdown.write_text(as_markdown(table))
        print(f"The same as markdown: {chosen.markdown}")
    return 0 if table.good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
