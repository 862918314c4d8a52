"""Asks a model of a plan for answers to the prompts of an evaluation, and has them judged."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from compiler.evals import Labels
from compiler.steps import Respond, Score
from runtime.evals.answers import Said, joined, labelled, respond, said
from runtime.evals.judged import Judged, write_judged
from runtime.evals.judging import Judgement
from runtime.model_calls.answers import Answers
from runtime.steps.asking import caller_of
from runtime.steps.context import Context
from runtime.steps.judges import judge_watched
from runtime.steps.responses import responses_of
from runtime.steps.training import who
from runtime.steps.transforms import rows_of

UNREADABLE = 5
"""One answer in so many may be unreadable; more is said loudly."""
CUT = 5
"""The same of answers that are cut off; that is said as it is."""


def answer_prompts(context: Context, step: Respond) -> pa.Table:
    """What a model says to the prompts of a step, as `evals.answers.respond` gives it."""
    assert step.answering is not None
    asked, samples = step.answering.model, step.answering.samples
    rows = [rows_of(context, each) for each in step.items]
    seed = None if asked.point is None else step.answering.seed
    with Answers(context.store.root, context.reporter.say) as stored:
        caller = caller_of(context, asked, stored, keep=True)
        table = respond(rows, samples, caller, seed, f"evaluate {step.name} ({who(context, step)})")
    cut = table["finish"].to_pylist().count("max_tokens")
    if cut * CUT > len(table):
        context.reporter.say(f"{cut:,} of {len(table):,} answers end at `max_tokens`, and are judged as they are")
    return table


def judged_answers(context: Context, step: Score, folder: Path) -> list[Judged]:
    """Judges the answers of a `respond` step, and leaves them with their judgements in `folder`."""
    answers = said(responses_of(context, step.respond))
    judgements = _judgements(context, step, answers)
    judged = joined(answers, judgements)
    write_judged(folder, judged)
    say_unreadable(context, step, judged)
    return judged


def say_unreadable(context: Context, step: Score, judged: Sequence[Judged]) -> None:
    """Says it loudly where many answers are unreadable: what is left may be no fair part of them."""
    lost = [row for row in judged if row.unreadable is not None]
    if len(lost) * UNREADABLE <= len(judged):
        return
    respond_step = context.keys.plan.steps[step.respond]
    assert isinstance(respond_step, Respond)
    shown = "".join(f"\n  {row.id or row.item[:12]}: {row.unreadable}" for row in lost[:3])
    all_of_them = len(lost) == len(judged)
    context.reporter.say(
        f"WARNING: {'all' if all_of_them else f'{len(lost):,}'} of {len(judged):,} answers of "
        f"{who(context, respond_step)} to {step.name} are unreadable ({len(lost) / len(judged):.0%}): "
        f"{'it has no result' if all_of_them else 'its result rests on the others alone'}{shown}"
    )


def _judgements(context: Context, step: Score, answers: Sequence[Said]) -> list[Judgement]:
    assert step.grader is not None, "the checker reports answers that nothing scores"
    if isinstance(step.grader, Labels):
        return labelled(answers, step.grader)
    there = [each.asked for each in answers if each.unreadable is None]
    with Answers(context.store.root, context.reporter.say) as stored:
        caller = caller_of(context, step.grader.model, stored, keep=True)
        found = iter(judge_watched(context, step.grader, there, caller))
    return [next(found) if each.unreadable is None else Judgement(None, None, "", each.unreadable) for each in answers]
