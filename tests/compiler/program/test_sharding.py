"""Meshes: where arrays lie, and that a train step computes the same wherever they lie."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import Mesh, PartitionSpec

from compiler.program.config import LoRA
from compiler.program.decoder import adapter_shapes, create, parameter_shapes, parameters_of
from compiler.program.execution import Execution
from compiler.program.mesh import AXES, idle_share, make_mesh, padded_rows
from compiler.program.sharding import leaves, sharded, spec_of, state_sharded, undivided
from compiler.program.step import TrainState, make_log_probabilities
from tests.compiler.program.small import SMALL, packed

ROOT = Path(__file__).parents[3]
TOLERANCE = {"losses": 2e-6, "gradient_norms": 2e-6, "parameters": 2e-5}  # updates are of 1e-2


class _Sizes:
    """What the rules ask of a mesh, without its devices."""

    def __init__(self, **sizes: int) -> None:
        self.shape = {axis: sizes.get(axis, 1) for axis in AXES}


def _mesh(**sizes: int) -> Any:
    return _Sizes(**sizes)


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    """What `on_meshes` prints, from a process with eight devices."""
    flags = "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0"
    done = subprocess.run(
        [sys.executable, "-m", "tests.compiler.program.on_meshes"],
        cwd=ROOT,
        env=os.environ | {"XLA_FLAGS": flags},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    "mesh",
    [
        "data 8",
        "fsdp 8",
        "fsdp 4, tensor 2, two micro-batches",
        "data 2, fsdp 2, tensor 2",
        "data 2, tensor 4",
        "an adapter on data 2, fsdp 2, tensor 2",
    ],
)
def test_three_updates_are_those_of_one_device(found: dict[str, Any], mesh: str) -> None:
    for what, distance in found["distances"][mesh].items():
        assert distance < TOLERANCE[what.split()[0]], what


def test_layers_are_gathered_one_by_one(found: dict[str, Any]) -> None:
    layers = 3
    assert [24, 32] not in found["gathered"]
    assert not [shape for shape in found["gathered"] if shape[0] == layers and len(shape) > 2], found["gathered"]
    assert [32, 48] in found["gathered"] or [1, 32, 48] in found["gathered"], "the matrices of a layer"


def test_every_parameter_has_a_place() -> None:
    mesh = _mesh(fsdp=4, tensor=2)
    specs = {".".join(path): spec_of(path, x.shape, mesh) for path, x in leaves(parameter_shapes(SMALL))}
    assert specs["layers.attention.query.weight"] == PartitionSpec(None, "fsdp", "tensor")
    assert specs["layers.attention.output.weight"] == PartitionSpec(None, "tensor", "fsdp")
    assert specs["layers.feed_forward.down.weight"] == PartitionSpec(None, "tensor", "fsdp")
    assert specs["layers.attention_norm.scale"] == PartitionSpec(None, None)
    assert specs["norm.scale"] == PartitionSpec(None)
    assert specs["embedding"] == PartitionSpec(None, "fsdp")  # 61 tokens don't divide by 2


def test_an_adapter_lies_as_its_matrix() -> None:
    lora = LoRA(2, 4.0, 0.0, ("attention", "mlp"))
    mesh = _mesh(fsdp=4, tensor=2)
    specs = {".".join(path): spec_of(path, x.shape, mesh) for path, x in leaves(adapter_shapes(SMALL, lora))}
    assert specs["layers.attention.query.down"] == PartitionSpec(None, "fsdp", None)
    assert specs["layers.attention.query.up"] == PartitionSpec(None, None, "tensor")
    assert specs["layers.feed_forward.down.down"] == PartitionSpec(None, "tensor", None)
    assert specs["layers.feed_forward.down.up"] == PartitionSpec(None, None, "fsdp")


def test_what_the_mesh_does_not_divide_is_said() -> None:
    told = list(undivided(parameter_shapes(SMALL), _mesh(fsdp=4, tensor=2)))
    assert told == [
        "embedding is whole on every device of the axis tensor: 61 (vocabulary) isn't a multiple of 2",
    ]


@pytest.mark.parametrize("transformation", [optax.adamw(1e-3), optax.adafactor(1e-3, min_dim_size_to_factor=8)])
def test_moments_lie_where_their_parameters_lie(transformation: optax.GradientTransformation) -> None:
    mesh = make_mesh({"fsdp": 2}, jax.devices())
    parameters = parameter_shapes(SMALL)
    state = TrainState(parameters, jax.eval_shape(transformation.init, parameters), jnp.zeros((), jnp.int32))
    places = {path: x.sharding.spec for path, x in leaves(state_sharded(state, mesh).optimizer)}
    of_gate = {path: spec for path, spec in places.items() if path[-2:] == ("gate", "weight")}
    assert of_gate
    assert all("fsdp" in spec for path, spec in of_gate.items() if path[0] in ("mu", "nu", "v_row"))


def test_rows_are_filled_up_to_what_the_mesh_divides() -> None:
    mesh = _mesh(data=2, fsdp=4, tensor=2)
    assert padded_rows(16, mesh) == 16
    assert padded_rows(9, mesh) == 16
    assert padded_rows(9, mesh, micro_batches=3) == 24
    assert idle_share(16, mesh) == 0
    assert idle_share(12, mesh) == 0.25


def test_activations_take_the_largest_part_of_the_mesh_that_divides_them() -> None:
    execution = Execution(_mesh(data=2, fsdp=4, tensor=2))
    assert execution.axes("rows", 8) == ("data", "fsdp")
    assert execution.axes("rows", 4) == ("fsdp",)
    assert execution.axes("rows", 2) == ("data",)
    assert execution.axes("rows", 3) == ()
    assert execution.axes("heads", 3) == ()
    assert execution.axes("heads", 6) == ("tensor",)


def test_rows_that_the_mesh_does_not_divide_are_scored_all_the_same() -> None:
    mesh: Mesh = make_mesh({"fsdp": 2})
    parameters = parameters_of(create(SMALL, 0))
    batch = packed([[5, 9, 4], [20], [1, 2, 1]], 20)
    given = batch.tokens, batch.segments, batch.positions
    expected = make_log_probabilities(SMALL)(parameters, *given)
    spread = jax.tree.map(lambda x, y: jax.device_put(x, y.sharding), parameters, sharded(parameters, mesh))
    got = make_log_probabilities(SMALL, execution=Execution(mesh))(spread, *given)
    np.testing.assert_allclose(got, expected, atol=1e-5)
