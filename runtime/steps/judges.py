"""Judges of evaluations: asked, measured against hand labels, and watched for change."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

from compiler.evals import Judging
from compiler.identity import sha256
from compiler.steps import Calibrate, Report, Result, Score
from runtime.errors import UserError
from runtime.evals import canary
from runtime.evals.calibrated import Calibrated
from runtime.evals.calibration import Compared, check_believed, measure
from runtime.evals.hand_labels import HandLabels, read_hand_labels
from runtime.evals.judging import JudgedAnswer, Judgement, judge_answers
from runtime.model_calls.answers import Answers
from runtime.model_calls.calls import Caller
from runtime.model_calls.prices import money, price_of
from runtime.steps.asking import caller_of
from runtime.steps.context import Context
from runtime.steps.transforms import rows_of

CALIBRATION = "calibration.json"


def run_calibrate(context: Context, description: str, step: Calibrate, folder: Path) -> Result:
    """Measures a judge against its hand labels. Raises UserError where it agrees with them less than is asked for."""
    name, judging = step.calibration.labels, step.judging
    paths = context.paths([name])
    if len(paths) != 1:
        raise UserError(f"{name} names {len(paths)} files", "name one file of hand labels")
    labels = read_hand_labels(paths[0], name, judging, [rows_of(context, each) for each in step.items])
    if not labels.labelled:
        raise UserError("the readers disagree about every answer", "label more answers, or settle the labels", name)
    answers = [JudgedAnswer(record=each.record, text=each.answer, place=each.place) for each in labels.labelled]
    with Answers(context.store.root, context.reporter.say) as stored:
        judgements = judge_watched(context, judging, answers, caller_of(context, judging.model, stored, keep=True))
    compared = [
        Compared(
            hand=each.hand,
            judge=None if judgement.unreadable is not None else judgement.label or judgement.value,
            place=each.place,
            answer=each.answer,
            detail=judgement.unreadable or judgement.detail,
        )
        for each, judgement in zip(labels.labelled, judgements, strict=True)
    ]
    measured = measure(compared, judging)
    check_believed(measured, compared, labels, judging.model.name, step.calibration, step.place)
    told = {
        **asdict(measured),
        "divided": labels.divided,
        "replaced": labels.replaced,
        "between_readers": labels.between_readers,
        "rows": [asdict(each) for each in compared],
    }
    text = json.dumps(told, indent=1, ensure_ascii=False) + "\n"
    (folder / CALIBRATION).write_text(text)
    found = _calibrated(context, step.name, judging, step, told)
    context.reporter.say(_in_words(found, labels, name))
    return Result(key=context.key(description), content=sha256(text), facts={"n": measured.n})


def judge_watched(
    context: Context, judging: Judging, answers: Sequence[JudgedAnswer], caller: Caller
) -> list[Judgement]:
    """What a judge says of answers. A served judge that is asked something new is asked its canaries too, once a run.

    Its first answers become its canaries. Raises UserError and Stopped as `judge_answers` does.
    """
    assert judging.prompt is not None, "a task of Inspect asks its judge itself"
    prompt = context.text(judging.prompt)
    before = caller.answers.used(caller.model).calls
    judgements = judge_answers(answers, judging, prompt, caller)
    if judging.model.api is not None:
        key = canary.canary_key(judging, context.files.digests[judging.prompt])
        asked = caller.answers.used(caller.model).calls > before
        if key not in context.watched:
            with context.store.lock(f"canaries-{key}", f"canaries of {caller.name}", context.stop):
                _watch(context, key, judging, prompt, caller, answers, judgements, asked=asked)
    return judgements


def _watch(
    context: Context,
    key: str,
    judging: Judging,
    prompt: str,
    caller: Caller,
    answers: Sequence[JudgedAnswer],
    judgements: Sequence[Judgement],
    *,
    asked: bool,
) -> None:
    root, today = context.store.root, datetime.now(UTC).date().isoformat()
    known = canary.load(root, key)
    if known is None:
        chosen = canary.choose(answers, judgements, key, today)
        if chosen is not None:
            canary.save(root, key, chosen)
            context.watched.add(key)
        return
    if not asked:
        return
    context.watched.add(key)
    before = caller.answers.used(caller.model)

    def judge_again(some: Sequence[JudgedAnswer], sample: int) -> list[Judgement]:
        context.reporter.steps += bool(context.reporter.steps)  # one that nobody counted on
        return judge_answers(some, judging, prompt, caller, sample)

    try:
        watched = canary.judged_again(known, judging, judge_again, today)
    except UserError as error:  # what was asked for is there and paid for: that this isn't, is no reason to lose it
        context.reporter.say(f"{caller.name}: its canaries could not be judged again: {error.message}")
        return
    canary.save(root, key, watched)
    after = caller.answers.used(caller.model)
    tokens = after.input_tokens - before.input_tokens, after.output_tokens - before.output_tokens
    price = caller.price or price_of(caller.model, None)
    cost = f"{after.calls - before.calls:,} calls, {sum(tokens):,} tokens"
    cost += "" if price is None else f", {money(price.of(*tokens))}"
    drifted, unsure = canary.drift(watched), watched.watches[-1].unsure
    said = drifted or f"the judge answers its {len(known.canaries)} canaries as on {known.date}"
    said += f"; of {unsure} it isn't sure itself" if unsure else ""
    mend = "; what it said before and says now may not be comparable: name a dated version in `api:`" if drifted else ""
    context.reporter.say(f"{caller.name}: {said} ({cost}){mend}")


def judges_of(context: Context, step: Report) -> tuple[Calibrated, ...]:
    """Of every evaluation that a model judges: how its judge agrees with hand labels, and whether it drifts."""
    found: dict[str, Calibrated] = {}
    for point in step.points:
        score = context.keys.plan.steps[point.score]
        assert isinstance(score, Score)
        if point.eval in found or not isinstance(score.grader, Judging):
            continue
        if score.calibrate is None:
            found[point.eval] = _calibrated(context, point.eval, score.grader, None, None)
        elif context.store.find(context.key(score.calibrate)) is not None:
            calibrate = context.keys.plan.steps[score.calibrate]
            assert isinstance(calibrate, Calibrate)
            told = json.loads((context.folder(score.calibrate) / CALIBRATION).read_text())
            found[point.eval] = _calibrated(context, point.eval, score.grader, calibrate, told)
    return tuple(found.values())


def _calibrated(
    context: Context, name: str, judging: Judging, step: Calibrate | None, told: dict[str, Any] | None
) -> Calibrated:
    """`told` is what `run_calibrate` wrote; None where nothing measures the judge."""
    drifted = None
    if judging.model.api is not None and judging.prompt is not None:
        key = canary.canary_key(judging, context.files.digests[judging.prompt])
        drifted = canary.drift(canary.load(context.store.root, key))
    told = told or {}
    return Calibrated(
        eval=name,
        judge=judging.model.name,
        n=told.get("n", 0),
        agreement=told.get("agreement"),
        kappa=told.get("kappa"),
        correlation=told.get("correlation"),
        low=told.get("low"),
        high=told.get("high"),
        asked=None if step is None else float(Fraction(step.calibration.agreement)),
        canary=drifted,
        difference=told.get("difference"),
        bias=told.get("bias"),
        unreadable=told.get("unreadable", 0),
        between_readers=told.get("between_readers"),
        confusion=told.get("confusion", {}),
    )


def _in_words(found: Calibrated, labels: HandLabels, name: str) -> str:
    """How a judge that is believed did, in one line, with what to know beside it."""
    answers = f"{found.n:,} hand-labelled answers of {name}"
    if found.agreement is not None:
        ends = f"{found.low:.0%} to {found.high:.0%}"
        said = f"agrees with {found.agreement:.0%} of {answers} ({ends}"
        said += ")" if found.kappa is None else f", kappa {found.kappa:.2f})"
    else:
        ends = "too few for an interval" if found.low is None else f"{found.low:.2f} to {found.high:.2f}"
        said = f"ranks {answers} with a correlation of {found.correlation:.2f} ({ends}), {found.bias:+.2g} on average"
    notes = [f"{found.judge} of {found.eval} {said}"]
    if found.in_doubt:
        notes.append(f"it may be less than the {found.asked:g} that is asked for: label more answers to be sure")
    if found.unreadable:
        notes.append(f"{found.unreadable:,} judgements can't be read")
    if labels.divided:
        notes.append(
            f"readers are divided over {len(labels.divided):,} answers, which are left out: {labels.divided[0]}"
        )
    if labels.replaced:
        notes.append(f"{labels.replaced:,} labels were replaced by later ones of the same reader")
    return "; ".join(notes)
