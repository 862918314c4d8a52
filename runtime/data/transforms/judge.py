"""Lets a model judge rows: one of a list of answers, or a number on a scale, in a new field."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

from compiler.operations import Judge, Score
from runtime.data.rows import Format, Rows, derived
from runtime.data.transforms.asking import check_usable, shortened
from runtime.data.transforms.outcome import Outcome, Tally
from runtime.model_calls.calls import Caller
from runtime.model_calls.prompts import PromptFile, chosen, how_to_choose, how_to_score, offered, offered_by, scored
from runtime.model_calls.requests import Answer, Exchange, Request

UNREADABLE = "unreadable"


def judge_rows(rows: Rows, format: Format, operation: Judge, prompt: str, caller: Caller, path: Path) -> Outcome:
    """The rows with a judgement in `operation.field`; those without one that can be read are dropped and counted.

    Args:
        prompt: the text of `operation.prompt`.
        path: the Parquet file of the new rows.

    Raises:
        UserError: more than 20% of the judgements can't be read, and those of `PromptFile` and `Caller.converse`.
    """
    file = PromptFile(prompt, operation.prompt, (*offered_by(format), "answers"))
    outcome = _judged(
        rows, format, file, how_to_choose(operation.answers), {"answers": list(operation.answers)}, operation.field,
        lambda text: chosen(text, operation.answers), caller, path,
    )  # fmt: skip
    counts = Counter(record[operation.field] for _, record in outcome.rows.numbered())
    return Outcome(outcome.rows, outcome.dropped, facts={operation.field: dict(sorted(counts.items()))})


def score_rows(rows: Rows, format: Format, operation: Score, prompt: str, caller: Caller, path: Path) -> Outcome:
    """The rows with a number in `operation.field`. Arguments and errors as in `judge_rows`."""
    low, high = Fraction(operation.low), Fraction(operation.high)
    file = PromptFile(prompt, operation.prompt, (*offered_by(format), "scale"))
    outcome = _judged(
        rows, format, file, how_to_score(low, high), {"scale": f"{operation.low} to {operation.high}"},
        operation.field, lambda text: scored(text, low, high), caller, path,
    )  # fmt: skip
    scores = [float(record[operation.field]) for _, record in outcome.rows.numbered()]
    mean = sum(scores) / len(scores)
    return Outcome(outcome.rows, outcome.dropped, facts={operation.field: {"mean": mean}})


def _judged(
    rows: Rows,
    format: Format,
    file: PromptFile,
    how: str,
    given: Mapping[str, Any],
    field: str,
    read: Callable[[str], Any],
    caller: Caller,
    path: Path,
) -> Outcome:
    dropped = Tally()

    def exchange(number: int, record: Mapping[str, Any]) -> Exchange[Answer]:
        text = file.filled({**offered(record, format), **given}, rows.place(number))
        asked = text if file.says_how else f"{text}\n\n{how}"
        answer = yield Request([{"role": "user", "content": asked}])
        return answer

    def made() -> Iterator[tuple[int, dict[str, Any]]]:
        def exchanges() -> Iterator[Exchange[Answer]]:
            return (exchange(number, record) for number, record in rows.numbered())

        answers = caller.converse(f"{field} by {caller.name}", exchanges, len(rows))
        for (number, record), answer in zip(rows.numbered(), answers, strict=True):
            judgement = None if answer.problem else read(answer.content)
            if judgement is None:
                detail = answer.problem or f"{caller.name} said '{shortened(answer.content)}'"
                dropped.add(UNREADABLE, rows.place(number), detail)
            else:
                yield number, {**record, field: judgement}

    result = derived(rows, made(), path)
    check_usable(
        dropped, len(rows), "judgements", "say in the prompt how to answer, raise `max_tokens:`, or ask a better judge"
    )
    return Outcome(result, dropped)
