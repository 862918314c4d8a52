"""Writes what torch makes of preference losses on a tiny model, for the parity tests to compare with.

Run it in an environment with torch, transformers and this repository's root on the path:

    python -m tests.parity.make_preference_references

The losses are written as trl 1.16 has them (`trl/trainer/dpo_trainer.py`, `_compute_loss`), one row a side, padded.
"""

from __future__ import annotations

import json
import platform
import sys
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np

from compiler.program.config import DecoderConfig, Parameters
from compiler.program.decoder import parameter_shapes
from runtime.weights.layout import unstack
from tests.parity.make_references import FOLDER

COMMAND = "python -m tests.parity.make_preference_references"
FILE = FOLDER / "preferences.npz"

CONFIG = DecoderConfig(
    vocabulary=97,
    layers=2,
    hidden=32,
    intermediate=48,
    heads=4,
    key_value_heads=2,
    head_size=8,
    rope_theta=10000.0,
    norm_epsilon=1e-5,
    tied_embeddings=True,
    context=128,
)

CASES: dict[str, tuple[str, float, bool]] = {
    "sigmoid": ("sigmoid", 0.1, True),
    "sharp": ("sigmoid", 2.0, True),
    "ipo": ("ipo", 0.25, True),
    "free": ("sigmoid", 0.5, False),
}
"""Name: kind, beta, and whether there is a reference."""

WHOLE = "model.layers.1.self_attn.q_proj.weight"
"""The tensor whose gradient is kept whole; of the others the norms are."""


@dataclass(frozen=True)
class Pairs:
    """Made-up pairs, of each both sides: tokens, and how many of them are the prompt's."""

    chosen: list[np.ndarray]
    rejected: list[np.ndarray]
    prompts: list[int]


def pairs() -> Pairs:
    """Five pairs of different lengths."""
    random = np.random.default_rng(5)

    def tokens(count: int) -> np.ndarray:
        return random.integers(0, CONFIG.vocabulary, count).astype(np.int32)

    prompts, answers = [3, 7, 1, 12, 5], [(4, 9), (6, 2), (15, 15), (1, 8), (10, 3)]
    asked = [tokens(count) for count in prompts]
    return Pairs(
        chosen=[np.concatenate([prompt, tokens(count)]) for prompt, (count, _) in zip(asked, answers, strict=True)],
        rejected=[np.concatenate([prompt, tokens(count)]) for prompt, (_, count) in zip(asked, answers, strict=True)],
        prompts=prompts,
    )


def weights(seed: int) -> Parameters:
    """Random parameters, drawn by NumPy, so that every environment has the same."""
    random = np.random.default_rng(seed)

    def drawn(shapes: Any, around: float = 0.0) -> Any:
        if isinstance(shapes, dict):
            return {name: drawn(shapes[name], float(name == "scale")) for name in sorted(shapes)}
        return (around + 0.2 * random.standard_normal(shapes.shape)).astype(np.float32)

    return drawn(parameter_shapes(CONFIG))


def references() -> dict[str, np.ndarray]:
    """`NAME.*` for each case: the loss, what trl tells, gradients; and `logps`, those of both sides of each pair."""
    import torch

    policy, reference = _model(weights(1)), _model(weights(2))
    with torch.no_grad():
        held, _ = _log_probabilities(reference)
    made: dict[str, np.ndarray] = {"reference": held.numpy()}
    for name, (kind, beta, kept) in CASES.items():
        policy.zero_grad()
        loss, told = _loss(*_log_probabilities(policy), held if kept else torch.zeros_like(held), kind, beta)
        loss.backward()
        told["loss"] = loss
        made |= {f"{name}.{what}": value.detach().numpy() for what, value in told.items()}
        for tensor, parameter in policy.named_parameters():
            made[f"{name}.norm.{tensor}"] = parameter.grad.norm().numpy()
            if tensor == WHOLE:
                made[f"{name}.gradient"] = parameter.grad.numpy().copy()
    return made


def _model(parameters: Parameters) -> Any:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=CONFIG.vocabulary,
            num_hidden_layers=CONFIG.layers,
            hidden_size=CONFIG.hidden,
            intermediate_size=CONFIG.intermediate,
            num_attention_heads=CONFIG.heads,
            num_key_value_heads=CONFIG.key_value_heads,
            head_dim=CONFIG.head_size,
            rms_norm_eps=CONFIG.norm_epsilon,
            max_position_embeddings=CONFIG.context,
            tie_word_embeddings=CONFIG.tied_embeddings,
            attn_implementation="eager",
        )
    )
    tensors = {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in unstack(CONFIG, parameters)}
    missing, unexpected = model.load_state_dict(tensors, strict=False)
    assert not unexpected
    assert set(missing) <= {"lm_head.weight"}, missing
    return model.float()


def _log_probabilities(model: Any) -> tuple[Any, Any]:
    """Of each side, chosen ones first, the log-probability of the answer and the number of its tokens."""
    import torch

    made = pairs()
    rows = [*made.chosen, *made.rejected]
    width = max(len(row) for row in rows)
    tokens = torch.tensor(np.stack([np.pad(row, (0, width - len(row))) for row in rows]).astype(np.int64))
    place = torch.arange(width)[None]
    lengths = torch.tensor([len(row) for row in rows])[:, None]
    answers = (place >= torch.tensor(made.prompts * 2)[:, None]) & (place < lengths)
    logits = model(tokens, attention_mask=(place < lengths).long()).logits[:, :-1]
    values = torch.log_softmax(logits, -1).gather(-1, tokens[:, 1:, None])[..., 0]
    return (values * answers[:, 1:]).sum(-1), answers[:, 1:].sum(-1)


def _loss(logps: Any, counts: Any, reference: Any, kind: str, beta: float) -> tuple[Any, dict[str, Any]]:
    import torch

    chosen_logps, rejected_logps = logps.chunk(2)
    reference_chosen_logps, reference_rejected_logps = reference.chunk(2)
    chosen_scores, rejected_scores = chosen_logps - reference_chosen_logps, rejected_logps - reference_rejected_logps
    if kind == "sigmoid":
        losses = -torch.nn.functional.logsigmoid(beta * (chosen_scores - rejected_scores))
    else:
        chosen_counts, rejected_counts = counts.chunk(2)
        difference = chosen_scores / chosen_counts.clamp(min=1.0) - rejected_scores / rejected_counts.clamp(min=1.0)
        losses = (difference - 1 / (2 * beta)) ** 2
    chosen_rewards, rejected_rewards = beta * chosen_scores, beta * rejected_scores
    return losses.mean(), {
        "rewards/chosen": chosen_rewards.mean(),
        "rewards/rejected": rejected_rewards.mean(),
        "rewards/accuracies": (chosen_rewards > rejected_rewards).float().mean(),
        "rewards/margins": (chosen_rewards - rejected_rewards).mean(),
        "logps/chosen": chosen_logps.mean(),
        "logps/rejected": rejected_logps.mean(),
    }


def made_by() -> dict[str, str]:
    """The command and the versions."""
    packages = ("torch", "transformers", "numpy")
    return {"command": COMMAND, "python": platform.python_version()} | {
        package: version(package) for package in packages
    }


def main() -> int:
    np.savez_compressed(FILE, made_by=np.asarray(json.dumps(made_by())), **references())
    return 0


if __name__ == "__main__":
    sys.exit(main())
