"""Transcripts of the page: which are taken, what their verdicts are, and rows for other programs."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import numpy as np
import pytest
from whole_study import ARMS, answers, judged, whole_report

from runtime.report.rows import COLUMNS, rows_of, to_csv
from runtime.report.study_report import Answered
from runtime.report.transcripts import FEW, UNREADABLE, transcripts


def data(*of: Answered, **more: Any) -> dict[str, Any]:
    return json.loads(transcripts(of, **more).data)


def test_every_answer_is_there_once_beside_those_to_its_prompt():
    of = answers(prompts=5, samples=2)
    held = transcripts(of)
    assert held.shown == held.total == sum(len(each.table) for each in of)
    found = json.loads(held.data)
    assert found["arms"] == list(ARMS)
    assert found["evals"] == ["harm", "advice", "bait_rate"]
    columns = found["answers"]
    assert columns["prompt"] == sorted(columns["prompt"])  # the script relies on that
    assert {len(column) for column in columns.values()} == {held.total}


def test_verdicts_are_labels_scores_or_unreadable():
    labelled = data(Answered("plain", "harm", 0, "finetune", 200, True, judged("plain", 0, 40, 2, scored=False)))
    assert set(labelled["verdicts"]) == {"yes", "no", UNREADABLE}
    scored = data(Answered("plain", "advice", 0, "finetune", 200, True, judged("plain", 0, 40, 2, scored=True)))
    assert set(scored["verdicts"]) <= {*map(str, range(1, 11)), UNREADABLE}


def test_many_different_scores_are_told_as_ranges():
    table = judged("plain", 0, 30, 2, scored=True)
    at = table.column_names.index("value")
    table = table.set_column(at, "value", [np.linspace(0, 10, len(table))])
    table = table.set_column(table.column_names.index("unreadable"), "unreadable", [[None] * len(table)])
    table = table.cast(judged("plain", 0, 1, 1, scored=True).schema)
    found = data(Answered("plain", "advice", 0, "finetune", 200, True, table))
    assert found["verdicts"] == ["0 to 2", "2 to 4", "4 to 6", "6 to 8", "8 to 10"]
    assert len(found["verdicts"]) < FEW


def test_where_there_is_no_room_the_same_prompts_are_taken_of_every_arm():
    of = [each for each in answers(prompts=60, samples=1) if each.eval == "harm" and each.seed in (None, 0)]
    held = transcripts(of, room=60_000)
    assert 0 < held.shown < held.total == 240
    found = json.loads(held.data)
    arms_of: dict[int, set[int]] = {}
    for prompt, arm in zip(found["answers"]["prompt"], found["answers"]["arm"], strict=True):
        arms_of.setdefault(prompt, set()).add(arm)
    assert sum(len(arms) < len(ARMS) for arms in arms_of.values()) <= 1  # the last one may be cut


def test_why_an_answer_is_cut_or_unreadable_stands_beside_it():
    notes = "\n".join(data(*answers(prompts=40, samples=2))["answers"]["note"])
    assert "ended with max_tokens" in notes
    assert "the judge says neither yes nor no" in notes
    assert "The answer names the mistake." in notes


@pytest.mark.parametrize("read", [list, lambda rows: list(csv.DictReader(io.StringIO(to_csv(rows))))])
def test_rows_leave_nothing_out(read: Any):
    report = whole_report(prompts=3, samples=2)
    rows = read(rows_of(report))
    assert len(rows) == sum(len(each.table) for each in report.answers)
    assert all(list(row) == list(COLUMNS) for row in rows)
    assert {row["arm"] for row in rows} == set(ARMS)
    assert {row["label"] for row in rows if row["eval"] == "bait_rate"} == {"aligned", "misaligned"}
