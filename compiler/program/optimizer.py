"""Optimizers and learning rates by the step, put together from optax's parts."""
# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal, TypeAlias

import jax
import jax.numpy as jnp
import optax
import optax.contrib

from compiler import stages
from compiler.program.config import Parameters
from compiler.program.groups import group_of, leaves, mapped

Schedule: TypeAlias = Callable[[Any], jax.Array]
"""From the number of updates already made, int32, to the learning rate of the next one, float32."""

ScheduleShape: TypeAlias = Literal["cosine", "linear", "constant", "wsd"]

_UNDECAYED = ("scale", "bias")
_MUONS_ADAM = 0.9, 0.95, 1e-8
"""Decays and epsilon of what Muon leaves to Adam; the decays are those of its author (github.com/KellerJordan/Muon)."""


@dataclass(frozen=True)
class Optimizer:
    """An optax transformation and the learning rate that it follows."""

    transformation: optax.GradientTransformation
    learning_rate: Schedule
    """Of the parameters that no group treats in its own way; with Muon, of the matrices within layers."""


def build(
    chosen: stages.Optimizer,
    shape: stages.Schedule,
    groups: Sequence[stages.Group],
    updates: int,
    warmup: Fraction,
    decay: Fraction,
    max_grad_norm: str | None,
    shapes: Parameters,
) -> Optimizer:
    """A stage's optimizer. Weight decay applies to matrices, embeddings among them, not to norms' scales and biases.

    Args:
        chosen: which one, with its settings: see the functions below for what each does.
        shape: of the learning rate over the stage.
        groups: of parameters, see `groups.group_of`. A group's share of the learning rate and its weight decay replace
            the stage's. Frozen ones hold none of `shapes` (see `groups.split`).
        updates: of the whole stage.
        warmup: how long the learning rate rises, as a fraction of the updates.
        decay: how long it falls at the end, of `wsd`, likewise.
        max_grad_norm: what the norm of the gradient of all that is trained is clipped to; None doesn't clip.
        shapes: what is trained: arrays or `jax.ShapeDtypeStruct`.
    """
    rate = schedule(shape.kind, _number(chosen.lr), updates, float(warmup), _number(shape.final), float(decay))

    def label(path: tuple[str, ...]) -> tuple[int, str]:
        number = group_of(groups, path)
        return -1 if number is None else number, _part(chosen, path)

    def of_label(number: int, part: str) -> optax.GradientTransformation:
        group = groups[number] if number >= 0 else None
        share = 1.0 if group is None or group.lr is None else _number(group.lr)
        decayed_by = chosen.weight_decay if group is None or group.weight_decay is None else group.weight_decay
        return _update(chosen, part, rate if share == 1.0 else _scaled(rate, share), _number(decayed_by))

    labels = {path: label(path) for path, _ in leaves(shapes)}
    kinds = sorted(set(labels.values()))
    if len(kinds) == 1:
        update = of_label(*kinds[0])
    else:
        by_name: dict[Hashable, optax.GradientTransformation] = {
            f"{number}_{part}": of_label(number, part) for number, part in kinds
        }
        update = optax.partition(by_name, mapped(shapes, lambda path: "{}_{}".format(*labels[path])))
    return Optimizer(_clipped(update, None if max_grad_norm is None else _number(max_grad_norm)), rate)


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
    return Optimizer(_clipped(_adamw(learning_rate, b1, b2, eps, weight_decay), clip), learning_rate)


def schedule(
    shape: ScheduleShape, peak: float, updates: int, warmup: float = 0.0, final: float = 0.0, decay: float = 0.0
) -> Schedule:
    """The learning rate as a function of the number of updates already made.

    It rises linearly over the first `warmup` (a fraction of `updates`, rounded to whole ones), never from zero: an
    update with rate zero does nothing. Then it goes from `peak` to `final` (a fraction of `peak`), which it would
    reach after the last update, along a half cosine (arXiv:1608.03983) or a straight line, or it stays at `peak`. With
    `wsd` (arXiv:2404.06395) it stays there but for the last `decay` of the updates, when it falls in a straight line.
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
        case "wsd":
            falling = min(round(decay * updates), rest)
            after = optax.linear_schedule(peak, final * peak, falling, transition_begin=rest - falling)
    rise = optax.linear_schedule(peak / (warm + 1), peak, warm)
    joined = optax.join_schedules([rise, after], [warm]) if warm else after

    def rate(step: Any) -> jax.Array:
        with jax.numpy_dtype_promotion("standard"):
            return jnp.asarray(joined(step), dtype=jnp.float32)

    return rate


def decayed(parameters: Parameters) -> Parameters:
    """For each parameter, whether weight decay applies: everywhere but in the scales of norms and in biases."""
    return mapped(parameters, lambda path: path[-1] not in _UNDECAYED)


def _part(chosen: stages.Optimizer, path: tuple[str, ...]) -> str:
    """Which of an optimizer's parts updates a parameter."""
    layered = path[0] == "layers"
    match chosen:
        case stages.Muon():
            return "matrices" if layered and path[-1] not in _UNDECAYED else "others"
        case stages.Adafactor():
            return "layers" if layered else "others"
        case stages.AdamW() | stages.SGD():
            return "all"


def _update(chosen: stages.Optimizer, part: str, rate: Schedule, weight_decay: float) -> optax.GradientTransformation:
    match chosen:
        case stages.AdamW(b1=b1, b2=b2, eps=eps):
            return _adamw(rate, _number(b1), _number(b2), _number(eps), weight_decay)
        case stages.Adafactor(decay=decay, clip=clip):
            update = _adafactor(rate, _number(decay), _number(clip), weight_decay)
            return _by_layer(update) if part == "layers" else update
        case stages.Muon(lr=lr, other_lr=other, momentum=momentum):
            if part == "matrices":
                return _muon(rate, _number(momentum), weight_decay)
            return _adamw(_scaled(rate, float(Fraction(other) / Fraction(lr))), *_MUONS_ADAM, weight_decay)
        case stages.SGD(momentum=momentum, nesterov=nesterov):
            return _sgd(rate, _number(momentum), nesterov, weight_decay)


def _adamw(rate: Schedule, b1: float, b2: float, eps: float, weight_decay: float) -> optax.GradientTransformation:
    """AdamW (arXiv:1711.05101)."""
    return optax.adamw(rate, b1, b2, eps, weight_decay=weight_decay, mask=decayed)


def _adafactor(rate: Schedule, decay: float, clip: float, weight_decay: float) -> optax.GradientTransformation:
    """Adafactor (arXiv:1804.04235) without momentum and without scaling by a parameter's size, so that the learning
    rate means what it means with Adam.

    The second moment of a matrix both of whose sides have at least 128 elements is kept as that of its rows and of its
    columns. `decay` is the exponent of its decay; `clip` bounds the root mean square of an array's update before the
    learning rate. `optax.adafactor` isn't used, as its weight decay doesn't follow the learning rate.
    """
    return optax.chain(
        optax.scale_by_factored_rms(decay_rate=decay),
        optax.clip_by_block_rms(clip),
        optax.add_decayed_weights(weight_decay, decayed),
        optax.scale_by_learning_rate(rate),
    )


def _muon(rate: Schedule, momentum: float, weight_decay: float) -> optax.GradientTransformation:
    """Muon (github.com/KellerJordan/Muon) of stacked matrices `[layers, inputs, outputs]`, each for itself.

    The update is Nesterov's momentum, orthogonalised by five steps of Newton and Schulz in float32, times the root of
    outputs over inputs where that is above one. `optax.contrib.muon` isn't used: it divides the two terms of Nesterov's
    momentum by different corrections of their bias, so that its first updates are others.
    """

    def matrix(_: jax.Array) -> optax.contrib.MuonDimensionNumbers:
        return optax.contrib.MuonDimensionNumbers(-2, -1)

    def scaled(x: jax.Array) -> jax.Array:
        return x * max(1.0, x.shape[-1] / x.shape[-2]) ** 0.5

    def orthogonal(updates: Any, _: Any = None) -> Any:
        newton_schulz = optax.contrib.scale_by_muon(
            beta=0.0, nesterov=False, weight_dimension_numbers=jax.tree.map(matrix, updates)
        )
        # With beta 0 its momentum is the update itself: no state is carried.
        return jax.tree.map(scaled, newton_schulz.update(updates, newton_schulz.init(updates))[0])

    return optax.chain(
        optax.trace(momentum, nesterov=True),
        optax.stateless(orthogonal),
        optax.add_decayed_weights(weight_decay, decayed),
        optax.scale_by_learning_rate(rate),
    )


def _sgd(rate: Schedule, momentum: float, nesterov: bool, weight_decay: float) -> optax.GradientTransformation:
    """Gradient descent with momentum; weight decay is part of the gradient, as in `torch.optim.SGD`."""
    return optax.chain(
        optax.add_decayed_weights(weight_decay, decayed),
        optax.sgd(rate, momentum or None, nesterov),  # without momentum there is no state
    )


def _by_layer(inner: optax.GradientTransformation) -> optax.GradientTransformation:
    """The same for arrays with layers on axis 0, each layer's for itself."""

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        return jax.vmap(inner.update)(updates, state, params)

    return optax.GradientTransformation(jax.vmap(inner.init), update)


def _scaled(rate: Schedule, share: float) -> Schedule:
    return lambda step: rate(step) * share


def _clipped(update: optax.GradientTransformation, clip: float | None) -> optax.GradientTransformation:
    clipped = update if clip is None else optax.chain(optax.clip_by_global_norm(clip), update)
    return _under_standard_promotion(clipped)


def _number(text: str) -> float:
    return float(Fraction(text))


def _under_standard_promotion(inner: optax.GradientTransformation) -> optax.GradientTransformation:
    """Optax raises floats to integer powers, which strict dtype promotion forbids."""

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        with jax.numpy_dtype_promotion("standard"):
            return inner.update(updates, state, params)

    return optax.GradientTransformation(inner.init, update)
