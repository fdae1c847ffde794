# SPDX-License-Identifier: Apache-2.0
"""The table of `./dev matrix`: what is wrong is never hidden."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from matrix import table
from matrix.table import OK, REST, UNSUPPORTED, WRONG, build

if TYPE_CHECKING:
    from pathlib import Path

OLD, NEW = "2.9.3", "2.60.0"


def made_up(
    *methods: str, form: str = "async", outcome: str = "passed", why: str = "", name: str = "test_x"
) -> dict[str, Any]:
    return {
        "test": f"tests/matrix/test_x.py::{name}[{form}]",
        "methods": list(methods),
        "form": form,
        "outcome": outcome,
        "why": why,
    }


def both(*methods: str, outcome: str = "passed") -> list[dict[str, Any]]:
    return [made_up(*methods, form=form, outcome=outcome) for form in ("async", "blocking")]


def run_of(
    release: str,
    *outcomes: dict[str, Any],
    public: tuple[str, ...] = ("kv.get",),
    exit_status: int | None = None,
) -> dict[str, Any]:
    failed = any(each["outcome"] == "failed" for each in outcomes)
    return {
        "release": release,
        "public": list(public),
        "exit_status": int(failed) if exit_status is None else exit_status,
        "outcomes": list(outcomes),
    }


def table_of(*outcomes: dict[str, Any], **options: Any) -> table.Table:
    return build({NEW: run_of(NEW, *outcomes, **options)}, [NEW])


def shown_wrong(made: table.Table, text: str) -> bool:
    """Whether a fault is counted, and named in both forms of the table."""
    assert not made.good
    for shown in (table.as_text(made), table.as_markdown(made)):
        assert WRONG in shown
        assert text in shown
    return True


def test_a_method_is_ok_when_all_of_its_tests_passed_in_both_forms() -> None:
    made = table_of(*both("kv.get"), *both("kv.get"))
    assert made.rows == {"kv.get": {NEW: OK}}
    assert made.good
    assert made.tally == "1 methods x 1 releases: 1 ok, 0 unsupported as expected, 0 wrong"


def test_a_method_is_unsupported_when_one_test_was_refused_and_the_others_passed() -> None:
    made = table_of(*both("kv.get"), *both("kv.get", outcome="unsupported"))
    assert made.rows == {"kv.get": {NEW: UNSUPPORTED}}
    assert made.good
    assert "0 ok, 1 unsupported as expected, 0 wrong" in made.tally
    assert "unsup." in table.as_text(made)


@pytest.mark.parametrize("outcome", ["failed", "skipped", "something new"])
@pytest.mark.parametrize("beside", ["passed", "unsupported"])
def test_one_test_that_did_neither_makes_the_method_wrong(outcome: str, beside: str) -> None:
    bad = made_up("kv.get", outcome=outcome, why="because", name="test_bad")
    made = table_of(*both("kv.get", outcome=beside), bad)
    assert made.rows == {"kv.get": {NEW: WRONG}}
    assert "1 wrong" in made.tally
    assert shown_wrong(made, f"kv.get on {NEW}: {outcome}: {bad['test']}: because")


def test_every_method_that_a_failed_test_names_is_wrong() -> None:
    made = table_of(
        *both("kv.get", "kv.put", outcome="failed"), *both("kv.get"), public=("kv.get", "kv.put")
    )
    assert [row[NEW] for row in made.rows.values()] == [WRONG, WRONG]


@pytest.mark.parametrize(("form", "missing"), [("async", "blocking"), ("blocking", "async")])
def test_a_method_that_was_tried_in_one_form_only_is_wrong(form: str, missing: str) -> None:
    made = table_of(made_up("kv.get", form=form))
    assert made.rows == {"kv.get": {NEW: WRONG}}
    assert shown_wrong(made, missing)


def test_a_public_method_without_a_test_is_wrong_on_every_release() -> None:
    public = ("kv.get", "kv.forgotten")
    runs = {release: run_of(release, *both("kv.get"), public=public) for release in (OLD, NEW)}
    made = build(runs, [OLD, NEW])
    assert made.rows["kv.forgotten"] == {OLD: WRONG, NEW: WRONG}
    assert "2 methods x 2 releases: 2 ok, 0 unsupported as expected, 2 wrong" in made.tally
    assert shown_wrong(made, f"kv.forgotten on {OLD}, {NEW}: {table.NO_TESTS}")


def test_a_method_whose_tests_ran_on_another_release_only_is_wrong() -> None:
    runs = {OLD: run_of(OLD), NEW: run_of(NEW, *both("kv.get"))}
    made = build(runs, [OLD, NEW])
    assert made.rows == {"kv.get": {OLD: WRONG, NEW: OK}}
    assert shown_wrong(made, f"kv.get on {OLD}")


def test_a_way_of_using_a_method_has_a_row_and_covers_the_method() -> None:
    made = table_of(*both("call (raw)"), *both("call (dict)"), public=("call",))
    assert list(made.rows) == ["call (dict)", "call (raw)"]
    assert made.good


def test_a_mark_that_names_no_method_of_the_client_is_wrong() -> None:
    made = table_of(*both("kv.get"), *both("kv.gte"))
    assert made.rows["kv.gte"] == {NEW: WRONG}
    assert shown_wrong(made, "the client has no such method")


def test_a_release_whose_run_left_nothing_is_wrong_everywhere() -> None:
    made = build({NEW: run_of(NEW, *both("kv.get"))}, [OLD, NEW])
    assert made.rows == {"kv.get": {OLD: WRONG, NEW: OK}}
    assert made.rest == {OLD: WRONG, NEW: OK}
    assert shown_wrong(made, f"{REST} on {OLD}: the run left no report")


@pytest.mark.parametrize("outcome", ["failed", "skipped"])
def test_a_test_about_no_method_is_not_lost(outcome: str) -> None:
    made = table_of(*both("kv.get"), made_up(form="", outcome=outcome, why="because"))
    assert made.rows == {"kv.get": {NEW: OK}}
    assert made.rest == {NEW: WRONG}
    assert "everything else: 1 wrong" in made.tally
    assert shown_wrong(made, "because")


@pytest.mark.parametrize("exit_status", [1, 2, 3, 4, 5, -1])
def test_a_run_that_ended_badly_for_no_test_is_not_lost(exit_status: int) -> None:
    made = table_of(*both("kv.get"), exit_status=exit_status)
    assert shown_wrong(made, f"pytest ended with status {exit_status}")


def test_a_run_that_was_cut_short_by_a_failure_is_not_lost() -> None:
    made = table_of(*both("kv.get", outcome="failed"), exit_status=2)
    assert shown_wrong(made, "pytest ended with status 2")


@pytest.mark.parametrize("release", ["", OLD])
def test_a_server_of_another_release_is_wrong(release: str) -> None:
    made = build({NEW: run_of(release, *both("kv.get"))}, [NEW])
    assert shown_wrong(made, f"{REST} on {NEW}: the server says that it is Ray")


@pytest.mark.parametrize("partial", [True, False])
def test_nothing_is_not_good(partial: bool) -> None:
    for runs in ({}, {NEW: run_of(NEW, public=())}):
        made = build(runs, [NEW], partial=partial)
        assert made.rows == {}
        assert shown_wrong(made, "nothing ran")


def test_of_a_part_only_methods_without_any_test_are_left_out_and_counted() -> None:
    public = ("kv.get", "kv.put")
    runs = {OLD: run_of(OLD, public=public), NEW: run_of(NEW, *both("kv.get"), public=public)}
    made = build(runs, [OLD, NEW], partial=True)
    assert made.rows == {"kv.get": {OLD: WRONG, NEW: OK}}
    assert made.left_out == ["kv.put"]
    assert "asked for: 1" in table.as_text(made)


def test_methods_stand_by_accessor_and_the_clients_own_first() -> None:
    names = ("kv.put", "actors.list", "call", "kv.get")
    made = table_of(*both(*names), public=names)
    assert made.groups() == {
        "": ["call"],
        "actors": ["actors.list"],
        "kv": ["kv.get", "kv.put"],
    }
    lines = [line.split() for line in table.as_text(made).splitlines()]
    assert lines[0] == [NEW]
    assert [line[0] for line in lines[1:] if line][:4] == [
        "call",
        "actors.list",
        "kv.get",
        "kv.put",
    ]


def test_the_program_ends_with_1_unless_all_is_good(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def write(release: str, *outcomes: dict[str, Any]) -> None:
        (tmp_path / f"{release}.json").write_text(json.dumps(run_of(release, *outcomes)))

    markdown = tmp_path / "methods.md"
    arguments = [str(tmp_path), OLD, NEW, "--markdown", str(markdown)]
    assert table.main(arguments) == 1
    write(OLD, *both("kv.get"))
    assert table.main(arguments) == 1
    write(NEW, *both("kv.get", outcome="failed"))
    assert table.main(arguments) == 1
    assert f"**{WRONG}**" in markdown.read_text()
    write(NEW, *both("kv.get", outcome="unsupported"))
    assert table.main(arguments) == 0
    assert f"| `kv.get` | {OK} | {UNSUPPORTED} |" in markdown.read_text()
    assert str(markdown) in capsys.readouterr().out
