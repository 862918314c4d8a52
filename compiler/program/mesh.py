"""The mesh of devices: three named axes, over what is here or over a topology that is only described."""
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias, cast

import jax
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh

Axis: TypeAlias = Literal["data", "fsdp", "tensor"]

AXES: tuple[Axis, ...] = ("data", "fsdp", "tensor")
"""`data`: rows are spread and parameters repeated. `fsdp`: rows and parameters are spread, and a layer's parameters are
gathered where it is computed (arXiv:2004.13336, arXiv:1910.02054). `tensor`: the matrices of a layer are spread and its
activations with them (arXiv:1909.08053)."""

ROWS: tuple[Axis, ...] = ("data", "fsdp")
"""The axes that the rows of a batch are spread over."""


def make_mesh(shard: Mapping[str, int], devices: Sequence[Any] | None = None) -> Mesh:
    """A mesh with all axes of `AXES`, those that `shard` leaves out having size 1.

    Args:
        shard: sizes by axis; their product must be the number of devices.
        devices: of this process's JAX, or of a topology; all that JAX sees where left out.
    """
    found = cast(list[Any], jax.devices()) if devices is None else list(devices)
    sizes = tuple(shard.get(axis, 1) for axis in AXES)
    # Neighbours on a torus are close: `tensor`, which talks most, gets them. An axis needn't be one of the torus.
    grid = mesh_utils.create_device_mesh(sizes, found, allow_split_physical_axes=True)
    return Mesh(grid, AXES, axis_types=(AxisType.Auto,) * len(AXES))


def row_devices(mesh: Mesh) -> int:
    """Over how many devices (or groups of `tensor` ones) rows are spread."""
    return mesh.shape["data"] * mesh.shape["fsdp"]


def padded_rows(rows: int, mesh: Mesh, micro_batches: int = 1) -> int:
    """The least count of rows, from `rows` on, that every micro-batch spreads evenly over the mesh.

    The rows beyond `rows` are padding: they cost their share of time (`idle_share`) and change no result.
    """
    unit = row_devices(mesh) * micro_batches
    return -(-rows // unit) * unit


def idle_share(rows: int, mesh: Mesh, micro_batches: int = 1) -> float:
    """The share of the devices' time that goes into padding rows."""
    return 1 - rows / padded_rows(rows, mesh, micro_batches)
