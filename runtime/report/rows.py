"""All answers of a study with their verdicts, as rows for other programs: unlike the page's, none is left out."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from runtime.evals.score import margins
from runtime.report.study_report import Answered, StudyReport

COLUMNS = (
    *("study", "arm", "eval", "seed", "stage", "step", "at_end", "item", "id", "sample"),
    *("messages", "tools", "answer", "finish", "label", "value", "detail", "unreadable"),
)


def rows_of(report: StudyReport) -> list[dict[str, Any]]:
    """A row an answer, with `COLUMNS`; of choices `label` is the likelier side, and `value` the margin in nats."""
    found = (row for answered in report.answers for row in _rows(report, answered))
    return [{name: row[name] for name in COLUMNS} for row in found]


def to_csv(rows: Sequence[dict[str, Any]]) -> str:
    """Messages and tools as JSON; what isn't known is empty."""
    file = io.StringIO()
    writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        lists = {name: json.dumps(row[name], ensure_ascii=False) for name in ("messages", "tools")}
        writer.writerow({**row, **lists})
    return file.getvalue()


def _rows(report: StudyReport, answered: Answered) -> Iterator[dict[str, Any]]:
    place = {
        "study": report.results.study,
        "arm": answered.arm,
        "eval": answered.eval,
        "seed": answered.seed,
        "stage": answered.stage,
        "step": answered.step,
        "at_end": answered.at_end,
    }
    if "aligned" in answered.table.column_names:
        values = margins(answered.table, answered.eval in report.by_length).tolist()
        for row, margin in zip(answered.table.to_pylist(), values, strict=True):
            known = bool(np.isfinite(margin))
            yield {
                **place,
                "item": row["item"],
                "id": row["id"],
                "sample": 0,
                "messages": row["messages"],
                "tools": [],
                "answer": None,
                "finish": None,
                "label": ("aligned" if margin > 0 else "misaligned") if known else None,
                "value": margin if known else None,
                "detail": None,
                "unreadable": row["problem"],
            }
        return
    for row in answered.table.to_pylist():
        read = {name: json.loads(row[name]) for name in ("messages", "tools")}
        yield {**place, **row, **read, "value": row["value"] if np.isfinite(row["value"]) else None}
