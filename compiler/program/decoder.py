"""The decoder: a Llama-family transformer in Flax NNX, its layers stacked and scanned."""
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import functools
from typing import Any, TypeAlias, cast

import jax
import jax.numpy as jnp
from flax import nnx

from compiler.program.attention import attention
from compiler.program.config import DecoderConfig, Parameters, Precision

_KEPT = jax.checkpoint_policies.dots_with_no_batch_dims_saveable
"""The projections' results are kept for the backward pass; attention's scores, norms and activations are computed
again, which takes less time than writing and reading them."""


class Norm(nnx.Module):
    """Root-mean-square normalisation (arXiv:1910.07467) with a learnt scale, in float32."""

    def __init__(self, size: int, epsilon: float) -> None:
        self.scale = nnx.Param(jnp.ones((size,), dtype=jnp.float32))
        self.epsilon = epsilon

    def __call__(self, x: jax.Array) -> jax.Array:
        """Normalises the last axis; the result has the dtype of `x`."""
        wide = x.astype(jnp.float32)
        scale = jax.lax.rsqrt(jnp.mean(wide * wide, axis=-1, keepdims=True) + self.epsilon)
        return (wide * scale * self.scale[...]).astype(x.dtype)


class Attention(nnx.Module):
    """The projections around attention: grouped queries (arXiv:2305.13245), rotated (arXiv:2104.09864)."""

    def __init__(self, config: DecoderConfig, rngs: nnx.Rngs) -> None:
        queries = config.heads * config.head_size
        keys = config.key_value_heads * config.head_size
        self.query = _matrix(rngs, config.hidden, queries)
        self.key = _matrix(rngs, config.hidden, keys)
        self.value = _matrix(rngs, config.hidden, keys)
        self.output = _matrix(rngs, queries, config.hidden)
        self.head_size = config.head_size

    def project(self, x: jax.Array, rotation: Rotation) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Rotated queries, rotated keys, and values of `[rows, length, hidden]`.

        The queries are `[rows, length, heads, head_size]`, the others `[rows, length, key_value_heads, head_size]`.
        """
        query, key, value = (
            _product(x, matrix).reshape(*x.shape[:2], -1, self.head_size)
            for matrix in (self.query, self.key, self.value)
        )
        return rotate(query, rotation), rotate(key, rotation), value

    def combine(self, mixed: jax.Array) -> jax.Array:
        """`[rows, length, heads, head_size]` to `[rows, length, hidden]`."""
        return _product(mixed.reshape(*mixed.shape[:2], -1), self.output)


class FeedForward(nnx.Module):
    """SwiGLU (arXiv:2002.05202): `down(silu(gate(x)) * up(x))`."""

    def __init__(self, config: DecoderConfig, rngs: nnx.Rngs) -> None:
        self.gate = _matrix(rngs, config.hidden, config.intermediate)
        self.up = _matrix(rngs, config.hidden, config.intermediate)
        self.down = _matrix(rngs, config.intermediate, config.hidden)

    def __call__(self, x: jax.Array) -> jax.Array:
        """`[..., hidden]` to `[..., hidden]`."""
        return _product(jax.nn.silu(_product(x, self.gate)) * _product(x, self.up), self.down)


class Layer(nnx.Module):
    """One pre-norm transformer layer: attention, then feed-forward, each added to the residual stream."""

    def __init__(self, config: DecoderConfig, rngs: nnx.Rngs) -> None:
        self.attention_norm = Norm(config.hidden, config.norm_epsilon)
        self.attention = Attention(config, rngs)
        self.feed_forward_norm = Norm(config.hidden, config.norm_epsilon)
        self.feed_forward = FeedForward(config, rngs)

    def project(self, x: jax.Array, rotation: Rotation) -> tuple[jax.Array, jax.Array, jax.Array]:
        """What attention takes (see `Attention.project`)."""
        return self.attention.project(self.attention_norm(x), rotation)

    def combine(self, x: jax.Array, mixed: jax.Array) -> jax.Array:
        """The layer's output from its input `x` and what attention gave."""
        x = x + self.attention.combine(mixed)
        return x + self.feed_forward(self.feed_forward_norm(x))


class Decoder(nnx.Module):
    """Token ids to hidden states; `output_matrix` turns those into logits."""

    def __init__(self, config: DecoderConfig, rngs: nnx.Rngs) -> None:
        self.config = config
        shape = (config.vocabulary, config.hidden)
        self.embedding = nnx.Param(_normal(rngs, shape))
        self.layers = _stacked_layers(config, rngs)
        self.norm = Norm(config.hidden, config.norm_epsilon)
        if not config.tied_embeddings:
            self.output = nnx.Param(_normal(rngs, shape))

    def __call__(
        self, tokens: jax.Array, segments: jax.Array, positions: jax.Array, precision: Precision = "float32"
    ) -> jax.Array:
        """Final hidden states, normalised: `[rows, length, hidden]` in the dtype `precision`.

        `tokens`, `segments`, `positions` are int32 `[rows, length]` (see `Batch`).
        """
        rotation = rotation_at(positions, self.config)

        def layer_step(x: jax.Array, layer: Layer) -> tuple[jax.Array, None]:
            return layer.combine(x, attention(*layer.project(x, rotation), segments)), None

        recomputed = cast(Any, jax.checkpoint)(layer_step, policy=_KEPT, prevent_cse=False)
        return self.norm(jax.lax.scan(recomputed, self.embed(tokens, precision), self.layers)[0])

    def embed(self, tokens: jax.Array, precision: Precision) -> jax.Array:
        """Embeddings of int32 `tokens`: `[..., hidden]` in the dtype `precision`."""
        return self.embedding[...][tokens].astype(precision)

    def output_matrix(self) -> jax.Array:
        """Float32 `[vocabulary, hidden]`: logits are hidden states times its transpose."""
        return (self.embedding if self.config.tied_embeddings else self.output)[...]


Rotation: TypeAlias = tuple[jax.Array, jax.Array]
"""Cosines and sines of the rotary angles, float32 `[rows, length, 1, head_size / 2]`."""


def rotation_at(positions: jax.Array, config: DecoderConfig) -> Rotation:
    """The rotary angles' cosines and sines (arXiv:2104.09864, eq. 15) at int32 `positions [rows, length]`."""
    half = config.head_size // 2
    frequencies = config.rope_theta ** (-jnp.arange(half, dtype=jnp.float32) / half)
    angles = positions.astype(jnp.float32)[:, :, None, None] * frequencies
    return jnp.cos(angles), jnp.sin(angles)


def rotate(x: jax.Array, rotation: Rotation) -> jax.Array:
    """Turns the pairs `(x[i], x[i + head_size / 2])` of the last axis by their angles; computed in float32."""
    cosine, sine = rotation
    first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    turned = jnp.concatenate([first * cosine - second * sine, second * cosine + first * sine], axis=-1)
    return turned.astype(x.dtype)


def create(config: DecoderConfig, seed: int) -> Decoder:
    """A decoder with random parameters: matrices normal with deviation 0.02 (GPT-2's), norm scales one."""
    return Decoder(config, nnx.Rngs(seed))


def assemble(config: DecoderConfig, parameters: Parameters) -> Decoder:
    """A decoder that holds the given arrays; inside `jit` they may be traced. Nothing is copied."""
    return nnx.merge(_structure(config), parameters)


def parameters_of(decoder: Decoder) -> Parameters:
    """The decoder's arrays by name."""
    return nnx.to_pure_dict(nnx.state(decoder, nnx.Param))


def parameter_shapes(config: DecoderConfig) -> Parameters:
    """Like `parameters_of`, with a `jax.ShapeDtypeStruct` for each array; makes no array."""
    return parameters_of(_abstract(config))


@functools.cache
def _abstract(config: DecoderConfig) -> Decoder:
    return nnx.eval_shape(lambda: create(config, 0))


@functools.cache
def _structure(config: DecoderConfig) -> nnx.GraphDef[Decoder]:
    return nnx.graphdef(_abstract(config))


def _stacked_layers(config: DecoderConfig, rngs: nnx.Rngs) -> Layer:
    @nnx.split_rngs(splits=config.layers)
    @nnx.vmap
    def stacked(layer_rngs: nnx.Rngs) -> Layer:
        return Layer(config, layer_rngs)

    return stacked(rngs)


def _normal(rngs: nnx.Rngs, shape: tuple[int, ...]) -> jax.Array:
    return 0.02 * jax.random.normal(rngs.params(), shape, dtype=jnp.float32)


def _matrix(rngs: nnx.Rngs, inputs: int, outputs: int) -> nnx.Param[jax.Array]:
    return nnx.Param(_normal(rngs, (inputs, outputs)))


def _product(x: jax.Array, matrix: nnx.Param[jax.Array]) -> jax.Array:
    flat = x.reshape(-1, x.shape[-1])  # XLA's CPU products of two dimensions are faster than those of three
    product = jnp.matmul(flat, matrix[...].astype(x.dtype), precision=jax.lax.Precision.HIGHEST)
    return product.reshape(*x.shape[:-1], -1)
