"""The shape of a decoder, and what follows from it by arithmetic. Imports no JAX, so that planning starts fast."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

Precision: TypeAlias = Literal["float32", "bfloat16"]
"""Dtype of activations and matrix products; parameters, norms, softmax and loss are float32 either way."""

Parameters: TypeAlias = dict[str, Any]
"""Float32 arrays by name, nested: `parameters["layers"]["attention"]["query"]["weight"]`.

Layers lie stacked on axis 0.
"""


@dataclass(frozen=True)
class DecoderConfig:
    """The shape of a decoder. Sizes are counts of elements."""

    vocabulary: int
    layers: int
    hidden: int
    intermediate: int
    heads: int
    key_value_heads: int
    head_size: int
    rope_theta: float
    norm_epsilon: float
    tied_embeddings: bool
    context: int
    """The longest sequence, in tokens, that the model was made for."""


@dataclass(frozen=True)
class LoRA:
    """The shape of low-rank adapters (arXiv:2106.09685) beside some of a decoder's matrices."""

    rank: int
    alpha: float
    """An adapter's output is scaled by `alpha / rank`."""
    dropout: float
    """The share of an adapter's input that is set to zero in training."""
    on: tuple[Literal["attention", "mlp"], ...]
    """The matrices that have one: attention's four, the feed-forward's three."""


def parameter_count(config: DecoderConfig) -> int:
    """The number of parameters; tied embeddings count once."""
    norms = (2 * config.layers + 1) * config.hidden
    embeddings = config.vocabulary * config.hidden * (1 if config.tied_embeddings else 2)
    return config.layers * _layer_weights(config) + norms + embeddings


def training_flops(config: DecoderConfig, tokens: int, pairs: int) -> int:
    """Floating-point operations of forward and backward over segments with `tokens` tokens in all.

    Six for each weight of a matrix product and token (arXiv:2001.08361, table 1), and for attention's two products
    twelve for each channel of each of the `pairs` of a token with itself or an earlier one of its segment.
    Recomputation and padding aren't counted.
    """
    weights = config.layers * _layer_weights(config) + config.vocabulary * config.hidden
    return 6 * weights * tokens + 12 * config.layers * config.heads * config.head_size * pairs


def _layer_weights(config: DecoderConfig) -> int:
    """Elements of one layer's matrices."""
    attention = config.hidden * 2 * (config.heads + config.key_value_heads) * config.head_size
    return attention + 3 * config.hidden * config.intermediate
