"""The weighted sum of log-probabilities against the definition, its gradient, and what it doesn't compute."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from compiler.program.cross_entropy import weighted_log_probabilities

ROWS, LENGTH, HIDDEN, VOCABULARY = 3, 37, 8, 50


def _given(share: float) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Hidden states, output matrix, targets, and weights, a `share` of which aren't 0."""
    random = np.random.default_rng(0)
    hidden = random.normal(size=(ROWS, LENGTH, HIDDEN)).astype(np.float32)
    output = random.normal(size=(VOCABULARY, HIDDEN)).astype(np.float32)
    targets = random.integers(0, VOCABULARY, (ROWS, LENGTH)).astype(np.int32)
    weights = random.normal(size=(ROWS, LENGTH)) * (random.random((ROWS, LENGTH)) < share)
    hidden, output, targets = map(jnp.asarray, (hidden, output, targets))
    return hidden, output, targets, jnp.asarray(weights.astype(np.float32))


def _plain(
    hidden: jax.Array, output: jax.Array, targets: jax.Array, weights: jax.Array, softcap: float | None
) -> tuple[jax.Array, jax.Array]:
    logits = hidden @ output.T
    if softcap is not None:
        logits = softcap * jnp.tanh(logits / softcap)
    values = jnp.take_along_axis(jax.nn.log_softmax(logits), targets[..., None], axis=-1)[..., 0]
    values = jnp.where(weights == 0, 0.0, values)
    return jnp.sum(weights * values), values


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
@pytest.mark.parametrize(("chunk", "softcap"), [(2, None), (20, None), (20, 3.0), (1000, None)])
def test_value_and_gradient_are_those_of_the_definition(share: float, chunk: int, softcap: float | None) -> None:
    *arrays, targets, weights = _given(share)

    def ours(hidden: jax.Array, output: jax.Array) -> tuple[jax.Array, jax.Array]:
        total, values = weighted_log_probabilities(hidden, output, targets, weights, chunk, softcap)
        return 3.0 * total, values  # what comes after the sum scales the gradient

    def plain(hidden: jax.Array, output: jax.Array) -> tuple[jax.Array, jax.Array]:
        total, values = _plain(hidden, output, targets, weights, softcap)
        return 3.0 * total, values

    got, expected = (jax.value_and_grad(f, (0, 1), has_aux=True)(*arrays) for f in (ours, plain))
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=2e-5, rtol=1e-5), got, expected)


def test_nothing_is_computed_for_a_frozen_output_matrix_nor_for_a_value_alone() -> None:
    hidden, output, targets, weights = _given(1.0)

    def total(hidden: jax.Array, output: jax.Array) -> jax.Array:
        return weighted_log_probabilities(hidden, output, targets, weights, 20)[0]

    def products(function: Callable[[jax.Array, jax.Array], object]) -> int:
        return str(jax.make_jaxpr(function)(hidden, output)).count("dot_general[")

    both, of_hidden = jax.grad(total, (0, 1)), jax.grad(total)
    assert [products(total), products(of_hidden), products(both)] == [1, 2, 3]
    np.testing.assert_array_equal(of_hidden(hidden, output), both(hidden, output)[0])


def test_a_chunk_without_weights_is_skipped() -> None:
    hidden, output, targets, _ = _given(1.0)
    # Three weights a row, far apart: with chunks of three tokens a row, only the first chunk is computed, and the
    # rest, whose log-probabilities would be those of infinite states, is not.
    chosen = jnp.zeros((ROWS, LENGTH), dtype=jnp.bool_).at[:, jnp.asarray([0, 20, 36])].set(True)
    hidden = jnp.where(chosen[..., None], hidden, jnp.inf)
    weights = chosen.astype(jnp.float32)
    total, gradient = jax.value_and_grad(
        lambda output: weighted_log_probabilities(hidden, output, targets, weights, 9)[0]
    )(output)
    assert jnp.isfinite(total)
    assert jnp.isfinite(gradient).all()


def test_bfloat16_states_give_a_float32_sum_and_gradient() -> None:
    hidden, output, targets, weights = _given(1.0)

    def total(hidden: jax.Array, output: jax.Array) -> jax.Array:
        return weighted_log_probabilities(hidden, output, targets, weights, 20)[0]

    value, (of_hidden, of_output) = jax.value_and_grad(total, (0, 1))(hidden.astype(jnp.bfloat16), output)
    exact = jax.grad(total, 1)(hidden, output)
    assert (value.dtype, of_hidden.dtype, of_output.dtype) == (jnp.float32, jnp.bfloat16, jnp.float32)
    np.testing.assert_allclose(of_output, exact, atol=0.03 * float(jnp.abs(exact).max()))
