"""SmolLM2-135M against torch and transformers, by the reference files that `make_references.py` wrote."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from compiler.program.batch import Batch
from compiler.program.config import Parameters
from compiler.program.decoder import assemble
from compiler.program.objectives import Given, log_probabilities, supervised, target_count
from compiler.program.optimizer import adamw, schedule
from compiler.program.step import initial_state, make_train_step
from runtime.data.templates import chat_template, render
from runtime.weights import pretrained
from runtime.weights.description import ModelDescription
from runtime.weights.layout import unstack
from runtime.weights.location import resolve
from tests.parity.make_references import (
    BETAS,
    CLIP,
    EPSILON,
    FOLDER,
    GRADIENTS,
    LEARNING_RATE,
    MODEL,
    TEXTS,
    VOCABULARY,
    WEIGHT_DECAY,
)

NUMBERS = np.load(FOLDER / "numbers.npz")
TOKENS = json.loads((FOLDER / "tokens.json").read_text(encoding="utf-8"))


@cache
def description() -> ModelDescription:
    return pretrained.describe(resolve(MODEL, FOLDER))


@pytest.fixture(scope="module")
def parameters() -> Parameters:
    read = pretrained.read_parameters(resolve(MODEL, FOLDER), description().config)
    return jax.tree.map(jnp.asarray, read)


def _rows(tokens: np.ndarray) -> Batch:
    """Rows of one whole segment each, every token a target."""
    positions = jnp.broadcast_to(jnp.arange(tokens.shape[1], dtype=jnp.int32), tokens.shape)
    ones = jnp.ones_like(positions)
    return Batch(jnp.asarray(tokens, dtype=jnp.int32), ones, positions, ones.astype(jnp.bool_))


@pytest.mark.parametrize("case", TOKENS["texts"], ids=range(len(TOKENS["texts"])))
def test_token_ids_are_those_of_transformers(case: dict[str, Any]) -> None:
    tokenizer = description().tokenizer.tokenizer
    assert tokenizer.encode(case["text"]).ids == case["ids"]
    assert tokenizer.decode(case["ids"], skip_special_tokens=False) == case["decoded"]


@pytest.mark.parametrize("case", TOKENS["chats"], ids=range(len(TOKENS["chats"])))
def test_chats_are_rendered_as_by_transformers(case: dict[str, Any]) -> None:
    template = chat_template(description().tokenizer.chat_template, special={})
    assert render(template, case["messages"], generation_prompt=True).text == case["text"]


def test_every_text_survives_a_round_trip() -> None:
    assert [case["decoded"] for case in TOKENS["texts"]] == [case["text"] for case in TOKENS["texts"]]


@pytest.mark.parametrize("name", TEXTS)
def test_logits_are_those_of_transformers(parameters: Parameters, name: str) -> None:
    batch = _rows(NUMBERS[f"{name}.ids"][None])
    decoder = assemble(description().config, parameters)
    hidden = decoder(batch.tokens, batch.segments, batch.positions)[0, NUMBERS[f"{name}.positions"]]
    logits = hidden @ decoder.output_matrix().T
    np.testing.assert_allclose(logits[:, VOCABULARY], NUMBERS[f"{name}.logits"], atol=1e-3, rtol=0)
    np.testing.assert_allclose(jax.nn.logsumexp(logits, axis=-1), NUMBERS[f"{name}.logsumexp"], atol=1e-3, rtol=0)


def test_packed_texts_have_the_log_probabilities_of_each_alone(parameters: Parameters) -> None:
    decoder = assemble(description().config, parameters)
    texts = [NUMBERS[f"{name}.ids"] for name in TEXTS]
    together = Batch(
        tokens=jnp.asarray(np.concatenate(texts)[None]),
        segments=jnp.asarray(np.repeat(np.arange(1, len(texts) + 1, dtype=np.int32), [len(t) for t in texts])[None]),
        positions=jnp.asarray(np.concatenate([np.arange(len(t), dtype=np.int32) for t in texts])[None]),
        trained=jnp.ones((1, sum(map(len, texts))), dtype=jnp.bool_),
    )
    got = log_probabilities(decoder, together.tokens, together.segments, together.positions, chunk=64)[0]
    start = 0
    for text in texts:
        alone = _rows(text[None])
        expected = log_probabilities(decoder, alone.tokens, alone.segments, alone.positions, chunk=64)[0]
        np.testing.assert_allclose(got[start : start + len(text)], expected, atol=1e-3)
        start += len(text)


def test_one_update_is_that_of_torch(parameters: Parameters) -> None:
    config = description().config
    batch = _rows(NUMBERS["step.tokens"])
    count = target_count(batch)
    loss = supervised(config, "float32", chunk=64)
    given = Given(parameters, {}, jax.random.key(0))
    gradient = dict(
        unstack(config, jax.jit(jax.grad(lambda given: loss(given, batch, count)[0], allow_int=True))(given).trained)
    )
    for name, tensor in GRADIENTS.items():
        np.testing.assert_allclose(np.linalg.norm(gradient[tensor]), NUMBERS[f"step.norm.{name}"], rtol=1e-3)
    optimizer = adamw(schedule("constant", LEARNING_RATE, 2), *BETAS, EPSILON, WEIGHT_DECAY, CLIP)
    step = make_train_step(loss, optimizer)
    state = initial_state(optimizer, jax.tree.map(jnp.copy, parameters))  # a step takes over what it is given
    state, before = step(state, {}, batch, count)
    _, after = step(state, {}, batch, count)
    np.testing.assert_allclose(before.loss, NUMBERS["step.loss"], rtol=1e-5)
    np.testing.assert_allclose(before.gradient_norm, NUMBERS["step.gradient_norm"], rtol=1e-3)
    np.testing.assert_allclose(after.loss, NUMBERS["step.loss_after"], rtol=1e-4)
