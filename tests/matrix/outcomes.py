# SPDX-License-Identifier: Apache-2.0
"""What became of each test on one release: collected in pytest's hooks, written as JSON.

Invariants:
- Every test that was to run is in the file, with the worst of its setup, call and teardown.
- The file is written at the end only: a run that crashed leaves none.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

PASSED, UNSUPPORTED, SKIPPED, FAILED = RANKED = ("passed", "unsupported", "skipped", "failed")


@dataclass
class Outcome:
    """What became of a test."""

    test: str
    methods: list[str]
    """What the test is about; empty if it is about no single method."""
    form: str
    """ "async" or "blocking"; empty for a test that uses no client through `gcs` or `connect`."""
    outcome: str = PASSED
    why: str = ""


@dataclass
class Run:
    """What became of the tests on one release."""

    release: str = ""
    """As the server says itself; empty if none answered."""
    public: list[str] = field(default_factory=list)
    """The client's public methods."""
    exit_status: int = -1
    """pytest's."""
    outcomes: dict[str, Outcome] = field(default_factory=dict)

    def expect(self, item: pytest.Item) -> None:
        """A test is about to run."""
        methods = [name for mark in item.iter_markers("method") for name in mark.args]
        callspec = getattr(item, "callspec", None)
        form = str(callspec.params.get("form", "")) if callspec else ""
        self.outcomes[item.nodeid] = Outcome(item.nodeid, methods, form)

    def refused(self, test: str) -> None:
        """In a test, the client said as expected that the release lacks something."""
        self._worsen(test, UNSUPPORTED, "")

    def report(self, report: pytest.TestReport) -> None:
        """A test's setup, call or teardown has ended."""
        if report.outcome == "skipped" or hasattr(report, "wasxfail"):
            self._worsen(report.nodeid, SKIPPED, _reason(report))
        elif report.outcome == "failed":
            self._worsen(report.nodeid, FAILED, _reason(report))

    def write(self, path: Path) -> None:
        """Write the file."""
        content: dict[str, Any] = asdict(self)
        content["outcomes"] = list(content["outcomes"].values())
        path.write_text(json.dumps(content, indent=1) + "\n")

    def _worsen(self, test: str, outcome: str, why: str) -> None:
        known = self.outcomes[test]
        if RANKED.index(outcome) > RANKED.index(known.outcome):
            known.outcome, known.why = outcome, why


def _reason(report: pytest.TestReport) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    if crash is not None:
        return f"{report.when}: {crash.message.splitlines()[0]}"
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2])
    lines = str(report.longrepr).strip().splitlines()
    return f"{report.when}: {lines[-1] if lines else report.outcome}"
