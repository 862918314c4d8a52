"""The decoder: one transformer for the families that it is configured as, in Flax NNX, its layers scanned."""
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import functools
import math
from dataclasses import replace
from typing import Any, TypeAlias, cast

import jax
import jax.numpy as jnp
from flax import nnx

from compiler.program.attention import attention, softcapped
from compiler.program.blocked import Branches
from compiler.program.config import (
    DecoderConfig,
    LoRA,
    Parameters,
    Precision,
    rope_amplitude,
    rope_frequencies,
    windowed_layers,
)
from compiler.program.execution import ONE_DEVICE, Execution
from compiler.program.linear import Adapted, Linear, dropout_keys, normal
from compiler.program.products import product
from compiler.program.sharding import gathered
from compiler.program.spread import looked_up


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
        bias = config.query_key_value_bias
        self.query = Linear(rngs, config.hidden, queries, bias=bias, lora=lora)
        self.key = Linear(rngs, config.hidden, keys, bias=bias, lora=lora)
        self.value = Linear(rngs, config.hidden, keys, bias=bias, lora=lora)
        self.output = Linear(rngs, queries, config.hidden, bias=config.attention_output_bias, lora=lora)
        self.query_key_norm = config.query_key_norm
        if config.query_key_norm is not None:
            of_head = config.query_key_norm == "head"
            self.query_norm = Norm(config.head_size if of_head else queries, config.norm_epsilon)
            self.key_norm = Norm(config.head_size if of_head else keys, config.norm_epsilon)
        self.head_size = config.head_size

    def project(self, x: jax.Array, rotation: Rotation) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Rotated queries, rotated keys, and values of `[rows, length, hidden]`.

        The queries are `[rows, length, heads, head_size]`, the others `[rows, length, key_value_heads, head_size]`.
        """
        query, key = self.query(x), self.key(x)
        if self.query_key_norm == "projection":
            query, key = self.query_norm(query), self.key_norm(key)
        query, key, value = (y.reshape(*x.shape[:2], -1, self.head_size) for y in (query, key, self.value(x)))
        if self.query_key_norm == "head":
            query, key = self.query_norm(query), self.key_norm(key)
        return rotate(query, rotation), rotate(key, rotation), value

    def combine(self, mixed: jax.Array) -> jax.Array:
        """`[rows, length, heads, head_size]` to `[rows, length, hidden]`."""
        return self.output(mixed.reshape(*mixed.shape[:2], -1))


class FeedForward(nnx.Module):
    """A gated feed-forward (arXiv:2002.05202), SwiGLU or GeGLU: `down(activation(gate(x)) * up(x))`."""

    def __init__(self, config: DecoderConfig, rngs: nnx.Rngs, lora: LoRA | None) -> None:
        lora = lora if lora is not None and "mlp" in lora.on else None
        bias = config.feed_forward_bias
        self.gate = Linear(rngs, config.hidden, config.intermediate, bias=bias, lora=lora)
        self.up = Linear(rngs, config.hidden, config.intermediate, bias=bias, lora=lora)
        self.down = Linear(rngs, config.intermediate, config.hidden, bias=bias, lora=lora)
        self.activation = jax.nn.silu if config.activation == "silu" else gelu_tanh

    def __call__(self, x: jax.Array) -> jax.Array:
        """`[..., hidden]` to `[..., hidden]`."""
        return self.down(self.activation(self.gate(x)) * self.up(x))


class Layer(nnx.Module):
    """One transformer layer: attention, then feed-forward, each added to the residual stream.

    Each has a norm before it (Llama), after it (OLMo 2, arXiv:2501.00656), or both (Gemma 2, arXiv:2408.00118).
    """

    def __init__(self, config: DecoderConfig, rngs: nnx.Rngs, lora: LoRA | None) -> None:
        self.norms = config.norms
        if config.norms != "after":
            self.attention_norm = Norm(config.hidden, config.norm_epsilon)
            self.feed_forward_norm = Norm(config.hidden, config.norm_epsilon)
        if config.norms != "before":
            self.attention_output_norm = Norm(config.hidden, config.norm_epsilon)
            self.feed_forward_output_norm = Norm(config.hidden, config.norm_epsilon)
        self.attention = Attention(config, rngs, lora)
        self.feed_forward = FeedForward(config, rngs, lora)

    def project(self, x: jax.Array, rotation: Rotation) -> tuple[jax.Array, jax.Array, jax.Array]:
        """What attention takes (see `Attention.project`)."""
        return self.attention.project(x if self.norms == "after" else self.attention_norm(x), rotation)

    def combine(self, x: jax.Array, mixed: jax.Array) -> jax.Array:
        """The layer's output from its input `x` and what attention gave."""
        attended = self.attention.combine(mixed)
        x = x + (attended if self.norms == "before" else self.attention_output_norm(attended))
        fed = self.feed_forward(x if self.norms == "after" else self.feed_forward_norm(x))
        return x + (fed if self.norms == "before" else self.feed_forward_output_norm(fed))


class Decoder(nnx.Module):
    """Token ids to hidden states; `logits` are theirs."""

    def __init__(self, config: DecoderConfig, rngs: nnx.Rngs, lora: LoRA | None = None) -> None:
        self.config = config
        shape = (config.vocabulary, config.hidden)
        self.embedding = nnx.Param(normal(rngs, shape))
        self.layers = _stacked_layers(config, rngs, lora)
        self.norm = Norm(config.hidden, config.norm_epsilon)
        if not config.tied_embeddings:
            self.output = nnx.Param(normal(rngs, shape))

    def __call__(
        self,
        tokens: jax.Array,
        segments: jax.Array | Branches,
        positions: jax.Array,
        precision: Precision = "float32",
        execution: Execution = ONE_DEVICE,
    ) -> jax.Array:
        """Final hidden states, normalised: `[rows, length, hidden]` in the dtype `precision`.

        `tokens`, `segments`, `positions` are int32 `[rows, length]` (see `Batch`); instead of segments, branches.
        """
        rotations = rotations_at(positions, self.config)

        def layer_step(x: jax.Array, place: tuple[Layer, Windowed]) -> tuple[jax.Array, None]:
            layer, windowed = gathered(place[0], execution.mesh, precision), place[1]
            query, key, value = layer.project(x, rotation_of(rotations, windowed))
            mixed = layer_attention(query, key, value, segments, self.config, windowed, execution)
            return execution.placed(layer.combine(x, mixed), "rows", None, None), None

        places = self.layers, windowed_flags(self.config)
        embedded = self.embed(tokens, precision, execution)
        return self.norm(jax.lax.scan(execution.recomputed(layer_step), embedded, places)[0])

    def embed(self, tokens: jax.Array, precision: Precision, execution: Execution = ONE_DEVICE) -> jax.Array:
        """Embeddings of int32 `tokens`: `[..., hidden]` in the dtype `precision`."""
        embedded = looked_up(self.embedding[...], tokens, precision, execution)
        if not self.config.scaled_embeddings:
            return embedded
        return embedded * jnp.asarray(math.sqrt(self.config.hidden), dtype=precision)

    def output_matrix(self) -> jax.Array:
        """Float32 `[vocabulary, hidden]`: logits, before a soft cap, are hidden states times its transpose."""
        return (self.embedding if self.config.tied_embeddings else self.output)[...]

    def logits(self, hidden: jax.Array) -> jax.Array:
        """Float32 `[..., vocabulary]` of final hidden states `[..., hidden]`, whose dtype is that of the product."""
        return self.capped(product("...h,vh->...v", hidden, self.output_matrix().astype(hidden.dtype)))

    def capped(self, logits: jax.Array) -> jax.Array:
        """Logits with the soft cap, where the model has one."""
        return logits if self.config.final_softcap is None else softcapped(logits, self.config.final_softcap)


Rotation: TypeAlias = tuple[jax.Array, jax.Array]
"""Cosines and sines of the rotary angles, float32 `[rows, length, 1, head_size / 2]`."""


Windowed: TypeAlias = jax.Array | None
"""Of a layer, a bool scalar; of all, bool `[layers]`. None where all layers are alike.

Layers that differ share one scan: each picks its rotary angles, and which of two attentions it runs, by this. So the
program doesn't grow with the depth or with the period of a pattern, any pattern will do, nothing of the stacked
parameters is cut or copied, and in either attention the window is a plain number, as kernels want it.
"""


def windowed_flags(config: DecoderConfig) -> Windowed:
    """Which layers are windowed, where some are and some aren't."""
    windowed = windowed_layers(config)
    return jnp.asarray(windowed) if any(windowed) and not all(windowed) else None


def layer_attention(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    segments: jax.Array | Branches,
    config: DecoderConfig,
    windowed: Windowed,
    execution: Execution = ONE_DEVICE,
) -> jax.Array:
    """`attention` as the layer has it."""

    def within(window: int | None) -> Any:
        scale = attention_scale(config)
        softcap = config.attention_softcap
        return functools.partial(attention, scale=scale, softcap=softcap, window=window, execution=execution)

    if windowed is None:
        return within(config.window if all(windowed_layers(config)) else None)(query, key, value, segments)
    return cast(Any, jax.lax.cond)(windowed, within(config.window), within(None), query, key, value, segments)


def attention_scale(config: DecoderConfig) -> float:
    """What scores are multiplied by."""
    return (config.head_size if config.attention_scalar is None else config.attention_scalar) ** -0.5


def rotations_at(positions: jax.Array, config: DecoderConfig) -> tuple[Rotation, ...]:
    """The rotary angles' cosines and sines at int32 `positions [rows, length]`: of all layers.

    Where windowed layers have angles of their own, of the others first, then theirs.
    """

    def rotation(windowed: bool) -> Rotation:
        frequencies = jnp.asarray(rope_frequencies(config, windowed), dtype=jnp.float32)
        angles = positions.astype(jnp.float32)[:, :, None, None] * frequencies
        amplitude = rope_amplitude(config, windowed)
        both = jnp.cos(angles), jnp.sin(angles)
        return both if amplitude == 1.0 else (both[0] * amplitude, both[1] * amplitude)

    kinds = sorted(set(windowed_layers(config))) if config.window_rope_theta is not None else [False]
    return tuple(rotation(windowed) for windowed in kinds)


def rotation_of(rotations: tuple[Rotation, ...], windowed: Windowed) -> Rotation:
    """A layer's, from `rotations_at`."""
    if windowed is None or len(rotations) == 1:
        return rotations[0]
    full, near = rotations
    return jnp.where(windowed, near[0], full[0]), jnp.where(windowed, near[1], full[1])


def rotate(x: jax.Array, rotation: Rotation) -> jax.Array:
    """Turns the pairs `(x[i], x[i + head_size / 2])` of the last axis by their angles; computed in float32."""
    cosine, sine = rotation
    first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    turned = jnp.concatenate([first * cosine - second * sine, second * cosine + first * sine], axis=-1)
    return turned.astype(x.dtype)


def gelu_tanh(x: jax.Array) -> jax.Array:
    """The tanh approximation of GELU (arXiv:1606.08415)."""
    return jax.nn.gelu(x, approximate=True)


def create(config: DecoderConfig, seed: int, lora: LoRA | None = None) -> Decoder:
    """A decoder with random parameters: matrices normal with deviation 0.02 (GPT-2's), norm scales one."""
    return Decoder(config, nnx.Rngs(seed), None if lora is None else replace(lora, dropout=0.0))


def assemble(
    config: DecoderConfig, parameters: Parameters, lora: LoRA | None = None, keys: jax.Array | None = None
) -> Decoder:
    """A decoder that holds the given arrays; inside `jit` they may be traced. Nothing is copied.

    With `lora`, the adapter's arrays (see `adapter_of`) are among them: `merged(parameters, adapter)`. Its dropout
    needs `keys`, a random key for each row that the decoder is then given; without them nothing is dropped.
    """
    if lora is None or lora.dropout == 0 or keys is None:
        return nnx.merge(_structure(config, None if lora is None else replace(lora, dropout=0.0)), parameters)
    return nnx.merge(_structure(config, lora), merged(parameters, dropout_keys(config.layers, lora, keys)))


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
    return nnx.eval_shape(lambda: Decoder(config, nnx.Rngs(0), lora))


@functools.cache
def _structure(config: DecoderConfig, lora: LoRA | None) -> nnx.GraphDef[Decoder]:
    return nnx.graphdef(_abstract(config, lora))


def _stacked_layers(config: DecoderConfig, rngs: nnx.Rngs, lora: LoRA | None) -> Layer:
    @nnx.split_rngs(splits=config.layers)
    @nnx.vmap
    def stacked(layer_rngs: nnx.Rngs) -> Layer:
        return Layer(config, layer_rngs, lora)

    return stacked(rngs)
