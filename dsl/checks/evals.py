"""Rules for evaluations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

from dsl.checks.finding import Finding, at, given, is_given, title
from dsl.checks.patterns import pattern_help, pattern_mistake
from dsl.declarations.base import Declaration, Place
from dsl.declarations.evals import Eval, Mean, Rate
from dsl.describe import alternatives
from dsl.hole import HOLE, IncompleteError, known

WAYS = ("choice", "prompts", "loss", "inspect", "suite")

TAKES: dict[str, frozenset[str]] = {
    "choice": frozenset({"normalise", "metric"}),
    "prompts": frozenset(
        {
            "judge",
            "prompt",
            "answers",
            "scale",
            "classify",
            "samples",
            "temperature",
            "max_tokens",
            "metric",
            "calibrate",
        }
    ),
    "loss": frozenset({"metric"}),
    "inspect": frozenset({"args", "judge", "samples", "temperature", "max_tokens", "metric", "calibrate"}),
    "suite": frozenset(),
}
"""What each kind of evaluation reads beside the field that names it; others would be ignored."""


def one_way(eval: Eval) -> Iterator[Finding]:
    """An eval is one of choice, prompts, loss, inspect and suite."""
    found = given(eval, WAYS)
    if len(found) != 1:
        message = f"{title(eval)} has {' and '.join(repr(one) for one in found) or 'nothing to measure'}"
        yield Finding(message, at(eval, *found[1:]), f"write exactly one of {alternatives(WAYS)}")


def fields_have_effect(eval: Eval) -> Iterator[Finding]:
    """Nothing is silently ignored: each field is one that this kind of eval reads."""
    match given(eval, WAYS):
        case [way]:
            takes = TAKES[way] | {way, "doc"}
            for field in eval.by_written_name():
                if field not in takes and field in eval.places:
                    place = at(eval, field)
                    yield Finding(f"'{field}' does nothing in {title(eval)}, a '{way}'", place, "leave it out")
        case _:
            pass


def answers_are_judged(eval: Eval) -> Iterator[Finding]:
    """Sampled answers are scored by a judge with a prompt, or by patterns."""
    if eval.prompts is None or len(given(eval, WAYS)) != 1:
        return
    match given(eval, ("judge", "classify")):
        case []:
            yield Finding(
                f"nothing scores the answers of {title(eval)}", at(eval, "prompts"), "write 'judge:' or 'classify:'"
            )
        case [_, _]:
            yield Finding(f"{title(eval)} has both a judge and patterns", at(eval, "classify"), "keep one of them")
        case ["judge"]:
            if not is_given(eval, "prompt"):
                yield Finding(f"the judge of {title(eval)} has no prompt", at(eval, "judge"), "write 'prompt: FILE.md'")
            if len(given(eval, ("answers", "scale"))) != 1:
                help = "write 'scale: 1..10' or 'answers: [yes, no]'"
                yield Finding(
                    f"the judge of {title(eval)} needs 'answers' or 'scale', one of them", at(eval, "judge"), help
                )
        case _:
            pass


def judge_is_there(eval: Eval) -> Iterator[Finding]:
    """A calibration measures a judge."""
    if known(eval.calibrate) is not None and eval.judge is None and (eval.prompts or eval.inspect):
        yield Finding(
            f"'calibrate' in {title(eval)}, which has no judge", at(eval, "calibrate"), "name one: 'judge: MODEL'"
        )


def metric_is_measured(eval: Eval) -> Iterator[Finding]:
    """The metric is of something that this kind of eval gives; where labels are given, it says of which."""
    if len(given(eval, WAYS)) != 1 or len(given(eval, ("judge", "classify"))) == 2:
        return
    labels = eval.answers or tuple(eval.classify)
    if eval.metric is None:
        if eval.prompts is not None and labels and len(given(eval, ("answers", "classify", "scale"))) == 1:
            message = f"{title(eval)} doesn't say which of its labels is counted"
            written = [f"'metric: rate({label})'" for label in labels]
            help = f"write {alternatives(written)}"
            yield Finding(message, at(eval, "answers", "classify"), help)
        return
    gives: list[Rate | Mean] | None = None
    if eval.choice is not None:
        gives = [Rate.model_construct(label="aligned"), Mean.model_construct(field="margin")]
    elif eval.loss:
        gives = [Mean.model_construct(field="nll")]
    elif labels:
        gives = [Rate.model_construct(label=label) for label in labels]
    elif known(eval.scale) is not None:
        gives = [Mean.model_construct(field="score")]
    if gives is not None and _written(eval.metric) not in [_written(one) for one in gives]:
        message = f"{title(eval)} gives no {_written(eval.metric)}"
        yield Finding(message, at(eval, "metric"), f"write {alternatives([_written(one) for one in gives])}")


def patterns_are_readable(eval: Eval) -> Iterator[Finding]:
    """The patterns of `classify` are RE2."""
    for label, pattern in eval.classify.items():
        if pattern is not HOLE and (mistake := pattern_mistake(pattern)):
            message = f"the pattern of '{label}' in {title(eval)} is not an RE2 pattern: {mistake}"
            yield Finding(message, at(eval, f"classify.{label}", "classify"), pattern_help(mistake))


def members_differ(eval: Eval) -> Iterator[Finding]:
    """A suite has members, each once, whether named or a member of another suite in it."""
    kept = [HOLE if is_changed(eval, f"suite[{index}]", one) else one for index, one in enumerate(eval.suite)]
    for index, message, _ in repeated(kept, title(eval)):
        yield Finding(message, at(eval, f"suite[{index}]", "suite"), "leave one out")


def members_are_declared(eval: Eval) -> Iterator[Finding]:
    """The members of a suite are evals as they are declared."""
    for index, member in enumerate(eval.suite):
        yield from as_declared(eval, f"suite[{index}]", member)


def as_declared(owner: Declaration, path: str, eval: Eval) -> Iterator[Finding]:
    """A finding where an eval is called with fields replaced: two of one name couldn't be told apart in results."""
    if is_changed(owner, path, eval):
        message = f"{title(owner)} changes {eval.name} where it lists it"
        help = f"declare it: 'eval NAME:' with 'extends: {eval.name}' and what differs, and list that"
        yield Finding(message, at(owner, path), help)


def is_changed(owner: Declaration, path: str, eval: Eval) -> bool:
    """Whether a field of the eval is written where another declaration lists it."""
    listed = [place for key, place in owner.places.items() if key == path or key.startswith(f"{path}.")]
    return any(_is_inside(place, one) for place in eval.places.values() for one in listed)


def repeated(evals: Sequence[Eval], owner: str) -> Iterator[tuple[int, str, bool]]:
    """What is listed a second time, also as a member of a suite: its index, a message, and whether a suite is in it."""
    seen: dict[str, str] = {}
    for index, eval in enumerate(evals):
        if eval is HOLE:
            continue
        names = [eval.name, *(one.name for one in flattened((eval,)))]
        for name in names:
            if name in seen:
                suites = sorted({eval.name, seen[name]} - {name})
                how = f", also as a member of {' and of '.join(suites)}" if suites else ""
                yield index, f"{name} stands twice in {owner}{how}", bool(suites)
                break
        seen = dict.fromkeys(names, eval.name) | seen


def readable(evals: Iterable[Eval]) -> list[Eval]:
    """Evals with the members of suites in their place, without those that are holes."""
    found: list[Eval] = []
    for eval in evals:
        with suppress(IncompleteError):
            found += [] if eval is HOLE else flattened((eval,))
    return found


def flattened(evals: Iterable[Eval]) -> list[Eval]:
    """Evals with the members of suites in their place."""
    return [one for eval in evals for one in (flattened(eval.suite) if eval.suite else [eval])]


def _is_inside(place: Place, outer: Place) -> bool:
    return place.source == outer.source and outer.span.start <= place.span.start and place.span.end <= outer.span.end


def _written(metric: Rate | Mean) -> str:
    return f"rate({metric.label})" if isinstance(metric, Rate) else f"mean({metric.field})"
