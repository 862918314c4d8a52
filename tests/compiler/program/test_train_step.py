"""One update: accumulation, donation, determinism, and what it does to the loss."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from compiler.program.decoder import assemble, create, parameters_of
from compiler.program.objectives import log_probabilities, supervised, target_count
from compiler.program.optimizer import adamw, schedule
from compiler.program.step import Metrics, TrainState, initial_state, make_log_probabilities, make_train_step
from tests.compiler.program.small import SMALL, packed

ROWS = [[5, 9, 4], [20], [1, 2, 1], [], [3, 3], [19]]
OPTIMIZER = adamw(schedule("constant", 1e-2, 10))


def _fresh() -> TrainState:
    return initial_state(OPTIMIZER, parameters_of(create(SMALL, 0)))


def _run(updates: int, micro_batches: int = 1) -> tuple[TrainState, Metrics]:
    step = make_train_step(supervised(SMALL, "float32", chunk=32), OPTIMIZER, micro_batches)
    batch, state = packed(ROWS, 20), _fresh()
    for _ in range(updates):
        state, metrics = step(state, {}, batch, target_count(batch))
    return state, metrics


def _assert_close(one: object, other: object, tolerance: float) -> None:
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=tolerance, rtol=tolerance), one, other)


@pytest.mark.parametrize("micro_batches", [2, 3, 6])
def test_micro_batches_give_the_whole_batch(micro_batches: int) -> None:
    _, whole = _run(1)
    _, parts = _run(1, micro_batches)
    _assert_close(parts, whole, 1e-6)


def test_two_runs_give_the_same_bits() -> None:
    one, other = _run(3), _run(3)
    assert jax.tree.all(jax.tree.map(jnp.array_equal, one, other))


def test_training_lowers_the_loss_and_counts_steps() -> None:
    _, first = _run(1)
    state, last = _run(8)
    assert last.loss < 0.8 * first.loss
    assert state.step == 8
    assert last.learning_rate == np.float32(1e-2)


def test_the_given_state_is_donated() -> None:
    step = make_train_step(supervised(SMALL, "float32"), OPTIMIZER)
    batch, state = packed(ROWS, 20), _fresh()
    step(state, {}, batch, target_count(batch))
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state.parameters))


def test_rows_over_two_devices_give_the_same_update() -> None:
    mesh = Mesh(np.asarray(jax.devices()), ("data",))
    assert mesh.size == 2
    batch = packed(ROWS, 20)
    step = make_train_step(supervised(SMALL, "float32", chunk=32), OPTIMIZER)
    spread = jax.device_put(batch, NamedSharding(mesh, PartitionSpec("data")))
    state = jax.device_put(_fresh(), NamedSharding(mesh, PartitionSpec()))
    _, metrics = step(state, {}, spread, target_count(batch))
    _assert_close(metrics, _run(1)[1], 1e-6)


def test_the_step_can_be_lowered_from_shapes_alone() -> None:
    step = make_train_step(supervised(SMALL, "bfloat16"), OPTIMIZER)
    batch = packed(ROWS, 20)
    shapes: Callable[[object], object] = lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype)  # noqa: E731
    arguments = jax.tree.map(shapes, (_fresh(), {}, batch, target_count(batch)))
    assert step.lower(*arguments).compile().memory_analysis().temp_size_in_bytes > 0


def test_compiled_log_probabilities_are_the_plain_ones() -> None:
    parameters, batch = parameters_of(create(SMALL, 0)), packed(ROWS, 20)
    compiled = make_log_probabilities(SMALL, chunk=32)(parameters, batch.tokens, batch.segments, batch.positions)
    plain = log_probabilities(assemble(SMALL, parameters), batch.tokens, batch.segments, batch.positions)
    np.testing.assert_allclose(compiled, plain, atol=1e-5)
