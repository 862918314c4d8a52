"""What a study brings to a comparison with others: its report, its scored points, and how it measures."""

from __future__ import annotations

from typing import cast

from compiler.evals import Judging, Labels
from compiler.operations import Asked
from compiler.plan import PlannedStudy
from compiler.steps import Report, Respond, Score
from runtime.report.comparison import Side
from runtime.steps.context import Context
from runtime.steps.followed import followed
from runtime.steps.reporting import points_of, report_of


def side_of(context: Context, study: PlannedStudy) -> Side:
    """A study that ran, or runs."""
    _, step = followed(context, cast(Report, context.keys.plan.steps[study.report]))
    measures: dict[str, dict[str, str]] = {}
    for point in step.points:
        if point.eval not in measures:
            measures[point.eval] = _measure(context, cast(Score, context.keys.plan.steps[point.score]))
    return Side(report_of(context, study), points_of(context, step), measures)


def _measure(context: Context, score: Score) -> dict[str, str]:
    """How an evaluation measures, in words: what must be equal for values to mean the same."""
    respond = cast(Respond, context.keys.plan.steps[score.respond])
    found = {"metric": score.metric, "normalisation": score.normalise, "method": respond.method}
    if respond.items:
        found["set of items"] = ", ".join(context.keys.results[each].content[:12] for each in respond.items)
    if respond.tasks:
        found["task"] = ", ".join(f"{task.name} {task.version} {task.args or ''}".strip() for task in respond.tasks)
    if respond.answering is not None:
        asked = respond.answering.model
        found["temperature"] = asked.temperature or "default"
        found["length of answers"] = str(asked.max_tokens or "default")
        found["number of samples"] = str(respond.answering.samples)
    match score.grader:
        case Judging() as judging:
            found["judge"] = _judge(context, judging.model)
            found["rubric"] = "the task's own" if judging.prompt is None else _digest(context, judging.prompt)
            found["scale"] = ", ".join(judging.answers) or f"{judging.low} to {judging.high}"
        case Labels(patterns=patterns):
            found["patterns"] = "; ".join(f"{label} {pattern}" for label, pattern in patterns)
        case None:
            pass
    return found


def _judge(context: Context, asked: Asked) -> str:
    if asked.api is not None:
        return asked.api
    assert asked.point is not None
    return f"{asked.name} {context.key(asked.point.step)[:12]}"


def _digest(context: Context, location: str) -> str:
    return ", ".join(each[:12] for each in context.files.digests.get(location, ())) or location
