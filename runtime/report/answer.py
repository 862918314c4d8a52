"""What a study answers, in a few sentences: what became of its claims, else every arm beside the base."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from runtime.evals.scale import plural
from runtime.evals.statistics import Interval
from runtime.report.results import StudyResults
from runtime.report.tables import Table, counts_of_claims, excludes_zero

SHOWN = 3
"""Claims of one outcome that are named, and arms of one evaluation."""


def answer(results: StudyResults, shown: Sequence[Table]) -> list[str]:
    """Sentences, the most telling one first; empty where nothing is known yet."""
    sentences: list[str] = []
    if not results.complete:
        sentences.append("The study isn't complete: this is what is known so far.")
    if results.claims:
        sentences.append(_claims(results))
    else:
        sentences += _effects(shown)
    return sentences


def _claims(results: StudyResults) -> str:
    total, counts = len(results.claims), counts_of_claims(results)
    if len(counts) == 1:
        ((outcome, _),) = counts
        verb = "is undecided" if outcome == "undecided" else outcome
        if total == 1:
            return f"The claim {verb}: {results.claims[0][0]}."
        return f"All {total} claims {'are undecided' if outcome == 'undecided' else outcome}."
    told: list[str] = []
    for outcome, count in counts:
        named = [claim for claim, judgement in results.claims if judgement.outcome == outcome]
        which = "; ".join(named[:SHOWN]) + ("; …" if len(named) > SHOWN else "")
        verb = ("is undecided" if count == 1 else "are undecided") if outcome == "undecided" else outcome
        told.append(f"{count} {verb}" + ("" if outcome == "held" else f" ({which})"))
    return f"Of {plural(total, 'claim')} {', '.join(told)}."


def _effects(shown: Sequence[Table]) -> Iterator[str]:
    """For each evaluation, the arms that are told apart from the base, the largest difference first."""
    for table in shown:
        compared = [(row.entry.arm, row.difference.interval) for row in table.rows if row.difference is not None]
        if not compared:
            continue
        apart = sorted((each for each in compared if excludes_zero(each[1])), key=lambda each: -abs(each[1].value or 0))
        told = [f"{arm} {_size(table, interval)}" for arm, interval in apart[:SHOWN]]
        if len(apart) > SHOWN:
            told.append(f"{len(apart) - SHOWN} more")
        others = len(compared) - len(apart)
        if others:
            arms = plural(others, "other arm" if apart else "arm")
            told.append(f"{arms} {'is' if others == 1 else 'are'} not told apart from the base")
        yield f"{table.eval}, beside the base: {'; '.join(told)}."


def _size(table: Table, interval: Interval) -> str:
    assert interval.value is not None
    return f"{table.difference_scale.bare(interval.value, '+')}{' points' if table.scale.percent else ''}"
