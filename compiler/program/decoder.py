"""The decoder: a Llama-family transformer in Flax NNX, its layers stacked and scanned."""
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import functools
from typing import Any, TypeAlias, cast

import jax
import jax.numpy as jnp
from flax import nnx

from compiler.program.attention import attention
from compiler.program.config import DecoderConfig, LoRA, Parameters, Precision
from compiler.program.linear import Adapted, Linear, normal

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

    def __init__(self, config: DecoderConfig, rngs: nnx.Rngs, lora: LoRA | None) -> None:
        queries = config.heads * config.head_size
        keys = config.key_value_heads * config.head_size
        lora = lora if lora is not None and "attention" in lora.on else None
        self.query = Linear(rngs, config.hidden, queries, lora=lora)
        self.key = Linear(rngs, config.hidden, keys, lora=lora)
        self.value = Linear(rngs, config.hidden, keys, lora=lora)
        self.output = Linear(rngs, queries, config.hidden, lora=lora)
        self.head_size = config.head_size

    def project(self, x: jax.Array, rotation: Rotation) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Rotated queries, rotated keys, and values of `[rows, length, hidden]`.

        The queries are `[rows, length, heads, head_size]`, the others `[rows, length, key_value_heads, head_size]`.
        """
        query, key, value = (
            linear(x).reshape(*x.shape[:2], -1, self.head_size) for linear in (self.query, self.key, self.value)
        )
        return rotate(query, rotation), rotate(key, rotation), value

    def combine(self, mixed: jax.Array) -> jax.Array:
        """`[rows, length, heads, head_size]` to `[rows, length, hidden]`."""
        return self.output(mixed.reshape(*mixed.shape[:2], -1))


class FeedForward(nnx.Module):
    """SwiGLU (arXiv:2002.05202): `down(silu(gate(x)) * up(x))`."""

    def __init__(self, config: DecoderConfig, rngs: nnx.Rngs, lora: LoRA | None) -> None:
        lora = lora if lora is not None and "mlp" in lora.on else None
        self.gate = Linear(rngs, config.hidden, config.intermediate, lora=lora)
        self.up = Linear(rngs, config.hidden, config.intermediate, lora=lora)
        self.down = Linear(rngs, config.intermediate, config.hidden, lora=lora)

    def __call__(self, x: jax.Array) -> jax.Array:
        """`[..., hidden]` to `[..., hidden]`."""
        return self.down(jax.nn.silu(self.gate(x)) * self.up(x))


class Layer(nnx.Module):
    """One pre-norm transformer layer: attention, then feed-forward, each added to the residual stream."""

    def __init__(self, config: DecoderConfig, rngs: nnx.Rngs, lora: LoRA | None) -> None:
        self.attention_norm = Norm(config.hidden, config.norm_epsilon)
        self.attention = Attention(config, rngs, lora)
        self.feed_forward_norm = Norm(config.hidden, config.norm_epsilon)
        self.feed_forward = FeedForward(config, rngs, lora)

    def project(self, x: jax.Array, rotation: Rotation) -> tuple[jax.Array, jax.Array, jax.Array]:
        """What attention takes (see `Attention.project`)."""
        return self.attention.project(self.attention_norm(x), rotation)

    def combine(self, x: jax.Array, mixed: jax.Array) -> jax.Array:
        """The layer's output from its input `x` and what attention gave."""
        x = x + self.attention.combine(mixed)
        return x + self.feed_forward(self.feed_forward_norm(x))


class Decoder(nnx.Module):
    """Token ids to hidden states; `output_matrix` turns those into logits."""

    def __init__(self, config: DecoderConfig, rngs: nnx.Rngs, lora: LoRA | None = None) -> None:
        self.config = config
        shape = (config.vocabulary, config.hidden)
        self.embedding = nnx.Param(normal(rngs, shape))
        self.layers = _stacked_layers(config, rngs, lora)
        self.norm = Norm(config.hidden, config.norm_epsilon)
        if not config.tied_embeddings:
            self.output = nnx.Param(normal(rngs, shape))

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


def create(config: DecoderConfig, seed: int, lora: LoRA | None = None) -> Decoder:
    """A decoder with random parameters: matrices normal with deviation 0.02 (GPT-2's), norm scales one."""
    return Decoder(config, nnx.Rngs(seed), lora)


def assemble(config: DecoderConfig, parameters: Parameters, lora: LoRA | None = None) -> Decoder:
    """A decoder that holds the given arrays; inside `jit` they may be traced. Nothing is copied.

    With `lora`, the adapter's arrays (see `adapter_of`) are among them: `merged(parameters, adapter)`.
    """
    return nnx.merge(_structure(config, lora), parameters)


def merged(one: Parameters, other: Parameters) -> Parameters:
    """Two trees of arrays in one; no array is in both."""
    return {
        name: merged(one[name], other[name]) if name in one and name in other else one.get(name, other.get(name))
        for name in one.keys() | other.keys()
    }


def parameters_of(decoder: Decoder) -> Parameters:
    """The decoder's arrays by name, without an adapter's."""
    return nnx.to_pure_dict(nnx.state(decoder, nnx.Param))


def adapter_of(decoder: Decoder) -> Parameters:
    """The adapter's arrays by name: `adapter["layers"]["attention"]["query"]["down"]`, layers stacked on axis 0."""
    return nnx.to_pure_dict(nnx.state(decoder, Adapted))


def parameter_shapes(config: DecoderConfig) -> Parameters:
    """Like `parameters_of`, with a `jax.ShapeDtypeStruct` for each array; makes no array."""
    return parameters_of(_abstract(config, None))


def adapter_shapes(config: DecoderConfig, lora: LoRA) -> Parameters:
    """Like `adapter_of`, with a `jax.ShapeDtypeStruct` for each array; makes no array."""
    return adapter_of(_abstract(config, lora))


@functools.cache
def _abstract(config: DecoderConfig, lora: LoRA | None) -> Decoder:
    return nnx.eval_shape(lambda: create(config, 0, lora))


@functools.cache
def _structure(config: DecoderConfig, lora: LoRA | None) -> nnx.GraphDef[Decoder]:
    return nnx.graphdef(_abstract(config, lora))


def _stacked_layers(config: DecoderConfig, rngs: nnx.Rngs, lora: LoRA | None) -> Layer:
    @nnx.split_rngs(splits=config.layers)
    @nnx.vmap
    def stacked(layer_rngs: nnx.Rngs) -> Layer:
        return Layer(config, layer_rngs, lora)

    return stacked(rngs)
