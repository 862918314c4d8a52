"""Studies with tasks of Inspect, and a trained model in Inspect's own command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.project import environment, make_project
from tests.inspect_package import put_package

SPEC = """\
edition: 2026

model tiny:
  from: ./tiny

source chats:
  format: chat
  files: chats.jsonl
  apply:
    - filter(tokens in 1..512)

source clean_chats:
  from: chats
  apply:
    - exclude(overlap=asking)

mix advice:
  budget: 24 examples
  parts:
    clean_chats: 100%

train finetune:
  objective: supervised
  loss: assistant
  sequence: 512 tokens
  batch: 1 example
  optimizer: adamw(lr=1e-3)
  precision: float32

eval asking:
  inspect: ward_tasks/asking
  args:
    place: [ward, clinic]
    count: 1
  samples: 2
  temperature: 1
  max_tokens: 6
  metric: METRIC

eval kindness:
  inspect: ward_tasks/kindness
  judge: tiny
  samples: 2
  max_tokens: 6
  metric: rate(correct)

study ask:
  question: Does training change what tasks of Inspect say?
  base: tiny
  arms:
    advice: base |> finetune(data=advice)
  evals: [asking, kindness]
  expect:
    - asking(advice) >= asking(base)
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inspect")
    make_project(folder, SPEC.replace("METRIC", "mean(length)"))
    put_package(folder / "site-packages")  # a name by which Inspect knows packages
    return folder


def ran(project: Path, *words: str) -> subprocess.CompletedProcess[str]:
    variables = environment() | {
        "PYTHONPATH": os.pathsep.join((str(project / "site-packages"), str(Path(__file__).parents[2])))
    }
    return subprocess.run(
        [sys.executable, "-m", *words], cwd=project, env=variables, capture_output=True, text=True, timeout=300
    )


@pytest.mark.slow
def test_a_study_runs_and_scores_again_without_sampling(project: Path) -> None:
    done = ran(project, "mixc.cli.main", "run", "study.mix")
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads((project / "runs" / "studies" / "ask" / "results.json").read_text())
    for arm in ("base", "advice"):
        assert {each["metric"] for each in results["arms"][arm]["asking"]} == {"mean(length)"}
        assert all(each["n"] == 2 and 0 < each["value"] <= 60 for each in results["arms"][arm]["asking"])
        assert all(each["n"] == 1 for each in results["arms"][arm]["kindness"])
    (project / "study.mix").write_text(SPEC.replace("METRIC", "rate(vowel)"))
    again = ran(project, "mixc.cli.main", "run", "study.mix")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "score asking" in again.stderr + again.stdout
    assert "evaluate asking" not in again.stderr + again.stdout
    results = json.loads((project / "runs" / "studies" / "ask" / "results.json").read_text())
    assert {each["metric"] for each in results["arms"]["advice"]["asking"]} == {"rate(vowel)"}

    shell = ran(
        project, "inspect_ai", "eval", "ward_tasks/asking", "--model", "mixc/ask/advice",
        "--epochs", "2", "--max-tokens", "6", "--display", "plain", "--log-dir", "logs",
    )  # fmt: skip
    assert shell.returncode == 0, shell.stdout + shell.stderr
    (log,) = (project / "logs").glob("*.eval")
    read = "from inspect_ai.log import read_eval_log; log = read_eval_log('{}'); print(len(log.samples), log.status)"
    shown = subprocess.run(
        [sys.executable, "-c", read.format(log)], capture_output=True, text=True, timeout=60, check=True
    )
    assert shown.stdout.split() == ["4", "success"]
    missing = ran(project, "inspect_ai", "eval", "ward_tasks/asking", "--model", "mixc/ask/advise")
    assert missing.returncode != 0
    assert "has no arm 'advise'" in missing.stdout + missing.stderr
    assert "Traceback" not in missing.stdout + missing.stderr
