"""Rules for how long a stage is and how large its rows and batches are: units, sizes that fit, branches off a run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction

from dsl.checks.finding import Finding, at, says, title
from dsl.checks.training import BATCH_UNITS, length_of, quantity, suffix_is_meant
from dsl.declarations.training import DPO, GRPO, Supervised, Train
from dsl.describe import alternatives
from dsl.unparse import unparse
from dsl.values import Amount, Quantity

_OF_RECORDS = ("tokens", "trained tokens", "steps", "epochs", "examples")
LENGTH_UNITS = {
    Supervised: _OF_RECORDS,
    DPO: _OF_RECORDS,
    GRPO: ("steps", "epochs", "prompts", "completions"),
}
"""What is known of a stage with each objective before it runs, and so what its length and its points are counted in:
how long answers will be, nobody knows."""

_LEAST_ROW = 2


def lengths_fit_objective(train: Train) -> Iterator[Finding]:
    """A length and a point of a stage are counted in what its objective has: only rollouts have completions."""
    units = LENGTH_UNITS[train.objective.__class__]
    points = [(f"checkpoint[{index}]", point.value) for index, point in enumerate(train.checkpoint)]
    of_schedule = [(f"schedule.{field}", getattr(train.schedule, field, None)) for field in ("warmup", "decay")]
    for path, value in (("for", train.for_), ("until", train.until), *points, *of_schedule):
        if isinstance(value, Quantity) and value.unit not in units:
            message = f"{_word(train)} in {title(train)} has no {value.unit}"
            if isinstance(train.objective, GRPO) and value.unit in _OF_RECORDS:
                message = f"the {value.unit} of {title(train)} aren't known before its answers are"
            place = at(train, path, *re.split(r"[.[]", path)[:1], "objective")
            help = "write a percent, or steps" if path.startswith("schedule") else f"count in {alternatives(units)}"
            yield Finding(message, place, help)
    length = train.for_
    for path, value in (("until", train.until), *points):
        if isinstance(value, Quantity) and value.unit == "epochs" and length and length.unit != "epochs":
            message = f"'{path.partition('[')[0]}' of {title(train)} is in epochs, and its length in {length.unit}"
            place = at(train, path, path.partition("[")[0], "for")
            yield Finding(message, place, f"write a percent, or {length.unit}")


def rows_hold_something(train: Train) -> Iterator[Finding]:
    """A row holds a token and the one after it, which is what is learnt."""
    if train.sequence.count < _LEAST_ROW:
        message = f"'sequence' in {title(train)} is one token, and a token is learnt as the one after another"
        yield Finding(message, at(train, "sequence"), f"write {_LEAST_ROW} tokens or more: 'sequence: 2048 tokens'")


def batch_holds_rows(train: Train) -> Iterator[Finding]:
    """A batch in tokens is room for a whole number of rows."""
    if train.batch.unit != "tokens" or "tokens" not in BATCH_UNITS[train.objective.__class__]:
        return
    if not says(train, "batch", "sequence", "objective"):
        return
    pairs = isinstance(train.objective, DPO)  # both sides of a pair stand in one row
    batch, row = int(train.batch.count), int(train.sequence.count) * (2 if pairs else 1)
    sequence = f"twice the 'sequence' of {title(train)}" if pairs else f"the 'sequence' of {title(train)}"
    nearest = max(round(Fraction(batch, row)), 1)
    if batch < row:
        message = f"a batch of {batch} tokens has no room for a row of {row}, {sequence}"
        yield Finding(message, at(train, "batch", "sequence"), f"write 'batch: {row} tokens' or more")
    elif batch % row and not any(suffix_is_meant(train)):  # `128k` for `128Ki` is told already
        message = f"a batch of {batch} tokens is no whole number of rows of {row}, {sequence}"
        examples = "1 example" if nearest == 1 else f"{nearest} examples"
        help = f"write 'batch: {nearest * row} tokens', or 'batch: {examples}'"
        yield Finding(message, at(train, "batch", "sequence"), help)


def answers_fit_the_sequence(train: Train) -> Iterator[Finding]:
    """A row has room for an answer and for its prompt."""
    if isinstance(train.objective, GRPO) and train.rollout is not None:
        longest, row = train.rollout.max_tokens, int(train.sequence.count)
        if longest >= row and says(train, "rollout", "sequence", "objective"):
            message = (
                f"answers of up to {longest} tokens and a prompt don't fit the 'sequence' of {title(train)}, {row}"
            )
            help = f"write a longer 'sequence', or 'max_tokens={max(row // 2, 1)}'"
            yield Finding(message, at(train, "rollout.max_tokens", "rollout", "sequence"), help)


def branches_are_parts(train: Train) -> Iterator[Finding]:
    """A branch that `until` cuts off holds something of the run, and not all of it."""
    share = _share(train.until, train)
    if share == 0:
        message = f"'until' of {title(train)} is at its start: nothing is trained"
        yield Finding(message, at(train, "until"), "write a later point: 'until=25%'")
    elif share == 1:
        message = f"'until' of {title(train)} is at its end: that is the whole run"
        yield Finding(message, at(train, "until"), "leave 'until' out, or write an earlier point")


def branches_leave_the_warmup(train: Train) -> Iterator[Finding]:
    """A branch goes on after the warm-up, which is of the whole run."""
    until, warmup = train.until, train.schedule.warmup
    if isinstance(until, Quantity) and isinstance(warmup, Quantity) and until.unit == warmup.unit:
        end, risen = until.count, warmup.count
        is_said_already = _share(warmup, train) == 1
    else:
        end, risen = _share(until, train), _share(warmup, train)
        is_said_already = risen is not None and risen >= 1
    if end and risen and end <= risen and not is_said_already:
        message = f"'until' of {title(train)} comes before its warm-up is over, which lasts {_shown(warmup)}"
        help = "branch off later, or shorten the warm-up: it is of the whole run, not of the branch"
        yield Finding(message, at(train, "until"), help)


def _share(point: Fraction | Quantity | None, train: Train) -> Fraction | None:
    """A point as a share of a stage's length, where the text tells it."""
    if isinstance(point, Quantity):
        length = length_of(train)
        return point.count / length.count if length and length.unit == point.unit else None
    return point


def _shown(value: Fraction | Quantity) -> str:
    return quantity(value) if isinstance(value, Quantity) else unparse(Amount("percent", value))


def _word(train: Train) -> str:
    return train.objective.__class__.__name__.lower()
