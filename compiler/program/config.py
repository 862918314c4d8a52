"""The shape of a decoder, and what follows from it by arithmetic. Imports no JAX, so that planning starts fast."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast

Precision: TypeAlias = Literal["float32", "bfloat16"]
"""Dtype of activations and matrix products; parameters, norms, softmax and loss are float32 either way."""

Parameters: TypeAlias = dict[str, Any]
"""Float32 arrays by name, nested: `parameters["layers"]["attention"]["query"]["weight"]`.

Layers lie stacked on axis 0.
"""

Family: TypeAlias = Literal["llama", "mistral", "qwen2", "qwen3", "gemma2", "gemma3", "olmo2", "olmo3"]
"""Whose names and settings a model's files have. What is computed is said by the other fields of `DecoderConfig`."""


@dataclass(frozen=True)
class RopeScaling:
    """How rotary frequencies are stretched for longer contexts than the model was first trained on."""

    kind: Literal["linear", "llama3", "yarn"]
    factor: float
    original_context: int = 0
    """Tokens of the context before; of `llama3` and `yarn`."""
    low_frequency_factor: float = 1.0
    high_frequency_factor: float = 4.0
    """`llama3`: between so many turns over the original context, low to high, the stretching fades out."""
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    """`yarn`: the same, the other way round."""
    attention_factor: float = 1.0
    """`yarn`: what cosines and sines are multiplied by."""
    truncate: bool = True
    """`yarn`: whether the bounds of the fading are rounded to whole channels."""


@dataclass(frozen=True)
class DecoderConfig:
    """The shape of a decoder. Sizes are counts of elements.

    Fields with a default are those of a plain Llama. A config survives JSON: `DecoderConfig(**asdict(config))`.
    """

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
    family: Family = "llama"
    rope_scaling: RopeScaling | None = None
    window: int | None = None
    """How many tokens a token of a windowed layer sees, itself among them; None: no layer has a window."""
    window_pattern: tuple[bool, ...] = (True,)
    """Which layers are windowed, repeated over the layers; says nothing where `window` is None."""
    window_rope_theta: float | None = None
    """The rotary base of windowed layers, whose frequencies then aren't scaled; None: as the other layers."""
    query_key_norm: Literal["head", "projection"] | None = None
    """Queries and keys are normalised before they are rotated: each head, or the whole projection."""
    norms: Literal["before", "after", "both"] = "before"
    """Where attention and feed-forward have a norm: on their input, on their output, on both."""
    query_key_value_bias: bool = False
    attention_output_bias: bool = False
    feed_forward_bias: bool = False
    activation: Literal["silu", "gelu_tanh"] = "silu"
    attention_scalar: float | None = None
    """Scores are divided by its square root; None: `head_size`."""
    attention_softcap: float | None = None
    """Scores are squeezed between its negative and itself: `cap * tanh(scores / cap)` (arXiv:2408.00118)."""
    final_softcap: float | None = None
    """The same for logits."""
    scaled_embeddings: bool = False
    """Embeddings are multiplied by the square root of `hidden`."""

    def __post_init__(self) -> None:
        # From JSON come a mapping and a list.
        scaling, pattern = cast(Any, self.rope_scaling), cast(Any, self.window_pattern)
        if isinstance(scaling, dict):
            object.__setattr__(self, "rope_scaling", RopeScaling(**cast(dict[str, Any], scaling)))
        object.__setattr__(self, "window_pattern", tuple(pattern))


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


def windowed_layers(config: DecoderConfig) -> tuple[bool, ...]:
    """For each layer, whether it is windowed."""
    pattern = config.window_pattern
    return tuple(config.window is not None and pattern[layer % len(pattern)] for layer in range(config.layers))


def rope_frequencies(config: DecoderConfig, windowed: bool = False) -> tuple[float, ...]:
    """Radians a token of each rotated pair of channels (arXiv:2104.09864, eq. 15), scaled; `head_size / 2` of them."""
    own = windowed and config.window_rope_theta is not None
    theta, scaling = (config.window_rope_theta or 0.0, None) if own else (config.rope_theta, config.rope_scaling)
    half = config.head_size // 2
    plain = [theta ** (-channel / half) for channel in range(half)]
    if scaling is None:
        return tuple(plain)
    match scaling.kind:
        case "linear":
            kept = [0.0] * half
        case "llama3":
            kept = [_kept_by_llama3(frequency, scaling) for frequency in plain]
        case "yarn":
            kept = _kept_by_yarn(theta, config.head_size, scaling)
    return tuple(
        frequency * (share + (1 - share) / scaling.factor) for frequency, share in zip(plain, kept, strict=True)
    )


def rope_amplitude(config: DecoderConfig, windowed: bool = False) -> float:
    """What the cosines and sines of the rotary angles are multiplied by."""
    own = windowed and config.window_rope_theta is not None
    return 1.0 if own or config.rope_scaling is None else config.rope_scaling.attention_factor


def parameter_count(config: DecoderConfig) -> int:
    """The number of parameters; tied embeddings count once."""
    embeddings = config.vocabulary * config.hidden * (1 if config.tied_embeddings else 2)
    layer = _layer_weights(config) + _layer_biases(config) + _layer_scales(config)
    return config.layers * layer + config.hidden + embeddings


def training_flops(config: DecoderConfig, tokens: int, pairs: int, windowed_pairs: int | None = None) -> int:
    """Floating-point operations of forward and backward over segments with `tokens` tokens in all.

    Six for each weight of a matrix product and token (arXiv:2001.08361, table 1), and for attention's two products
    twelve for each channel of each of the `pairs` of a token with itself or an earlier one of its segment.
    Windowed layers have `windowed_pairs`, those that the window lets see each other; where they aren't known, as many
    as there could be: exact where no segment is longer than the window. Recomputation and padding aren't counted.
    """
    weights = config.layers * _layer_weights(config) + config.vocabulary * config.hidden
    if windowed_pairs is None:
        windowed_pairs = pairs if config.window is None else min(pairs, tokens * config.window)
    windowed = sum(windowed_layers(config))
    seen = (config.layers - windowed) * pairs + windowed * windowed_pairs
    return 6 * weights * tokens + 12 * config.heads * config.head_size * seen


def _layer_weights(config: DecoderConfig) -> int:
    """Elements of one layer's matrices."""
    attention = config.hidden * 2 * (config.heads + config.key_value_heads) * config.head_size
    return attention + 3 * config.hidden * config.intermediate


def _layer_biases(config: DecoderConfig) -> int:
    """Elements of one layer's biases."""
    inputs = (config.heads + 2 * config.key_value_heads) * config.head_size * config.query_key_value_bias
    output = config.hidden * config.attention_output_bias
    return inputs + output + (2 * config.intermediate + config.hidden) * config.feed_forward_bias


def _layer_scales(config: DecoderConfig) -> int:
    """Elements of one layer's norms."""
    around = config.hidden * (4 if config.norms == "both" else 2)
    match config.query_key_norm:
        case None:
            return around
        case "head":
            return around + 2 * config.head_size
        case "projection":
            return around + (config.heads + config.key_value_heads) * config.head_size


def _kept_by_llama3(frequency: float, scaling: RopeScaling) -> float:
    """How much of a frequency stays unscaled (Llama 3.1, arXiv:2407.21783): those of many turns stay, 0 to 1."""
    turns = scaling.original_context * frequency / (2 * math.pi)
    low, high = scaling.low_frequency_factor, scaling.high_frequency_factor
    return min(max((turns - low) / (high - low), 0.0), 1.0)


def _kept_by_yarn(theta: float, head_size: int, scaling: RopeScaling) -> list[float]:
    """How much of each frequency stays unscaled (arXiv:2309.00071, section 3.2), a ramp over the channels, 0 to 1."""

    def channel(turns: float) -> float:
        """Where a frequency turns so often over the original context."""
        return head_size * math.log(scaling.original_context / (turns * 2 * math.pi)) / (2 * math.log(theta))

    low, high = channel(scaling.beta_fast), channel(scaling.beta_slow)
    if scaling.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, head_size - 1)
    width = high - low or 0.001  # as published: no division by zero
    return [1 - min(max((place - low) / width, 0.0), 1.0) for place in range(head_size // 2)]
