"""`mixc run --target`: the same study on a mesh, in micro-batches, and on a machine that isn't the target."""

from __future__ import annotations

import json
from pathlib import Path

import jax
import pytest

from mixc.cli.main import main
from tests.end_to_end.project import make_project

SPEC = """\
edition: 2026

model tiny:
  from: ./tiny

source chats:
  format: chat
  files: chats.jsonl
  apply:
    - filter(tokens in 1..512)

train finetune:
  objective: supervised
  loss: assistant
  sequence: 512 tokens
  batch: 3 examples
  for: 20 steps
  max_epochs: 9
  optimizer: adamw(lr=1e-3)
  precision: float32

eval margin:
  choice: pairs.jsonl
  metric: mean(margin)

target one:
  platform: cpu

target two:
  platform: cpu
  devices: 2
  shard: {fsdp: 2}
  micro_batch: 2 examples
  remat: full

target many:
  platform: cpu
  devices: 64
  shard: {fsdp: 64}

target pod:
  platform: tpu
  topology: v5e:16x16
  shard: {fsdp: 64, tensor: 4}

study tuned:
  base: tiny
  arms:
    advice: base |> finetune(data=chats)
  evals:
    margin: [start, 50%, end]
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    make_project(tmp_path, SPEC)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _margins(capsys: pytest.CaptureFixture[str], store: str, *words: str) -> list[float]:
    assert main(["run", "study.mix", "--json", "--store", store, *words]) == 0
    return [point["value"] for point in json.loads(capsys.readouterr().out)["arms"]["advice"]["margin"]]


def test_a_mesh_with_micro_batches_trains_the_same(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert jax.device_count() == 2
    alone, spread = _margins(capsys, "one", "--target", "one"), _margins(capsys, "two", "--target", "two")
    assert spread == pytest.approx(alone, abs=2e-3)
    assert abs(alone[-1] - alone[0]) > 0.05  # it trained at all


@pytest.mark.parametrize(
    ("target", "message", "help"),
    [
        ("many", "target many has 64 CPU devices, and here are 2 of CPU", "xla_force_host_platform_device_count=64"),
        ("pod", "target pod has 256 TPU devices, and here are 2 of CPU", "name a target that is this machine"),
        ("tow", "has no target 'tow'", "did you mean 'two'?"),
    ],
)
def test_another_machine_is_an_error(
    project: Path, capsys: pytest.CaptureFixture[str], target: str, message: str, help: str
) -> None:
    assert main(["run", "study.mix", "--target", target]) == 1
    told = capsys.readouterr().err
    assert message in told
    assert help in told
