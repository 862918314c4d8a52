"""Decoding of rows that go on together, as programs of the device: from token to token without the host."""
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from compiler.program.cache import Cache, extend, rows_of, widened
from compiler.program.compiled import compiled
from compiler.program.config import DecoderConfig, Parameters, Precision
from compiler.program.drawing import draw

SEGMENT = 32
"""Tokens that are made before the host looks at who has ended."""


class State(NamedTuple):
    """What the device carries from token to token; a pytree. All but the cache is `[rows]`."""

    cache: Cache
    drawn: jax.Array
    """int32: the newest token, which the cache doesn't hold yet."""
    keys: jax.Array
    temperatures: jax.Array
    shares: jax.Array
    left: jax.Array
    """int32: tokens still to be made at most; 0 where the row has ended."""


@compiled()
def first(
    logits: jax.Array,
    cache: Cache,
    rows: jax.Array,
    keys: jax.Array,
    temperatures: jax.Array,
    shares: jax.Array,
    left: jax.Array,
    stops: jax.Array,
) -> tuple[State, jax.Array]:
    """The state after each row's first token, and that token's log-probability; `rows` says which prompt is whose."""
    own = rows_of(cache, rows)
    drawn, values = draw(logits[rows], keys, own.lengths, temperatures, shares)
    return State(own, drawn, keys, temperatures, shares, _still(left, drawn, stops)), values


@compiled(static=("config", "precision"), donate=("state",))
def decode(
    config: DecoderConfig,
    parameters: Parameters,
    state: State,
    stops: jax.Array,
    steps: jax.Array,
    precision: Precision,
) -> tuple[State, jax.Array, jax.Array]:
    """Up to `steps` tokens more of every row that goes on, until none does.

    Returns:
        The state; the tokens, int32 `[rows, SEGMENT]`, -1 where a row had ended; their log-probabilities, float32.
    """
    shape = (state.left.shape[0], SEGMENT)

    def goes_on(carry: tuple[jax.Array, State, jax.Array, jax.Array]) -> jax.Array:
        return (carry[0] < steps) & jnp.any(carry[1].left > 0)

    def advance(
        carry: tuple[jax.Array, State, jax.Array, jax.Array],
    ) -> tuple[jax.Array, State, jax.Array, jax.Array]:
        step, state, tokens, values = carry
        live = state.left > 0
        logits, cache = extend(config, parameters, state.cache, state.drawn, precision)
        # Rows that have ended stay where they are: what they write over is never read again.
        cache = cache._replace(lengths=jnp.where(live, cache.lengths, state.cache.lengths))
        drawn, value = draw(logits, state.keys, cache.lengths, state.temperatures, state.shares)
        left = jnp.where(live, _still(state.left, drawn, stops), 0)
        tokens = jax.lax.dynamic_update_slice(tokens, jnp.where(live, drawn, -1)[:, None], (jnp.int32(0), step))
        values = jax.lax.dynamic_update_slice(values, value[:, None], (jnp.int32(0), step))
        after = state._replace(cache=cache, drawn=jnp.where(live, drawn, state.drawn), left=left)
        return step + 1, after, tokens, values

    start = (
        jnp.zeros((), dtype=jnp.int32),
        state,
        jnp.full(shape, -1, dtype=jnp.int32),
        jnp.zeros(shape, dtype=jnp.float32),
    )
    _, state, tokens, values = jax.lax.while_loop(goes_on, advance, start)
    return state, tokens, values


def _still(left: jax.Array, drawn: jax.Array, stops: jax.Array) -> jax.Array:
    """How many tokens are left after this one: none after a stop token."""
    return jnp.where(jnp.any(drawn[:, None] == stops, axis=-1), 0, jnp.maximum(left - 1, 0))


@compiled()
def taken(state: State, rows: jax.Array) -> State:
    rest = State(state.cache, *(each[rows] for each in state[1:]))
    return rest._replace(cache=rows_of(state.cache, rows))


@compiled(static=("capacity",))
def with_room(cache: Cache, capacity: int) -> Cache:
    return widened(cache, capacity)


@compiled()
def joined(parts: Sequence[tuple[jax.Array, Cache]], rows: jax.Array) -> tuple[jax.Array, Cache]:
    """The rows with these numbers of several caches, counted through."""
    capacity = max(cache.capacity for _, cache in parts)
    caches = [widened(cache, capacity) for _, cache in parts]
    keys, values = (jnp.concatenate(stacks, axis=1) for stacks in zip(*(each[:2] for each in caches), strict=True))
    whole = Cache(keys, values, jnp.concatenate([cache.lengths for cache in caches]))
    return jnp.concatenate([logits for logits, _ in parts])[rows], rows_of(whole, rows)
