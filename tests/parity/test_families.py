"""Small random models of every family against torch and transformers, by `make_family_references.py`'s file."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from compiler.program.batch import Batch
from compiler.program.config import DecoderConfig, Parameters
from compiler.program.decoder import assemble, create, parameters_of
from compiler.program.objectives import Given, supervised, target_count
from compiler.program.optimizer import adamw, schedule
from compiler.program.step import initial_state, make_train_step
from runtime.data.templates import chat_template, render
from runtime.weights import pretrained
from runtime.weights.families import read_settings, written_settings
from runtime.weights.huggingface import export
from runtime.weights.layout import stack, tensor_shapes, unstack
from tests.parity.make_family_references import (
    BETAS,
    CASES,
    CLIP,
    EPSILON,
    FILE,
    LEARNING_RATE,
    POSITIONS,
    TRAINED,
    UPDATES,
    VOCABULARY,
    WEIGHT_DECAY,
    around,
    projections,
    references,
    tensor,
    tokens,
)
from tests.tiny import tiny_description

NUMBERS = np.load(FILE)
QUICKLY: Any = {"xla_backend_optimization_level": 0}
"""Options of the compiler: programs run once and are small, so compiling them is most of the time."""


def _config(case: str) -> DecoderConfig:
    return read_settings(CASES[case], Path("config.json"))


def _parameters(case: str) -> Parameters:
    config, middle = _config(case), around(CASES[case])
    shapes = tensor_shapes(config)
    return jax.tree.map(jnp.asarray, stack(config, lambda name: tensor(name, shapes[name], middle)))


@cache
def _batch() -> Batch:
    ids = jnp.asarray(tokens())
    positions = jnp.broadcast_to(jnp.arange(ids.shape[1], dtype=jnp.int32), ids.shape)
    return Batch(ids, jnp.ones_like(ids), positions, jnp.ones_like(ids, dtype=jnp.bool_))


@pytest.mark.parametrize("case", CASES)
def test_logits_and_all_gradients_are_those_of_transformers(case: str) -> None:
    config, batch = _config(case), _batch()
    loss = supervised(config, "float32", chunk=16)

    def computed(parameters: Parameters) -> tuple[jax.Array, jax.Array, Parameters]:
        def of(trained: Parameters) -> jax.Array:
            return loss(Given(trained, {}, jax.random.key(0)), batch, target_count(batch))[0]

        decoder = assemble(config, parameters)
        logits = decoder.logits(decoder(batch.tokens, batch.segments, batch.positions))
        return logits, *jax.value_and_grad(of)(parameters)

    parameters = _parameters(case)
    logits, value, gradient = jax.jit(computed).lower(parameters).compile(QUICKLY)(parameters)
    np.testing.assert_allclose(logits[:, POSITIONS, VOCABULARY], NUMBERS[f"{case}/logits"], atol=1e-4, rtol=0)
    np.testing.assert_allclose(value, NUMBERS[f"{case}/loss"], rtol=1e-5)
    expected = dict(zip(NUMBERS[f"{case}/tensors"].tolist(), NUMBERS[f"{case}/gradients"], strict=True))
    plain = replace(config, family="llama")  # whose published tensors are the parameters: a gradient has no offset
    found = {name: projections(name, each) for name, each in unstack(plain, gradient)}
    assert found.keys() == expected.keys()
    for name, there in expected.items():
        np.testing.assert_allclose(found[name], there, rtol=0, atol=1e-3 * there[0], err_msg=name)


@pytest.mark.parametrize("case", TRAINED)
def test_twenty_updates_track_those_of_torch(case: str) -> None:
    batch = _batch()
    optimizer = adamw(schedule("constant", LEARNING_RATE, UPDATES), *BETAS, EPSILON, WEIGHT_DECAY, CLIP)
    step = make_train_step(supervised(_config(case), "float32", chunk=16), optimizer)
    state, losses, count = initial_state(optimizer, _parameters(case)), [], target_count(batch)
    compiled = step.lower(state, {}, batch, count).compile(QUICKLY)
    for _ in range(UPDATES + 1):
        state, metrics = compiled(state, {}, batch, count)
        losses.append(float(metrics.loss))
    assert losses[-1] < losses[0] - 1
    np.testing.assert_allclose(losses, NUMBERS[f"{case}/losses"], rtol=1e-3)


@pytest.mark.parametrize("case", CASES)
def test_settings_written_again_say_the_same_model(case: str) -> None:
    config = _config(case)
    assert read_settings(json.loads(json.dumps(written_settings(config))), Path("config.json")) == config


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # torch's and transformers' own
@pytest.mark.parametrize("case", CASES)
def test_the_reference_file_still_holds(case: str) -> None:
    pytest.importorskip("torch", reason="needs torch: pip install torch==2.13.0")
    pytest.importorskip("transformers", reason="needs transformers: pip install 'transformers==5.23.*'")
    for name, value in references(case).items():
        kept = NUMBERS[f"{case}/{name}"]
        if name == "tensors":
            assert value.tolist() == kept.tolist()
        elif name == "gradients":
            assert np.all(np.abs(value - kept) <= 1e-3 * kept[:, :1])
        else:
            np.testing.assert_allclose(value, kept, atol=1e-4, rtol=1e-4, err_msg=name)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # torch's and transformers' own
@pytest.mark.parametrize("case", CASES)
def test_an_exported_folder_loads_in_transformers(tmp_path: Path, case: str) -> None:
    torch: Any = pytest.importorskip("torch", reason="needs torch: pip install torch==2.13.0")
    transformers: Any = pytest.importorskip("transformers", reason="pip install 'transformers==5.23.*'")
    description = tiny_description()
    config = replace(_config(case), vocabulary=description.config.vocabulary)
    description = replace(description, config=config)
    parameters = parameters_of(create(config, 1))
    export(tmp_path, description, parameters)
    assert pretrained.describe(tmp_path).config == config

    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    messages = [{"role": "user", "content": "the 12 users, in the inn on the other"}]
    text = render(chat_template(description.tokenizer.chat_template, special={}), messages, generation_prompt=True).text
    assert tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True) == text
    ids = description.tokenizer.tokenizer.encode(text).ids
    assert tokenizer(text)["input_ids"] == ids

    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, attn_implementation="eager")
    with torch.no_grad():
        expected = model(torch.tensor([ids])).logits[0].numpy()
    decoder, row = assemble(config, parameters), jnp.asarray([ids], dtype=jnp.int32)
    hidden = decoder(row, jnp.ones_like(row), jnp.arange(len(ids), dtype=jnp.int32)[None])
    np.testing.assert_allclose(decoder.logits(hidden)[0], expected, atol=1e-4, rtol=0)
