"""Rows of a batch on a mesh: those of a process, filled up where the mesh doesn't divide them."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from compiler.program.mesh import make_mesh
from compiler.program.optimizer import adamw, schedule
from compiler.program.sharding import leaves
from runtime.train.placement import Placement, placement_of, state_shapes
from tests.runtime.train.tiny import training

two_devices = pytest.mark.skipif(jax.device_count() < 2, reason="a mesh takes two devices: XLA_FLAGS was set otherwise")


@two_devices
@pytest.mark.parametrize(("rows", "micro_batches", "whole"), [(4, 1, 4), (3, 1, 4), (3, 3, 6), (1, 1, 2)])
def test_rows_are_spread_and_filled_up_with_padding(rows: int, micro_batches: int, whole: int) -> None:
    placement = Placement(make_mesh({"fsdp": 2}, jax.devices()[:2]), micro_batches)
    batch = {"tokens": np.arange(rows * 5, dtype=np.int32).reshape(rows, 5), "of_row": np.ones(rows, np.float32)}
    own = placement.rows(rows)
    assert own == slice(0, rows)  # this process has all devices
    put = placement.put({name: part[own] for name, part in batch.items()}, rows)
    assert put["tokens"].shape == (whole, 5)
    assert len(put["tokens"].sharding.device_set) == 2
    assert {shard.data.shape for shard in put["tokens"].addressable_shards} == {(whole // 2, 5)}
    for name, part in batch.items():
        np.testing.assert_array_equal(np.asarray(put[name])[:rows], part)
        assert not np.asarray(put[name])[rows:].any()


def test_on_one_device_a_batch_is_left_alone_but_for_micro_batches() -> None:
    tokens = np.ones((3, 4), np.int32)
    assert Placement().put(tokens, 3) is tokens
    assert Placement(micro_batches=2).put(tokens, 3).shape == (4, 4)
    assert placement_of({}) == Placement()  # devices of a CPU are pretended


@two_devices
def test_moments_lie_where_their_parameters_do() -> None:
    mesh = make_mesh({"fsdp": 2}, jax.devices()[:2])
    shapes = Placement(mesh).parameters(training(6).parameters)
    state = state_shapes(adamw(schedule("constant", 1e-3, 6)), shapes)
    where = {path: shape.sharding for path, shape in leaves(shapes)}
    moments = [(path, leaf) for path, leaf in leaves(state.optimizer) if leaf.ndim > 0]
    assert len(moments) == 2 * len(where)
    for path, leaf in moments:
        owner = next(path[start:] for start in range(len(path)) if path[start:] in where)
        assert leaf.sharding == where[owner]
    assert state.step.sharding.is_fully_replicated
