"""A decoder's shape from the fields of a GGUF file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.program.config import DecoderConfig, Family, RopeScaling, rope_frequencies
from runtime.errors import UserError

if TYPE_CHECKING:
    from gguf import GGUFReader

ROPE_FACTORS = "rope_freqs.weight"
"""The tensor with what Llama 3's rotary frequencies are divided by."""

_FAMILIES: dict[str, Family] = {
    "llama": "llama", "qwen2": "qwen2", "qwen3": "qwen3", "gemma2": "gemma2", "gemma3": "gemma3", "olmo2": "olmo2",
}  # fmt: skip

_OF_FAMILY: dict[Family, dict[str, Any]] = {
    "qwen2": {"query_key_value_bias": True},
    "qwen3": {"query_key_norm": "head"},
    "gemma2": {"norms": "both", "scaled_embeddings": True, "activation": "gelu_tanh", "window_pattern": (True, False)},
    "gemma3": {
        "norms": "both", "scaled_embeddings": True, "activation": "gelu_tanh", "query_key_norm": "head",
        "window_pattern": (True, True, True, True, True, False), "window_rope_theta": 10000.0,
    },
    "olmo2": {"norms": "after", "query_key_norm": "projection"},
}  # fmt: skip
"""What the files don't say, since it is the same in all models of a family."""

_LAYERS_OF_27B = {"gemma2": 46, "gemma3": 62}
"""Gemma's models of 27B divide scores by another number than the root of the head's size, and no field says so."""

_PUBLISHED_SCALINGS = [RopeScaling("llama3", factor, 8192) for factor in (8.0, 32.0)]  # Llama 3.1 and 3.3, Llama 3.2

_FOLDER = "use the model's Hugging Face folder"

_REQUIRED = object()


def field(reader: GGUFReader, name: str, default: object = _REQUIRED) -> Any:
    """A field's value. UserError where it isn't there and there is no default."""
    found = reader.get_field(name)
    if found is not None:
        return found.contents()
    if default is _REQUIRED:
        raise UserError(f"the file has no '{name}'", "use a complete GGUF file")
    return default


def read_config(reader: GGUFReader, path: Path) -> DecoderConfig:
    """The decoder's shape. UserError where a field is missing, or asks for what the decoder doesn't compute."""
    architecture = field(reader, "general.architecture")
    if architecture not in _FAMILIES:
        help = f"use one of these: {', '.join(_FAMILIES)}"
        raise UserError(f"architecture '{architecture}' isn't supported", help, str(path))
    family = _FAMILIES[architecture]

    def own(name: str, default: object = _REQUIRED) -> Any:
        return field(reader, f"{architecture}.{name}", default)

    heads, hidden, layers = own("attention.head_count"), own("embedding_length"), own("block_count")
    head_size = own("attention.key_length", None) or own("rope.dimension_count", None) or hidden // heads
    if own("attention.value_length", head_size) != head_size or own("rope.dimension_count", head_size) != head_size:
        raise UserError("values or rotated channels that aren't as many as keys aren't supported", _FOLDER, str(path))
    theta = own("rope.freq_base", 10000.0)
    window = own("attention.sliding_window", None) or None
    if window is not None and family not in ("gemma2", "gemma3"):
        raise UserError(f"windows of attention aren't supported in '{architecture}' files", _FOLDER, str(path))
    config = DecoderConfig(
        vocabulary=len(field(reader, "tokenizer.ggml.tokens")),
        layers=layers,
        hidden=hidden,
        intermediate=own("feed_forward_length"),
        heads=heads,
        key_value_heads=own("attention.head_count_kv", heads),
        head_size=head_size,
        rope_theta=theta,
        norm_epsilon=_shortest(own("attention.layer_norm_rms_epsilon")),
        tied_embeddings=all(tensor.name != "output.weight" for tensor in reader.tensors),
        context=own("context_length"),
        family=family,
        window=window,
        attention_scalar=_attention_scalar(family, layers, hidden, heads, head_size),
        attention_softcap=own("attn_logit_softcapping", None) if family == "gemma2" else None,
        final_softcap=own("final_logit_softcapping", None),
        **_OF_FAMILY.get(family, {}),
    )
    return _with_scaling(config, reader, architecture, path)


def _attention_scalar(family: Family, layers: int, hidden: int, heads: int, head_size: int) -> float | None:
    if family not in _LAYERS_OF_27B:
        return None
    return float(hidden // heads if layers == _LAYERS_OF_27B[family] else head_size)


def _with_scaling(config: DecoderConfig, reader: GGUFReader, architecture: str, path: Path) -> DecoderConfig:
    kind = field(reader, f"{architecture}.rope.scaling.type", "none")
    factors = next((tensor.data for tensor in reader.tensors if tensor.name == ROPE_FACTORS), None)
    if kind == "linear" and factors is None:
        return replace(config, rope_scaling=RopeScaling("linear", field(reader, f"{architecture}.rope.scaling.factor")))
    if kind != "none":
        raise UserError(f"rotary positions scaled by '{kind}' aren't supported in GGUF files", _FOLDER, str(path))
    if factors is None:
        return config
    plain = np.asarray(rope_frequencies(config))
    for scaling in _PUBLISHED_SCALINGS:
        scaled = replace(config, rope_scaling=scaling)
        if np.allclose(plain / np.asarray(factors, dtype=np.float64), rope_frequencies(scaled), rtol=1e-5, atol=0):
            return scaled
    raise UserError(f"'{ROPE_FACTORS}' isn't that of a published Llama 3", _FOLDER, str(path))


def _shortest(value: float) -> float:
    """The shortest decimal that is this float32: 1e-5, which the file holds as 9.999999747378752e-06."""
    return float(str(np.float32(value)))
