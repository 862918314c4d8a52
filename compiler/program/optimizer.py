"""The optimizer: AdamW with clipping, and learning rates as functions of the step."""
# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast

import jax
import jax.numpy as jnp
import optax

from compiler.program.config import Parameters

Schedule: TypeAlias = Callable[[Any], jax.Array]
"""From the number of updates already made, int32, to the learning rate of the next one, float32."""

ScheduleShape: TypeAlias = Literal["cosine", "linear", "constant"]


@dataclass(frozen=True)
class Optimizer:
    """An optax transformation and the learning rate that it follows."""

    transformation: optax.GradientTransformation
    learning_rate: Schedule


def adamw(
    learning_rate: Schedule,
    b1: float = 0.9,
    b2: float = 0.95,
    eps: float = 1e-8,
    weight_decay: float = 0.1,
    clip: float | None = 1.0,
) -> Optimizer:
    """AdamW (arXiv:1711.05101) after clipping the gradient to the global norm `clip` (`None`: no clipping).

    Weight decay applies to matrices, embeddings among them, and not to the scales of norms and to biases.
    """
    update = optax.adamw(learning_rate, b1, b2, eps, weight_decay=weight_decay, mask=decayed)
    clipped = update if clip is None else optax.chain(optax.clip_by_global_norm(clip), update)
    return Optimizer(_under_standard_promotion(clipped), learning_rate)


def schedule(shape: ScheduleShape, peak: float, updates: int, warmup: float = 0.0, final: float = 0.0) -> Schedule:
    """The learning rate as a function of the number of updates already made.

    It rises linearly over the first `warmup` (a fraction of `updates`, rounded to whole ones), never from zero: an
    update with rate zero does nothing. Then it goes from `peak` to `final` (a fraction of `peak`), which it would
    reach after the last update, along a half cosine (arXiv:1608.03983) or a straight line, or it stays at `peak`.
    """
    warm = round(warmup * updates)
    rest = max(updates - warm, 1)
    match shape:
        case "cosine":
            after = optax.cosine_decay_schedule(peak, rest, alpha=final)
        case "linear":
            after = optax.linear_schedule(peak, final * peak, rest)
        case "constant":
            after = optax.constant_schedule(peak)
    rise = optax.linear_schedule(peak / (warm + 1), peak, warm)
    joined = optax.join_schedules([rise, after], [warm]) if warm else after

    def rate(step: Any) -> jax.Array:
        with jax.numpy_dtype_promotion("standard"):
            return jnp.asarray(joined(step), dtype=jnp.float32)

    return rate


def decayed(parameters: Parameters) -> Parameters:
    """For each parameter, whether weight decay applies: everywhere but in the scales of norms and in biases."""
    return {
        name: decayed(cast(Parameters, value)) if isinstance(value, dict) else name not in ("scale", "bias")
        for name, value in parameters.items()
    }


def _under_standard_promotion(inner: optax.GradientTransformation) -> optax.GradientTransformation:
    """Optax raises floats to integer powers, which strict dtype promotion forbids."""

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        with jax.numpy_dtype_promotion("standard"):
            return inner.update(updates, state, params)

    return optax.GradientTransformation(inner.init, update)
