"""GGUF files of every family, as llama.cpp's converter writes them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import jax
import numpy as np

from compiler.program.config import DecoderConfig, Parameters, RopeScaling, rope_frequencies
from compiler.program.decoder import create, parameters_of
from runtime.weights.gguf import gguf_name
from runtime.weights.gguf_settings import ROPE_FACTORS
from runtime.weights.layout import names, table, unstack
from tests.tiny import tiny_description

_PLAIN = replace(tiny_description().config, context=64)
_GEMMA: dict[str, Any] = {
    "norms": "both", "scaled_embeddings": True, "activation": "gelu_tanh", "attention_scalar": 16.0, "head_size": 16,
    "window": 7,
}  # fmt: skip

CONFIGS: dict[str, DecoderConfig] = {
    "llama": _PLAIN,
    "llama_untied": replace(_PLAIN, tied_embeddings=False, key_value_heads=4),
    "llama3": replace(_PLAIN, rope_scaling=RopeScaling("llama3", 32.0, 8192), rope_theta=5e5),
    "qwen2": replace(_PLAIN, family="qwen2", query_key_value_bias=True, rope_theta=1e6),
    "qwen3": replace(_PLAIN, family="qwen3", query_key_norm="head", head_size=16),
    "gemma2": replace(
        _PLAIN, family="gemma2", window_pattern=(True, False), attention_softcap=2.0, final_softcap=3.0, **_GEMMA
    ),
    "gemma3": replace(
        _PLAIN, family="gemma3", layers=7, window_pattern=(True,) * 5 + (False,), window_rope_theta=1e4,
        rope_theta=1e6, query_key_norm="head", rope_scaling=RopeScaling("linear", 8.0), **_GEMMA,
    ),
    "olmo2": replace(_PLAIN, family="olmo2", norms="after", query_key_norm="projection", tied_embeddings=False),
}  # fmt: skip


def random_parameters(config: DecoderConfig) -> Parameters:
    """Float32 NumPy arrays, none of them all zeros or ones."""
    random = np.random.default_rng(0)
    shift = lambda x: (np.asarray(x) + 0.1 * random.standard_normal(x.shape)).astype(np.float32)  # noqa: E731
    return jax.tree.map(shift, parameters_of(create(config, 0)))


def write(path: Path, config: DecoderConfig, parameters: Parameters, **changed: str) -> None:
    """Writes a file; `changed` says what is wrong with it."""
    tokenizer = tiny_description().tokenizer
    vocabulary = sorted(tokenizer.tokenizer.get_vocab().items(), key=lambda item: item[1])
    architecture = changed.get("architecture", config.family)
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_block_count(config.layers)
    writer.add_context_length(config.context)
    writer.add_embedding_length(config.hidden)
    writer.add_feed_forward_length(config.intermediate)
    writer.add_head_count(config.heads)
    writer.add_head_count_kv(config.key_value_heads)
    writer.add_layer_norm_rms_eps(config.norm_epsilon)
    writer.add_rope_freq_base(config.rope_theta)
    writer.add_rope_dimension_count(config.head_size)
    writer.add_vocab_size(config.vocabulary)
    if config.family in ("qwen3", "gemma2", "gemma3"):
        writer.add_key_length(config.head_size)
        writer.add_value_length(config.head_size)
    if config.window is not None:
        writer.add_sliding_window(config.window)
    if config.attention_softcap is not None:
        writer.add_attn_logit_softcapping(config.attention_softcap)
    if config.final_softcap is not None:
        writer.add_final_logit_softcapping(config.final_softcap)
    if "scaling" in changed:
        writer.add_string(f"{architecture}.rope.scaling.type", changed["scaling"])
    elif config.rope_scaling is not None and config.rope_scaling.kind == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(config.rope_scaling.factor)
    elif config.rope_scaling is not None:
        factors = np.asarray(rope_frequencies(replace(config, rope_scaling=None))) / rope_frequencies(config)
        writer.add_tensor(ROPE_FACTORS, factors.astype(np.float32))
    writer.add_tokenizer_model(changed.get("tokenizer", "gpt2"))
    writer.add_tokenizer_pre(changed.get("pre", "smollm"))
    writer.add_token_list([token for token, _ in vocabulary])
    writer.add_token_types([3] * 3 + [1] * (len(vocabulary) - 3))
    writer.add_token_merges(["Ġ t", "h e"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    offsets = {name: entry.offset for entry in table(config) for name in names(config, entry)}
    for name, tensor in unstack(config, parameters):
        heads = {"q_proj": config.heads, "k_proj": config.key_value_heads}.get(name.split(".")[-2])
        stored = _permuted(tensor, heads) if heads is not None and config.family == "llama" else tensor
        writer.add_tensor(gguf_name(name, config.family, config.layers), stored + np.float32(offsets[name]))
    if "tensor" in changed:
        writer.add_tensor(changed["tensor"], np.zeros((2, 2), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _permuted(rows: np.ndarray, heads: int) -> np.ndarray:
    """How llama.cpp's converter stores Llama's query and key rows: the two of a rotary pair side by side."""
    return rows.reshape(heads, 2, -1, rows.shape[1]).swapaxes(1, 2).reshape(rows.shape)
