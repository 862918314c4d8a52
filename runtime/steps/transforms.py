"""Runs a transform: one operation on the rows of the step before it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, assert_never, cast

import numpy as np
from numpy.typing import NDArray

from compiler import operations
from compiler.steps import Tokenize, Transform
from dsl.scalars import parse_text
from dsl.values import Predicate, Quantity, Unit
from runtime.data.broken import check_broken
from runtime.data.encoded import Loss
from runtime.data.rows import Format, Rows, open_rows
from runtime.data.tokenize import Consumer, Measured, measure
from runtime.data.transforms.choose import filter_rows, hold_out_rows, split_rows, take_rows
from runtime.data.transforms.outcome import Outcome, Tally
from runtime.steps.context import Context
from runtime.stopping import Stopped

ROWS = "rows.parquet"
_SHOWN_BYTES = 16 << 20
"""Of records, from which on progress is shown."""


def rows_of(context: Context, description: str) -> Rows:
    """The rows that a `read` or `transform` step gave."""
    return open_rows(context.folder(description) / ROWS)


def transform(context: Context, step: Transform, folder: Path) -> tuple[str, dict[str, Any]]:
    """Writes the rows that a transform gives into `folder`, and returns their digest and what is known of them."""
    rows = rows_of(context, step.rows)
    chooses = isinstance(step.operation, operations.Filter | operations.Take) and step.weights is not None
    measured = _measured(context, step, rows) if chooses else None
    unread = Tally() if measured is None else measured.set_aside
    if measured is not None:
        rows = rows.select(measured.kept)
    path = folder / ROWS
    outcome = _apply(context, step, rows, measured, path)
    _check_set_aside(outcome.set_aside, len(rows))
    if not path.exists():
        outcome.rows.save(path)
    facts = {
        "examples": len(outcome.rows),
        "dropped": {**unread.counts, **outcome.set_aside.counts, **outcome.dropped.counts},
        "shown": {**shown(unread), **shown(outcome.set_aside), **shown(outcome.dropped)},
        "notes": list(outcome.notes),
        **outcome.facts,
    }
    return outcome.rows.digest, facts


def _check_set_aside(set_aside: Tally, total: int) -> None:
    """UserError where a transform couldn't use more than 1% of its rows."""
    first = [f"{example.place}: {reason}" for reason, shown in set_aside.examples.items() for example in shown]
    check_broken(set_aside.total, first, total, "take these rows out with `filter`, or mend what fails on them")


def consumer_of(context: Context, step: Tokenize | Transform) -> Consumer:
    """Whose tokens a step counts or writes."""
    assert step.weights is not None, "who counts no tokens asks for no consumer"
    return Consumer(
        model=context.model(step.weights).tokenizer,
        loss=cast(Loss, step.loss),
        template_args=step.template_args,
        reasoning=step.reasoning,
    )


def _measured(context: Context, step: Transform, rows: Rows) -> Measured:
    with progress(context, f"measure {step.name}", rows) as advance:
        return measure(rows, cast(Format, step.format), consumer_of(context, step), context.engine, advance)


@contextmanager
def progress(context: Context, what: str, rows: Rows) -> Iterator[Callable[[int], None]]:
    """Shows how many rows are through, where that takes its time; Stopped is raised when asked to stop."""

    def go_on(through: int) -> None:
        if context.stop.is_set():
            raise Stopped

    if int(rows.sizes.sum()) < _SHOWN_BYTES:
        yield go_on
        return
    with context.reporter.work(what, len(rows), "rows", "rows") as tracker:

        def advance(through: int) -> None:
            tracker.to(through, rated=through - tracker.work.done)
            go_on(through)

        yield advance


def _apply(context: Context, step: Transform, rows: Rows, measured: Measured | None, path: Path) -> Outcome:
    format = cast(Format, step.format)
    match step.operation:
        case operations.Filter(predicate=text):
            tokens = None if measured is None else measured.longest
            return filter_rows(rows, cast(Predicate, parse_text("predicate", text)), format, tokens, text)
        case operations.Take(amount=amount):
            quantity = Quantity(Fraction(amount.count), cast(Unit, amount.unit))
            return take_rows(rows, quantity, _sizes(rows, measured, amount.unit))
        case operations.Holdout(side=side, share=share):
            return hold_out_rows(rows, Fraction(share), side)
        case operations.Split(low=low, high=high):
            return split_rows(rows, Fraction(low), Fraction(high))
        case operations.SetField(field=field, value=value):
            from runtime.data.transforms.set_field import set_field

            return set_field(rows, field, value, path)
        case operations.Truncate(tokens=tokens):
            from runtime.data.transforms.truncate import truncate_rows

            return truncate_rows(rows, format, tokens, consumer_of(context, step), path)
        case operations.Template(file=file):
            from runtime.data.transforms.template import template_rows

            return template_rows(rows, context.text(file), format, file, path)
        case operations.Dedup(by=by, threshold=threshold):
            from runtime.data.transforms.dedup import dedup_rows

            return dedup_rows(rows, format, by, Fraction(threshold or 0), path, context.engine)
        case operations.Exclude() as exclude:
            return _excluded(context, rows, exclude)
        case operations.Tools(files=files, low=low, high=high, chance=chance):
            from runtime.data.transforms.tools import add_tools, read_tool_definitions

            definitions = read_tool_definitions(context.paths(files))
            return add_tools(rows, definitions, low, high, Fraction(chance), path)
        case operations.System(files=files, chance=chance):
            from runtime.data.transforms.system import add_system, read_system_prompts

            return add_system(rows, read_system_prompts(context.paths(files)), Fraction(chance), path)
        case operations.PlugIn() as plug_in:
            from runtime.data.transforms.plug_in import run_plug_in

            files = {location: context.files.paths(location) for location in plug_in.files}
            return run_plug_in(rows, format, plug_in, path, files)
        case (
            operations.Sample() | operations.Judge() | operations.Score() | operations.Rewrite() | operations.Generate()
        ) as asking:
            from runtime.steps.asking import ask

            consumer = None if step.weights is None else consumer_of(context, step)
            return ask(context, step, asking, rows, consumer, path)
        case _:
            assert_never(step.operation)


def _sizes(rows: Rows, measured: Measured | None, unit: str) -> NDArray[np.int64]:
    """Of each row, in the unit of a quantity."""
    if measured is None:
        return np.ones(len(rows), np.int64)
    return measured.tokens if unit == "tokens" else measured.trained


def _excluded(context: Context, rows: Rows, exclude: operations.Exclude) -> Outcome:
    from runtime.data.transforms.exclude import exclude_near_rows, exclude_rows

    steps = context.keys.plan.steps
    against = {steps[description].name: rows_of(context, description) for description in exclude.against}
    if exclude.ngram is not None:
        return exclude_rows(rows, against, exclude.ngram, context.engine)
    return exclude_near_rows(rows, against, Fraction(exclude.threshold or 0))


def shown(tally: Tally) -> dict[str, list[dict[str, str]]]:
    """The first few rows of each reason, as facts of a step."""
    return {
        reason: [{"place": each.place, "detail": each.detail} for each in examples]
        for reason, examples in tally.examples.items()
    }
