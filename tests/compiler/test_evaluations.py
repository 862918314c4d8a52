"""Plans of evaluations by prompts: who answers how, what results are called, and which steps are shared."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from compiler.evals import Judging, Labels
from compiler.passes.expand import expand
from compiler.plan import Plan
from compiler.steps import PlannedPoint, Report, Respond, Score
from compiler.values import END
from dsl.resolve import load

SPEC = """\
edition: 2026

model small:
  from: ./small

model served:
  api: openai/gpt-5-mini
  temperature: 0.5
  max_tokens: 300
  spend: 2 dollars

model judge:
  api: openai/gpt-5

source chats:
  format: chat
  files: chats.jsonl

train finetune:
  objective: supervised
  data: chats
  sequence: 256 tokens
  batch: 1 example
  optimizer: adamw(lr=1e-4)

eval quality:
  doc: How good it is.
  prompts: prompts.jsonl
  judge: judge
  prompt: rubric.md
  scale: 1..10

eval kind:
  prompts: prompts.jsonl
  samples: 3
  temperature: 0.7
  max_tokens: 50
  classify: {a: a, b: b}
  metric: rate(a)

eval both:
  suite: [quality, kind]

study first:
  base: small
  seeds: [0, 1]
  arms:
    tuned: base |> finetune
    other: served
  evals:
    both: [start, end]
  expect:
    - both.quality(tuned, at=all) > both.quality(other, at=all)

study second:
  base: small
  arms:
    tuned: base |> finetune
  evals: [kind]
  expect:
    - kind(tuned) > kind(base)
"""


def planned(folder: Path, text: str = SPEC) -> Plan:
    (folder / "study.mix").write_text(text)
    loaded = load(folder / "study.mix")
    assert not [each for each in loaded.diagnostics if each.severity == "error"], loaded.diagnostics
    assert loaded.module is not None
    module = loaded.module
    return expand("study.mix", folder, list(module.studies()), [], {})[0]


def points(plan: Plan, study: str) -> list[PlannedPoint]:
    report = plan.steps[next(each.report for each in plan.studies if each.name == study)]
    assert isinstance(report, Report)
    return list(report.points)


def scored(plan: Plan, point: PlannedPoint) -> tuple[Score, Respond]:
    score = plan.steps[point.score]
    assert isinstance(score, Score)
    respond = plan.steps[score.respond]
    assert isinstance(respond, Respond)
    return score, respond


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return planned(tmp_path)


def test_members_of_a_suite_are_named_by_it_in_points_claims_and_notes(plan: Plan) -> None:
    first, second = plan.studies
    assert {point.eval for point in points(plan, "first")} == {"both.quality", "both.kind"}
    assert {point.eval for point in points(plan, "second")} == {"kind"}
    reports = [step for _, step in plan.of(Report)]
    assert [claim.evals for report in reports for claim in report.claims] == [
        {"both.quality": "both.quality"},
        {"kind": "kind"},
    ]
    assert (first.notes, second.notes) == ({"both.quality": "How good it is."}, {})


def test_an_eval_alone_and_in_a_suite_is_one_set_of_steps(plan: Plan) -> None:
    alone = {point.score for point in points(plan, "second")}
    within = {point.score for point in points(plan, "first") if point.eval == "both.kind"}
    assert alone < within


def test_a_served_model_is_an_arm_without_weights_that_is_measured_once(plan: Plan) -> None:
    (arm,) = [arm for arm in plan.studies[0].arms if arm.name == "other"]
    assert (arm.weights, arm.start, arm.seed, arm.stages) == (None, None, None, ())
    own = [point for point in points(plan, "first") if point.arm == "other"]
    assert [(point.eval, point.stage, point.moment) for point in own] == [
        ("both.quality", None, END),
        ("both.kind", None, END),
    ]
    asked = {point.eval: scored(plan, point)[1] for point in own}
    quality, kind = asked["both.quality"].answering, asked["both.kind"].answering
    assert quality is not None
    assert kind is not None
    assert (quality.model.api, quality.model.spend, asked["both.kind"].inputs) == (
        "openai/gpt-5-mini",
        "2",
        asked["both.kind"].items,
    )
    assert (Fraction(quality.model.temperature or 0), quality.model.max_tokens) == (Fraction(1, 2), 300)
    assert (Fraction(kind.model.temperature or 0), kind.model.max_tokens, kind.samples) == (Fraction(7, 10), 50, 3)


def test_weights_of_ours_answer_as_is_stated(plan: Plan) -> None:
    answering = scored(plan, next(point for point in points(plan, "first") if point.arm == "base"))[1].answering
    assert answering is not None
    assert (answering.model.temperature, answering.model.max_tokens, answering.samples) == ("1", 2048, 1)


def seeds(plan: Plan, eval: str) -> set[tuple[int | None, int]]:
    found: set[tuple[int | None, int]] = set()
    for point in points(plan, "first"):
        answering = scored(plan, point)[1].answering
        assert answering is not None
        if point.eval == eval and point.arm == "tuned":
            found.add((point.seed, answering.seed))
    return found


def test_answers_follow_the_studys_seed_where_sampling_varies_and_something_is_drawn(tmp_path: Path) -> None:
    assert seeds(planned(tmp_path), "both.kind") == {(0, 0), (1, 1)}
    fixed = SPEC.replace("  seeds: [0, 1]\n", "  seeds: [0, 1]\n  vary: [order]\n")
    assert seeds(planned(tmp_path, fixed), "both.kind") == {(0, 0), (1, 0)}
    greedy = SPEC.replace("temperature: 0.7", "temperature: 0")
    assert seeds(planned(tmp_path, greedy), "both.kind") == {(0, 0), (1, 0)}


def test_who_judges_changes_the_score_and_not_the_answers(tmp_path: Path) -> None:
    before = planned(tmp_path)
    after = planned(tmp_path, SPEC.replace("openai/gpt-5\n", "openai/gpt-5-nano\n").replace("rate(a)", "rate(b)"))
    assert {key for key, _ in before.of(Respond)} == {key for key, _ in after.of(Respond)}
    assert not {key for key, _ in before.of(Score)} & {key for key, _ in after.of(Score)}
    graders = [step.grader for _, step in before.of(Score)]
    assert {type(grader) for grader in graders} == {Judging, Labels}


def test_members_of_one_name_keep_it_whole(tmp_path: Path) -> None:
    (tmp_path / "other.mix").write_text(SPEC[: SPEC.index("eval both")])
    text = SPEC.replace("edition: 2026\n", "edition: 2026\nimport:\n  other: other.mix\n")
    text = text.replace("suite: [quality, kind]", "suite: [quality, kind, other.kind]")
    assert {point.eval for point in points(planned(tmp_path, text), "first")} == {
        "both.quality",
        "both.kind",
        "both.other.kind",
    }
