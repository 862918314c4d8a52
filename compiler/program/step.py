"""Compiled steps: one update of the parameters, and the log-probabilities of a batch."""
# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from compiler.program.compiled import Compiled, compiled
from compiler.program.config import DecoderConfig, LoRA, Parameters, Precision
from compiler.program.decoder import assemble
from compiler.program.execution import ONE_DEVICE, Execution
from compiler.program.objectives import Given, Loss, Sums, log_probabilities
from compiler.program.optimizer import Optimizer
from compiler.program.sharding import constrained, sharded, state_sharded


class TrainState(NamedTuple):
    """All that training carries from one update to the next; a pytree of arrays."""

    parameters: Parameters
    """What is trained: all of the decoder's, or an adapter's."""
    optimizer: Any
    """The optax state: Adam's two moments, float32, and counts."""
    step: jax.Array
    """int32: updates made."""


class Metrics(NamedTuple):
    """Float32 scalars of one update."""

    loss: jax.Array
    """Before the update."""
    gradient_norm: jax.Array
    """Global norm before clipping."""
    learning_rate: jax.Array
    sums: Sums
    """What else the loss told, of the whole batch."""


_Told: TypeAlias = tuple[tuple[jax.Array, Sums], Parameters]
"""Loss and sums, and the gradient for what is trained."""

_Gradient: TypeAlias = Callable[[Given, Any, jax.Array], _Told]

TrainStep: TypeAlias = Compiled[[TrainState, Parameters, Any, jax.Array], tuple[TrainState, Metrics]]


def initial_state(optimizer: Optimizer, parameters: Parameters) -> TrainState:
    """The state before the first update. The first step takes over (donates) the parameters' buffers."""
    return TrainState(parameters, optimizer.transformation.init(parameters), jnp.zeros((), dtype=jnp.int32))


def make_train_step(
    loss: Loss, optimizer: Optimizer, micro_batches: int = 1, seed: int = 0, mesh: Mesh | None = None
) -> TrainStep:
    """One update, compiled on first use.

    Args:
        loss: a sum over the batch divided by the denominator, as `objectives.supervised` gives it.
        optimizer: see `optimizer.adamw`.
        micro_batches: in how many parts of equal row count the batch is taken one after the other; the gradient is
            that of the whole, to rounding. It must divide the rows.
        seed: what the random keys of all updates follow from.
        mesh: that of the loss's `Execution`; gradients and the next state lie as `sharding.state_sharded` says.

    Returns:
        A function of state, frozen parameters (an empty dict where all are trained), batch and denominator (a scalar,
        the global batch's `target_count`) to the next state and metrics. The given state's buffers are donated: it
        can't be used again.
    """

    def gradient_of(given: Given, batch: Any, denominator: jax.Array) -> _Told:
        def of_trained(trained: Parameters) -> tuple[jax.Array, Sums]:
            return loss(given._replace(trained=trained), batch, denominator)

        told, gradient = jax.value_and_grad(of_trained, has_aux=True)(given.trained)
        return told, gradient if mesh is None else constrained(gradient, sharded(gradient, mesh))

    gradient_of_batch = gradient_of if micro_batches == 1 else _accumulated(gradient_of, micro_batches)

    @compiled(donate=("state",))
    def step(state: TrainState, frozen: Parameters, batch: Any, denominator: jax.Array) -> tuple[TrainState, Metrics]:
        given = Given(
            state.parameters, frozen, _keys_of_rows(jax.random.fold_in(jax.random.key(seed), state.step), batch)
        )
        (value, sums), gradient = gradient_of_batch(given, batch, denominator)
        metrics = Metrics(value, jnp.asarray(optax.tree.norm(gradient)), optimizer.learning_rate(state.step), sums)
        updates, moments = optimizer.transformation.update(gradient, state.optimizer, state.parameters)
        parameters: Any = optax.apply_updates(state.parameters, updates)
        following = TrainState(parameters, moments, state.step + 1)
        return following if mesh is None else constrained(following, state_sharded(following, mesh)), metrics

    return step


def _accumulated(gradient_of: _Gradient, micro_batches: int) -> _Gradient:
    """The same value, sums and gradient, to rounding, from `micro_batches` parts of the rows, one after the other."""

    def parted(x: jax.Array) -> jax.Array:
        # Part i takes rows i, i + micro_batches, …: where rows are spread over devices, so is every part.
        return x.reshape(-1, micro_batches, *x.shape[1:]).swapaxes(0, 1)

    def gradient(given: Given, batch: Any, denominator: jax.Array) -> _Told:
        def gradient_of_part(part: Any, keys: jax.Array) -> _Told:
            return gradient_of(given._replace(key=keys), part, denominator)

        def add(total: _Told, part: tuple[Any, jax.Array]) -> tuple[_Told, None]:
            return optax.tree.add(total, gradient_of_part(*part)), None

        parts = jax.tree.map(parted, batch), parted(given.key)
        zero = optax.tree.zeros_like(jax.eval_shape(gradient_of_part, *jax.tree.map(_first, parts)))
        return jax.lax.scan(add, zero, parts)[0]

    return gradient


def _keys_of_rows(key: jax.Array, batch: Any) -> jax.Array:
    """A key for each row, by its place in the global batch."""
    rows = jnp.arange(jax.tree.leaves(batch)[0].shape[0], dtype=jnp.uint32)
    return jax.vmap(jax.random.fold_in, (None, 0))(key, rows)


def _first(parts: jax.Array) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(parts.shape[1:], parts.dtype)


LogProbabilities: TypeAlias = Compiled[[Parameters, jax.Array, jax.Array, jax.Array], jax.Array]


def make_log_probabilities(
    config: DecoderConfig,
    precision: Precision = "float32",
    chunk: int = 512,
    execution: Execution = ONE_DEVICE,
    temperature: float = 1.0,
    lora: LoRA | None = None,
) -> LogProbabilities:
    """`objectives.log_probabilities`, compiled on first use for each shape.

    Returns:
        A function of parameters (see `decoder.assemble`) and int32 tokens, segments, positions `[rows, length]` to
        float32 `[rows, length]`.
    """

    @compiled()
    def of_tokens(parameters: Parameters, tokens: jax.Array, segments: jax.Array, positions: jax.Array) -> jax.Array:
        decoder = assemble(config, parameters, lora)
        return log_probabilities(decoder, tokens, segments, positions, precision, chunk, execution, temperature)

    return of_tokens
