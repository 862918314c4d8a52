"""Rules for claims: every result that one compares is one that the study gives."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction

from dsl.checks.arms import each, flows_of, names_of, stage_names, stages_of
from dsl.checks.evals import flattened
from dsl.checks.finding import Finding, at, says, title
from dsl.checks.schedule import is_measured
from dsl.declarations.base import Place
from dsl.declarations.evals import Eval
from dsl.declarations.models import ModelFlow
from dsl.declarations.studies import Claim, Study
from dsl.describe import alternatives, known_help
from dsl.flows import eval_references
from dsl.hole import HOLE
from dsl.scalars import ScalarError, parse_scalar
from dsl.source import Span
from dsl.tree import Scalar
from dsl.unparse import unparse
from dsl.values import Argument, EvalReference, Point


@dataclass(frozen=True, slots=True)
class Asked:
    """A claim of a study, and where it is written; `stop` is about the arm that runs."""

    study: Study
    claim: Claim
    place: Place
    is_stop: bool

    def place_of(self, span: Span) -> Place:
        """Where a part of the claim is written; all of it, where a constant stands for it."""
        is_here = self.place.span.start <= span.start and span.end <= self.place.span.end
        return Place(self.place.source, span) if is_here else self.place

    def missing(self, message: str, span: Span, help: str) -> Finding:
        """A finding about what the study doesn't have. A claim that it takes over is mended in the study itself."""
        field = "stop" if self.is_stop else "expect"
        if says(self.study, field):
            return Finding(message, self.place_of(span), help)
        help = f"write '{field}:' in {title(self.study)}: this one comes from the study that it extends"
        return Finding(message, self.study.place, help)


def claims_are_decidable(study: Study) -> Iterator[Finding]:
    """A claim names evals, arms, factors, levels and points that the study has."""
    yield from each(expected(study), _results_are_there)


def stop_is_decidable(study: Study) -> Iterator[Finding]:
    """The same of `stop`, where an eval without an arm is the running arm's."""
    yield from each(stopping(study), _results_are_there)


def claims_differ(study: Study) -> Iterator[Finding]:
    """A claim stands once."""
    earlier: list[Claim] = []
    for asked in expected(study):
        if any(asked.claim.comparison == one.comparison for one in earlier):
            yield Finding(f"'{asked.claim.text}' is claimed twice", asked.place, "leave one out")
        earlier.append(asked.claim)


def expected(study: Study) -> Iterator[Asked]:
    for index, claim in enumerate(study.expect):
        if claim is not HOLE:
            yield Asked(study, claim, at(study, f"expect[{index}]", "expect"), is_stop=False)


def stopping(study: Study) -> Iterator[Asked]:
    if study.stop is not HOLE and study.stop is not None:
        yield Asked(study, study.stop, at(study, "stop"), is_stop=True)


def running(asked: Asked) -> list[EvalReference]:
    """The results of the running arm, which are those without an arm."""
    references = eval_references(asked.claim.comparison)
    return [one for one in references if all(argument.path == "at" for argument in one.arguments)]


def eval_of(asked: Asked, reference: EvalReference) -> Eval:
    return asked.claim.evals[reference.name.text]


def schedule_of(study: Study, eval: Eval) -> tuple[Point, ...] | None:
    """When a study does an eval, by itself or in a suite; None where it doesn't."""
    done = [one for one in study.evals if eval.name in [member.name for member in flattened((one.eval,))]]
    return tuple(dict.fromkeys(point for one in done for point in one.when)) if done else None


def _results_are_there(asked: Asked) -> Iterator[Finding]:
    found = each(eval_references(asked.claim.comparison), lambda reference: _result_is_there(asked, reference))
    told: set[str] = set()
    for one in found:
        if one.message not in told:
            told.add(one.message)
            yield one


def _result_is_there(asked: Asked, reference: EvalReference) -> Iterator[Finding]:
    mistakes = [
        *each([reference], lambda one: _eval_is_there(asked, one)),
        *each([reference], lambda one: _arm_is_there(asked, one)),
    ]
    yield from mistakes or _point_is_there(asked, reference)


def _eval_is_there(asked: Asked, reference: EvalReference) -> Iterator[Finding]:
    eval, name = eval_of(asked, reference), reference.name.text
    if eval.suite:
        members = [f"{name}.{member.name.rpartition('.')[2]}" for member in eval.suite]
        message = f"{name} is a suite: it has no result of its own"
        yield Finding(message, asked.place_of(reference.name.span), f"write {alternatives(members)}")
    elif schedule_of(asked.study, eval) is None:
        yield asked.missing(f"{title(asked.study)} doesn't measure {name}", reference.name.span, "add it to 'evals:'")


def _arm_is_there(asked: Asked, reference: EvalReference) -> Iterator[Finding]:
    study, name = asked.study, reference.name.text
    if asked.is_stop and not running(asked):
        return  # it is of no arm here, whatever that is called
    arms = sorted(flows_of(study), key=lambda name: name == "base")
    unnamed = [argument for argument in reference.arguments if argument.path is None]
    factors = [argument for argument in reference.arguments if argument.path not in (None, "at")]
    for argument in unnamed:
        if argument.text not in arms:
            message = f"{title(study)} has no arm '{argument.text}'"
            yield asked.missing(message, argument.span, known_help(argument.text, arms))
    if len(unnamed) > 1:
        place = asked.place_of(unnamed[1].span)
        yield Finding(f"{name} is of one arm", place, "compare two results: 'a(x) < a(y)'")
    if not asked.is_stop and not unnamed and study.arms and not study.matrix:
        message = f"{name} doesn't say of which arm"
        yield Finding(message, asked.place_of(reference.span), f"write {name}({arms[0]})")
    for argument in factors:
        yield from _level_is_there(asked, argument)
    if unnamed and factors and study.matrix:
        message = f"{name} is of arm {unnamed[0].text} and of a level of {factors[0].path}"
        help = f"leave '{unnamed[0].text}' out for all arms with that level, else '{factors[0].path}='"
        yield Finding(message, asked.place_of(factors[0].span), help)


def _level_is_there(asked: Asked, argument: Argument) -> Iterator[Finding]:
    study = asked.study
    factors = {factor.name: [level.name for level in factor.levels] for factor in study.matrix}
    if argument.path not in factors:
        message = f"{title(study)} has no factor '{argument.path}'"
        yield asked.missing(message, argument.span, known_help(argument.path or "", [*factors, "at"]))
    elif argument.text not in factors[argument.path]:
        message = f"factor {argument.path} of {title(study)} has no level '{argument.text}'"
        yield asked.missing(message, argument.span, known_help(argument.text, factors[argument.path]))


def _point_is_there(asked: Asked, reference: EvalReference) -> Iterator[Finding]:
    """What is compared at a point is measured there; a model without a stage is measured once, and that is meant."""
    said = next((argument for argument in reference.arguments if argument.path == "at"), None)
    if said is None and asked.is_stop:
        return
    if said is not None and said.text == "all":
        return
    point = Point("end") if said is None else _moment(said)
    span = reference.span if said is None else said.span
    if point is None:
        message = f"'{said.text if said else ''}' is not a point of a run"
        yield Finding(message, asked.place_of(span), "write at=start, at=end, at=50% or at=all")
        return
    study, name = asked.study, reference.name.text
    flows = list(_flows(study, reference))
    last = {name for flow in flows for stage in stages_of(flow)[-1:] for name in names_of(stage.name)}
    when = schedule_of(study, eval_of(asked, reference))
    if not last or when is None or not when:
        return
    if point.of is not None and point.of not in (known := stage_names(flows)):
        message = f"no arm that {name} is of here has a stage '{point.of}'"
        yield asked.missing(message, span, known_help(point.of, known))
    elif not is_measured(when, point, last):
        message = f"{name} is measured at '{unparse(when)}', so not at {unparse((point,))}"
        yield asked.missing(
            message, span, f"add '{unparse((point,))}' to its points in 'evals:', or compare it at one of them"
        )


def _flows(study: Study, reference: EvalReference) -> Iterable[ModelFlow]:
    """The flows that a result may be of."""
    flows = flows_of(study)
    arm = next((argument.text for argument in reference.arguments if argument.path is None), None)
    return flows.values() if arm is None else [flows[arm]]


def _moment(argument: Argument) -> Point | None:
    """A point that comes once; None where the text is no such point."""
    try:
        points: tuple[Point, ...] = parse_scalar("when", Scalar(argument.text, "plain", argument.span))
    except ScalarError:
        return None
    is_past = isinstance(points[0].value, Fraction) and points[0].value > 1
    return points[0] if len(points) == 1 and not points[0].every and not is_past else None
