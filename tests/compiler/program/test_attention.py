"""Attention against plain NumPy."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from compiler.program.attention import attention


def _naive(query: np.ndarray, key: np.ndarray, value: np.ndarray, segments: np.ndarray) -> np.ndarray:
    rows, length, heads, head_size = query.shape
    shared = heads // key.shape[2]
    out = np.zeros_like(query)
    for row in range(rows):
        for head in range(heads):
            for place in range(length):
                seen = [s for s in range(place + 1) if segments[row, s] == segments[row, place]]
                scores = key[row, seen, head // shared] @ query[row, place, head] / np.sqrt(head_size)
                weights = np.exp(scores - scores.max())
                out[row, place, head] = weights / weights.sum() @ value[row, seen, head // shared]
    return out


@pytest.mark.parametrize("length", [1, 7, 128, 300])  # one block, a full one, several with a short last one
def test_equals_the_definition(length: int) -> None:
    random = np.random.default_rng(0)
    query = random.normal(size=(2, length, 4, 8)).astype(np.float32)
    key, value = random.normal(size=(2, 2, length, 2, 8)).astype(np.float32)
    segments = np.sort(random.integers(0, 4, (2, length)).astype(np.int32), axis=1)[:, ::-1].copy()
    got = attention(*map(jnp.asarray, (query, key, value, segments)))
    np.testing.assert_allclose(got, _naive(query, key, value, segments), atol=2e-6)


def test_padding_gives_no_nan_in_value_or_gradient() -> None:
    x = jax.random.normal(jax.random.key(0), (1, 5, 2, 4))
    segments = jnp.zeros((1, 5), dtype=jnp.int32)
    value, gradient = jax.value_and_grad(lambda x: attention(x, x, x, segments).sum())(x)
    assert jnp.isfinite(value)
    assert jnp.isfinite(gradient).all()
