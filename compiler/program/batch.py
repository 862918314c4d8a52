"""A batch of packed token rows. Imports no JAX, so that data and planning start fast."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import jax


class Batch(NamedTuple):
    """Rows of tokens, each row holding one or more segments (documents) and then padding.

    A pytree; every field has shape `[rows, length]`. Data makes NumPy's arrays, which a step takes like JAX's.
    """

    tokens: jax.Array
    """int32: token ids; any valid id where the row is padding."""
    segments: jax.Array
    """int32: 0 is padding; 1, 2, … number the segments within a row."""
    positions: jax.Array
    """int32: place of the token within its segment, from 0."""
    trained: jax.Array
    """bool: the token is a target, predicted from those before it in its segment.

    The first token of a segment has nothing before it, and padding is no text: the loss takes neither, whatever
    stands here.
    """
    parts: jax.Array | None = None
    """int32: which part of a mix the token is of, from 0, where the loss of each is wanted; any where it is padding."""
