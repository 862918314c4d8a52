"""Plans of calibrated judges: one step for all arms, before any score, and what makes which step another one."""

from __future__ import annotations

from pathlib import Path

from compiler.keys import locations_of
from compiler.passes.expand import expand
from compiler.plan import Plan
from compiler.steps import Calibrate, Respond, Score
from dsl.resolve import load

SPEC = """\
edition: 2026

model small:
  from: ./small

model large:
  from: ./large

model judge:
  api: openai/gpt-5

eval quality:
  prompts: prompts.jsonl
  judge: judge
  prompt: rubric.md
  scale: 1..10
  calibrate: {labels: hand.jsonl, agreement: 0.8}

eval again:
  prompts: prompts.jsonl
  samples: 2
  judge: judge
  prompt: rubric.md
  scale: 1..10
  calibrate: {labels: hand.jsonl, agreement: 0.8}

study both:
  base: small
  arms:
    other: large
  evals: [quality, again]
"""


def planned(tmp_path: Path, spec: str) -> Plan:
    (tmp_path / "study.mix").write_text(spec)
    loaded = load(tmp_path / "study.mix")
    assert not loaded.diagnostics
    assert loaded.module is not None
    return expand("study.mix", tmp_path, list(loaded.module.studies()), [], {})[0]


def test_a_judge_is_measured_once_and_before_any_score(tmp_path: Path) -> None:
    plan = planned(tmp_path, SPEC)
    ((key, step),) = plan.of(Calibrate)
    assert [score.calibrate for _, score in plan.of(Score)] == [key] * 4
    assert list(plan.steps).index(key) < min(list(plan.steps).index(score) for score, _ in plan.of(Score))
    assert step.place.endswith("study.mix:17:3")
    assert locations_of(step) == ("rubric.md", "hand.jsonl")


def test_other_labels_score_again_and_sample_nothing(tmp_path: Path) -> None:
    plans = [planned(tmp_path, SPEC), planned(tmp_path, SPEC.replace("agreement: 0.8", "agreement: 0.9"))]
    (one, other) = ({kind: set(dict(plan.of(kind))) for kind in (Respond, Calibrate, Score)} for plan in plans)
    assert one[Respond] == other[Respond]
    assert not one[Calibrate] & other[Calibrate]
    assert not one[Score] & other[Score]


def test_a_judge_of_ours_is_an_input(tmp_path: Path) -> None:
    plan = planned(tmp_path, SPEC.replace("model judge:\n  api: openai/gpt-5", "model judge:\n  from: ./large"))
    ((_, step),) = plan.of(Calibrate)
    assert step.judging.model.point is not None
    assert step.judging.model.point.step in step.inputs
