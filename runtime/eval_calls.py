"""How often the evaluations of a plan ask models, and what served ones may cost at most."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from compiler.evals import Judging
from compiler.operations import Asked
from compiler.steps import Calibrate, Respond, Score
from runtime.evals.judging import ATTEMPTS
from runtime.model_calls.prices import Price, price_of
from runtime.steps.context import Context
from runtime.steps.followed import unneeded
from runtime.steps.transforms import rows_of

BYTES = 4
"""Of a text in one token, more or less."""
SAMPLED, JUDGED, CALIBRATED = "answer", "judge answers", "calibrate"
"""The operations."""


@dataclass(frozen=True)
class _Asking:
    """What one step asks. Numbers that aren't known are None."""

    description: str
    eval: str
    operation: str
    model: Asked
    calls: int | None
    input_tokens: int | None
    output_tokens: int | None


def eval_calls(context: Context, done: Collection[str]) -> list[dict[str, Any]]:
    """By evaluation and model, as `calls` of `plan --json` hold them: those of all arms, seeds and points together.

    `made` are the calls of steps that are done, `points` the steps; `dollars` is what calls of a served model may cost
    at most, with a token for every four bytes, None where nothing tells. An unreadable judgement is asked for twice,
    which is in `dollars` and not in `calls`.
    """
    grouped: dict[tuple[str, str, str | None], list[_Asking]] = {}
    for each in _asking(context):
        grouped.setdefault((each.eval, each.operation, each.model.api), []).append(each)
    return [_told(steps, done) for steps in grouped.values()]


def _asking(context: Context) -> Iterator[_Asking]:
    steps, idle = context.keys.plan.steps, unneeded(context)
    for description, step in steps.items():
        match step:
            case _ if description in idle:
                pass
            case Respond(method="answers"):
                assert step.answering is not None
                model = step.answering.model
                calls, size = _size(context, step)
                output = None if calls is None or model.max_tokens is None else calls * model.max_tokens
                yield _Asking(description, step.name, SAMPLED, model, calls, _tokens(size), output)
            case Score(grader=Judging() as judging):
                answered = steps[step.respond]
                assert isinstance(answered, Respond)
                yield _judging(context, description, step.name, judging, answered)
            case Calibrate():
                yield _calibrating(context, description, step)
            case _:
                pass


def _judging(context: Context, description: str, name: str, judging: Judging, answered: Respond) -> _Asking:
    model, answering = judging.model, answered.answering
    assert answering is not None
    calls, size = _size(context, answered)
    most = None if calls is None or answering.model.max_tokens is None else calls * answering.model.max_tokens
    rubric = 0 if judging.prompt is None else _bytes(context, judging.prompt)
    shown = None if calls is None or size is None or most is None else size // BYTES + most + calls * rubric // BYTES
    output = None if calls is None or model.max_tokens is None else calls * model.max_tokens
    twice = (None if each is None else each * ATTEMPTS for each in (shown, output))
    return _Asking(description, name, JUDGED, model, calls, *twice)


def _calibrating(context: Context, description: str, step: Calibrate) -> _Asking:
    """At most: readers who labelled the same answer make one question."""
    judging, labels = step.judging, step.calibration.labels
    if labels not in context.files.digests:
        return _Asking(description, step.name, CALIBRATED, judging.model, None, None, None)
    lines = [line for path in context.paths([labels]) for line in path.read_bytes().splitlines() if line.strip()]
    rubric = 0 if judging.prompt is None else _bytes(context, judging.prompt)
    most = judging.model.max_tokens
    shown = sum(map(len, lines)) + len(lines) * rubric
    return _Asking(
        description,
        step.name,
        CALIBRATED,
        judging.model,
        len(lines),
        -(-shown // BYTES) * ATTEMPTS,
        None if most is None else len(lines) * most * ATTEMPTS,
    )


def _size(context: Context, step: Respond) -> tuple[int | None, int | None]:
    """Answers that a step samples, and the bytes of all rows that are sent for them."""
    assert step.answering is not None
    if step.method != "answers" or any(each not in context.keys.results for each in step.items):
        return None, None
    rows = [rows_of(context, each) for each in step.items]
    samples = step.answering.samples
    return sum(map(len, rows)) * samples, sum(int(each.sizes.sum()) for each in rows) * samples


def _bytes(context: Context, location: str) -> int:
    pinned = context.files.pinned.get(location)
    return 0 if pinned is None else sum(file.bytes for file in pinned.files)


def _tokens(size: int | None) -> int | None:
    return None if size is None else -(-size // BYTES)


def _told(steps: list[_Asking], done: Collection[str]) -> dict[str, Any]:
    first = steps[0]
    known = all(each.calls is not None for each in steps)
    return {
        "name": first.eval,
        "operation": first.operation,
        "model": ", ".join(dict.fromkeys(each.model.name for each in steps)),
        "api": first.model.api,
        "calls": sum(each.calls or 0 for each in steps) if known else None,
        "made": sum(each.calls or 0 for each in steps if each.description in done) if known else None,
        "points": len(steps),
        "dollars": _dollars(steps),
    }


def _dollars(steps: list[_Asking]) -> float | None:
    model = steps[0].model
    if model.api is None:
        return None
    price = price_of(model.api, None) if model.price is None else Price(*map(Fraction, model.price))
    if price is None or any(each.input_tokens is None or each.output_tokens is None for each in steps):
        return None
    inputs, outputs = (sum(getattr(each, name) for each in steps) for name in ("input_tokens", "output_tokens"))
    return float(price.of(inputs, outputs))
