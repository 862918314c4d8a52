"""Attention by blocks, and its derivative, against attention under a whole mask."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from compiler.program.attention import softcapped
from compiler.program.blocked import Scores, blocked_attention
from compiler.program.execution import ONE_DEVICE
from compiler.program.products import product

ROWS, HEADS, KEY_VALUE_HEADS, SIZE = 2, 4, 2, 8


def _given(length: int) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    random = np.random.default_rng(length)
    query = random.normal(size=(ROWS, length, HEADS, SIZE)).astype(np.float32)
    key, value = random.normal(size=(2, ROWS, length, KEY_VALUE_HEADS, SIZE)).astype(np.float32)
    segments = np.sort(random.integers(0, 4, (ROWS, length)).astype(np.int32), axis=1)[:, ::-1].copy()
    query, key, value, segments = map(jnp.asarray, (query, key, value, segments))
    return query, key, value, segments


def _whole(query: jax.Array, key: jax.Array, value: jax.Array, segments: jax.Array, scores: Scores) -> jax.Array:
    places = jnp.arange(query.shape[1], dtype=jnp.int32)
    distance = places[:, None] - places
    near = (distance >= 0) & (distance < (scores.window or query.shape[1]))
    visible = near & (segments[:, :, None] == segments[:, None])
    key, value = (jnp.repeat(x, HEADS // KEY_VALUE_HEADS, axis=2) for x in (key, value))
    logits = product("bqhd,bkhd->bhqk", query, key) * scores.scale
    if scores.softcap is not None:
        logits = softcapped(logits, scores.softcap)
    weights = jax.nn.softmax(jnp.where(visible[:, None], logits, -jnp.inf), axis=-1).astype(value.dtype)
    return product("bhqk,bkhd->bqhd", weights, value).astype(query.dtype)


@pytest.mark.parametrize(
    ("length", "scores"),
    [
        (5, Scores(0.3, None, None)),
        (150, Scores(0.3, None, None)),
        (150, Scores(0.3, 2.0, 70)),
        (600, Scores(0.5, None, 7)),  # blocks are longer than the smallest; most see few of the keys
    ],
)
def test_value_and_gradients_are_those_of_the_whole(length: int, scores: Scores) -> None:
    *arrays, segments = _given(length)

    def told(function: Any) -> Any:
        @jax.jit
        def both(query: jax.Array, key: jax.Array, value: jax.Array) -> Any:
            result, backward = jax.vjp(lambda *each: function(*each, segments, scores), query, key, value)
            return result, backward(jnp.sin(10 * result))

        return both(*arrays)

    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-5), told(blocked_attention), told(_whole))


def test_bfloat16_stays_near_float32() -> None:
    *arrays, segments = _given(100)

    def total(query: jax.Array, key: jax.Array, value: jax.Array) -> jax.Array:
        result: Any = blocked_attention(query, key, value, segments, Scores(0.3, None, None))
        return jnp.sum(result.astype(jnp.float32) ** 2)

    exact = jax.grad(total, (0, 1, 2))(*arrays)
    rough = jax.grad(total, (0, 1, 2))(*(x.astype(jnp.bfloat16) for x in arrays))
    for one, other in zip(rough, exact, strict=True):
        assert one.dtype == jnp.bfloat16
        np.testing.assert_allclose(one.astype(jnp.float32), other, atol=0.03 * float(jnp.abs(other).max()))


def test_what_is_kept_spares_the_forward_pass() -> None:
    """Of a layer that is computed again, attention's result and normalisers are kept, nothing of the square size."""
    *arrays, segments = _given(100)
    layer = ONE_DEVICE.recomputed(lambda *each: blocked_attention(*each, segments, Scores(0.3, None, None)))
    kept = {x.shape for x in jax.tree.leaves(jax.vjp(layer, *arrays)[1])} - {x.shape for x in (*arrays, segments)}
    assert kept == {(ROWS, KEY_VALUE_HEADS, HEADS // KEY_VALUE_HEADS, 100, 1)}
