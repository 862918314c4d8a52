"""What a stage trains, in numbers: they are those of the decoder itself."""

from __future__ import annotations

from math import prod
from pathlib import Path

import jax
import pytest

from compiler.passes.parameters import adapter_parameters, parameter_paths, stage_flops, trained_parameters
from compiler.program.adapters import lora_of
from compiler.program.config import DecoderConfig, parameter_count, training_flops
from compiler.program.decoder import adapter_shapes, parameter_shapes
from compiler.program.shapes import published
from compiler.stages import GRPO, Adapter, Group
from compiler.steps import Train
from tests.compiler.test_flows import planned

CONFIG = published("qwen3_0_6b")


@pytest.fixture
def step(tmp_path: Path) -> Train:
    ((_, step),) = planned(tmp_path, "base |> finetune(data=chats)").of(Train)
    return step


def _count(shapes: dict[str, object]) -> int:
    return sum(prod(leaf.shape) for leaf in jax.tree.leaves(shapes))


@pytest.mark.parametrize("on", [("attention",), ("mlp",), ("attention", "mlp")])
@pytest.mark.parametrize("config", [CONFIG, published("gemma3_1b")])
def test_an_adapters_parameters_are_counted(config: DecoderConfig, on: tuple[str, ...], step: Train) -> None:
    adapter = Adapter(rank=4, alpha="8", dropout="0", on=on)  # type: ignore[arg-type]
    count = _count(adapter_shapes(config, lora_of(adapter)))
    assert adapter_parameters(config, adapter) == count
    assert trained_parameters(config, step.model_copy(update={"adapter": adapter})) == count


def test_groups_leave_out_what_they_freeze(step: Train) -> None:
    frozen = (Group(paths="embedding", lr="0", weight_decay=None), Group(paths="*.scale", lr="1/10", weight_decay="0"))
    left = trained_parameters(CONFIG, step.model_copy(update={"groups": frozen}))
    assert left == parameter_count(CONFIG) - CONFIG.vocabulary * CONFIG.hidden
    assert trained_parameters(CONFIG, step) == parameter_count(CONFIG) == _count(parameter_shapes(CONFIG))


def test_paths_are_those_that_the_language_names() -> None:
    paths = parameter_paths(published("llama3_8b"))
    assert {"embedding", "output", "norm.scale", "layers.attention.query.weight"} <= set(paths)
    assert {"layers.feed_forward.up.weight", "layers.attention_norm.scale"} <= set(paths)


def test_an_adapter_saves_the_gradients_of_the_matrices_below(step: Train) -> None:
    tokens, pairs = 1000, 50_000
    whole = training_flops(CONFIG, tokens, pairs)
    adapter = Adapter(rank=4, alpha="8", dropout="0", on=("attention",))
    adapted = stage_flops(CONFIG, step.model_copy(update={"adapter": adapter}), tokens, pairs)
    assert stage_flops(CONFIG, step, tokens, pairs) == whole
    assert adapted is not None
    scales = CONFIG.layers * (2 * CONFIG.hidden + 2 * CONFIG.head_size) + CONFIG.hidden
    saved = 2 * (parameter_count(CONFIG) - scales) * tokens  # the embeddings are tied: their matrix is the output's
    assert adapted == whole - saved + 6 * adapter_parameters(CONFIG, adapter) * tokens


def test_nobody_knows_the_cost_of_rollouts(step: Train) -> None:
    objective = GRPO(
        group=4,
        beta="0",
        epsilon_low="1/5",
        epsilon_high="1/5",
        advantage="dr_grpo",
        iterations=1,
        truncated="train",
    )
    assert stage_flops(CONFIG, step.model_copy(update={"objective": objective}), 1000, 1000) is None
