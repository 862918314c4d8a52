"""Judges of a study: measured against hand labels before anything else, and watched for change from run to run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mixc.cli.main import main
from tests.runtime.model_calls.conftest import server as server
from tests.runtime.model_calls.server import Body, Server
from tests.tiny import make_tiny_model

SPEC = """\
edition: 2026

model tiny:
  from: ./tiny

model critic:
  api: openai-api/local/tester
  temperature: 0
  max_tokens: 50

eval quality:
  prompts: prompts.jsonl
  judge: critic
  prompt: rubric.md
  answers: [good, bad]
  metric: rate(good)
  temperature: 0
  max_tokens: 4
  calibrate: {labels: hand.jsonl, agreement: 0.8}

study alone:
  base: tiny
  evals: [quality]
"""
RUBRIC = "Question: {{ prompt }}\nIs <{{ answer }}> good?\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    make_tiny_model(tmp_path / "tiny", seed=1)
    (tmp_path / "study.mix").write_text(SPEC)
    (tmp_path / "rubric.md").write_text(RUBRIC)
    prompts = ({"prompt": f"Question {number}?"} for number in range(3))
    (tmp_path / "prompts.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in prompts))
    label_by_hand(tmp_path, lambda number: "good" if number % 2 else "bad")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def label_by_hand(folder: Path, label: Callable[[int], str], count: int = 20) -> None:
    rows = (
        {"prompt": "Say a number.", "answer": f"number {number}", "label": label(number), "reader": "ann"}
        for number in range(count)
    )
    (folder / "hand.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def odd_is_good(body: Body, count: int) -> str:
    """Answers of the hand labels are good where they are odd; all answers of models are bad."""
    answer = body["messages"][-1]["content"].split("<", 1)[1].split(">")[0]
    return "ANSWER: good" if answer.startswith("number ") and int(answer[7:]) % 2 else "ANSWER: bad"


def results(folder: Path) -> Any:
    return json.loads((folder / "runs" / "studies" / "alone" / "results.json").read_text())


def test_a_judge_that_is_not_believed_ends_the_run_before_anything_is_asked_of_the_arms(
    project: Path, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    server.answer = odd_is_good
    label_by_hand(project, lambda number: "good")
    assert main(["plan", "study.mix"]) == 0
    planned = " ".join(capsys.readouterr().out.split())
    assert "critic (openai-api/local/tester) is measured against hand labels for quality: 20 times" in planned
    assert main(["run", "study.mix"]) == 1
    told = capsys.readouterr().err
    assert "error: study.mix:19:3: the judge critic can't be believed: it agrees with 10 of 20" in told
    assert "at least 80% is asked for" in told
    assert 'hand.jsonl:1: by hand good, by the judge bad: "number 0"' in told
    assert sum(server.whole.values()) == 20
    assert not list(project.glob("runs/steps/*/responses.parquet"))


def test_a_judge_that_changed_under_its_name_is_told(
    project: Path, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    server.answer = odd_is_good
    assert main(["run", "study.mix"]) == 0
    assert sum(server.whole.values()) == 23  # hand labels, and an answer to each prompt
    assert main(["run", "study.mix"]) == 0
    assert sum(server.whole.values()) == 23  # nothing new, so nothing is watched either
    assert "canaries" not in capsys.readouterr().err
    (judge,) = results(project)["judges"]
    assert (judge["eval"], judge["judge"], judge["n"], judge["agreement"]) == ("quality", "critic", 20, 1.0)
    assert (judge["asked"], judge["canary"]) == (0.8, None)

    with (project / "prompts.jsonl").open("a") as file:
        file.write('{"prompt": "One more?"}\n')
    assert main(["run", "study.mix"]) == 0
    assert "critic: the judge answers its 12 canaries as on 20" in capsys.readouterr().err
    assert sum(server.whole.values()) == 23 + 1 + 12

    server.answer = lambda body, count: "ANSWER: good"
    with (project / "prompts.jsonl").open("a") as file:
        file.write('{"prompt": "And another?"}\n')
    assert main(["run", "study.mix"]) == 0
    told = " ".join(capsys.readouterr().err.split())
    bad = sum(each["first"] == "bad" for each in canaries(project))
    assert 0 < bad < 12
    assert f"critic: the judge answers {bad} of 12 canaries differently than on 20" in told
    assert f"({12 + bad} calls, " in told
    assert sum(server.whole.values()) == 23 + 1 + 12 + 1 + 12 + bad
    assert f"answers {bad} of 12 canaries differently" in results(project)["judges"][0]["canary"]


def canaries(folder: Path) -> list[dict[str, Any]]:
    (file,) = (folder / "runs" / "canaries").iterdir()
    return json.loads(file.read_text())["canaries"]
