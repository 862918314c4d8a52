"""Rules for what claims compare: results of one kind, in a way that could come out either way."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction

from dsl.checks.arms import each
from dsl.checks.claims import Asked, eval_of, expected, running, schedule_of, stopping
from dsl.checks.finding import Finding, title
from dsl.declarations.evals import Eval, Rate
from dsl.declarations.studies import Study
from dsl.flows import eval_references
from dsl.hole import known
from dsl.source import Span
from dsl.unparse import unparse
from dsl.values import Arithmetic, Compare, Constant, EvalReference, Expression, Point


@dataclass(frozen=True, slots=True)
class Measure:
    """What kind of number a result is, in words, and between what."""

    words: str
    low: Fraction | None = None
    high: Fraction | None = None


RATE = Measure("a rate, from 0 to 1", Fraction(0), Fraction(1))


def claims_compare_like_with_like(study: Study) -> Iterator[Finding]:
    """Rates are compared with rates, scores with scores of one scale; percents stand beside rates alone."""
    yield from each([*expected(study), *stopping(study)], _compares_like_with_like)


def claims_can_come_out_either_way(study: Study) -> Iterator[Finding]:
    """A claim compares a result, and holds or not by what that is."""
    yield from each(expected(study), _is_open)


def stop_can_come(study: Study) -> Iterator[Finding]:
    """`stop` looks at the running arm, along the run, and holds or not by what it sees."""
    yield from each(stopping(study), _stops)


def measure_of(eval: Eval) -> Measure | None:
    """What an eval gives; None where the text doesn't tell."""
    metric = eval.metric
    if isinstance(metric, Rate) or (metric is None and known(eval.choice) is not None):
        return RATE
    if eval.loss:
        return Measure("a loss in nats", Fraction(0))
    if eval.choice is not None:
        return Measure("a mean margin")
    if eval.prompts is not None and eval.scale is not None:
        low, high = eval.scale.low, eval.scale.high
        return Measure(f"a score from {unparse(low)} to {unparse(high)}", low, high)
    return None


def _compares_like_with_like(asked: Asked) -> Iterator[Finding]:
    comparison = asked.claim.comparison
    yield from _beside(asked, comparison.operator, comparison.left, comparison.right)


def _beside(asked: Asked, sign: str, left: Expression, right: Expression) -> Iterator[Finding]:
    """What is wrong with two things that are compared, added or subtracted, and inside them."""
    for side in (left, right):
        if isinstance(side, Arithmetic) and side.operator in "+-":
            yield from _beside(asked, side.operator, side.left, side.right)
    ours, theirs = _measure(asked, left), _measure(asked, right)
    if ours and theirs and ours != theirs:
        names = [eval_references(side)[0].name.text for side in (left, right)]
        message = f"{names[0]} is {ours.words}, and {names[1]} {theirs.words}"
        yield Finding(message, asked.place_of(right.span), "compare results of one kind")
    for measured, measure, other in ((left, ours, right), (right, theirs, left)):
        if measure and measure != RATE and isinstance(other, Constant) and _is_percent(asked, other):
            name, value = eval_references(measured)[0].name.text, Fraction(other.value)
            message = f"a percent beside {name}, which is {measure.words}"
            help = f"write '{unparse(value)}'"
            if sign in "+-" and other is right:
                share = 1 + value if sign == "+" else 1 - value
                help = f"write '{sign} {unparse(value)}', or '* {unparse(share)}' for a share of it"
            yield Finding(message, asked.place_of(other.span), help)


def _measure(asked: Asked, expression: Expression) -> Measure | None:
    """What kind of number an expression is; None where anything may stand beside it."""
    match expression:
        case EvalReference():
            return measure_of(eval_of(asked, expression))
        case Arithmetic("+" | "-", left, right):
            return _measure(asked, left) or _measure(asked, right)
        case Arithmetic("*" | "/", left, right) if not eval_references(right):
            return _measure(asked, left)
        case Arithmetic("*", left, right) if not eval_references(left):
            return _measure(asked, right)
        case _:
            return None


def _is_open(asked: Asked) -> Iterator[Finding]:
    comparison = asked.claim.comparison
    if not eval_references(comparison):
        yield Finding("this compares no result", asked.place, "name an eval: 'NAME(ARM) > 0'")
    elif comparison.left == comparison.right:
        yield Finding("both sides are the same", asked.place, "compare two arms, or an arm with a number")
    elif zero := next(filter(None, map(_divides_by_zero, (comparison.left, comparison.right))), None):
        yield Finding("this divides by 0", asked.place_of(zero), "divide by something else")
    else:
        yield from _is_within(asked, comparison)


def _is_within(asked: Asked, comparison: Compare) -> Iterator[Finding]:
    """A result may lie on either side of the number that it is compared with."""
    sign, left, right = comparison.operator, comparison.left, comparison.right
    if isinstance(right, EvalReference):
        sign, left, right = _MIRRORED.get(sign, sign), right, left
    value = _value(right)
    measure = measure_of(eval_of(asked, left)) if isinstance(left, EvalReference) else None
    if value is None or measure is None or not isinstance(left, EvalReference):
        return
    if measure != RATE and isinstance(right, Constant) and _is_percent(asked, right):
        return  # what is meant by it is asked already
    below = measure.low is not None and value <= measure.low
    above = measure.high is not None and value >= measure.high
    at_end = value in (measure.low, measure.high)
    match sign:
        case "<":
            holds, fails = above and not at_end, below
        case "<=":
            holds, fails = above, below and not at_end
        case ">":
            holds, fails = below and not at_end, above
        case ">=":
            holds, fails = below, above and not at_end
        case _:
            is_outside = (below or above) and not at_end
            holds, fails = is_outside and sign == "!=", is_outside and sign == "=="
    if holds or fails:
        message = f"{left.name.text} is {measure.words}, so this {'always' if holds else 'never'} holds"
        ends = [unparse(end) for end in (measure.low, measure.high) if end is not None]
        help = f"compare it with a value {'between' if len(ends) > 1 else 'above'} {' and '.join(ends)}"
        yield Finding(message, asked.place, help)


def _stops(asked: Asked) -> Iterator[Finding]:
    found = list(_is_open(asked))
    references = eval_references(asked.claim.comparison)
    if found or not references:
        yield from found
        return
    own = running(asked)
    if not own:
        one = references[0]
        message = f"'stop' of {title(asked.study)} doesn't look at the arm that runs"
        help = f"write '{one.name.text}' without an arm"
        yield Finding(message, asked.place, help)
        return
    when = [schedule_of(asked.study, eval_of(asked, one)) for one in own if not one.arguments]
    if when and not any(one is None or any(map(_is_along, one)) for one in when):
        name = next(one.name.text for one in own if not one.arguments)
        message = f"{name} is measured at the ends of {title(asked.study)} alone, so this never stops a run early"
        yield Finding(message, asked.place, f"measure it along the run: '{name}: every 10%' in 'evals:'")


def _is_along(point: Point) -> bool:
    """Whether a point may come while an arm runs; another stage than the last may be meant."""
    is_end = point.kind in ("start", "end") or (point.kind == "fraction" and not point.every and point.value in (0, 1))
    return point.of is not None or not is_end


def _divides_by_zero(expression: Expression) -> Span | None:
    if not isinstance(expression, Arithmetic):
        return None
    if expression.operator == "/" and _value(expression.right) == 0:
        return expression.right.span
    return _divides_by_zero(expression.left) or _divides_by_zero(expression.right)


def _value(expression: Expression) -> Fraction | None:
    """The number that constants come to; None where there is a result among them, or a division by 0."""
    match expression:
        case Constant(value) if not isinstance(value, str):
            return Fraction(value)
        case Arithmetic(sign, left, right):
            one, other = _value(left), _value(right)
            if one is None or other is None or (sign == "/" and other == 0):
                return None
            return _OPERATORS[sign](one, other)
        case _:
            return None


def _is_percent(asked: Asked, constant: Constant) -> bool:
    place = asked.place_of(constant.span)
    return place.span == constant.span and place.source.text[: place.span.end].endswith("%")


_MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
_OPERATORS: dict[str, Callable[[Fraction, Fraction], Fraction]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": Fraction.__truediv__,
}
