"""A study's results as CSV: a row for each result of an arm at a point."""

from __future__ import annotations

import csv
import io

from runtime.evals.statistics import LEVEL
from runtime.report.results import StudyResults

COLUMNS = (
    *("study", "arm", "eval", "metric", "stage", "seed", "step", "tokens"),
    *("value", "low", "high", "level", "n", "unreadable"),
    *("less_base", "less_base_low", "less_base_high", "pairs"),
)


def to_csv(results: StudyResults) -> str:
    """As results.json has it; what isn't known is empty, and so is the seed of what is over all seeds.

    The columns from `less_base` on are filled where an arm is compared with the base, which is over all seeds.
    """
    differences = {(one.arm, one.eval, one.place): one.interval for one in results.differences}
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for entry in results.entries:
        own = entry.interval
        less = differences.get((entry.arm, entry.eval, entry.place)) if entry.seed is None else None
        compared = ("", "", "", "") if less is None else (less.value, less.low, less.high, less.n)
        writer.writerow(
            (
                *(results.study, entry.arm, entry.eval, entry.metric, entry.stage, entry.seed),
                *(entry.step, entry.tokens, own.value, own.low, own.high, LEVEL, own.n, entry.unreadable),
                *compared,
            )
        )
    return file.getvalue()
