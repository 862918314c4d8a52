"""Causal attention within segments."""
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import jax
import jax.numpy as jnp

_SMALLEST_BLOCK = 128  # queries; smaller ones make the matrix products too small to be fast
_MOST_BLOCKS = 8  # so that compile time doesn't grow with the length


def attention(query: jax.Array, key: jax.Array, value: jax.Array, segments: jax.Array) -> jax.Array:
    """Softmax attention in which a token sees itself and the earlier tokens of its own segment.

    Queries are taken in blocks, each with the keys up to its own end: nearly half of the work, which the causal mask
    would discard, isn't done.

    Args:
        query: `[rows, length, heads, head_size]`.
        key, value: `[rows, length, key_value_heads, head_size]`; query head `h` reads key-value head
            `h // (heads // key_value_heads)` (grouped queries, arXiv:2305.13245).
        segments: int32 `[rows, length]`. Padding (0) is a segment like another: it sees only padding, and every
            token sees itself, so no row of the softmax is empty.

    Returns:
        `[rows, length, heads, head_size]` in the dtype of `query`. Scores are scaled by `1 / sqrt(head_size)`; the
        softmax is float32.
    """
    length = query.shape[1]
    block = max(_SMALLEST_BLOCK, -(-length // _MOST_BLOCKS))
    places = jnp.arange(length, dtype=jnp.int32)
    blocks: list[jax.Array] = []
    for start in range(0, length, block):
        end = min(start + block, length)
        visible = (places[start:end, None] >= places[None, :end]) & (
            segments[:, start:end, None] == segments[:, None, :end]
        )
        blocks.append(masked_attention(query[:, start:end], key[:, :end], value[:, :end], visible))
    return jnp.concatenate(blocks, axis=1)


def masked_attention(query: jax.Array, key: jax.Array, value: jax.Array, visible: jax.Array) -> jax.Array:
    """Softmax attention under a mask, for any number of queries and keys.

    Args:
        query: `[rows, queries, heads, head_size]`.
        key, value: `[rows, keys, key_value_heads, head_size]`.
        visible: bool `[rows, queries, keys]`; each query must see at least one key.

    Returns:
        `[rows, queries, heads, head_size]` in the dtype of `query`.
    """
    rows, queries, heads, head_size = query.shape
    keys, key_value_heads = key.shape[1:3]
    grouped = (rows, key_value_heads, heads // key_value_heads, queries)
    # The query heads of a key-value head lie one below the other: one matrix product for all of them.
    stacked = query.reshape(rows, queries, *grouped[1:3], head_size).transpose(0, 2, 3, 1, 4)
    stacked = stacked.reshape(rows, key_value_heads, -1, head_size)
    highest = jax.lax.Precision.HIGHEST
    scores = jnp.einsum("bkqd,bskd->bkqs", stacked, key, precision=highest, preferred_element_type=jnp.float32)
    scores = scores.reshape(*grouped, keys) * head_size**-0.5
    weights = jax.nn.softmax(jnp.where(visible[:, None, None], scores, -jnp.inf), axis=-1).astype(value.dtype)
    weights = weights.reshape(rows, key_value_heads, -1, keys)
    mixed = jnp.einsum("bkqs,bskd->bkqd", weights, value, precision=highest).reshape(*grouped, head_size)
    return mixed.transpose(0, 3, 1, 2, 4).reshape(query.shape)
