"""Runs the report step of a study: its results, and the page and tables made of them."""

from __future__ import annotations

import json
import shutil
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, cast

import numpy as np

from compiler.passes.figures import figures
from compiler.plan import Plan, PlannedStudy
from compiler.steps import Read, Report, Respond, Result, Score, Tokenize, Train, Transform
from compiler.values import END, Moment
from dsl.scalars import parse_text
from dsl.values import Compare
from runtime.evals.claims import Claim
from runtime.evals.points import Point
from runtime.report.html import render
from runtime.report.results import StudyResults, study_results, to_json
from runtime.report.study_report import Curve, SetAside, StudyReport
from runtime.saved import save_plan, spec_of
from runtime.steps.context import Context
from runtime.steps.data import held_until
from runtime.steps.evaluations import scored_of
from runtime.steps.responses import responses_of
from runtime.train import telemetry

RESULTS = "results.json"
LIBRARIES = ("mixc", "jax", "flax", "optax", "orbax-checkpoint", "tensorstore", "tokenizers", "numpy")


def run_report(context: Context, description: str, step: Report, folder: Path) -> Result:
    """Writes results.json."""
    (folder / RESULTS).write_text(json.dumps(to_json(results_of(context, step)), indent=2) + "\n")
    key = context.key(description)
    return Result(key=key, content=key)


def results_of(context: Context, step: Report) -> StudyResults:
    """The results of a study whose scores are there."""
    points = [
        Point(
            arm=planned.arm,
            eval=planned.eval,
            stage=planned.stage,
            seed=planned.seed,
            step=0 if planned.train is None else context.update(planned.train, planned.fires),
            tokens=_tokens(context, planned.train, planned.fires),
            scored=scored_of(context, planned.score),
            moment=planned.moment,
            last=planned.last,
        )
        for planned in step.points
    ]
    claims = [Claim(each.text, cast(Compare, parse_text("claim", each.text)), each.evals) for each in step.claims]
    return study_results(step.name, points, claims, step.levels)


def write_study(context: Context, study: PlannedStudy) -> StudyReport:
    """Fills `studies/NAME`: plan, results, page and metrics; returns what the page shows."""
    folder = context.store.study(study.name)
    report = _study_report(context.keys.plan, context, study, folder / "report.html")
    shutil.copyfile(context.folder(study.report) / RESULTS, folder / RESULTS)
    before = spec_of(folder)
    if before not in (None, context.keys.plan.spec):
        context.reporter.say(f"{folder} held the study of the same name in {before}, and is now that of this file")
    save_plan(context, folder)
    (folder / "report.html").write_text(render(report))
    return report


def _study_report(plan: Plan, context: Context, study: PlannedStudy, page: Path) -> StudyReport:
    step = plan.steps[study.report]
    assert isinstance(step, Report)
    keys: dict[str, str | None] = {each: context.key(each) for each in plan.steps}
    told = figures(plan, context.keys, keys, set(plan.steps), partial(held_until, context))
    seeds = {arm.name: arm.seed for arm in reversed(study.arms)}
    return StudyReport(
        question=study.question,
        results=results_of(context, step),
        responses=_final_responses(plan, context, step, seeds),
        by_length=frozenset(
            point.eval for point in step.points if cast(Score, plan.steps[point.score]).normalise == "length"
        ),
        curves=_curves(plan, context, study),
        sources=told["sources"],
        mixes=told["mixes"],
        trains=told["trains"],
        set_aside=_set_aside(plan, context),
        checkpoints={study.label(arm): context.weights_folder(arm.final) for arm in study.arms if arm.stages},
        docs=study.notes,
        versions={name: metadata.version(name) for name in LIBRARIES},
        keys={"report": context.key(study.report), **{f"train {name}": key for name, key in _train_keys(told)}},
        store=context.store.root,
        page=page,
    )


def _train_keys(told: dict[str, Any]) -> list[tuple[str, str]]:
    return [(", ".join(train["used_by"]), train["key"]) for train in told["trains"]]


def _tokens(context: Context, train: str | None, moment: Moment) -> int:
    """Tokens read in a stage until a moment."""
    if train is None:
        return 0
    step = context.keys.plan.steps[train]
    assert isinstance(step, Train)
    update = context.update(train, moment)
    return 0 if update == 0 else context.keys.results[step.pack].facts["cumulative_tokens"][update - 1]


def _final_responses(
    plan: Plan, context: Context, step: Report, seeds: dict[str, int | None]
) -> dict[str, dict[str, Any]]:
    """By choice evaluation and arm, what the model said at the end, with the first seed."""
    found: dict[str, dict[str, Any]] = {}
    for point in step.points:
        respond_key = cast(Score, plan.steps[point.score]).respond
        respond = plan.steps[respond_key]
        assert isinstance(respond, Respond)
        at_end = point.moment == END and point.last and point.seed == seeds[point.arm]
        if respond.method == "choice" and at_end:
            found.setdefault(point.eval, {})[point.arm] = responses_of(context, respond_key)
    return found


def _curves(plan: Plan, context: Context, study: PlannedStudy) -> list[Curve]:
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
        curves.append(
            Curve(
                stage=stage,
                label=" and ".join(arms[train]),
                tokens=np.cumsum(told["tokens"]),
                loss=told["loss"],
                learning_rate=told["learning_rate"],
                gradient_norm=told["gradient_norm"],
                seed=seed,
            )
        )
    return curves


def _set_aside(plan: Plan, context: Context) -> list[SetAside]:
    """What each source dropped, by reason, with examples of what was broken."""
    found: list[SetAside] = []
    for description, step in plan.steps.items():
        if not isinstance(step, Read | Transform | Tokenize):
            continue
        facts = context.keys.results[description].facts
        for reason, count in facts.get("dropped", {}).items():
            examples = tuple((each["place"], each["detail"]) for each in facts.get("shown", {}).get(reason, []))
            found.append(SetAside(step.name, reason, count, examples))
    return found
