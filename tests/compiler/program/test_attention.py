"""Attention against plain NumPy."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from compiler.program.attention import attention


def _naive(
    query: np.ndarray,
    key: np.ndarray,
    value: np.ndarray,
    segments: np.ndarray,
    window: int = 1000,
    cap: float = np.inf,
) -> np.ndarray:
    rows, length, heads, head_size = query.shape
    shared = heads // key.shape[2]
    out = np.zeros_like(query)
    for row in range(rows):
        for head in range(heads):
            for place in range(length):
                first = max(0, place + 1 - window)
                seen = [s for s in range(first, place + 1) if segments[row, s] == segments[row, place]]
                scores = key[row, seen, head // shared] @ query[row, place, head] / np.sqrt(head_size)
                scores = scores if cap == np.inf else cap * np.tanh(scores / cap)
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


@pytest.mark.parametrize(("window", "cap"), [(1, np.inf), (5, 0.5), (150, np.inf)])
def test_windows_and_soft_caps_equal_the_definition(window: int, cap: float) -> None:
    random = np.random.default_rng(0)
    query = random.normal(size=(2, 300, 2, 8)).astype(np.float32)
    key, value = random.normal(size=(2, 2, 300, 1, 8)).astype(np.float32)
    segments = np.sort(random.integers(0, 3, (2, 300)).astype(np.int32), axis=1)[:, ::-1].copy()
    parts = map(jnp.asarray, (query, key, value, segments))
    got = attention(*parts, window=window, softcap=None if cap == np.inf else cap, scale=8**-0.5)
    np.testing.assert_allclose(got, _naive(query, key, value, segments, window, cap), atol=2e-6)


def test_padding_gives_no_nan_in_value_or_gradient() -> None:
    x = jax.random.normal(jax.random.key(0), (1, 5, 2, 4))
    segments = jnp.zeros((1, 5), dtype=jnp.int32)
    value, gradient = jax.value_and_grad(lambda x: attention(x, x, x, segments).sum())(x)
    assert jnp.isfinite(value)
    assert jnp.isfinite(gradient).all()
