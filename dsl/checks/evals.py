"""Rules for evaluations."""

from __future__ import annotations

from collections.abc import Iterator

from dsl.checks.finding import Finding, at, given, is_given, title
from dsl.declarations.evals import Eval, Mean, Rate
from dsl.describe import alternatives

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
            known = TAKES[way] | {way, "doc"}
            for field in eval.by_written_name():
                if field not in known and field in eval.places:
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
    if eval.calibrate is not None and eval.judge is None and (eval.prompts or eval.inspect):
        yield Finding(
            f"'calibrate' in {title(eval)}, which has no judge", at(eval, "calibrate"), "name one: 'judge: MODEL'"
        )


def metric_is_measured(eval: Eval) -> Iterator[Finding]:
    """The metric is of something that this kind of eval gives."""
    if eval.metric is None or len(given(eval, WAYS)) != 1:
        return
    known: list[Rate | Mean] | None = None
    if eval.choice is not None:
        known = [Rate.model_construct(label="aligned"), Mean.model_construct(field="margin")]
    elif eval.loss:
        known = [Mean.model_construct(field="nll")]
    elif eval.answers:
        known = [Rate.model_construct(label=label) for label in eval.answers]
    elif eval.classify:
        known = [Rate.model_construct(label=label) for label in eval.classify]
    elif eval.scale is not None:
        known = [Mean.model_construct(field="score")]
    if known is not None and _written(eval.metric) not in [_written(one) for one in known]:
        message = f"{title(eval)} gives no {_written(eval.metric)}"
        yield Finding(message, at(eval, "metric"), f"write {alternatives([_written(one) for one in known])}")


def members_differ(eval: Eval) -> Iterator[Finding]:
    """A suite has members, each once."""
    names = [member.name for member in eval.suite]
    for index, name in enumerate(names):
        if name in names[:index]:
            yield Finding(
                f"{name} stands twice in {title(eval)}", at(eval, f"suite[{index}]", "suite"), "leave one out"
            )


def flattened(evals: tuple[Eval, ...]) -> list[Eval]:
    """Evals with the members of suites in their place."""
    return [one for eval in evals for one in (flattened(eval.suite) if eval.suite else [eval])]


def _written(metric: Rate | Mean) -> str:
    return f"rate({metric.label})" if isinstance(metric, Rate) else f"mean({metric.field})"
