"""A model from scratch with the tokenizer of another, and an arm that leaves its run early: trained once."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from mixc.cli.main import main
from tests.tiny import make_tiny_model

SPEC = """\
edition: 2026

model scratch:
  architecture: {family: qwen3, vocabulary: VOCABULARY, layers: 2, hidden: 32, intermediate: 64, heads: 4}
  tokenizer: ./tokenizer

source texts:
  format: documents
  files: texts.jsonl
  holdout: 20%

train pretrain:
  objective: supervised
  loss: all
  sequence: 64 tokens
  batch: 2 examples
  for: 3 epochs
  optimizer: adamw(lr=1e-2)
  precision: float32

eval nll:
  loss: texts.holdout

study early:
  seeds: [0, 1]
  vary: [initialisation]
  arms:
    half: scratch |> pretrain(data=texts, until=50%)
ARMS
  evals:
    nll: [start, end]
"""
WHOLE = "    whole: scratch |> pretrain(data=texts)"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    make_tiny_model(tmp_path / "tiny", seed=1)
    (tmp_path / "tokenizer").mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.move(tmp_path / "tiny" / name, tmp_path / "tokenizer" / name)
    lines = (json.dumps({"text": f"the quick brown fox number {number} jumps over"}) for number in range(60))
    (tmp_path / "texts.jsonl").write_text("\n".join(lines) + "\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(project: Path, arms: str = "", vocabulary: int = 512) -> None:
    text = SPEC.replace("ARMS\n", f"{arms}\n" if arms else "").replace("VOCABULARY", str(vocabulary))
    (project / "study.mix").write_text(text)


def updates_made(project: Path) -> list[int]:
    """The last update of each run in the store."""
    weights = project.glob("runs/steps/*/weights")
    return sorted(max(int(each.name) for each in folder.iterdir()) for folder in weights)


def test_a_run_is_trained_once_and_no_further_than_its_last_arm(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(project)
    assert main(["plan", "study.mix", "--json"]) == 0
    first, second = json.loads(capsys.readouterr().out)["trains"]
    half = first["branches"][0]["updates"]
    assert half == -(-first["updates"] // 2)
    assert first["key"] != second["key"]  # the random weights are others, the order is the same
    assert first["branches"][0]["tokens"] == second["branches"][0]["tokens"]
    assert main(["run", "study.mix"]) == 0
    assert updates_made(project) == [half, half]
    results = json.loads((project / "runs/studies/early/results.json").read_text())
    points = [point for point in results["arms"]["half"]["nll"] if point["seed"] is None]
    assert [point["step"] for point in points] == [0, half]
    assert points[1]["value"] < points[0]["value"]

    write(project, WHOLE)
    assert main(["run", "study.mix"]) == 0
    assert updates_made(project) == [first["updates"]] * 2
    again = json.loads((project / "runs/studies/early/results.json").read_text())
    assert again["arms"]["half"]["nll"] == results["arms"]["half"]["nll"]
    assert {point["step"] for point in again["arms"]["whole"]["nll"]} == {0, first["updates"]}


def test_a_vocabulary_covers_its_tokenizer(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(project, vocabulary=100)
    assert main(["plan", "study.mix"]) == 1
    told = capsys.readouterr().err
    assert "the tokenizer has 269 tokens, and the model knows 100" in told
    assert "study.mix:4" in told
