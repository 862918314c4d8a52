"""Weights read straight onto the devices of a mesh."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from compiler.program.config import DecoderConfig, Parameters
from compiler.program.decoder import parameter_shapes
from runtime.errors import UserError
from runtime.weights import placed, pretrained
from runtime.weights.huggingface import export
from runtime.weights.layout import Tensor, tensor_shapes, unstack
from runtime.weights.tensors import Tensors
from tests.runtime.weights.gguf_files import CONFIGS, random_parameters, write
from tests.tiny import tiny_description


def _abstract(config: DecoderConfig, axis: int) -> Parameters:
    """Every parameter in two halves along an axis, on two devices; whole on both where the axis is odd."""
    mesh = jax.make_mesh((2,), ("fsdp",), axis_types=(jax.sharding.AxisType.Auto,))

    def one(x: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        cut = (axis if x.ndim > 1 else 0) % x.ndim
        spec = ["fsdp" if place == cut and size % 2 == 0 else None for place, size in enumerate(x.shape)]
        return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=NamedSharding(mesh, PartitionSpec(*spec)))

    return jax.tree.map(one, parameter_shapes(config))


def _equal(one: Parameters, other: Parameters) -> bool:
    return jax.tree.all(jax.tree.map(np.array_equal, one, other))


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("kind", ["folder", "llama", "qwen2"])
def test_each_device_has_its_part_of_the_whole(tmp_path: Path, kind: str, axis: int) -> None:
    if kind == "folder":
        config, path = tiny_description().config, tmp_path
        export(path, tiny_description(), random_parameters(config))
    else:
        config, path = CONFIGS[kind], tmp_path / "model.gguf"
        write(path, config, random_parameters(config))
    abstract = _abstract(config, axis)
    read = pretrained.place_parameters(path, config, abstract)
    assert _equal(read, pretrained.read_parameters(path, config))
    assert jax.tree.all(jax.tree.map(lambda x, wanted: x.sharding == wanted.sharding, read, abstract))


class _Counted(Tensors):
    """Tensors in memory that count what is read of them."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        self.tensors = tensors
        self.read = 0
        self.largest = 0

    def shape(self, name: str) -> tuple[int, ...]:
        return self.tensors[name].shape

    def part(self, name: str, index: tuple[slice, ...]) -> Tensor:
        found = self.tensors[name][index]
        self.read += found.size
        self.largest = max(self.largest, found.size)
        return found


def test_nothing_is_read_twice_and_no_tensor_is_read_whole() -> None:
    config = CONFIGS["qwen3"]
    parameters = random_parameters(config)
    tensors = _Counted(dict(unstack(config, parameters)))
    assert _equal(placed.place(config, tensors, _abstract(config, 1)), parameters)
    sizes = [int(np.prod(shape)) for shape in tensor_shapes(config).values()]
    assert tensors.read == sum(sizes)
    assert tensors.largest == max(sizes) // 2


def test_what_all_devices_hold_is_read_once() -> None:
    config = CONFIGS["llama"]
    mesh = jax.make_mesh((2,), ("fsdp",), axis_types=(jax.sharding.AxisType.Auto,))
    everywhere: Any = NamedSharding(mesh, PartitionSpec())
    shapes = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=everywhere), parameter_shapes(config)
    )
    tensors = _Counted(dict(unstack(config, random_parameters(config))))
    placed.place(config, tensors, shapes)
    assert tensors.read == sum(int(np.prod(shape)) for shape in tensor_shapes(config).values())


def test_a_tensor_of_another_shape_is_a_user_error() -> None:
    config = CONFIGS["llama"]
    tensors = _Counted(dict(unstack(config, random_parameters(config))))
    other = replace(config, intermediate=config.intermediate * 2)
    with pytest.raises(UserError, match="where the configuration says"):
        placed.place(other, tensors, _abstract(other, 1))
