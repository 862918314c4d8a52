"""A small decoder and packed batches for the tests of the program."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from compiler.program.batch import Batch
from compiler.program.config import DecoderConfig

SMALL = DecoderConfig(
    vocabulary=61,
    layers=3,
    hidden=24,
    intermediate=40,
    heads=6,
    key_value_heads=2,
    head_size=4,
    rope_theta=10000.0,
    norm_epsilon=1e-5,
    tied_embeddings=True,
    context=256,
)


def packed(rows: list[list[int]], length: int, seed: int = 0, trained: float = 0.7) -> Batch:
    """Random tokens in segments of the given lengths, then padding; some of the tokens are targets."""
    random = np.random.default_rng(seed)
    shape = (len(rows), length)
    segments, positions = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
    for row, lengths in enumerate(rows):
        start = 0
        for number, size in enumerate(lengths, 1):
            segments[row, start : start + size] = number
            positions[row, start : start + size] = np.arange(size)
            start += size
    tokens = random.integers(0, SMALL.vocabulary, shape).astype(np.int32)
    return as_arrays(Batch(tokens, segments, positions, random.random(shape) < trained))


def as_arrays(batch: Batch) -> Batch:
    """The same batch on the device."""
    return jax.tree.map(jnp.asarray, batch)
