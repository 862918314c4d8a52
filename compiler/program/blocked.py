"""Causal attention within segments or branches in plain XLA, by blocks of queries, with a derivative of its own."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeAlias, cast

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from compiler.program.execution import ATTENTION
from compiler.program.products import product

_SMALLEST_BLOCK = 64  # queries; smaller ones make the matrix products too small to be fast
_MOST_BLOCKS = 8  # so that compile time doesn't grow with the length


class Scores(NamedTuple):
    """How scores are made: hashable, so that it can be part of a program."""

    scale: float
    """What they are multiplied by."""
    softcap: float | None
    """They then are `softcap * tanh(scores / softcap)`."""
    window: int | None
    """How many tokens back a token sees, itself among them; None: all."""


class Branches(NamedTuple):
    """Rows whose tokens are trees: what several texts begin with is there once. A pytree; int32 `[rows, length]` each.

    A tree is laid out depth first: a token, then all that goes on from it, one way after the other.
    """

    positions: jax.Array
    """Of a token within its text, from 0."""
    ends: jax.Array
    """The place in the row behind the last token that goes on from this one: those up to there see it. Of padding its
    own place and one."""


@functools.partial(jax.custom_vjp, nondiff_argnums=(4,))
def blocked_attention(
    query: jax.Array, key: jax.Array, value: jax.Array, segments: jax.Array, scores: Scores
) -> jax.Array:
    """Softmax attention in which a token sees itself and the earlier tokens of its own segment.

    Each block of queries has the keys up to its own end, and from where the window of its first begins: nearly half
    of the work, which the causal mask would discard, isn't done. The backward pass makes the weights again from the
    scores and their normalisers (arXiv:2205.14135, section B.4), which it keeps with the result: the forward pass
    needn't be run a second time where layers are computed again.

    Args:
        query: `[rows, length, heads, head_size]`.
        key, value: `[rows, length, key_value_heads, head_size]`.
        segments: int32 `[rows, length]`.
        scores: see there.

    Returns:
        `[rows, length, heads, head_size]` in the dtype of `query`; the softmax is float32.
    """
    return _forward(query, key, value, segments, scores)[0]


_Residuals: TypeAlias = tuple[jax.Array, jax.Array, jax.Array, jax.Array, jax.Array, jax.Array]


def _forward(
    query: jax.Array, key: jax.Array, value: jax.Array, segments: jax.Array, scores: Scores
) -> tuple[jax.Array, _Residuals]:
    def visible(block: _Block) -> jax.Array:
        return _within_segments(segments, block, scores.window)

    mixed, normalisers = _attended(query, key, value, scores, scores.window, visible)
    result = checkpoint_name(mixed, ATTENTION)
    return result, (query, key, value, segments, result, checkpoint_name(normalisers, ATTENTION))


def branched_attention(
    query: jax.Array, key: jax.Array, value: jax.Array, branches: Branches, scores: Scores
) -> jax.Array:
    """Softmax attention in which a token sees itself and those that it goes on from.

    Arguments and result as in `blocked_attention`; the derivative is JAX's own. A window reaches back by positions: in
    a row, other branches may lie between a token and what it goes on from.
    """
    positions, ends = branches

    def visible(block: _Block) -> jax.Array:
        places = jnp.arange(query.shape[1], dtype=jnp.int32)
        of_queries, of_keys = places[block.start : block.end, None], places[block.first : block.end]
        seen = (of_keys <= of_queries) & (of_queries < ends[:, None, block.first : block.end])
        if scores.window is None:
            return seen
        back = positions[:, block.start : block.end, None] - positions[:, None, block.first : block.end]
        return seen & (back < scores.window)

    return _attended(query, key, value, scores, None, visible)[0]


def _attended(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    scores: Scores,
    window: int | None,
    visible: Callable[[_Block], jax.Array],
) -> tuple[jax.Array, jax.Array]:
    """Block by block: the result, and the logarithms of what the weights were divided by, laid out as `_grouped` does.

    `visible` gives bool `[rows, queries, keys]` of a block, whose keys reach back by `window` places.
    """
    queries, keys, values = _grouped(query, key.shape[2]), key.swapaxes(1, 2), value.swapaxes(1, 2)
    results: list[jax.Array] = []
    normalisers: list[jax.Array] = []
    for block in _blocks(query.shape[1], window):
        own = _rows(queries, block), keys[:, :, block.first : block.end]
        logits, _ = _scores(*own, visible(block), scores)
        largest = jnp.max(logits, axis=-1, keepdims=True)
        weights = jnp.exp(logits - largest)
        total = jnp.sum(weights, axis=-1, keepdims=True)
        mixed = product("bkqs,bksd->bkqd", weights.astype(value.dtype), values[:, :, block.first : block.end])
        results.append(_unstacked(mixed / total, queries.shape[2]))
        normalisers.append(_unstacked(largest + jnp.log(total), queries.shape[2]))
    return _ungrouped(jnp.concatenate(results, axis=3)).astype(query.dtype), jnp.concatenate(normalisers, axis=3)


def _backward(
    scores: Scores, residuals: _Residuals, gradient: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array, None]:
    query, key, value, segments, result, normalisers = residuals
    heads = key.shape[2]
    queries, keys, values = _grouped(query, heads), key.swapaxes(1, 2), value.swapaxes(1, 2)
    slopes = _grouped(gradient, heads)
    along = jnp.sum(gradient.astype(jnp.float32) * result.astype(jnp.float32), axis=-1, keepdims=True)
    alongs = _grouped(along, heads)
    queries_gradient: list[jax.Array] = []
    keys_gradient, values_gradient = (jnp.zeros(x.shape, dtype=jnp.float32) for x in (keys, values))
    for block in _blocks(query.shape[1], scores.window):
        seen = slice(block.first, block.end)
        own, slope = _rows(queries, block), _rows(slopes, block)
        visible = _within_segments(segments, block, scores.window)
        logits, bend = _scores(own, keys[:, :, seen], visible, scores)
        weights = jnp.exp(logits - _rows(normalisers, block))
        values_gradient = values_gradient.at[:, :, seen].add(
            product("bkqs,bkqd->bksd", weights.astype(value.dtype), slope)
        )
        raised = product("bkqd,bksd->bkqs", slope, values[:, :, seen]) - _rows(alongs, block)
        of_logits = weights * raised if bend is None else weights * raised * bend
        of_scores = (of_logits * scores.scale).astype(query.dtype)
        keys_gradient = keys_gradient.at[:, :, seen].add(product("bkqs,bkqd->bksd", of_scores, own))
        of_queries = product("bkqs,bksd->bkqd", of_scores, keys[:, :, seen])
        queries_gradient.append(_unstacked(of_queries, queries.shape[2]))
    return (
        _ungrouped(jnp.concatenate(queries_gradient, axis=3)).astype(query.dtype),
        keys_gradient.swapaxes(1, 2).astype(key.dtype),
        values_gradient.swapaxes(1, 2).astype(value.dtype),
        None,
    )


cast(Any, blocked_attention).defvjp(_forward, _backward)


class _Block(NamedTuple):
    """Queries `start` to `end`, which see keys `first` to `end`."""

    start: int
    end: int
    first: int


def _blocks(length: int, window: int | None) -> Iterator[_Block]:
    size = max(_SMALLEST_BLOCK, -(-length // _MOST_BLOCKS))
    for start in range(0, length, size):
        yield _Block(start, min(start + size, length), 0 if window is None else max(0, start - window + 1))


def _within_segments(segments: jax.Array, block: _Block, window: int | None) -> jax.Array:
    """bool `[rows, queries, keys]`: which keys of a block its queries see."""
    places = jnp.arange(segments.shape[1], dtype=jnp.int32)
    distance = places[block.start : block.end, None] - places[None, block.first : block.end]
    near = distance >= 0 if window is None else (distance >= 0) & (distance < window)
    of_queries, of_keys = segments[:, block.start : block.end, None], segments[:, None, block.first : block.end]
    return near & (of_queries == of_keys)


def _scores(
    queries: jax.Array, keys: jax.Array, visible: jax.Array, scores: Scores
) -> tuple[jax.Array, jax.Array | None]:
    """Of a block: float32 `[rows, key_value_heads, group * queries, keys]`, -inf where nothing is seen.

    `visible` is bool `[rows, queries, keys]`. With a soft cap also its derivative.
    """
    raw = product("bkqd,bksd->bkqs", queries, keys) * scores.scale
    bend = None
    if scores.softcap is not None:
        raw = scores.softcap * jnp.tanh(raw / scores.softcap)
        bend = 1 - (raw / scores.softcap) ** 2
    rows, heads, _, count = raw.shape
    apart = raw.reshape(rows, heads, -1, visible.shape[1], count)
    return jnp.where(visible[:, None, None], apart, -jnp.inf).reshape(raw.shape), bend


def _grouped(x: jax.Array, key_value_heads: int) -> jax.Array:
    """`[rows, length, heads, n]` to `[rows, key_value_heads, group, length, n]`."""
    return x.reshape(*x.shape[:2], key_value_heads, -1, x.shape[-1]).transpose(0, 2, 3, 1, 4)


def _ungrouped(x: jax.Array) -> jax.Array:
    """The inverse of `_grouped`."""
    moved = x.transpose(0, 3, 1, 2, 4)
    return moved.reshape(*moved.shape[:2], -1, moved.shape[-1])


def _rows(x: jax.Array, block: _Block) -> jax.Array:
    """A block of `_grouped`; the query heads of a key-value head lie one below the other, for one matrix product."""
    part = x[:, :, :, block.start : block.end]
    return part.reshape(*part.shape[:2], -1, part.shape[-1])


def _unstacked(x: jax.Array, group: int) -> jax.Array:
    """`[rows, key_value_heads, group * queries, n]` to `[rows, key_value_heads, group, queries, n]`."""
    return x.reshape(*x.shape[:2], group, -1, x.shape[-1])
