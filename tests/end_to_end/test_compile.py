"""`mixc compile` as a user runs it: for pretended devices, and, where their compilers are installed, for real ones."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.metadata import distributions
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.tiny import make_tiny_model

SPEC = """\
edition: 2026

model tiny:
  from: ./tiny

model qwen3_8b:
  from: hf://Qwen/Qwen3-8B@9c925d64d72725edaf899c6cb9c377fd0709d9c5

source web:
  format: documents
  files: data/*.jsonl

source pairs:
  format: preference
  files: data/pairs.jsonl

train midtrain:
  objective: supervised
  loss: all
  sequence: 64 tokens
  packing: best_fit
  batch: 384 tokens
  for: 10k tokens
  optimizer: adamw(lr=2e-5)

train prefer:
  objective: dpo(beta=0.1)
  loss: completion
  sequence: 32 tokens
  batch: 8 examples
  optimizer: adamw(lr=2e-5)
  adapter: lora(rank=2, alpha=4, on=[attention])

model small:
  from: tiny |> midtrain(data=web) |> prefer(data=pairs)

model smaller:
  from: tiny |> midtrain(data=web)

model large:
  from: qwen3_8b |> midtrain(data=web, sequence=4096 tokens, batch=262144 tokens, for=100M tokens)

target four:
  platform: cpu
  shard: {fsdp: 2, tensor: 2}

target pod:
  platform: tpu
  topology: v5e:16x16
  memory: 16GiB
  shard: {fsdp: 64, tensor: 4}

target node:
  platform: gpu
  topology: h100:8
  memory: 80GiB
  shard: {fsdp: 8}
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compile")
    (folder / "spec.mix").write_text(SPEC)
    make_tiny_model(folder / "tiny", seed=0)
    return folder


def _compile(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return _mixc(project, "compile", "spec.mix", *arguments)


def _mixc(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mixc.cli.main", *arguments],
        cwd=project,
        env={name: value for name, value in os.environ.items() if name not in ("XLA_FLAGS", "JAX_PLATFORMS")},
        capture_output=True,
        text=True,
        check=False,
    )


def _figures(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


def _is_golden(name: str, text: str, config: pytest.Config) -> bool:
    golden = Path(__file__).parent.parent / "golden" / "compile" / name
    if config.getoption("--update-golden"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(text)
    return text == golden.read_text()


def test_a_models_stages_for_pretended_devices(project: Path, pytestconfig: pytest.Config) -> None:
    done = _compile(project, "small", "--target", "four", "--every", "--json", "-o", "out")
    assert done.returncode == 0, done.stderr
    midtrain, prefer, scorer, sampler = _figures(done)
    assert [each["program"] for each in (midtrain, prefer, scorer, sampler)] == ["train", "train", "scorer", "sampler"]
    assert midtrain["used_by"] == ["small/midtrain"]
    assert (midtrain["devices"], midtrain["fits"], midtrain["kernel"]) == (4, True, "xla")
    assert (midtrain["rows"], midtrain["filled_rows"], midtrain["length"]) == (6, 0, 64)
    assert prefer["by_kind"]["optimizer"] < midtrain["by_kind"]["optimizer"], "an adapter's moments alone"
    assert prefer["by_kind"]["frozen"] > 0
    assert prefer["length"] == 64, "two sides of a pair"
    assert midtrain["memory_bytes"] >= midtrain["arguments_bytes"] + midtrain["temporaries_bytes"]
    folder = project / "out"
    assert json.loads((folder / "plan.json").read_text())["spec"] == "spec.mix"
    own = folder / "train-small-midtrain"
    assert "stablehlo" in (own / "stablehlo.mlir").read_text()
    places = json.loads((own / "sharding.json").read_text())
    assert places["parameters.layers.attention.query.weight"] == {
        "shape": [2, 32, 32],
        "dtype": "float32",
        "spec": [None, "fsdp", "tensor"],
    }
    assert places["batch.tokens"]["spec"] == [["data", "fsdp"]]
    assert json.loads((own / "memory.json").read_text())["fits"]
    # What XLA's work takes on a CPU depends on the CPU.
    text = re.sub(
        r"^(    (activations and work|code|at most at once) +)[\d,]+",
        r"\1N",
        (folder / "plan.txt").read_text(),
        flags=re.M,
    )
    assert _is_golden("four.txt", text, pytestconfig)


def test_the_figures_in_words(project: Path) -> None:
    done = _compile(project, "smaller", "--target", "four")
    assert done.returncode == 0, done.stderr
    assert "train smaller/midtrain\n  fits: " in done.stdout
    assert "the data isn't there yet" in done.stdout


@pytest.mark.skipif(find_spec("libtpu") is not None, reason="libtpu is here")
def test_without_what_compiles_for_it_the_command_to_install_it_is_named(project: Path) -> None:
    done = _compile(project, "large", "--target", "pod")
    assert done.returncode == 1
    assert "pip install 'mixc[tpu-compile]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_target(project: Path) -> None:
    done = _compile(project, "large", "--target", "nod")
    assert done.returncode == 1
    assert "did you mean 'node'?" in done.stderr


@pytest.mark.parametrize("command", ["compile", "run"])
def test_a_kernel_of_another_platform_is_refused(project: Path, command: str) -> None:
    wrong = project / f"{command}.mix"
    wrong.write_text(SPEC.replace("  platform: cpu\n", "  platform: cpu\n  attention: pallas\n"))
    done = _mixc(project, command, wrong.name, "smaller", "--target", "four")
    assert done.returncode == 1
    assert "error[MIX0321]: the platform of target four is cpu, and pallas is for gpu" in done.stderr
    assert f"{wrong.name}:" in done.stderr


@pytest.mark.slow
@pytest.mark.skipif(find_spec("libtpu") is None, reason="needs libtpu: pip install 'mixc[tpu-compile]'")
def test_eight_billion_parameters_fit_a_pod(project: Path) -> None:
    (figures,) = _figures(_compile(project, "large", "--target", "pod", "--json"))
    assert figures["fits"]
    assert figures["kernel"] == "splash"
    assert figures["memory_bytes"] < 10 * 2**30
    assert "table of published shapes" in figures["notes"][0]


@pytest.mark.slow
@pytest.mark.skipif(
    not list(distributions(name="jax-cuda12-pjrt")),
    reason="needs CUDA's plug-in: pip install 'mixc[gpu-compile]'",
)
def test_eight_billion_parameters_fit_eight_gpus_in_parts(project: Path) -> None:
    done = _compile(project, "large", "--target", "node", "--suggest", "--json")
    (figures,) = _figures(done)
    assert done.returncode == 1
    assert not figures["fits"]
    assert figures["kernel"] == "pallas"
    assert figures["suggestion"]["remat"] == "projections"
    assert figures["suggestion"]["memory_bytes"] < figures["device_memory_bytes"]
