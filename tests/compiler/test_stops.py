"""Where `stop` may end an arm, and what stands for its end then."""

from __future__ import annotations

from pathlib import Path

import pytest

from compiler.passes.stops import compared, comparison_of, watched
from compiler.plan import Plan
from compiler.steps import PlannedClaim, Report, Respond, Score, Train
from compiler.values import END
from tests.compiler.test_plan import SPEC, planned

STOPPED = (
    SPEC[: SPEC.index("study both:")]
    + """\
eval loss_of_stories:
  loss: [stories]

study both:
  base: small
  seeds: [0, 1]
  arms:
    advice: base |> finetune(data=advice)
    character: base |> documents(data=character) |> finetune(data=advice)
  evals:
    margin: [start, 50% of documents, end of documents, every 50%]
    loss_of_stories: end
  stop: margin < margin(base) - 1
"""
)


def report_of(plan: Plan) -> Report:
    (study,) = plan.studies
    report = plan.steps[study.report]
    assert isinstance(report, Report)
    return report


def test_an_end_stands_ready_wherever_the_arm_may_stop(tmp_path: Path) -> None:
    plan = planned(tmp_path, STOPPED)
    report = report_of(plan)
    found = [(end.eval, end.stage, end.end.value) for end in report.ends if (end.arm, end.seed) == ("character", 1)]
    assert found == [
        ("margin", "documents", "1/2"),
        ("loss_of_stories", "documents", "1/2"),
        ("margin", "documents", None),  # the start of the next stage is the end of this one
        ("loss_of_stories", "documents", None),
        ("margin", "finetune", "1/2"),
        ("loss_of_stories", "finetune", "1/2"),
    ]
    assert not any(end.arm == "base" for end in report.ends)
    for end in report.ends:
        assert end.train is not None
        score = plan.steps[end.score]
        assert isinstance(score, Score)
        respond = plan.steps[score.respond]
        assert isinstance(respond, Respond)
        assert respond.model is not None
        assert (respond.model.step, respond.model.at) == (end.train, end.end)
        assert (end.moment, end.last) == (END, True)
    seen: set[str] = set()
    for key, step in plan.steps.items():
        assert seen.issuperset(step.inputs)
        seen.add(key)


def test_stop_changes_no_key_but_the_reports(tmp_path: Path) -> None:
    with_stop = planned(tmp_path, STOPPED)
    without = planned(tmp_path, STOPPED[: STOPPED.index("  stop:")])
    assert without.steps.keys() - {without.studies[0].report} <= with_stop.steps.keys()
    assert report_of(without).ends == ()
    assert [key for key, _ in with_stop.of(Train)] == [key for key, _ in without.of(Train)]


def test_arms_that_it_compares_with_are_trained_first_and_stand_where_they_are_written(tmp_path: Path) -> None:
    plan = planned(tmp_path, STOPPED.replace("margin(base) - 1", "margin(character)"))
    (study,) = plan.studies
    trains = [key for key, _ in plan.of(Train)]
    first = [stage.train for arm in study.arms if arm.name == "character" for stage in arm.stages]
    assert trains[: len(first)] == first
    written = ["base", "advice", "advice", "character", "character"]
    assert [arm.name for arm in study.arms] == written
    assert list(dict.fromkeys(point.arm for point in report_of(plan).points)) == list(dict.fromkeys(written))


@pytest.mark.parametrize(
    ("text", "evals", "arms"),
    [
        ("margin < 1", {"margin"}, set()),
        ("s.margin < 0.8 * s.margin(at=start)", {"other.margin"}, set()),
        ("margin(at=50%) < harm(at=start)", {"margin", "harm"}, set()),
        ("margin < margin(plain) + harm(at=start)", {"margin"}, {"plain"}),
        ("margin < margin(before=none)", {"margin"}, {"none.a", "none.b"}),
    ],
)
def test_what_it_looks_at(text: str, evals: set[str], arms: set[str]) -> None:
    claim = PlannedClaim(text=text, evals={"s.margin": "other.margin"})
    levels = {"none.a": {"before": "none", "after": "a"}, "none.b": {"before": "none"}, "c.a": {"before": "c"}}
    assert watched(claim) == evals
    assert compared(comparison_of(claim), levels) == arms
