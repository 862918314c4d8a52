"""Published shapes of dense decoders, by the names that specs write and by repositories. Imports no JAX."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from compiler.program.config import DecoderConfig, Family

Fields = Mapping[str, Any]

FAMILIES: dict[Family, Fields] = {
    "llama": {},
    "mistral": {},
    "qwen2": {"query_key_value_bias": True},
    "qwen3": {"query_key_norm": "head"},
    "gemma2": {
        "norms": "both",
        "activation": "gelu_tanh",
        "scaled_embeddings": True,
        "attention_softcap": 50.0,
        "final_softcap": 30.0,
        "window_pattern": (True, False),
    },
    "gemma3": {
        "norms": "both",
        "activation": "gelu_tanh",
        "scaled_embeddings": True,
        "query_key_norm": "head",
        "window_pattern": (True, True, True, True, True, False),
        "window_rope_theta": 10_000.0,
    },
    "olmo2": {"norms": "after", "query_key_norm": "projection"},
    "olmo3": {"norms": "after", "query_key_norm": "projection", "window_pattern": (True, True, True, False)},
}
"""What the models of a family compute in the same way, whatever their size."""


def _sized(
    layers: int, hidden: int, intermediate: int, heads: int, key_value_heads: int, head_size: int
) -> dict[str, int]:
    return {
        "layers": layers,
        "hidden": hidden,
        "intermediate": intermediate,
        "heads": heads,
        "key_value_heads": key_value_heads,
        "head_size": head_size,
    }


def _stretched(factor: float) -> dict[str, Any]:
    """Llama 3's scaling of rotary frequencies beyond the 8192 tokens that it was first trained on."""
    return {
        "kind": "llama3",
        "factor": factor,
        "original_context": 8192,
        "low_frequency_factor": 1.0,
        "high_frequency_factor": 4.0,
    }


_LLAMA2 = {
    "family": "llama",
    "vocabulary": 32_000,
    "rope_theta": 10_000.0,
    "norm_epsilon": 1e-5,
    "tied_embeddings": False,
    "context": 4096,
}
_LLAMA3 = _LLAMA2 | {"vocabulary": 128_256, "rope_theta": 500_000.0, "context": 8192}
_LLAMA31 = _LLAMA3 | {"context": 131_072, "rope_scaling": _stretched(8.0)}
_LLAMA32 = _LLAMA31 | {"tied_embeddings": True, "rope_scaling": _stretched(32.0)}
_MISTRAL = _LLAMA2 | {"family": "mistral", "context": 32_768}
_QWEN25 = {
    "family": "qwen2",
    "vocabulary": 151_936,
    "rope_theta": 1_000_000.0,
    "norm_epsilon": 1e-6,
    "tied_embeddings": True,
    "context": 32_768,
}
_QWEN25_LARGE = _QWEN25 | {"vocabulary": 152_064, "tied_embeddings": False}
_QWEN3 = _QWEN25 | {"family": "qwen3", "context": 40_960}
_QWEN3_LARGE = _QWEN3 | {"tied_embeddings": False}
_SMOLLM2 = _LLAMA2 | {"vocabulary": 49_152, "rope_theta": 100_000.0, "tied_embeddings": True, "context": 8192}
_GEMMA2 = {
    "family": "gemma2",
    "vocabulary": 256_000,
    "rope_theta": 10_000.0,
    "norm_epsilon": 1e-6,
    "tied_embeddings": True,
    "context": 8192,
    "window": 4096,
    "attention_scalar": 256.0,
}
_GEMMA3_SMALL = _GEMMA2 | {
    "family": "gemma3",
    "vocabulary": 262_144,
    "rope_theta": 1_000_000.0,
    "context": 32_768,
    "window": 512,
}
_GEMMA3 = _GEMMA3_SMALL | {
    "vocabulary": 262_208,
    "context": 131_072,
    "window": 1024,
    "rope_scaling": {"kind": "linear", "factor": 8.0},
}
_OLMO2 = {
    "family": "olmo2",
    "vocabulary": 100_352,
    "rope_theta": 500_000.0,
    "norm_epsilon": 1e-6,
    "tied_embeddings": False,
    "context": 4096,
}

_8B = _sized(32, 4096, 14_336, 32, 8, 128)
_70B = _sized(80, 8192, 28_672, 64, 8, 128)

SHAPES: dict[str, Fields] = {
    "llama2_7b": _LLAMA2 | _sized(32, 4096, 11_008, 32, 32, 128),
    "llama2_13b": _LLAMA2 | _sized(40, 5120, 13_824, 40, 40, 128),
    "llama2_70b": _LLAMA2 | _70B,
    "llama3_8b": _LLAMA3 | _8B,
    "llama3_70b": _LLAMA3 | _70B,
    "llama3_1_8b": _LLAMA31 | _8B,
    "llama3_1_70b": _LLAMA31 | _70B,
    "llama3_1_405b": _LLAMA31 | _sized(126, 16_384, 53_248, 128, 8, 128),
    "llama3_2_1b": _LLAMA32 | _sized(16, 2048, 8192, 32, 8, 64),
    "llama3_2_3b": _LLAMA32 | _sized(28, 3072, 8192, 24, 8, 128),
    "llama3_3_70b": _LLAMA31 | _70B,
    "mistral_7b": _MISTRAL | _8B | {"window": 4096},
    "mistral_7b_v0_3": _MISTRAL | _8B | {"vocabulary": 32_768, "rope_theta": 1_000_000.0},
    "qwen2_5_0_5b": _QWEN25 | _sized(24, 896, 4864, 14, 2, 64),
    "qwen2_5_1_5b": _QWEN25 | _sized(28, 1536, 8960, 12, 2, 128),
    "qwen2_5_3b": _QWEN25 | _sized(36, 2048, 11_008, 16, 2, 128),
    "qwen2_5_7b": _QWEN25_LARGE | _sized(28, 3584, 18_944, 28, 4, 128),
    "qwen2_5_14b": _QWEN25_LARGE | _sized(48, 5120, 13_824, 40, 8, 128),
    "qwen2_5_32b": _QWEN25_LARGE | _sized(64, 5120, 27_648, 40, 8, 128),
    "qwen2_5_72b": _QWEN25_LARGE | _sized(80, 8192, 29_568, 64, 8, 128),
    "qwen3_0_6b": _QWEN3 | _sized(28, 1024, 3072, 16, 8, 128),
    "qwen3_1_7b": _QWEN3 | _sized(28, 2048, 6144, 16, 8, 128),
    "qwen3_4b": _QWEN3 | _sized(36, 2560, 9728, 32, 8, 128),
    "qwen3_8b": _QWEN3_LARGE | _sized(36, 4096, 12_288, 32, 8, 128),
    "qwen3_14b": _QWEN3_LARGE | _sized(40, 5120, 17_408, 40, 8, 128),
    "qwen3_32b": _QWEN3_LARGE | _sized(64, 5120, 25_600, 64, 8, 128),
    "smollm2_135m": _SMOLLM2 | _sized(30, 576, 1536, 9, 3, 64),
    "smollm2_360m": _SMOLLM2 | _sized(32, 960, 2560, 15, 5, 64),
    "smollm2_1_7b": _SMOLLM2 | _sized(24, 2048, 8192, 32, 32, 64) | {"rope_theta": 130_000.0},
    "gemma2_2b": _GEMMA2 | _sized(26, 2304, 9216, 8, 4, 256),
    "gemma2_9b": _GEMMA2 | _sized(42, 3584, 14_336, 16, 8, 256),
    "gemma2_27b": _GEMMA2 | _sized(46, 4608, 36_864, 32, 16, 128) | {"attention_scalar": 144.0},
    "gemma3_1b": _GEMMA3_SMALL | _sized(26, 1152, 6912, 4, 1, 256),
    "gemma3_4b": _GEMMA3 | _sized(34, 2560, 10_240, 8, 4, 256),
    "gemma3_12b": _GEMMA3 | _sized(48, 3840, 15_360, 16, 8, 256),
    "gemma3_27b": _GEMMA3 | _sized(62, 5376, 21_504, 32, 16, 128) | {"attention_scalar": 168.0},
    "olmo2_1b": _OLMO2 | _sized(16, 2048, 8192, 16, 16, 128),
    "olmo2_7b": _OLMO2 | _sized(32, 4096, 11_008, 32, 32, 128),
    "olmo2_13b": _OLMO2 | _sized(40, 5120, 13_824, 40, 40, 128),
    "olmo2_32b": _OLMO2 | _sized(64, 5120, 27_648, 40, 8, 128),
}
"""By the name of a shape, what its `DecoderConfig` says beside what its family says."""

REPOSITORIES: dict[str, str] = {
    "meta-llama/Llama-2-7b-hf": "llama2_7b",
    "meta-llama/Llama-2-7b-chat-hf": "llama2_7b",
    "meta-llama/Llama-2-13b-hf": "llama2_13b",
    "meta-llama/Llama-2-13b-chat-hf": "llama2_13b",
    "meta-llama/Llama-2-70b-hf": "llama2_70b",
    "meta-llama/Llama-2-70b-chat-hf": "llama2_70b",
    "meta-llama/Meta-Llama-3-8B": "llama3_8b",
    "meta-llama/Meta-Llama-3-8B-Instruct": "llama3_8b",
    "meta-llama/Meta-Llama-3-70B": "llama3_70b",
    "meta-llama/Meta-Llama-3-70B-Instruct": "llama3_70b",
    "meta-llama/Llama-3.1-8B": "llama3_1_8b",
    "meta-llama/Llama-3.1-8B-Instruct": "llama3_1_8b",
    "meta-llama/Llama-3.1-70B": "llama3_1_70b",
    "meta-llama/Llama-3.1-70B-Instruct": "llama3_1_70b",
    "meta-llama/Llama-3.1-405B": "llama3_1_405b",
    "meta-llama/Llama-3.1-405B-Instruct": "llama3_1_405b",
    "meta-llama/Llama-3.2-1B": "llama3_2_1b",
    "meta-llama/Llama-3.2-1B-Instruct": "llama3_2_1b",
    "meta-llama/Llama-3.2-3B": "llama3_2_3b",
    "meta-llama/Llama-3.2-3B-Instruct": "llama3_2_3b",
    "meta-llama/Llama-3.3-70B-Instruct": "llama3_3_70b",
    "mistralai/Mistral-7B-v0.1": "mistral_7b",
    "mistralai/Mistral-7B-Instruct-v0.1": "mistral_7b",
    "mistralai/Mistral-7B-v0.3": "mistral_7b_v0_3",
    "mistralai/Mistral-7B-Instruct-v0.3": "mistral_7b_v0_3",
    "Qwen/Qwen2.5-0.5B-Instruct": "qwen2_5_0_5b",
    "Qwen/Qwen2.5-1.5B-Instruct": "qwen2_5_1_5b",
    "Qwen/Qwen2.5-3B-Instruct": "qwen2_5_3b",
    "Qwen/Qwen2.5-7B-Instruct": "qwen2_5_7b",
    "Qwen/Qwen2.5-14B-Instruct": "qwen2_5_14b",
    "Qwen/Qwen2.5-32B-Instruct": "qwen2_5_32b",
    "Qwen/Qwen2.5-72B-Instruct": "qwen2_5_72b",
    "Qwen/Qwen3-0.6B": "qwen3_0_6b",
    "Qwen/Qwen3-1.7B": "qwen3_1_7b",
    "Qwen/Qwen3-4B": "qwen3_4b",
    "Qwen/Qwen3-8B": "qwen3_8b",
    "Qwen/Qwen3-14B": "qwen3_14b",
    "Qwen/Qwen3-32B": "qwen3_32b",
    "HuggingFaceTB/SmolLM2-135M": "smollm2_135m",
    "HuggingFaceTB/SmolLM2-135M-Instruct": "smollm2_135m",
    "HuggingFaceTB/SmolLM2-360M": "smollm2_360m",
    "HuggingFaceTB/SmolLM2-360M-Instruct": "smollm2_360m",
    "HuggingFaceTB/SmolLM2-1.7B": "smollm2_1_7b",
    "HuggingFaceTB/SmolLM2-1.7B-Instruct": "smollm2_1_7b",
    "google/gemma-2-2b": "gemma2_2b",
    "google/gemma-2-2b-it": "gemma2_2b",
    "google/gemma-2-9b": "gemma2_9b",
    "google/gemma-2-9b-it": "gemma2_9b",
    "google/gemma-2-27b": "gemma2_27b",
    "google/gemma-2-27b-it": "gemma2_27b",
    "google/gemma-3-1b-pt": "gemma3_1b",
    "google/gemma-3-1b-it": "gemma3_1b",
    "google/gemma-3-4b-pt": "gemma3_4b",
    "google/gemma-3-4b-it": "gemma3_4b",
    "google/gemma-3-12b-pt": "gemma3_12b",
    "google/gemma-3-12b-it": "gemma3_12b",
    "google/gemma-3-27b-pt": "gemma3_27b",
    "google/gemma-3-27b-it": "gemma3_27b",
    "allenai/OLMo-2-0425-1B": "olmo2_1b",
    "allenai/OLMo-2-0425-1B-Instruct": "olmo2_1b",
    "allenai/OLMo-2-1124-7B": "olmo2_7b",
    "allenai/OLMo-2-1124-7B-Instruct": "olmo2_7b",
    "allenai/OLMo-2-1124-13B": "olmo2_13b",
    "allenai/OLMo-2-1124-13B-Instruct": "olmo2_13b",
    "allenai/OLMo-2-0325-32B": "olmo2_32b",
    "allenai/OLMo-2-0325-32B-Instruct": "olmo2_32b",
}
"""By repository on the Hugging Face hub, the shape of its weights."""


def config_of(fields: Fields) -> DecoderConfig:
    """The decoder that some fields describe: what its family says, and then what they say."""
    return DecoderConfig(**{**FAMILIES[fields["family"]], **fields})


def published(name: str) -> DecoderConfig:
    """The decoder of a published shape, `qwen3_8b`. KeyError for a name that isn't in the table."""
    return config_of(SHAPES[name])


def of_location(location: str) -> DecoderConfig | None:
    """The decoder at `hf://ORGANISATION/NAME@REVISION`, without looking; None where the table doesn't have it."""
    scheme, _, path = location.partition("://")
    repository = "/".join(path.split("@")[0].split("/")[:2])
    name = REPOSITORIES.get(repository) if scheme == "hf" else None
    return None if name is None else published(name)
