"""Low-rank adapters against peft, by the reference file that `make_peft_references.py` wrote."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from compiler.program.adapters import merge
from compiler.program.batch import Batch
from compiler.program.config import Parameters
from compiler.program.decoder import assemble, merged
from compiler.program.groups import leaves
from compiler.program.objectives import Given, supervised, target_count
from compiler.program.objectives import log_probabilities as ours
from compiler.program.optimizer import adamw, schedule
from compiler.program.step import initial_state, make_train_step
from runtime.weights.huggingface import export
from runtime.weights.peft import WEIGHTS, read_adapter, write_adapter
from tests.parity.make_peft_references import (
    BETAS,
    CLIP,
    EPSILON,
    FILE,
    LEARNING_RATE,
    LORAS,
    UPDATES,
    WEIGHT_DECAY,
    adapter,
    base,
    log_probabilities,
    on_peft,
    references,
    tokens,
)
from tests.tiny import tiny_description

NUMBERS = np.load(FILE)
CONFIG = tiny_description().config


def arrays(tree: Parameters) -> Parameters:
    return jax.tree.map(jnp.asarray, tree)


def batch() -> Batch:
    """Rows of one segment each, every token a target."""
    rows = jnp.asarray(tokens())
    ones = jnp.ones_like(rows)
    return Batch(rows, ones, jnp.broadcast_to(jnp.arange(rows.shape[1], dtype=jnp.int32), rows.shape), ones > 0)


@pytest.mark.parametrize("name", LORAS)
def test_forward_gradient_and_ten_updates_are_those_of_peft(name: str, tmp_path: Path) -> None:
    lora, given = LORAS[name], batch()
    loss, count = supervised(CONFIG, "float32", chunk=64, lora=lora), target_count(given)

    def of_adapter(trained: Parameters) -> tuple[jax.Array, jax.Array]:
        decoder = assemble(CONFIG, merged(trained, arrays(base())), lora)
        values = ours(decoder, given.tokens, given.segments, given.positions, chunk=64)
        return loss(Given(trained, arrays(base()), jax.random.key(0)), given, count)[0], values

    gradient, values = jax.jit(jax.grad(of_adapter, has_aux=True))(arrays(adapter(lora)))
    np.testing.assert_allclose(values[:, 1:], NUMBERS[f"{name}/log_probabilities"], atol=1e-4)
    write_adapter(tmp_path, gradient, lora, base=None)
    got = load_file(tmp_path / WEIGHTS)
    expected = {key.split("/gradient.")[1] for key in NUMBERS.files if key.startswith(f"{name}/gradient.")}
    assert got.keys() == expected
    for tensor, value in got.items():
        reference = NUMBERS[f"{name}/gradient.{tensor}"]
        assert np.abs(value - reference).max() < 1e-3 * np.abs(reference).max(), tensor

    optimizer = adamw(schedule("constant", LEARNING_RATE, UPDATES), *BETAS, EPSILON, WEIGHT_DECAY, CLIP)
    step = make_train_step(loss, optimizer)
    state, frozen, losses = initial_state(optimizer, arrays(adapter(lora))), arrays(base()), []
    for _ in range(UPDATES):
        state, metrics = step(state, frozen, given, count)
        losses.append(metrics.loss)
    np.testing.assert_allclose(losses, NUMBERS[f"{name}/losses"], rtol=1e-3)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # torch's, transformers' and peft's own
@pytest.mark.parametrize("name", LORAS)
def test_the_reference_file_still_holds_and_folders_go_both_ways(name: str, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs torch: pip install torch==2.13.0")
    pytest.importorskip("peft", reason="needs peft: pip install --no-deps peft accelerate")
    from transformers import LlamaForCausalLM

    lora = LORAS[name]
    for key, value in references(lora).items():
        np.testing.assert_allclose(value, NUMBERS[f"{name}/{key}"], atol=1e-5, rtol=1e-3, err_msg=key)
    model = on_peft(tmp_path, lora)
    model.save_pretrained(tmp_path / "saved")
    read, values = read_adapter(tmp_path / "saved", CONFIG)
    assert read == lora
    for (path, one), (_, other) in zip(leaves(values), leaves(adapter(lora)), strict=True):
        np.testing.assert_array_equal(one, other, err_msg=".".join(path))
    # A merged model, exported, is peft's merged model.
    export(tmp_path / "merged", tiny_description(), merge(arrays(base()), arrays(adapter(lora)), lora))
    ours_merged = log_probabilities(LlamaForCausalLM.from_pretrained(tmp_path / "merged"))
    np.testing.assert_allclose(ours_merged, log_probabilities(model.merge_and_unload()), atol=1e-5)
    np.testing.assert_allclose(ours_merged, NUMBERS[f"{name}/log_probabilities"], atol=1e-4)
