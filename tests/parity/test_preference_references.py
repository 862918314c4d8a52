"""Preference losses against torch, by the reference file that `make_preference_references.py` wrote."""

from __future__ import annotations

import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from compiler.program.config import Parameters
from compiler.program.objectives import Given, log_probabilities
from compiler.program.preferences import PairBatch, preference_loss
from runtime.weights.layout import unstack
from tests.parity.make_preference_references import CASES, CONFIG, FILE, WHOLE, pairs, references, weights

NUMBERS = np.load(FILE)
LENGTH = 64


def _packed(slots: int, rows: list[list[int]]) -> PairBatch:
    """The made-up pairs, so many of them in a row as `rows` says by their numbers."""
    made = pairs()
    tokens, segments, positions = (np.zeros((len(rows), LENGTH), np.int32) for _ in range(3))
    trained, reference = np.zeros((len(rows), LENGTH), np.bool_), np.zeros((len(rows), slots), np.float32)
    held = NUMBERS["reference"].reshape(2, -1)
    for row, numbers in enumerate(rows):
        start = 0
        for place, number in enumerate(numbers):
            for side, answers in enumerate((made.chosen, made.rejected)):
                own = slice(start, start := start + len(answers[number]))
                tokens[row, own] = answers[number]
                segments[row, own] = 2 * place + side + 1
                positions[row, own] = np.arange(len(answers[number]))
                trained[row, own] = np.arange(len(answers[number])) >= made.prompts[number]
                reference[row, 2 * place + side] = held[side, number]
    return PairBatch(*map(jnp.asarray, (tokens, segments, positions, trained, reference)))


@pytest.fixture(scope="module")
def batch() -> PairBatch:
    return _packed(4, [[0, 1], [2], [4, 3], []])


@pytest.mark.parametrize("name", CASES)
def test_losses_and_gradients_are_torch_s(batch: PairBatch, name: str) -> None:
    kind, beta, kept = CASES[name]
    loss = preference_loss(CONFIG, "float32", beta, "sigmoid" if kind == "sigmoid" else "ipo")
    given = Given(jax.tree.map(jnp.asarray, weights(1)), {}, jax.random.key(0))
    batch = batch if kept else batch._replace(reference=jnp.zeros_like(batch.reference))

    @jax.jit
    def of_trained(trained: Parameters, batch: PairBatch) -> Any:
        return jax.value_and_grad(lambda it: loss(given._replace(trained=it), batch, jnp.int32(5)), has_aux=True)(
            trained
        )

    (value, sums), gradient = of_trained(given.trained, batch)
    assert sums.pop("pairs") == 5
    np.testing.assert_allclose(value, NUMBERS[f"{name}.loss"], rtol=1e-5)
    for told, total in sums.items():
        np.testing.assert_allclose(total / 5, NUMBERS[f"{name}.{told}"], rtol=1e-5, atol=1e-5, err_msg=told)
    tensors = dict(unstack(CONFIG, gradient))
    np.testing.assert_allclose(tensors[WHOLE], NUMBERS[f"{name}.gradient"], atol=1e-5, rtol=1e-5)
    for tensor, values in tensors.items():
        expected = NUMBERS[f"{name}.norm.{tensor}"]
        np.testing.assert_allclose(np.linalg.norm(values), expected, rtol=1e-5, err_msg=tensor)


def test_the_reference_s_log_probabilities_are_torch_s() -> None:
    from compiler.program.decoder import assemble

    batch = _packed(2, [[0], [1], [2], [3], [4]])
    decoder = assemble(CONFIG, jax.tree.map(jnp.asarray, weights(2)))
    values = jnp.where(batch.trained, log_probabilities(decoder, *batch[:3]), 0.0)
    of_sides = [jnp.sum(jnp.where(batch.segments == side, values, 0.0), axis=1) for side in (1, 2)]
    np.testing.assert_allclose(jnp.concatenate(of_sides), NUMBERS["reference"], rtol=1e-5)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # torch's and transformers' own
def test_the_reference_file_still_holds() -> None:
    pytest.importorskip("torch", reason="needs torch: pip install torch==2.13.0")
    pytest.importorskip("transformers", reason="needs transformers: pip install 'transformers==5.23.*'")
    assert json.loads(str(NUMBERS["made_by"]))["command"].endswith("make_preference_references")
    for name, value in references().items():
        np.testing.assert_allclose(value, NUMBERS[name], atol=1e-5, rtol=1e-4, err_msg=name)
