"""Log-probabilities and the supervised loss, against the whole logits."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from compiler.program.batch import Batch
from compiler.program.config import Parameters, Precision
from compiler.program.decoder import assemble, create, parameters_of
from compiler.program.objectives import Given, log_probabilities, supervised, target_count
from tests.compiler.program.small import SMALL, packed

ROWS = [[5, 9, 4], [20], [1, 2, 1], []]


def _whole(parameters: Parameters, batch: Batch) -> jax.Array:
    """Log-probabilities by the definition, with all logits at once."""
    decoder = assemble(SMALL, parameters)
    logits = decoder(batch.tokens, batch.segments, batch.positions) @ decoder.output_matrix().T
    following = jax.nn.log_softmax(logits)[:, :-1]
    values = jnp.take_along_axis(following, batch.tokens[:, 1:, None], axis=-1)[..., 0]
    return jnp.where(batch.positions > 0, jnp.pad(values, ((0, 0), (1, 0))), 0.0)


@pytest.fixture(scope="module")
def parameters() -> Parameters:
    return parameters_of(create(SMALL, 0))


@pytest.mark.parametrize("chunk", [1, 7, 64, 80, 1000])
def test_chunks_give_the_whole(parameters: Parameters, chunk: int) -> None:
    batch = packed(ROWS, 20)
    decoder = assemble(SMALL, parameters)
    got = log_probabilities(decoder, batch.tokens, batch.segments, batch.positions, chunk=chunk)
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, _whole(parameters, batch), atol=1e-5)


def _loss(precision: Precision = "float32", chunk: int = 512) -> Callable[[Parameters, Batch, jax.Array], jax.Array]:
    """The supervised loss of all parameters."""
    loss = supervised(SMALL, precision, chunk)
    return lambda parameters, batch, count: loss(Given(parameters, {}, jax.random.key(0)), batch, count)[0]


@pytest.mark.parametrize("chunk", [7, 80])
def test_chunks_give_the_whole_gradient(parameters: Parameters, chunk: int) -> None:
    batch = packed(ROWS, 20)
    count = target_count(batch)

    def plain(parameters: Parameters) -> jax.Array:
        return -jnp.sum(jnp.where(batch.trained, _whole(parameters, batch), 0.0)) / count.astype(jnp.float32)

    expected = jax.value_and_grad(plain)(parameters)
    got = jax.value_and_grad(_loss(chunk=chunk))(parameters, batch, count)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=2e-6), got, expected)


def test_first_tokens_and_padding_have_no_log_probability(parameters: Parameters) -> None:
    batch = packed(ROWS, 20)
    got = log_probabilities(assemble(SMALL, parameters), batch.tokens, batch.segments, batch.positions)
    assert ((got == 0) == ((batch.positions == 0) | (batch.segments == 0))).all()


def test_first_tokens_and_padding_are_never_targets(parameters: Parameters) -> None:
    batch = packed(ROWS, 20)
    everything = batch._replace(trained=jnp.ones_like(batch.trained))
    allowed = batch._replace(trained=(batch.positions > 0) & (batch.segments > 0))
    assert target_count(everything) == target_count(allowed) == 4 + 8 + 3 + 19 + 0 + 1 + 0
    loss = _loss()
    count = target_count(allowed)
    assert loss(parameters, everything, count) == loss(parameters, allowed, count)


def test_the_loss_does_not_depend_on_padding(parameters: Parameters) -> None:
    batch = packed([[5, 9, 4]], 18)
    wider: Batch = jax.tree.map(lambda field: jnp.pad(field, ((0, 1), (0, 10))), batch)
    loss = _loss()
    count = target_count(batch)
    assert target_count(wider) == count
    np.testing.assert_allclose(loss(parameters, wider, count), loss(parameters, batch, count), rtol=1e-6)


def test_a_batch_without_targets_costs_nothing(parameters: Parameters) -> None:
    batch = packed([[5]], 8, trained=0.0)
    value, gradient = jax.value_and_grad(_loss())(parameters, batch, jnp.int32(3))
    assert value == 0
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(gradient))


def test_bfloat16_keeps_the_loss_and_the_gradient_float32(parameters: Parameters) -> None:
    batch = packed(ROWS, 20)
    count = target_count(batch)
    wide, narrow = (
        jax.value_and_grad(_loss(precision))(parameters, batch, count) for precision in ("float32", "bfloat16")
    )
    assert {leaf.dtype for leaf in jax.tree.leaves(narrow)} == {np.dtype("float32")}
    np.testing.assert_allclose(narrow[0], wide[0], rtol=1e-2)


def test_the_losses_of_parts_come_to_the_whole(parameters: Parameters) -> None:
    batch = packed(ROWS, 20)
    halves = jnp.tile((jnp.arange(20, dtype=jnp.int32) >= 7).astype(jnp.int32), (len(ROWS), 1))
    given, count = Given(parameters, {}, jax.random.key(0)), target_count(batch)
    loss, sums = supervised(SMALL, "float32", parts=3)(given, batch._replace(parts=halves), count)
    values = np.where(np.asarray(batch.trained), -np.asarray(_whole(parameters, batch)), 0.0)
    expected = [values[:, :7].sum(), values[:, 7:].sum(), 0.0]
    np.testing.assert_allclose(sums["part_losses"], expected, rtol=1e-5)
    np.testing.assert_allclose(loss, sum(expected) / int(count), rtol=1e-5)
    targets = np.asarray(batch.trained & (batch.positions > 0))
    assert sums["part_targets"].tolist() == [targets[:, :7].sum(), targets[:, 7:].sum(), 0]
