"""Policy training through the command line: rewards rise, answers are kept, and a killed run gives the same."""

from __future__ import annotations

import json
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from compiler.program.decoder import create, parameters_of
from compiler.program.policy import advantages_of
from runtime.weights.huggingface import export
from tests.end_to_end.project import make_project, mixc
from tests.end_to_end.test_faults import exported, start
from tests.runtime.model_calls.conftest import server as server
from tests.runtime.model_calls.server import Body, Server
from tests.tiny import tiny_description

SPEC = """\
edition: 2026

model tiny:
  from: ./tiny

model sharp:
  from: ./sharp

source questions:
  format: prompts
  files: questions.jsonl

reward letters:
  verify: "[a-m]"

reward ends:
  verify: "[a-m].?.?$"

reward both_of_them:
  sum:
    letters: 1
    ends: 0.5

train reinforce:
  objective: grpo(group=8, beta=0.02, epsilon=0.2, advantage=grpo, iterations=2)
  reward: letters
  rollout: sampling(temperature=0.9, max_tokens=12)
  sequence: 64 tokens
  batch: 4 prompts
  for: 20 steps
  max_epochs: 10
  optimizer: adamw(lr=3e-3)
  max_grad_norm: 1.0
  precision: float32
  checkpoint: every 20%

train adapt:
  objective: grpo(group=8, beta=0.02, epsilon=0.2, advantage=dr_grpo)
  adapter: lora(rank=4, alpha=8, on=[attention, mlp])
  reward: both_of_them
  rollout: sampling(top_p=0.95, max_tokens=8)
  sequence: 64 tokens
  batch: 4 prompts
  for: 20 steps
  max_epochs: 10
  optimizer: adamw(lr=1e-2)
  precision: float32

eval margin:
  choice: pairs.jsonl
  normalise: length
  metric: mean(margin)

study both:
  question: Does a reward raise itself?
  base: tiny
  arms:
    reinforced: base |> reinforce(data=questions)
    adapted: sharp |> adapt(data=questions)
  evals:
    margin: end
"""


def project(folder: Path, spec: str) -> Path:
    make_project(folder, spec)
    description = tiny_description()
    parameters = parameters_of(create(description.config, 2))
    # Whoever trains no embeddings can't do much with those of a random model, whose answers are all equally likely.
    export(folder / "sharp", description, {**parameters, "embedding": 6 * parameters["embedding"]})
    rows = ({"prompt": f"Question {number}?", "answer": "good"} for number in range(18))
    (folder / "questions.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return folder


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose study has been run."""
    folder = project(tmp_path_factory.mktemp("policies"), SPEC)
    done = mixc(folder, "run", "study.mix")
    assert done.returncode == 0, done.stderr
    return folder


def train_of(folder: Path, name: str) -> dict[str, Any]:
    plan = json.loads(mixc(folder, "plan", "study.mix", "--json").stdout)
    (found,) = [train for train in plan["trains"] if train["name"] == name]
    return found


def step_of(folder: Path, name: str) -> Path:
    return folder / "runs" / "steps" / train_of(folder, name)["key"]


def metrics_of(step: Path) -> dict[str, np.ndarray]:
    table = pq.read_table(step / "metrics.parquet")
    return {column: table[column].to_numpy() for column in table.column_names}


def answers_of(step: Path, update: int) -> list[dict[str, Any]]:
    return pq.read_table(step / "rollouts" / f"{update}.parquet").to_pylist()


def all_answers(step: Path) -> list[list[dict[str, Any]]]:
    return [answers_of(step, update) for update in range(1, 21)]


@pytest.mark.parametrize("name", ["reinforce", "adapt"])
def test_the_reward_rises(ran: Path, name: str) -> None:
    metrics = metrics_of(step_of(ran, name))
    assert metrics["update"].tolist() == list(range(1, 21))
    assert metrics["reward"][-5:].mean() > metrics["reward"][:3].mean() + 0.15
    assert metrics["kl"][0] < metrics["kl"][-1]
    # What the sampler says of its tokens is what training says of them; top_p or not, at the temperature.
    assert metrics["sampling/sampling_logp_difference/mean"].max() < 1e-4
    assert (metrics["groups/dropped"] == 0).all()


def test_a_second_update_on_a_batch_is_off_the_policy(ran: Path) -> None:
    metrics = metrics_of(step_of(ran, "reinforce"))
    assert metrics["clip_ratio/high_mean"].max() > 0
    metrics = metrics_of(step_of(ran, "adapt"))
    assert metrics["clip_ratio/high_mean"].max() == metrics["clip_ratio/low_mean"].max() == 0


@pytest.mark.parametrize(("name", "group", "kind"), [("reinforce", 8, "grpo"), ("adapt", 8, "dr_grpo")])
def test_every_answer_is_kept_with_what_it_was_worth(ran: Path, name: str, group: int, kind: Any) -> None:
    step = step_of(ran, name)
    metrics = metrics_of(step)
    for update, answers in enumerate(all_answers(step), 1):
        assert [each["prompt"] for each in answers] == [number for number in range(4) for _ in range(group)]
        assert [each["sample"] for each in answers] == 4 * list(range(group))
        rewards = np.array([each["reward"] for each in answers])
        expected = advantages_of(rewards.reshape(-1, group), kind).reshape(-1)
        np.testing.assert_allclose([each["advantage"] for each in answers], expected)
        np.testing.assert_allclose(metrics["reward"][update - 1], rewards.mean())
        assert all((each["finish"] == "stop") == (each["tokens"][-1] == 2) for each in answers)
        assert metrics["trained_tokens"][update - 1] == sum(len(each["tokens"]) for each in answers)
        assert len({tuple(each["tokens"]) for each in answers}) > len(answers) // 2
        if name == "adapt":
            for each in answers:
                terms = dict(each["terms"])
                assert each["reward"] == terms["letters"] + 0.5 * terms["ends"]
    assert {each["place"] for answers in all_answers(step) for each in answers} == {
        f"questions.jsonl:{line}" for line in range(1, 19)
    }


@pytest.mark.slow
def test_a_killed_run_goes_on_with_the_same_answers_to_the_same_bits(ran: Path, tmp_path: Path) -> None:
    folder = tmp_path / "killed"
    shutil.copytree(ran, folder)
    step = step_of(folder, "reinforce")
    shutil.rmtree(step)
    process = start(folder)
    while process.poll() is None and not (step / "rollouts" / "11.parquet").exists():
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    _, error = process.communicate(timeout=240)
    assert process.returncode == -signal.SIGKILL, error
    kept = {path.name: path.read_bytes() for path in (step / "rollouts").iterdir()}
    damaged = max(kept, key=lambda name: int(name.split(".")[0]))
    (step / "rollouts" / damaged).write_bytes(kept[damaged][:-40])  # made again, from the same random numbers
    done = mixc(folder, "run", "study.mix")
    assert done.returncode == 0, done.stderr
    assert "reinforce goes on after update" in done.stderr
    assert all((step / "rollouts" / name).read_bytes() == content for name, content in kept.items())
    assert all_answers(step) == all_answers(step_of(ran, "reinforce"))
    for one, other in zip(exported(ran, "reinforced").values(), exported(folder, "reinforced").values(), strict=True):
        assert one.tobytes() == other.tobytes()


JUDGED = (
    SPEC.replace("model sharp:\n  from: ./sharp\n\n", "")
    .replace('  verify: "[a-m]"\n', "  judge: critic\n  prompt: rubric.md\n  scale: 0..1\n")
    .replace("model tiny:", "model critic:\n  api: openai-api/local/tester\n  max_tokens: 50\n\nmodel tiny:")
    .replace("    adapted: sharp |> adapt(data=questions)\n", "")
    .replace("  checkpoint: every 20%\n", "  checkpoint: every 10%\n")
)
for unused in ("reward ends", "reward both_of_them", "train adapt"):
    at = JUDGED.index(f"{unused}:")
    JUDGED = JUDGED[:at] + JUDGED[JUDGED.index("\n\n", at) + 2 :]


def shown_answer(body: Body) -> str:
    return body["messages"][-1]["content"].split("<", 1)[1].rsplit(">", 1)[0]


def judgement(body: Body, count: int) -> str:
    """A score by the first character; a few answers can't be judged."""
    code = ord(shown_answer(body)[:1] or "a")
    return "I can't say." if code == ord("Q") else f"ANSWER: {code % 11 / 10}"


def judged_project(folder: Path) -> Path:
    project(folder, JUDGED)
    (folder / "rubric.md").write_text("To {{ prompt }} ({{ answer_key }}) it said <{{ answer }}>, from {{ scale }}?\n")
    rows = ({"prompt": f"Question {number}?", "answer_key": "good"} for number in range(18))
    (folder / "questions.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return folder


@pytest.mark.slow
def test_no_judge_is_asked_twice_and_what_cannot_be_read_drops_the_group(tmp_path: Path, server: Server) -> None:
    server.answer = judgement
    folder = judged_project(tmp_path)
    process = start(folder)
    (rollouts,) = wait_for_rollouts(folder, process, 6)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=240)
    done = mixc(folder, "run", "study.mix")
    assert done.returncode == 0, done.stderr
    answers = [each for update in range(1, 21) for each in pq.read_table(rollouts / f"{update}.parquet").to_pylist()]
    unreadable = [each for each in answers if each["reward"] is None]
    assert 0 < len(unreadable) <= len(answers) // 20
    assert all(each["unreadable"] == "critic said 'I can't say.'" for each in unreadable)
    assert all(each["dropped"] == (each["advantage"] is None) for each in answers)
    groups = [answers[first : first + 8] for first in range(0, len(answers), 8)]
    for group in groups:
        assert {each["dropped"] for each in group} == {any(each["reward"] is None for each in group)}
    metrics = metrics_of(rollouts.parent)
    assert metrics["groups/dropped"].sum() == sum(group[0]["dropped"] for group in groups) > 0
    asked_twice = [text for text, times in server.whole.items() if times > 1]
    assert all("<Q" in text for text in asked_twice)
    assert max(server.whole.values()) == 2


def wait_for_rollouts(folder: Path, process: Any, update: int) -> list[Path]:
    while process.poll() is None:
        found = [path.parent for path in folder.glob(f"runs/steps/*/rollouts/{update}.parquet")]
        if found:
            return found
        time.sleep(0.002)
    raise AssertionError(process.communicate()[1])


def test_a_judge_that_is_seldom_understood_stops_the_stage(tmp_path: Path, server: Server) -> None:
    server.answer = lambda body, count: "I can't say." if ord(shown_answer(body)[:1] or "a") % 3 else "ANSWER: 1"
    done = mixc(judged_project(tmp_path), "run", "study.mix")
    assert done.returncode == 1
    assert "judgements can't be read, though each was asked for twice; more than 5% stops here" in done.stderr
    assert "critic said 'I can't say.'" in done.stderr
    assert "questions.jsonl:" in done.stderr
    assert "Traceback" not in done.stderr
