"""Advantages and loss of GRPO against the same in torch, as trl 1.16 has it (`trl/trainer/grpo_trainer.py`)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from compiler.program.policy import Advantage, advantages_of, answer_weight, denominator_of, token_losses

MOST = 9


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # torch's own
@pytest.mark.parametrize("beta", [0.0, 0.04])
@pytest.mark.parametrize("kind", ["grpo", "dr_grpo"])
def test_the_loss_and_its_gradient_are_trls(kind: Advantage, beta: float) -> None:
    torch = pytest.importorskip("torch", reason="needs torch: pip install torch==2.13.0")
    random = np.random.default_rng(0)
    rewards = random.normal(size=(3, 4)).round(1)
    lengths = random.integers(1, MOST + 1, 12)
    mask = np.arange(MOST) < lengths[:, None]
    values, old, reference = (random.normal(-3, 0.3, (12, MOST)).astype(np.float32) for _ in range(3))

    scores = torch.tensor(rewards)
    advantages = scores - scores.mean(dim=1, keepdim=True)
    if kind == "grpo":
        advantages = advantages / (scores.std(dim=1, keepdim=True) + 1e-4)
    advantages = advantages.reshape(-1, 1).float()
    per_token_logps = torch.tensor(values, requires_grad=True)
    completion_mask = torch.tensor(mask).float()
    coef_1 = torch.exp(per_token_logps - torch.tensor(old))
    coef_2 = torch.clamp(coef_1, 1 - 0.2, 1 + 0.28)
    per_token_loss = -torch.min(coef_1 * advantages, coef_2 * advantages)
    if beta:
        ahead = torch.tensor(reference) - per_token_logps
        per_token_loss = per_token_loss + beta * (torch.exp(ahead) - ahead - 1)
    masked = per_token_loss * completion_mask
    if kind == "grpo":
        expected = (masked.sum(-1) / completion_mask.sum(-1).clamp(min=1.0)).mean()
    else:
        expected = masked.sum() / (12 * MOST)
    expected.backward()

    weights = np.where(mask, np.array([answer_weight(kind, length) for length in lengths])[:, None], 0)
    ours = np.repeat(advantages_of(rewards, kind).reshape(-1, 1), MOST, axis=1).astype(np.float32)
    given = jnp.asarray(old), jnp.asarray(reference) if beta else None, jnp.asarray(ours)

    def loss(values: jax.Array) -> jax.Array:
        told = token_losses(values, *given, beta=beta, epsilon_low=0.2, epsilon_high=0.28)
        return jnp.sum(told.losses * jnp.asarray(weights, dtype=jnp.float32)) / denominator_of(kind, 12, MOST)

    value, gradient = jax.value_and_grad(loss)(jnp.asarray(values))
    assert value == pytest.approx(expected.item(), rel=1e-5)
    np.testing.assert_allclose(gradient, per_token_logps.grad.numpy(), rtol=1e-4, atol=1e-7)
