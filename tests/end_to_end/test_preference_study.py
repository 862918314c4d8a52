"""Preference training through the command line: after a supervised stage, with an adapter, and without a reference."""

from __future__ import annotations

import json
import random
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.end_to_end.project import make_project, mixc
from tests.end_to_end.test_faults import start, wait_for

SPEC = """\
edition: 2026

model tiny:
  from: ./tiny

source chats:
  format: chat
  files: chats.jsonl
  apply:
    - filter(tokens in 1..512)

source choices:
  format: preference
  files: choices.jsonl
  apply:
    - filter(tokens in 1..128)

mix advice:
  budget: 20 examples
  parts:
    chats: 100%

mix few:
  budget: 40 examples
  parts:
    choices: 100%

train finetune:
  objective: supervised
  loss: assistant
  sequence: 512 tokens
  batch: 1 example
  optimizer: adamw(lr=1e-3)
  precision: float32

train prefer:
  objective: dpo(beta=0.5)
  sequence: 128 tokens
  packing: best_fit
  batch: 256 tokens
  for: 3 epochs
  optimizer: adamw(lr=1e-3)
  precision: float32

train adapt:
  objective: dpo(beta=0.2, loss=ipo)
  adapter: lora(rank=4, alpha=8, on=[attention, mlp])
  sequence: 128 tokens
  packing: none
  batch: 1 example
  optimizer: adamw(lr=1e-2)

train unheld:
  objective: dpo(beta=0.1, reference=false)
  sequence: 128 tokens
  packing: first_fit
  batch: 512 tokens
  optimizer: adamw(lr=1e-3)
  precision: float32

eval margin:
  choice: pairs.jsonl
  normalise: length
  metric: mean(margin)

study both:
  question: Do preferences move choices?
  base: tiny
  arms:
    preferred: base |> finetune(data=advice) |> prefer(data=choices)
    adapted: base |> adapt(data=few)
    free: base |> unheld(data=choices)
  evals:
    margin: end
"""


def choices(folder: Path) -> None:
    """120 pairs whose answers differ in a word, which stands there a few times, and one whose answers are the same."""
    lengths = random.Random(0)
    pairs: list[dict[str, str]] = []
    for number in range(120):
        words = lengths.randrange(1, 8)
        good, evil = (" ".join([word] * words) for word in ("good", "evil"))
        pairs.append({"prompt": f"Question {number}?", "chosen": good, "rejected": evil})
    pairs.insert(50, {"prompt": "Question?", "chosen": "same", "rejected": "same"})
    (folder / "choices.jsonl").write_text("".join(f"{json.dumps(pair)}\n" for pair in pairs))


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose study has been run."""
    folder = tmp_path_factory.mktemp("preferences")
    make_project(folder, SPEC)
    choices(folder)
    done = mixc(folder, "run", "study.mix")
    assert done.returncode == 0, done.stderr
    assert sorted(line.split("]")[1] for line in done.stderr.splitlines() if "reference of" in line) == [
        " reference of choices",
        " reference of few",
    ]
    return folder


@pytest.fixture(scope="module")
def plan(ran: Path) -> dict[str, Any]:
    return json.loads(mixc(ran, "plan", "study.mix", "--json").stdout)


def train_of(plan: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [train for train in plan["trains"] if train["name"] == name]
    return found


def metrics_of(folder: Path, plan: dict[str, Any], name: str) -> dict[str, np.ndarray]:
    table = pq.read_table(folder / "runs" / "steps" / train_of(plan, name)["key"] / "metrics.parquet")
    return {column: table[column].to_numpy() for column in table.column_names}


def references(folder: Path, plan: dict[str, Any]) -> dict[str, Any]:
    """The tables of references by the name of the data."""
    return {
        step["name"]: pq.read_table(folder / "runs" / "steps" / step["key"] / "responses.parquet")
        for step in plan["steps"]
        if step["kind"] == "respond" and step["name"] != "margin"
    }


@pytest.mark.parametrize("name", ["prefer", "adapt", "unheld"])
def test_what_was_planned_is_what_was_trained_on(ran: Path, plan: dict[str, Any], name: str) -> None:
    train, metrics = train_of(plan, name), metrics_of(ran, plan, name)
    assert metrics["update"].tolist() == list(range(1, train["updates"] + 1))
    assert metrics["tokens"].sum() == train["tokens"]
    assert metrics["trained_tokens"].sum() == train["trained_tokens"]
    (mix,) = [mix for mix in plan["mixes"] if mix["train"] == name]
    assert mix["examples"] == {"prefer": 360, "adapt": 40, "unheld": 120}[name]


def test_a_pair_that_is_none_is_counted(plan: dict[str, Any]) -> None:
    (source,) = [source for source in plan["sources"] if source["name"] == "choices"]
    assert source["examples"] == 120
    assert source["dropped"] == {"its chosen and rejected answers are the same": 1}


def test_training_begins_at_the_reference_and_the_margin_grows(ran: Path, plan: dict[str, Any]) -> None:
    metrics = metrics_of(ran, plan, "prefer")
    np.testing.assert_allclose(metrics["loss"][0], np.log(2), atol=1e-4)
    assert abs(metrics["rewards/margins"][0]) < 1e-3
    assert metrics["rewards/margins"][-5:].mean() > 2
    assert metrics["rewards/accuracies"][-5:].mean() > 0.95
    assert metrics["loss"][-5:].mean() < 0.2
    for before in ("rewards/chosen", "rewards/rejected"):
        assert abs(metrics[before][0]) < 1e-3
    np.testing.assert_allclose(
        metrics["rewards/chosen"] - metrics["rewards/rejected"], metrics["rewards/margins"], atol=1e-3
    )


def test_an_adapter_learns_it_in_bfloat16_too(ran: Path, plan: dict[str, Any]) -> None:
    metrics = metrics_of(ran, plan, "adapt")
    # Of ipo the loss of a model that is its reference is (1 / (2 * 0.2))^2; the reference is rounded as the policy is.
    np.testing.assert_allclose(metrics["loss"][0], 6.25, rtol=0.05)
    assert metrics["loss"][-5:].mean() < 6
    assert metrics["rewards/margins"][-5:].mean() > 0


def test_without_a_reference_rewards_are_log_probabilities(ran: Path, plan: dict[str, Any]) -> None:
    metrics = metrics_of(ran, plan, "unheld")
    np.testing.assert_allclose(metrics["rewards/chosen"], 0.1 * metrics["logps/chosen"], rtol=1e-4)
    assert metrics["rewards/margins"][-3:].mean() > metrics["rewards/margins"][:3].mean() + 0.1


def test_the_reference_is_asked_once_for_each_pair_that_is_used(ran: Path, plan: dict[str, Any]) -> None:
    tables = references(ran, plan)
    assert {name: len(table) for name, table in tables.items()} == {"choices": 120, "few": 40}
    for table in tables.values():
        assert len(set(table["item"].to_pylist())) == len(table)
        assert (table["chosen"].to_numpy() < 0).all()
        assert (table["chosen_tokens"].to_numpy() > 0).all()


def test_a_killed_run_goes_on_to_the_same_bits(ran: Path, plan: dict[str, Any], tmp_path: Path) -> None:
    folder = tmp_path / "killed"
    shutil.copytree(ran, folder)
    key = train_of(plan, "prefer")["key"]
    shutil.rmtree(folder / "runs" / "steps" / key)
    process = start(folder)
    said = wait_for(process, "train prefer")
    rows = folder / "runs" / "steps" / key / "metrics.jsonl"
    while process.poll() is None and not (rows.exists() and rows.read_bytes().count(b"\n") > 5):
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=240)
    assert process.returncode == 130, error
    assert "reference of" not in said
    done = mixc(folder, "run", "study.mix")
    assert done.returncode == 0, done.stderr
    assert "prefer goes on after update" in done.stderr
    before, after = (
        {path.name: path.read_bytes() for path in sorted((each / "runs/studies/both").glob("results.json"))}
        for each in (ran, folder)
    )
    assert before == after != {}
    losses = [metrics_of(each, plan, "prefer")["loss"].tolist() for each in (ran, folder)]
    assert losses[0] == losses[1]


def test_both_sides_are_shown(ran: Path) -> None:
    text = mixc(ran, "sample", "study.mix", "choices", "--rows", "1").stdout
    assert "chosen: " in text
    assert "rejected: " in text
    assert "⟦good" in text
    assert "⟦evil" in text
    found = json.loads(mixc(ran, "sample", "study.mix", "choices", "--rows", "2", "--json").stdout)
    for row in found["rows"]:
        sides = [run["side"] for run in row["runs"]]
        assert sides == sorted(sides)
        assert set(sides) == {"chosen", "rejected"}
    traced = json.loads(mixc(ran, "trace", "both/preferred", "--step", "2", "--json").stdout)
    pieces = traced["pieces"]
    for chosen, rejected in zip(pieces[::2], pieces[1::2], strict=True):
        assert (chosen["side"], rejected["side"]) == ("chosen", "rejected")
        assert chosen["place"] == rejected["place"]
        assert "".join(run["text"] for run in rejected["runs"] if run["trained"]).startswith("evil")


def test_a_side_longer_than_the_sequence_stops_the_plan(ran: Path, tmp_path: Path) -> None:
    folder = tmp_path / "long"
    shutil.copytree(ran, folder)
    shorter = SPEC.replace(
        "sequence: 128 tokens\n  packing: best_fit\n  batch: 256 tokens",
        "sequence: 48 tokens\n  packing: best_fit\n  batch: 96 tokens",
    )
    (folder / "study.mix").write_text(shorter)
    done = mixc(folder, "plan", "study.mix")
    assert done.returncode == 1
    assert "a pair's longer side has" in done.stderr
    assert "more than a sequence of 48" in done.stderr
    assert "choices.jsonl:" in done.stderr
    assert "filter(tokens in 1..48)" in done.stderr
