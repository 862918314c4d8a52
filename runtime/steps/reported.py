"""Gathers what a study's page shows, from the store and the plan: all that is there, so also while the study runs."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow.parquet as pq

from compiler.operations import Asked
from compiler.passes.figures import figures
from compiler.passes.source import PlannedSource
from compiler.plan import Plan, PlannedStudy
from compiler.stages import asked_by
from compiler.steps import PlannedPoint, Read, Report, Respond, Score, Tokenize, Train, Transform
from compiler.values import END
from runtime.errors import UserError
from runtime.evals.judged import JUDGED
from runtime.looking.look import Looked, look
from runtime.model_calls.answers import Answers
from runtime.model_calls.prices import Price, price_of
from runtime.report.results import StudyResults
from runtime.report.study_report import Answered, Cost, Curve, Pinned, SetAside, StudyReport
from runtime.steps.context import Context
from runtime.steps.data import held_until
from runtime.steps.followed import followed
from runtime.steps.responses import responses_of
from runtime.train import telemetry

LIBRARIES = ("mixc", "jax", "flax", "optax", "orbax-checkpoint", "tensorstore", "tokenizers", "numpy")
ROWS = 2
"""Of each source, those that are shown."""
SOURCES = 12
"""Of which rows are shown."""


def study_report(context: Context, study: PlannedStudy, results: StudyResults, page: Path) -> StudyReport:
    """What the page shows of a study with these results."""
    plan = context.keys.plan
    whole = plan.steps[study.report]
    assert isinstance(whole, Report)
    study, step = followed(context, whole)
    keys: dict[str, str | None] = {each: context.key(each) for each in plan.steps}
    told = figures(plan, context.keys, keys, set(plan.steps), partial(held_until, context))
    seeds = {arm.name: arm.seed for arm in reversed(study.arms)}
    looked, notes = _looked(context, study)
    return StudyReport(
        question=study.question,
        results=results,
        responses=_final_responses(context, step, seeds),
        by_length=frozenset(
            point.eval for point in step.points if cast(Score, plan.steps[point.score]).normalise == "length"
        ),
        answers=tuple(_answers(context, step)),
        levels=step.levels,
        distance_to=step.distance_to,
        curves=_curves(context, study),
        sources=told["sources"],
        mixes=told["mixes"],
        trains=told["trains"],
        looked=looked,
        set_aside=_set_aside(context),
        checkpoints={
            study.label(arm): context.weights_folder(arm.final)
            for arm in study.arms
            if arm.stages and context.weights_folder(arm.final).exists()
        },
        docs=study.notes,
        versions={name: metadata.version(name) for name in LIBRARIES},
        keys={"report": context.key(study.report), **{f"train {name}": key for name, key in _train_keys(told)}},
        pinned=[Pinned(location, files) for location, files in sorted(context.files.digests.items())],
        costs=_costs(context),
        notes=notes,
        store=context.store.root,
        page=page,
    )


def _train_keys(told: dict[str, Any]) -> list[tuple[str, str]]:
    return [(", ".join(train["used_by"]), train["key"]) for train in told["trains"]]


def _is_done(context: Context, description: str) -> bool:
    return context.store.find(context.key(description)) is not None


def _final_responses(context: Context, step: Report, seeds: dict[str, int | None]) -> dict[str, dict[str, Any]]:
    """By choice evaluation and arm, what the model said at the end, with the first seed."""
    found: dict[str, dict[str, Any]] = {}
    for point, respond in _points_of(context, step, "choice"):
        if _at_end(point) and point.seed == seeds[point.arm]:
            found.setdefault(point.eval, {})[point.arm] = responses_of(context, respond)
    return found


def _answers(context: Context, step: Report) -> Iterator[Answered]:
    """Sampled answers with their verdicts, and choices, of every point that is scored."""
    for method in ("answers", "inspect", "choice"):
        for point, respond in _points_of(context, step, method):
            if method == "choice":
                table = responses_of(context, respond)
            else:
                table = pq.read_table(context.folder(point.score) / JUDGED)
            update = 0 if point.train is None else context.update(point.train, point.fires)
            yield Answered(point.arm, point.eval, point.seed, point.stage, update, _at_end(point), table)


def _points_of(context: Context, step: Report, method: str) -> Iterator[tuple[PlannedPoint, str]]:
    """Scored points of evaluations of one method, with their `respond` steps."""
    for point in step.points:
        respond_key = cast(Score, context.keys.plan.steps[point.score]).respond
        respond = context.keys.plan.steps[respond_key]
        assert isinstance(respond, Respond)
        if respond.method == method and _is_done(context, point.score):
            yield point, respond_key


def _at_end(point: PlannedPoint) -> bool:
    return point.moment == END and point.last


def _curves(context: Context, study: PlannedStudy) -> list[Curve]:
    """What training told, a curve for each train step; arms that share one are named together."""
    arms: dict[str, list[str]] = {}
    stages: dict[str, tuple[str, int | None]] = {}
    for arm in study.arms:
        for stage in arm.stages:
            arms.setdefault(stage.train, []).append(arm.name)
            stages[stage.train] = stage.name, arm.seed
    curves: list[Curve] = []
    for train, (stage, seed) in stages.items():
        told = telemetry.read(context.folder(train))
        if not len(told["update"]):
            continue  # it hasn't begun
        curves.append(
            Curve(
                stage=stage,
                label=" and ".join(dict.fromkeys(arms[train])),
                tokens=np.cumsum(told["tokens"]),
                loss=told["loss"],
                learning_rate=told["learning_rate"],
                gradient_norm=told["gradient_norm"],
                seed=seed,
                parts={name.removeprefix("loss/"): of for name, of in told.items() if name.startswith("loss/")},
                seconds=float(np.nansum(told["seconds"])),
            )
        )
    return curves


def _set_aside(context: Context) -> list[SetAside]:
    """What each source dropped, by reason, with examples of what was broken."""
    found: list[SetAside] = []
    for description, step in context.keys.plan.steps.items():
        if not isinstance(step, Read | Transform | Tokenize):
            continue
        facts = context.keys.results[description].facts
        for reason, count in facts.get("dropped", {}).items():
            examples = tuple((each["place"], each["detail"]) for each in facts.get("shown", {}).get(reason, []))
            found.append(SetAside(step.name, reason, count, examples))
    return found


def _looked(context: Context, study: PlannedStudy) -> tuple[list[Looked], list[str]]:
    """Rows of what the study's stages are trained on, and why rows of something aren't shown."""
    plan = context.keys.plan
    trains = dict.fromkeys(stage.train for arm in study.arms for stage in arm.stages)
    packs = [cast(Any, plan.steps[cast(Train, plan.steps[train]).pack]) for train in trains]
    tokens = list(dict.fromkeys(each for pack in packs for each in pack.tokens))
    found: list[Looked] = []
    notes: list[str] = []
    for description in tokens[:SOURCES]:
        try:
            found.append(look(context, _planned_source(plan, description), plan.steps[description].name, ROWS))
        except (UserError, FileNotFoundError) as error:
            notes.append(f"rows of {plan.steps[description].name} are not shown: {error}")
    if len(tokens) > SOURCES:
        notes.append(f"rows are shown of {SOURCES} of {len(tokens)} sources; `mixc sample` shows those of any")
    return found, notes


def _planned_source(plan: Plan, tokens: str) -> PlannedSource:
    """The steps that the rows of a `tokenize` step pass, from the files on."""
    step = cast(Tokenize, plan.steps[tokens])
    rows = [(step.rows, step.format)]
    while isinstance(before := plan.steps[rows[0][0]], Transform):
        rows.insert(0, (before.rows, before.format))
    return PlannedSource(plan, {}, tuple(rows), tokens)


def _costs(context: Context) -> list[Cost]:
    """What the served models of the plan were asked, all that this store knows of each."""
    asked = {each.api: each for each in _asked(context.keys.plan) if each.api is not None}
    if not asked or not (context.store.root / "answers").exists():
        return []
    found: list[Cost] = []
    with Answers(context.store.root, context.reporter.say) as answers:
        for api, each in asked.items():
            used = answers.used(api)
            price = price_of(api, None) if each.price is None else Price(*map(Fraction, each.price))
            dollars = None if price is None else price.of(used.input_tokens, used.output_tokens)
            found.append(Cost(each.name, api, used.calls, used.input_tokens, used.output_tokens, dollars))
    return found


def _asked(plan: Plan) -> Iterator[Asked]:
    """Models that steps of the plan ask."""
    for step in plan.steps.values():
        match step:
            case Transform() if step.asks is not None:
                yield step.asks
            case Train() if step.reward is not None:
                yield from asked_by(step.reward)
            case Respond() if step.answering is not None:
                yield step.answering.model
            case Score() if step.judge is not None:
                yield step.judge
            case _:
                pass
