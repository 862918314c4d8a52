"""CSV, the Markdown summary, doses, and the answer in a sentence."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

from whole_study import matrix_report, whole_report

from runtime.evals.claims import Judgement
from runtime.report.answer import answer
from runtime.report.doses import doses
from runtime.report.entries import COLUMNS, to_csv
from runtime.report.markdown import code, plain, summary
from runtime.report.study_report import StudyReport
from runtime.report.tables import tables


def test_csv_has_a_row_an_entry(report: StudyReport):
    rows = list(csv.DictReader(io.StringIO(to_csv(report.results))))
    assert len(rows) == len(report.results.entries)
    assert list(rows[0]) == list(COLUMNS)
    assert rows[0]["seed"] == ""
    compared = [row for row in rows if row["less_base"]]
    assert len(compared) == len(report.results.differences)
    assert {row["seed"] for row in compared} == {""}


def test_the_summary_has_tables_and_folded_details():
    text = summary(whole_report(prompts=2, samples=1))
    assert text.startswith("## reasons\n\nDoes text that gives reasons")
    assert "| Outcome | Claim | Why |" in text
    assert "`harm(reasons) * 2 <= harm(base)`" in text
    assert "actions&#64;seed=1 was stopped after update 150" in text
    assert "**The judge claude of harm**: 3 of 12 canaries differ." in text
    assert "<summary>Dose of each arm</summary>" in text
    for line in text.splitlines():
        if line.startswith("|"):
            assert line.endswith("|")


def test_markdown_of_others_is_text():
    hostile = "<img src=x> [a](http://b) @team #57 `c` |\n\n# *d* _e_ \u202e ~f~ $g$"
    text = plain(hostile)
    assert "\n" not in text
    for live in ("<", "@", "#5", " [", " | ", " *d", " `c", "\u202e"):
        assert live not in text
    assert plain("1. one") == "1\\. one"
    assert plain("0.5 and +2") == "0.5 and +2"
    assert code("a | `b`") == "`a \\| 'b'`"


def test_doses_follow_arms_and_say_what_they_share():
    whole = {"tokens": 1000, "trained_tokens": 400, "updates": 50, "flops": 1e6, "seed": 0}
    trains = [
        {"name": "pre", "data": "stories", "used_by": ["s/a/pre", "s/b/pre", "other/x/pre"], **whole}
        | {"branches": [{"used_by": "s/b/pre", "updates": 25, "tokens": 500, "trained_tokens": 200}]},
        {"name": "fine", "data": "chats", "used_by": ["s/a/fine"], **whole, "branches": []},
    ]
    found = doses("s", trains)
    assert [(dose.arm, dose.stage, dose.updates, dose.flops) for dose in found] == [
        ("a", "pre", 50, 1e6),
        ("a", "fine", 50, 1e6),
        ("b", "pre", 25, 5e5),
    ]
    assert [dose.shared_with for dose in found] == [("b",), (), ("a",)]


def test_the_answer_tells_claims_or_else_effects(report: StudyReport):
    results = report.results
    (told,) = answer(results, tables(results))
    assert told.startswith("Of 4 claims ")
    held = replace(results, claims=(("a > b", Judgement("held", "")), ("c > d", Judgement("held", ""))))
    assert answer(held, ()) == ["All 2 claims held."]
    one = replace(results, claims=(("a > b", Judgement("undecided", "")),), complete=False)
    assert answer(one, ())[1] == "The claim is undecided: a > b."
    without = matrix_report().results
    effects = answer(without, tables(without))
    assert len(effects) == 4
    assert all(", beside the base: " in each for each in effects)
    assert any("not told apart from the base" in each for each in effects)
