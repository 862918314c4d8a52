"""A stage with an adapter, one that goes on with it, one that takes it in: trained, killed, measured and exported."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from runtime.disk import MARK
from tests.end_to_end.project import command, environment, make_project, mixc

ADAPTER = "lora(rank=2, alpha=8, dropout=0.1, on=[attention])"
SPEC = f"""\
edition: 2026

model tiny:
  from: ./tiny

model exported:
  from: ./two

source stories:
  format: documents
  files: stories/*.md
  holdout: 30%

mix character:
  budget: 6k tokens
  max_epochs: 4
  parts:
    stories: 100%

train begin:
  objective: supervised
  loss: all
  sequence: 256 tokens
  packing: best_fit
  batch: 256 tokens
  adapter: {ADAPTER}
  optimizer: adamw(lr=1e-2)
  schedule: wsd(decay=25%)
  precision: float32
  checkpoint: every 25%

train go_on:
  extends: begin
  optimizer: sgd(lr=1e-2, momentum=0.9)

train take_in:
  objective: supervised
  loss: all
  sequence: 256 tokens
  packing: best_fit
  batch: 256 tokens
  optimizer: muon(lr=1e-2, other_lr=1e-3)
  groups:
    - embedding: frozen
    - layers.feed_forward.*: {{lr: 50%}}
  max_grad_norm: 1
  precision: float32

eval story_loss:
  loss: [stories.holdout]

study both:
  question: Do adapters go on, and are they taken in?
  arms:
    one: tiny |> begin(data=character)
    two: tiny |> begin(data=character) |> go_on(data=character)
    three: tiny |> begin(data=character) |> go_on(data=character) |> take_in(data=character)
  evals:
    story_loss: [start, end]
"""

MEASURED = SPEC[: SPEC.index("study both")] + (
    "study again:\n  question: What was exported is what was measured.\n  arms:\n    two: exported\n"
    "  evals:\n    story_loss: [end]\n"
)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose study has been run."""
    folder = tmp_path_factory.mktemp("project")
    make_project(folder, SPEC.replace("model exported:\n  from: ./two\n\n", ""))
    done = mixc(folder, "run", "study.mix")
    assert done.returncode == 0, done.stderr
    return folder


def trains(folder: Path) -> dict[str, Path]:
    """Where the results of each train step lie, by the stage's name."""
    done = mixc(folder, "plan", "study.mix", "--json")
    assert done.returncode == 0, done.stderr
    return {train["name"]: folder / "runs" / "steps" / train["key"] for train in json.loads(done.stdout)["trains"]}


def export(folder: Path, arm: str, to: str, *words: str) -> Path:
    done = mixc(folder, "export", f"both/{arm}", "--to", to, *words)
    assert done.returncode == 0, done.stderr
    return folder / to


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def values(folder: Path, study: str, arm: str) -> list[float]:
    results = json.loads((folder / "runs" / "studies" / study / "results.json").read_text())
    return [point["value"] for point in results["arms"][arm]["story_loss"]]


def test_checkpoints_hold_what_is_trained_and_nothing_else(ran: Path) -> None:
    whole = size(ran / "tiny")
    folders = trains(ran)
    assert folders.keys() == {"begin", "go_on", "take_in"}
    for name in ("begin", "go_on"):
        for weights in (folders[name] / "weights").iterdir():
            assert size(weights) < 0.3 * whole
    trained = json.loads(next(folders["take_in"].glob("weights/*/_METADATA")).read_text())["tree_metadata"]
    assert not [name for name in trained if "embedding" in name]
    assert [name for name in trained if "feed_forward" in name]


@pytest.fixture(scope="module")
def merged(ran: Path) -> dict[str, dict[str, np.ndarray]]:
    """The exported weights of two arms."""
    return {arm: load_file(export(ran, arm, arm) / "model.safetensors") for arm in ("two", "three")}


def test_exported_models_are_base_and_adapter_in_one(ran: Path, merged: dict[str, dict[str, np.ndarray]]) -> None:
    before = load_file(ran / "tiny" / "model.safetensors")
    parts = export(ran, "two", "parts", "--adapter")
    base = load_file(parts / "base" / "model.safetensors")
    adapter = load_file(parts / "adapter" / "adapter_model.safetensors")
    assert all(np.array_equal(base[name], before[name]) for name in before)
    for name, value in merged["two"].items():
        module = f"base_model.model.{name.removesuffix('.weight')}"
        if f"{module}.lora_A.weight" not in adapter:
            assert np.array_equal(value, before[name])
            continue
        change = adapter[f"{module}.lora_B.weight"] @ adapter[f"{module}.lora_A.weight"]
        np.testing.assert_allclose(value, before[name] + change * 4, atol=1e-6)
        assert np.abs(change).max() > 1e-3
    changed = {name for name in before if not np.array_equal(merged["two"][name], merged["three"][name])}
    assert before.keys() - changed == {"model.embed_tokens.weight"}
    refused = mixc(ran, "export", "both/three", "--to", "none", "--adapter")
    assert refused.returncode == 1
    assert "has no adapter" in refused.stderr


@pytest.mark.usefixtures("merged")
def test_evaluations_read_the_merged_weights(ran: Path) -> None:
    """An exported model, measured as any other, has the same held-out loss; and each stage changed it."""
    ends = [values(ran, "both", arm)[-1] for arm in ("one", "two", "three")]
    assert len({values(ran, "both", "one")[0], *ends}) == 4
    (ran / "again.mix").write_text(MEASURED)
    done = mixc(ran, "run", "again.mix")
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(values(ran, "again", "two")[0], ends[1], rtol=1e-6)


@pytest.mark.slow
def test_a_killed_adapter_goes_on_to_the_same_bits(
    ran: Path, merged: dict[str, dict[str, np.ndarray]], tmp_path: Path
) -> None:
    folder = tmp_path / "killed"
    shutil.copytree(ran, folder)
    shutil.rmtree(folder / "three")
    steps = trains(folder)
    for name in ("go_on", "take_in"):
        shutil.rmtree(steps[name])
    process = subprocess.Popen(command("run", "study.mix"), cwd=folder, env=environment(), stderr=subprocess.DEVNULL)
    while not (steps["go_on"] / "state" / "7" / MARK).exists():  # a quarter of 25 updates
        assert process.poll() is None
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    done = mixc(folder, "run", "study.mix")
    assert done.returncode == 0, done.stderr
    assert "go_on goes on after update" in done.stderr
    got = load_file(export(folder, "three", "three") / "model.safetensors")
    assert all(np.array_equal(merged["three"][name], got[name]) for name in got)
    assert values(folder, "both", "two") == values(ran, "both", "two")
