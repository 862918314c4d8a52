"""Rules for claims: every result that one compares is one that the study gives."""

from __future__ import annotations

from collections.abc import Iterator

from dsl.checks.evals import flattened
from dsl.checks.finding import Finding, title
from dsl.checks.studies import arms_of
from dsl.declarations.base import Place
from dsl.declarations.studies import Claim, Study
from dsl.describe import alternatives, known_help
from dsl.flows import eval_references
from dsl.scalars import ScalarError, parse_scalar
from dsl.source import Span
from dsl.tree import Scalar
from dsl.values import Argument, EvalReference


def claims_are_decidable(study: Study) -> Iterator[Finding]:
    """A claim names evals, arms, factors and levels that the study has."""
    for index, claim in enumerate(study.expect):
        place = study.places.get(f"expect[{index}]", study.places.get("expect", study.place))
        for reference in eval_references(claim.comparison):
            yield from _result_is_there(study, claim, reference, place, needs_arm=not study.matrix)


def stop_is_decidable(study: Study) -> Iterator[Finding]:
    """The same of `stop`, where an eval without an arm is the running arm's."""
    if study.stop is not None:
        for reference in eval_references(study.stop.comparison):
            yield from _result_is_there(
                study, study.stop, reference, study.places.get("stop", study.place), needs_arm=False
            )


def _result_is_there(
    study: Study, claim: Claim, reference: EvalReference, place: Place, *, needs_arm: bool
) -> Iterator[Finding]:
    eval, name = claim.evals[reference.name.text], reference.name.text
    done = flattened(tuple(one.eval for one in study.evals))
    if not any(member is one for member in flattened((eval,)) for one in done):
        message = f"{title(study)} doesn't measure {name}"
        yield Finding(message, Place(place.source, reference.name.span), "add it to 'evals:'")
    arms = [name for name in arms_of(study) if name != "base"] + ["base"] * (study.base is not None)
    unnamed = [argument for argument in reference.arguments if argument.path is None]
    for argument in unnamed:
        if argument.text not in arms:
            message = f"{title(study)} has no arm '{argument.text}'"
            yield Finding(message, Place(place.source, argument.span), known_help(argument.text, arms))
    if len(unnamed) > 1:
        yield Finding(
            f"{name} is of one arm", Place(place.source, unnamed[1].span), "compare two results: 'a(x) < a(y)'"
        )
    if needs_arm and not unnamed and study.arms:
        message = f"{name} doesn't say of which arm"
        yield Finding(message, Place(place.source, reference.span), f"write {name}({arms[0]})")
    for argument in reference.arguments:
        if argument.path is not None:
            yield from _argument_is_there(study, argument, place)


def _argument_is_there(study: Study, argument: Argument, place: Place) -> Iterator[Finding]:
    factors = {factor.name: [level.name for level in factor.levels] for factor in study.matrix}
    if argument.path == "at":
        if argument.text != "all" and not _is_moment(argument.text, argument.span):
            message = f"'{argument.text}' is not a point of a run"
            yield Finding(message, Place(place.source, argument.span), "write at=start, at=end, at=50% or at=all")
    elif argument.path not in factors:
        message = f"{title(study)} has no factor '{argument.path}'"
        yield Finding(message, Place(place.source, argument.span), known_help(argument.path or "", [*factors, "at"]))
    elif argument.text not in factors[argument.path]:
        message = f"factor {argument.path} of {title(study)} has no level '{argument.text}'"
        help = known_help(argument.text, factors[argument.path]) if factors else alternatives(factors)
        yield Finding(message, Place(place.source, argument.span), help)


def _is_moment(text: str, span: Span) -> bool:
    try:
        return not any(point.every for point in parse_scalar("when", Scalar(text, "plain", span)))
    except ScalarError:
        return False
