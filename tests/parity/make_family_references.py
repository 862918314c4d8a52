"""Writes what torch and transformers make of small random models of every family, for the parity tests.

Run it in an environment with torch, transformers and this repository's root on the path:

    python -m tests.parity.make_family_references

Nothing of ours is in it: the settings go to transformers' own classes, and every tensor is filled by its name.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

FILE = Path(__file__).parent / "families.npz"
COMMAND = "python -m tests.parity.make_family_references"

_SIZES = {
    "vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 64, "rms_norm_eps": 1e-5,
}  # fmt: skip
_YARN = {"factor": 4.0, "original_max_position_embeddings": 16}
_LLAMA3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 16}
_GEMMA = _SIZES | {"head_dim": 16, "query_pre_attn_scalar": 24, "sliding_window": 7}
_FULL, _SLIDING = "full_attention", "sliding_attention"

CASES: dict[str, dict[str, Any]] = {
    "llama2": _SIZES | {"model_type": "llama", "num_key_value_heads": 4},
    "llama3": _SIZES | {"model_type": "llama", "rope_theta": 5e5, "rope_scaling": {"rope_type": "llama3", **_LLAMA3}},
    "llama_biases": _SIZES
    | {"model_type": "llama", "attention_bias": True, "mlp_bias": True, "head_dim": 12, "tie_word_embeddings": True}
    | {"rope_parameters": {"rope_type": "linear", "factor": 3.0, "rope_theta": 2e4}},
    "mistral": _SIZES | {"model_type": "mistral", "sliding_window": 7},
    "mistral_whole": _SIZES | {"model_type": "mistral", "sliding_window": None, "head_dim": 16},
    "qwen2": _SIZES | {"model_type": "qwen2", "rope_theta": 1e6, "rope_scaling": {"type": "yarn", **_YARN}},
    "qwen2_windows": _SIZES
    | {"model_type": "qwen2", "use_sliding_window": True, "sliding_window": 7, "max_window_layers": 3}
    | {"tie_word_embeddings": True},
    "qwen3": _SIZES | {"model_type": "qwen3", "head_dim": 16, "rope_theta": 1e6, "tie_word_embeddings": True},
    "qwen3_windows": _SIZES
    | {"model_type": "qwen3", "head_dim": 16, "attention_bias": True, "use_sliding_window": True, "sliding_window": 5}
    | {"layer_types": [_FULL, _SLIDING, _SLIDING, _FULL]}
    | {"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4, "truncate": False, **_YARN, "beta_fast": 4.0}},
    "gemma2": _GEMMA | {"model_type": "gemma2", "attn_logit_softcapping": 2.0, "final_logit_softcapping": 3.0},
    "gemma2_uncapped": _GEMMA
    | {"model_type": "gemma2", "attn_logit_softcapping": None, "final_logit_softcapping": None}
    | {"attention_bias": True, "tie_word_embeddings": False, "num_key_value_heads": 1},
    "gemma3": _GEMMA
    | {"model_type": "gemma3_text", "sliding_window_pattern": 3, "rope_theta": 1e6, "rope_local_base_freq": 1e4}
    | {"rope_scaling": {"rope_type": "linear", "factor": 8.0}},
    "gemma3_nested": _GEMMA
    | {"model_type": "gemma3_text", "layer_types": [_SLIDING, _FULL] * 2, "final_logit_softcapping": 3.0}
    | {
        "rope_parameters": {
            _FULL: {"rope_type": "llama3", "rope_theta": 5e5, **_LLAMA3},
            _SLIDING: {"rope_type": "default", "rope_theta": 2e4},
        }
    },
    "olmo2": _SIZES | {"model_type": "olmo2", "num_key_value_heads": 4, "rope_theta": 5e5},
    "olmo3": _SIZES
    | {"model_type": "olmo3", "sliding_window": 7}
    | {
        "rope_parameters": {
            _FULL: {"rope_type": "yarn", "rope_theta": 5e5, "attention_factor": 1.2, **_YARN},
            _SLIDING: {"rope_type": "default", "rope_theta": 5e5},
        }
    },
    "olmo3_biases": _SIZES
    | {"model_type": "olmo3", "sliding_window": 5, "attention_bias": True, "tie_word_embeddings": True},
}
"""What `config.json` says, in the spelling of transformers 4 or 5."""

TRAINED = ("llama3", "mistral", "qwen2", "qwen3", "gemma2", "gemma3", "olmo2", "olmo3")
"""The cases, one a family, that take updates."""

UPDATES = 20
LEARNING_RATE, WEIGHT_DECAY, BETAS, EPSILON, CLIP = 3e-3, 0.1, (0.9, 0.95), 1e-8, 1.0
POSITIONS, VOCABULARY = slice(1, None, 3), slice(0, None, 5)
"""The part of the logits that is kept."""
DIRECTIONS = 4
"""Of each tensor's gradient its norm is kept, and its products with so many random directions."""


def tokens() -> np.ndarray:
    """int32 `[2, 24]`; no token is one that transformers takes for padding."""
    return np.random.RandomState(0).randint(3, 64, (2, 24)).astype(np.int32)


def tensor(name: str, shape: tuple[int, ...], around: float = 1.0) -> np.ndarray:
    """The float32 tensor of that name: of norms (`around`, 0.2 away), biases, or matrices."""
    drawn = np.random.RandomState(crc32(name.encode())).standard_normal(shape)
    is_norm = len(shape) == 1 and not name.endswith("bias")
    return ((around if is_norm else 0.0) + 0.2 * drawn).astype(np.float32)


def around(settings: dict[str, Any]) -> float:
    """What the family's published norm weights lie around: Gemma's are added to one."""
    return 0.0 if settings["model_type"].startswith("gemma") else 1.0


def projections(name: str, gradient: np.ndarray) -> np.ndarray:
    """Float64: the norm, and the products with the directions, each of which has about the norm's size."""
    directions = np.random.RandomState(crc32(name.encode()) ^ 1).standard_normal((DIRECTIONS, gradient.size))
    flat = gradient.astype(np.float64).reshape(-1)
    return np.concatenate([[np.linalg.norm(flat)], directions @ flat])


def torch_model(settings: dict[str, Any]) -> Any:
    """Transformers' model of these settings, filled by `tensor`."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(**json.loads(json.dumps(settings)))  # it changes what it is given
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.from_numpy(tensor(name, tuple(parameter.shape), around(settings))))
    return model


def references(case: str) -> dict[str, np.ndarray]:
    """By name: `logits`, `loss`, `tensors` (names) with `gradients`; of trained cases `losses`, before each update
    and after the last."""
    import torch

    model, inputs = torch_model(CASES[case]), torch.from_numpy(tokens().astype(np.int64))
    output = model(inputs, labels=inputs)
    output.loss.backward()
    found = {
        "logits": output.logits.detach().numpy()[:, POSITIONS, VOCABULARY],
        "loss": output.loss.detach().numpy(),
        "tensors": np.asarray([name for name, _ in model.named_parameters()]),
        "gradients": np.stack([projections(name, p.grad.numpy()) for name, p in model.named_parameters()]),
    }
    return found | ({"losses": _losses(model, inputs)} if case in TRAINED else {})


def _losses(model: Any, inputs: Any) -> np.ndarray:
    import torch

    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim == 2], "weight_decay": WEIGHT_DECAY},
        {"params": [p for p in parameters if p.ndim == 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=BETAS, eps=EPSILON)
    losses = []
    for _ in range(UPDATES):
        optimizer.zero_grad()
        loss = model(inputs, labels=inputs).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, CLIP)
        optimizer.step()
        losses.append(loss.item())
    with torch.no_grad():
        losses.append(model(inputs, labels=inputs).loss.item())
    return np.asarray(losses)


def main() -> int:
    made_by = {"command": COMMAND} | {package: version(package) for package in ("torch", "transformers", "numpy")}
    found: dict[str, Any] = {f"{case}/{name}": value for case in CASES for name, value in references(case).items()}
    np.savez_compressed(FILE, made_by=np.asarray(json.dumps(made_by)), **found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
