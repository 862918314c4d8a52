"""`config.json` of every family: published spellings, what transformers takes where it says nothing, refusals."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from compiler.program.config import DecoderConfig, RopeScaling, windowed_layers
from runtime.errors import UserError
from runtime.weights.families import read_settings, written_settings

SIZES = {
    "vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 8, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 4096, "rms_norm_eps": 1e-5,
}  # fmt: skip


def _read(model_type: str, **settings: Any) -> DecoderConfig:
    return read_settings(SIZES | {"model_type": model_type} | settings, Path("config.json"))


def test_a_plain_llama_has_the_defaults_of_the_decoder() -> None:
    config = _read("llama")
    assert config == DecoderConfig(64, 8, 32, 48, 4, 2, 8, 10000.0, 1e-5, False, 4096)
    assert _read("llama", num_key_value_heads=None).key_value_heads == 4


@pytest.mark.parametrize("model_type", ["qwen2", "qwen3"])
def test_qwens_window_counts_only_where_it_is_used(model_type: str) -> None:
    unused = _read(model_type, sliding_window=512, max_window_layers=5, use_sliding_window=False)
    assert unused.window is None
    used = _read(model_type, sliding_window=512, max_window_layers=5, use_sliding_window=True)
    assert (used.window, windowed_layers(used)) == (512, (False,) * 5 + (True,) * 3)


def test_patterns_that_files_leave_out() -> None:
    assert _read("gemma2").window_pattern == (True, False)
    assert _read("olmo3").window_pattern == (True, True, True, False)
    gemma3 = _read("gemma3_text", num_hidden_layers=14)
    assert gemma3.window_pattern == (True,) * 5 + (False,)
    assert (gemma3.rope_theta, gemma3.window_rope_theta, gemma3.tied_embeddings) == (1e6, 1e4, True)
    assert (_read("mistral").window, _read("mistral", sliding_window=None).window) == (4096, None)


def test_gemma_3_with_images_as_published() -> None:
    text = {
        "hidden_size": 2560, "intermediate_size": 10240, "model_type": "gemma3_text", "num_hidden_layers": 34,
        "rope_scaling": {"factor": 8.0, "rope_type": "linear"}, "sliding_window": 1024,
    }  # fmt: skip
    written = {
        "architectures": ["Gemma3ForConditionalGeneration"], "boi_token_index": 255999, "eos_token_id": [1, 106],
        "image_token_index": 262144, "mm_tokens_per_image": 256, "model_type": "gemma3", "text_config": text,
        "torch_dtype": "bfloat16", "vision_config": {"hidden_size": 1152, "model_type": "siglip_vision_model"},
    }  # fmt: skip
    config = read_settings(written, Path("config.json"))
    assert (config.vocabulary, config.heads, config.key_value_heads, config.head_size) == (262208, 8, 4, 256)
    assert (config.window, config.rope_scaling) == (1024, RopeScaling("linear", 8.0))
    assert sum(windowed_layers(config)) == 29


def test_yarn_as_qwen_and_olmo_publish_it() -> None:
    qwen = _read("qwen2", rope_scaling={"factor": 4.0, "original_max_position_embeddings": 1024, "type": "yarn"})
    assert qwen.rope_scaling == RopeScaling("yarn", 4.0, 1024, attention_factor=1 + 0.1 * math.log(4))
    written = {"rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 512, "attention_factor": 1.2}
    old, new = (
        _read("olmo3", rope_scaling=written),
        _read(
            "olmo3",
            rope_parameters={
                "full_attention": {"rope_theta": 5e5, **written},
                "sliding_attention": {"rope_type": "default", "rope_theta": 5e5},
            },
        ),
    )
    assert old == new
    assert (old.rope_theta, old.window_rope_theta) == (5e5, 5e5)  # windowed layers aren't scaled
    scale = {"mscale": 1.0, "mscale_all_dim": 0.5}
    both = _read("llama", rope_scaling={"rope_type": "yarn", "factor": 2.718281828459045, **scale}).rope_scaling
    assert both is not None
    assert both.attention_factor == pytest.approx(1.1 / 1.05)


@pytest.mark.parametrize(
    ("model_type", "settings", "named"),
    [
        ("gpt2", {}, "model_type: gpt2"),
        ("llama", {"attention_dropout": 0.1}, "attention_dropout: 0.1"),
        ("llama", {"sliding_window": 512}, "sliding_window: 512"),
        ("llama", {"logits_scaling": 8.0}, "logits_scaling: 8.0"),
        ("llama", {"num_hidden_layers": "two"}, "num_hidden_layers: two"),
        ("llama", {"num_key_value_heads": 3}, "num_key_value_heads: 3"),
        ("llama", {"head_dim": 7}, "head_dim: 7"),
        ("llama", {"rms_norm_eps": 0}, "rms_norm_eps: 0"),
        ("llama", {"tie_word_embeddings": "yes"}, "tie_word_embeddings: yes"),
        ("llama", {"hidden_act": "relu"}, "hidden_act: relu"),
        ("llama", {"rope_scaling": [1]}, r"rope_scaling: \[1\]"),
        ("llama", {"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "rope_scaling.type: dynamic"),
        ("llama", {"rope_parameters": {"rope_type": "longrope"}}, "rope_parameters.rope_type: longrope"),
        ("llama", {"rope_scaling": {"type": "linear", "factor": "x"}}, "rope_scaling.factor: x"),
        ("llama", {"rope_scaling": {"type": "linear", "factor": 2.0, "beta": 1}}, "rope_scaling.beta: 1"),
        ("llama", {"rope_parameters": {"partial_rotary_factor": 0.5}}, "rope_parameters.partial_rotary_factor: 0.5"),
        ("qwen3", {"layer_types": ["full_attention"]}, "layer_types"),
        ("qwen3", {"layer_types": ["chunked_attention"] * 8}, "layer_types"),
        ("qwen2", {"layer_types": ["sliding_attention"] * 8}, "use_sliding_window: None"),
        ("gemma2", {"hidden_activation": "gelu"}, "hidden_activation: gelu"),
        ("gemma2", {"use_bidirectional_attention": True}, "use_bidirectional_attention: True"),
        ("gemma3_text", {"attn_logit_softcapping": 50.0}, "attn_logit_softcapping: 50.0"),
        ("gemma3_text", {"rope_parameters": {"rope_type": "default"}}, "rope_parameters.rope_type: default"),
        (
            "olmo3",
            {"rope_parameters": {"sliding_attention": {"rope_type": "linear", "factor": 2.0}}},
            "rope_parameters.sliding_attention",
        ),
    ],
)
def test_what_would_change_the_result_is_refused_by_name(model_type: str, settings: Any, named: str) -> None:
    with pytest.raises(UserError, match=f"'{named}.*isn't supported"):
        _read(model_type, **settings)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"num_attention_heads": None}, "num_attention_heads"),
        ({"rope_scaling": {"type": "linear"}}, "rope_scaling.factor"),
    ],
)
def test_what_is_missing_is_named(settings: Any, named: str) -> None:
    with pytest.raises(UserError, match=f"lacks '{named}'"):
        _read("llama", **settings)


def test_settings_that_say_nothing_are_passed_over() -> None:
    said = {"torch_dtype": "bfloat16", "_name_or_path": "x", "use_mrope": False, "pruned_heads": {}, "new_thing": None}
    assert _read("llama", **said) == _read("llama")


def test_a_decoder_that_its_family_cannot_say_is_not_written() -> None:
    with pytest.raises(UserError, match="family 'llama' can't say a decoder's window"):
        written_settings(replace(_read("llama"), window=4))
    with pytest.raises(UserError, match="family 'qwen2' can't say a decoder's query_key_norm"):
        written_settings(replace(_read("qwen2"), query_key_norm="head"))
