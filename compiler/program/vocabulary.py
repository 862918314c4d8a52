"""Logits whose vocabulary is spread over an axis of a mesh (arXiv:1909.08053, section 3), inside `shard_map`.

Everywhere `axis` is the mesh axis, or None where each device has all of the vocabulary.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import jax
import jax.numpy as jnp


def own_places(ids: jax.Array, size: int, axis: str | None) -> jax.Array:
    """Where token ids stand among the `size` that this device has; outside 0 to `size - 1` are another device's."""
    return ids if axis is None else ids - jax.lax.axis_index(axis).astype(ids.dtype) * size


def summed(x: jax.Array, axis: str | None) -> jax.Array:
    """The sum over the devices of the axis."""
    return x if axis is None else jax.lax.psum(x, axis)


def highest(x: jax.Array, axis: str | None) -> jax.Array:
    """The largest of the devices of the axis."""
    return x if axis is None else jax.lax.pmax(x, axis)


def logits_at(logits: jax.Array, ids: jax.Array, axis: str | None) -> jax.Array:
    """Of `logits [tokens, vocabulary]`, of which this device has a part, those of `ids [tokens]`; `[tokens]`."""
    size = logits.shape[-1]
    places = own_places(ids, size, axis)
    if axis is None:
        return jnp.take_along_axis(logits, places[:, None], axis=-1)[:, 0]
    found = jnp.take_along_axis(logits, jnp.clip(places, 0, size - 1)[:, None], axis=-1)[:, 0]
    return summed(jnp.where((places >= 0) & (places < size), found, 0.0), axis)


def log_normaliser(logits: jax.Array, axis: str | None) -> jax.Array:
    """`[tokens]`: the log of the sum of the exponentials of `logits [tokens, vocabulary]`."""
    if axis is None:
        return jax.nn.logsumexp(logits, axis=-1)
    largest = highest(jnp.max(logits, axis=-1), axis)
    return largest + jnp.log(summed(jnp.sum(jnp.exp(logits - largest[:, None]), axis=-1), axis))
