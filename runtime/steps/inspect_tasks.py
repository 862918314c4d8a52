"""Runs evaluations by tasks of Inspect: what a model does in them, and what their scorers say of it."""

from __future__ import annotations

from pathlib import Path

from compiler.steps import Respond, Score
from runtime.evals.inspect_items import check_installed
from runtime.evals.judged import Judged, write_judged
from runtime.steps.answers import say_unreadable, who
from runtime.steps.asking import caller_of
from runtime.steps.context import Context


def respond_to_tasks(context: Context, step: Respond, folder: Path) -> dict[str, int]:
    """Writes Inspect's logs of all tasks into `folder`, and counts them (see `sample_tasks`). Raises as it does."""
    check_installed(step.place)
    from runtime.evals.inspect_sampling import sample_tasks
    from runtime.model_calls.answers import Answers

    answering = step.answering
    assert answering is not None
    with Answers(context.store.root, context.reporter.say) as answers:
        return sample_tasks(
            step.tasks,
            caller_of(context, answering.model, answers, keep=True),
            folder,
            samples=answering.samples,
            seed=None if answering.model.point is None else answering.seed,
            what=f"evaluate {step.name} ({who(context, step)})",
            place=step.place,
        )


def judged_tasks(context: Context, step: Score, folder: Path) -> list[Judged]:
    """What the tasks' scorers say of each answer; `folder` gets the logs with it (see `score_tasks`)."""
    check_installed(step.place)
    from runtime.evals.inspect_sampling import logs_in
    from runtime.evals.inspect_scoring import score_tasks
    from runtime.model_calls.answers import Answers

    respond = context.keys.plan.steps[step.respond]
    assert isinstance(respond, Respond)
    with Answers(context.store.root, context.reporter.say) as answers:
        judged = score_tasks(
            respond.tasks,
            logs_in(context.folder(step.respond)),
            None if step.judge is None else caller_of(context, step.judge, answers, keep=True),
            step.metric,
            folder,
            reporter=context.reporter,
            what=f"score {step.name} ({who(context, respond)})",
            place=step.place,
        )
    write_judged(folder, judged)
    say_unreadable(context, step, judged)
    return judged
