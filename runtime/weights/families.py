"""The families of models: their settings in `config.json`, of transformers 4 or 5, and the decoder's shape.

A setting that isn't known here is refused: it could change what is computed.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from compiler.program.config import DecoderConfig, Family, windowed_layers
from runtime.errors import UserError
from runtime.weights import rope_settings
from runtime.weights.rope_settings import FULL, SLIDING, read_rope, read_rope_of_kinds
from runtime.weights.settings import Settings, Written

_COMMON = (
    "vocab_size", "num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads",
    "num_key_value_heads", "head_dim", "rms_norm_eps", "tie_word_embeddings", "max_position_embeddings",
    "hidden_act", *rope_settings.NAMES,
)  # fmt: skip
"""Settings that every family has."""

_SILENT = frozenset((
    "architectures", "model_type", "torch_dtype", "dtype", "transformers_version", "bos_token_id", "eos_token_id",
    "pad_token_id", "unk_token_id", "sep_token_id", "cls_token_id", "tokenizer_class", "use_cache",
    "cache_implementation", "initializer_range", "pretraining_tp", "return_dict", "id2label", "label2id",
    "num_labels", "problem_type", "is_llama_config", "transformers.js_config", "unsloth_fixed", "unsloth_version",
    "max_length", "min_length", "temperature", "top_k", "top_p", "typical_p", "repetition_penalty",
    "length_penalty", "diversity_penalty", "num_beams", "num_beam_groups", "num_return_sequences", "do_sample",
))  # fmt: skip
"""Settings that say nothing about what is computed; nor do those whose name begins with `_`."""

_ONLY = {"attention_dropout": 0, "rope_interleaved": False, "partial_rotary_factor": 1}
"""Settings that the decoder has no field for, and the value under which it needs none."""

_ACTIVATIONS: dict[str, Literal["silu", "gelu_tanh"]] = {
    "silu": "silu", "swish": "silu", "gelu_pytorch_tanh": "gelu_tanh", "gelu_new": "gelu_tanh",
}  # fmt: skip


@dataclass(frozen=True)
class _Spelling:
    """How a family writes its settings, and what of the decoder is the same in all of its models."""

    architecture: str
    """The class in transformers."""
    reads: tuple[str, ...] = ()
    """Settings beside those that every family has."""
    defaults: Written = field(default_factory=dict[str, Any])
    """What transformers takes where the file doesn't say."""
    always: Written = field(default_factory=dict[str, Any])
    """Fields of `DecoderConfig`."""


_WINDOWS = ("sliding_window", "layer_types")
_QWEN_WINDOWS = ("use_sliding_window", "max_window_layers", *_WINDOWS)
_QWEN = {"num_key_value_heads": 32, "sliding_window": 4096, "max_window_layers": 28}
_GEMMA_READS = (
    "attention_bias", "query_pre_attn_scalar", "final_logit_softcapping", "attn_logit_softcapping",
    "hidden_activation", *_WINDOWS,
)  # fmt: skip
_GEMMA = {
    "head_dim": 256, "num_key_value_heads": 4, "tie_word_embeddings": True, "query_pre_attn_scalar": 256,
    "sliding_window": 4096, "hidden_activation": "gelu_pytorch_tanh",
}  # fmt: skip
_GEMMA_ALWAYS = {"norms": "both", "scaled_embeddings": True}
_OLMO_ALWAYS = {"norms": "after", "query_key_norm": "projection"}

_SPELLINGS: dict[Family, _Spelling] = {
    "llama": _Spelling("LlamaForCausalLM", ("attention_bias", "mlp_bias")),
    "mistral": _Spelling(
        "MistralForCausalLM", ("sliding_window",), {"num_key_value_heads": 8, "sliding_window": 4096}
    ),
    "qwen2": _Spelling("Qwen2ForCausalLM", _QWEN_WINDOWS, _QWEN, {"query_key_value_bias": True}),
    "qwen3": _Spelling(
        "Qwen3ForCausalLM",
        ("attention_bias", *_QWEN_WINDOWS),
        {**_QWEN, "head_dim": 128},
        {"query_key_norm": "head"},
    ),
    "gemma2": _Spelling(
        "Gemma2ForCausalLM",
        _GEMMA_READS,
        {**_GEMMA, "final_logit_softcapping": 30.0, "attn_logit_softcapping": 50.0},
        _GEMMA_ALWAYS,
    ),
    "gemma3": _Spelling(
        "Gemma3ForCausalLM",
        (*_GEMMA_READS, "sliding_window_pattern", "rope_local_base_freq"),
        {
            # Published files leave out whatever is as in the class, sizes too.
            **_GEMMA, "vocab_size": 262_208, "hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 26,
            "num_attention_heads": 8, "max_position_embeddings": 131_072, "rope_theta": 1e6,
            "rope_local_base_freq": 1e4, "sliding_window_pattern": 6,
        },
        {**_GEMMA_ALWAYS, "query_key_norm": "head"},
    ),
    "olmo2": _Spelling("Olmo2ForCausalLM", ("attention_bias",), {"rms_norm_eps": 1e-5}, _OLMO_ALWAYS),
    "olmo3": _Spelling(
        "Olmo3ForCausalLM",
        ("attention_bias", *_WINDOWS),
        {"rms_norm_eps": 1e-5, "rope_theta": 5e5, "sliding_window": 4096},
        _OLMO_ALWAYS,
    ),
}  # fmt: skip

_TYPES: dict[str, Family] = {("gemma3_text" if family == "gemma3" else family): family for family in _SPELLINGS}
"""Families by `model_type`."""


def text_settings(written: Written) -> Written:
    """What `config.json` says of the text model: of Gemma 3 with images it stands in a table of its own."""
    inner = written.get("text_config")
    if written.get("model_type") != "gemma3" or not isinstance(inner, dict):
        return written
    outer = ("bos_token_id", "eos_token_id", "pad_token_id", "tie_word_embeddings")
    return {n: written[n] for n in outer if n in written} | inner | {"model_type": "gemma3_text"}


def read_settings(written: Written, place: Path) -> DecoderConfig:
    """The decoder's shape.

    Args:
        written: what `config.json` holds.
        place: the file, for errors.

    Raises:
        UserError: the family isn't served; a setting is missing, wrong, or asks for what the decoder doesn't compute.
    """
    written = text_settings(written)
    model_type = written.get("model_type")
    if model_type not in _TYPES:
        Settings(written, place).refuse("model_type", f"use a model of one of these: {', '.join(_TYPES)}")
    family = _TYPES[model_type]
    spelling = _SPELLINGS[family]
    settings = Settings(written, place, {"rms_norm_eps": 1e-6, "rope_theta": 1e4} | spelling.defaults)
    _check_names(settings, spelling)
    heads, hidden = settings.count("num_attention_heads"), settings.count("hidden_size")
    layers = settings.count("num_hidden_layers")
    key_value_heads = settings.optional_count("num_key_value_heads") or heads
    head_size = settings.optional_count("head_dim") or hidden // heads
    if heads % key_value_heads:
        settings.refuse("num_key_value_heads", f"it must divide the {heads} heads")
    if head_size % 2:
        settings.refuse("head_dim" if settings.get("head_dim") else "hidden_size", "rotary positions need even heads")
    window, pattern = _windows(settings, family, layers)
    bias = settings.switch("attention_bias")
    of_family: dict[str, Any] = {
        "query_key_value_bias": bias,
        "attention_output_bias": bias,
        "feed_forward_bias": settings.switch("mlp_bias"),
        "attention_scalar": settings.number("query_pre_attn_scalar") if family in ("gemma2", "gemma3") else None,
        "attention_softcap": settings.optional_number("attn_logit_softcapping"),
        "final_softcap": settings.optional_number("final_logit_softcapping"),
    } | spelling.always
    theta, scaling, window_theta = _rope(settings, family)
    if family == "gemma3" and of_family["attention_softcap"] is not None:
        settings.refuse("attn_logit_softcapping", "transformers doesn't apply it in this family: say null")
    return DecoderConfig(
        vocabulary=settings.count("vocab_size"),
        layers=layers,
        hidden=hidden,
        intermediate=settings.count("intermediate_size"),
        heads=heads,
        key_value_heads=key_value_heads,
        head_size=head_size,
        rope_theta=theta,
        norm_epsilon=settings.number("rms_norm_eps"),
        tied_embeddings=settings.switch("tie_word_embeddings"),
        context=settings.count("max_position_embeddings"),
        family=family,
        rope_scaling=scaling,
        window=window,
        window_pattern=pattern,
        window_rope_theta=window_theta if window is not None else None,
        activation=_activation(settings, family),
        **of_family,
    )


def written_settings(config: DecoderConfig) -> Written:
    """`config.json` without the tokens: what `read_settings` and transformers' class make the same model of.

    Raises:
        UserError: the family's files can't say what the decoder is.
    """
    family = config.family
    written: Written = {
        "architectures": [_SPELLINGS[family].architecture],
        "model_type": next(model_type for model_type, each in _TYPES.items() if each == family),
        "vocab_size": config.vocabulary,
        "num_hidden_layers": config.layers,
        "hidden_size": config.hidden,
        "intermediate_size": config.intermediate,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.key_value_heads,
        "head_dim": config.head_size,
        "rms_norm_eps": config.norm_epsilon,
        "tie_word_embeddings": config.tied_embeddings,
        "max_position_embeddings": config.context,
        **rope_settings.written_rope(config),
        "dtype": "float32",
    }
    activation = "silu" if config.activation == "silu" else "gelu_pytorch_tanh"
    own = {
        "hidden_act": activation,
        "hidden_activation": activation,
        "attention_bias": config.attention_output_bias,
        "mlp_bias": config.feed_forward_bias,
        "query_pre_attn_scalar": _whole(config.attention_scalar),
        "attn_logit_softcapping": config.attention_softcap,
        "final_logit_softcapping": config.final_softcap,
        **_written_windows(config),
    }
    reads = _SPELLINGS[family].reads
    written |= {name: own[name] for name in reads if name in own}
    if "hidden_activation" not in reads:
        written["hidden_act"] = activation
    if family == "gemma3":
        written["rope_local_base_freq"] = config.window_rope_theta or config.rope_theta
    if family in ("gemma3", "olmo3"):
        written["rope_parameters"] = rope_settings.written_rope_of_kinds(config)
    again = read_settings(written, Path("config.json"))
    if again != config:
        lost = [each.name for each in fields(config) if getattr(again, each.name) != getattr(config, each.name)]
        raise UserError(f"files of the family '{family}' can't say a decoder's {lost[0]}", "take a family that has it")
    return written


def _check_names(settings: Settings, spelling: _Spelling) -> None:
    """Refuses settings that nobody reads and that could mean something."""
    known = {*_COMMON, *spelling.reads, *_SILENT}
    for name, value in settings.written.items():
        if name in _ONLY:
            if value not in (None, _ONLY[name]):
                settings.refuse(name, f"the decoder knows only {_ONLY[name]} here")
        elif not (name in known or name.startswith("_") or value in (None, False, [], {})):
            settings.refuse(name, f"what it means in {spelling.architecture} isn't known; leave it out if nothing")


def _activation(settings: Settings, family: Family) -> Literal["silu", "gelu_tanh"]:
    name = "hidden_activation" if family in ("gemma2", "gemma3") else "hidden_act"
    for each in (name, "hidden_act"):
        if settings.get(each) not in (None, *_ACTIVATIONS):
            settings.refuse(each, f"the decoder knows {', '.join(_ACTIVATIONS)}")
    return _ACTIVATIONS[settings.get(name) or "silu"]


def _rope(settings: Settings, family: Family) -> tuple[float, Any, float | None]:
    if family not in ("gemma3", "olmo3"):
        return *read_rope(settings), None
    return read_rope_of_kinds(settings, settings.number("rope_local_base_freq") if family == "gemma3" else None)


def _windows(settings: Settings, family: Family, layers: int) -> tuple[int | None, tuple[bool, ...]]:
    """The window, and the pattern of the layers that have it."""
    windowed = _windowed(settings, family, layers)
    if not any(windowed):
        return None, (True,)
    sizes = range(1, layers + 1)
    return settings.count("sliding_window"), next(
        windowed[:size] for size in sizes if all(windowed[n] == windowed[n % size] for n in range(layers))
    )


def _windowed(settings: Settings, family: Family, layers: int) -> tuple[bool, ...]:
    """For each layer, whether it has a window."""
    types = settings.get("layer_types")
    if types is not None and "layer_types" in _SPELLINGS[family].reads:
        if not isinstance(types, list) or len(types) != layers or not set(types) <= {FULL, SLIDING}:
            settings.refuse("layer_types", f"it must be a list of {layers} times '{FULL}' or '{SLIDING}'")
        if family in ("qwen2", "qwen3") and SLIDING in types and not settings.switch("use_sliding_window"):
            settings.refuse("use_sliding_window", f"'layer_types' has '{SLIDING}'")
        return tuple(each == SLIDING for each in types)
    match family:
        case "llama" | "olmo2":
            return (False,) * layers
        case "mistral":
            return (settings.get("sliding_window") is not None,) * layers
        case "qwen2" | "qwen3":
            last = settings.get("sliding_window") is not None and settings.switch("use_sliding_window")
            return tuple(last and layer >= settings.get("max_window_layers") for layer in range(layers))
        case "gemma2":
            return tuple(layer % 2 == 0 for layer in range(layers))
        case "gemma3":
            return tuple((layer + 1) % settings.count("sliding_window_pattern") != 0 for layer in range(layers))
        case "olmo3":
            return tuple((layer + 1) % 4 != 0 for layer in range(layers))


def _written_windows(config: DecoderConfig) -> Written:
    windowed = windowed_layers(config)
    return {
        "sliding_window": config.window,
        "layer_types": [SLIDING if each else FULL for each in windowed],
        "use_sliding_window": any(windowed),
        "max_window_layers": windowed.index(True) if any(windowed) else config.layers,
    }


def _whole(value: float | None) -> float | None:
    return int(value) if value is not None and value == int(value) else value
