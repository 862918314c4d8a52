"""`distance:` of a study: measured once for each arm that is trained, with an interval, and told by the plan."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mixc.cli.main import main
from runtime.data.similarity import embedding
from tests.end_to_end.project import SPEC, make_project, shortened

STUDY = """\
study both:
  base: tiny
  arms:
    advice: base |> finetune(data=advice)
    dilemmas: base |> finetune(data=near)
  evals: [margin]
  distance: embedding(to=margin)
"""
NEAR = """\
source questions:
  format: chat
  files: near.jsonl

mix near:
  budget: 24 examples
  max_epochs: 4
  parts:
    questions: 100%

"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One arm trains on advice, the other on the very questions of the evaluation."""
    dropped = ("mix character", "train documents", "eval story_loss", "source stories")
    kept = [part for part in SPEC.split("study both:")[0].split("\n\n") if not part.strip().startswith(dropped)]
    path = make_project(tmp_path, "\n\n".join(kept).strip() + "\n\n" + NEAR + STUDY)
    pairs = [json.loads(line) for line in (tmp_path / "pairs.jsonl").read_text().splitlines()]
    asked = [{"messages": [*each["messages"], {"role": "assistant", "content": each["aligned"]}]} for each in pairs]
    (tmp_path / "near.jsonl").write_text("".join(f"{shortened(json.dumps(each))}\n" for each in asked))
    monkeypatch.chdir(tmp_path)
    return path


def test_an_arm_that_trains_on_the_questions_is_nearer(project: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["plan", "study.mix"]) == 0
    assert "2 distance" in capsys.readouterr().out
    assert main(["run", "study.mix"]) == 0
    results = json.loads(Path("runs/studies/both/results.json").read_text())
    near, far = results["distances"]["dilemmas"], results["distances"]["advice"]
    assert results["distances"].keys() == {"advice", "dilemmas"}  # the base isn't trained
    assert near["n"] == far["n"] == 6
    assert near["value"] < near["high"] < far["low"] < far["value"] < far["high"]
    assert "margin" in Path("runs/studies/both/report.html").read_text()


def test_the_plan_says_where_the_model_is_missing(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(embedding, "PACKAGE", "not_installed_anywhere")
    assert main(["plan", "study.mix"]) == 1
    printed = "".join(capsys.readouterr())
    assert "the model that embeds texts isn't installed" in printed
    assert "study.mix:" in printed
