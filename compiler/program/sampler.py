"""Samples a continuation, token by token."""
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from compiler.program.cache import extend, prefill
from compiler.program.compiled import compiled
from compiler.program.config import DecoderConfig, Parameters, Precision

_SMALLEST_BUCKET = 64  # tokens


def sample(
    config: DecoderConfig,
    parameters: Parameters,
    prompt: Sequence[int],
    *,
    tokens: int,
    temperature: float,
    seed: int,
    stops: Collection[int],
    precision: Precision = "float32",
) -> Iterator[int]:
    """Yields the tokens that follow `prompt`, each as soon as it is there.

    Args:
        config: the decoder's shape.
        parameters: the decoder's parameters.
        prompt: token ids, at least one.
        tokens: how many to make at most; the model's context ends it too.
        temperature: what logits are divided by; 0 takes the most likely token.
        seed: the same seed and prompt give the same tokens on the same machine.
        stops: ids that end it; they aren't yielded.
        precision: dtype of activations and matrix products.

    Raises:
        ValueError: the prompt is empty or longer than the model's context.
    """
    if not 0 < len(prompt) <= config.context:
        raise ValueError(f"a prompt of {len(prompt)} tokens in a context of {config.context}")
    end = min(len(prompt) + tokens, config.context)
    width = bucket(len(prompt), config.context)
    padded = np.zeros((1, width), dtype=np.int32)
    padded[0, : len(prompt)] = prompt
    lengths = jnp.asarray([len(prompt)], dtype=jnp.int32)
    capacity = max(width, bucket(end, config.context))
    logits, cache = prefill(config, parameters, jnp.asarray(padded), lengths, capacity, precision)
    keys, temperatures = jax.random.key(seed)[None], jnp.asarray([temperature], dtype=jnp.float32)
    for place in range(len(prompt), end):
        chosen = choose(logits, keys, jnp.asarray([place], dtype=jnp.int32), temperatures)
        if int(chosen[0]) in stops:
            return
        yield int(chosen[0])
        if place + 1 < end:
            logits, cache = extend(config, parameters, cache, chosen, precision)


@compiled()
def choose(logits: jax.Array, keys: jax.Array, places: jax.Array, temperatures: jax.Array) -> jax.Array:
    """One token a row.

    Args:
        logits: float32 `[rows, vocabulary]`.
        keys: random keys `[rows]`, the same for all tokens of a row.
        places: int32 `[rows]`, where the token will stand: each place of a row draws anew.
        temperatures: float32 `[rows]`; 0 takes the most likely token.

    Returns:
        int32 `[rows]`.
    """
    scaled = logits / jnp.where(temperatures > 0, temperatures, 1.0)[:, None]
    drawn = jax.vmap(jax.random.categorical)(jax.vmap(jax.random.fold_in)(keys, places), scaled)
    return jnp.where(temperatures > 0, drawn, jnp.argmax(logits, axis=-1)).astype(jnp.int32)


def bucket(length: int, most: int) -> int:
    """The least power of two that holds `length` tokens, at least 64, at most `most`: few shapes, few compilations."""
    return min(max(_SMALLEST_BUCKET, 1 << (length - 1).bit_length()), most)
