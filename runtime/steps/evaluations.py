"""Runs the steps of evaluations: what a model says to every item, and the metric of that."""

from __future__ import annotations

from pathlib import Path

from compiler.identity import sha256
from compiler.steps import Respond, Result, Score
from runtime.evals.answers import metric_of
from runtime.evals.score import Scored, from_json, score, to_json
from runtime.steps.context import Context
from runtime.steps.log_probabilities import log_probabilities
from runtime.steps.responses import responses_of, write_responses

SCORES = "scores.json"


def run_respond(context: Context, description: str, step: Respond, folder: Path) -> Result:
    """Asks a model all items, and writes what it says: scoring reads nothing else."""
    if step.method == "answers":
        from runtime.steps.answers import answer_prompts

        table = answer_prompts(context, step)
    elif step.method == "inspect":
        from runtime.steps.inspect_tasks import respond_to_tasks

        key = context.key(description)
        return Result(key=key, content=key, facts=respond_to_tasks(context, step, folder))
    else:
        table = log_probabilities(context, step)
    write_responses(folder, table)
    key = context.key(description)
    return Result(key=key, content=key, facts={"items": len(table)})


def run_score(context: Context, description: str, step: Score, folder: Path) -> Result:
    """One value an item."""
    respond = context.keys.plan.steps[step.respond]
    assert isinstance(respond, Respond)
    if respond.method == "answers":
        from runtime.steps.answers import judged_answers

        scored = metric_of(judged_answers(context, step, folder), step.metric)
    elif respond.method == "inspect":
        from runtime.steps.inspect_tasks import judged_tasks

        scored = metric_of(judged_tasks(context, step, folder), step.metric)
    else:
        scored = score(responses_of(context, step.respond), step.metric, step.normalise)
    text = to_json(scored)
    (folder / SCORES).write_text(text)
    return Result(key=context.key(description), content=sha256(text), facts={"metric": step.metric})


def scored_of(context: Context, score_step: str) -> Scored:
    return from_json((context.folder(score_step) / SCORES).read_text())
