"""Where every array of a program lies on the mesh: named dimensions by parameter, and what follows from them."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false, reportUnknownLambdaType=false

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias, cast

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from compiler.program.config import Parameters, Precision
from compiler.program.mesh import ROWS

Dimensions: TypeAlias = tuple[str | None, ...]

AXIS_OF = {"hidden": "fsdp", "heads": "tensor", "intermediate": "tensor", "vocabulary": "tensor"}
"""The mesh axis that spreads a named dimension of parameters."""

LINEAR: Mapping[str, tuple[str, str]] = {
    "query": ("hidden", "heads"),
    "key": ("hidden", "heads"),
    "value": ("hidden", "heads"),
    "output": ("heads", "hidden"),
    "gate": ("hidden", "intermediate"),
    "up": ("hidden", "intermediate"),
    "down": ("intermediate", "hidden"),
}
"""Inputs and outputs of each matrix product of a layer."""

TOP: Mapping[str, Dimensions] = {"embedding": ("vocabulary", "hidden"), "output": ("vocabulary", "hidden")}
"""Parameters outside layers."""


def dimensions_of(path: tuple[str, ...], rank: int) -> Dimensions:
    """The names of a parameter's dimensions; None for one that is never spread (the stack of layers, a norm's)."""
    names: Dimensions = ()
    if path in {(name,) for name in TOP}:
        names = TOP[path[0]]
    elif len(path) > 1 and path[-2] in LINEAR:
        inputs, outputs = LINEAR[path[-2]]
        of_leaf: dict[str, Dimensions] = {
            "weight": (inputs, outputs),
            "bias": (outputs,),
            "down": (inputs, None),  # an adapter's
            "up": (None, outputs),
        }
        names = of_leaf.get(path[-1], ())
    assert len(names) <= rank
    return (None,) * (rank - len(names)) + names


def spec_of(path: tuple[str, ...], shape: tuple[int, ...], mesh: Mesh) -> PartitionSpec:
    """How a parameter is spread: each named dimension over its axis where that divides it."""
    names = dimensions_of(path, len(shape))
    spread = [
        AXIS_OF[name] if name is not None and size % mesh.shape[AXIS_OF[name]] == 0 else None
        for name, size in zip(names, shape, strict=True)
    ]
    return PartitionSpec(*spread)


def undivided(shapes: Parameters, mesh: Mesh) -> Iterator[str]:
    """What the mesh can't spread, a sentence for each parameter with a dimension that its axis doesn't divide."""
    for path, x in leaves(shapes):
        for name, size in zip(dimensions_of(path, len(x.shape)), x.shape, strict=True):
            if name is not None and size % mesh.shape[AXIS_OF[name]] != 0:
                axis = AXIS_OF[name]
                yield (
                    f"{'.'.join(path)} is whole on every device of the axis {axis}: "
                    f"{size} ({name}) isn't a multiple of {mesh.shape[axis]}"
                )


def sharded(shapes: Parameters, mesh: Mesh) -> Parameters:
    """A `jax.ShapeDtypeStruct` with its place on the mesh for each parameter."""
    return _mapped(shapes, lambda path, x: _struct(x, NamedSharding(mesh, spec_of(path, x.shape, mesh))))


def state_sharded(state: Any, mesh: Mesh) -> Any:
    """The same for a train state's shapes: moments lie where their parameters lie, all else on every device."""
    parameters = dict(leaves(state.parameters))

    def placed(path: Any, x: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        return _struct(x, NamedSharding(mesh, _follows(parameters, _names(path), x.shape, mesh)))

    return jax.tree_util.tree_map_with_path(placed, state)


def constrained(tree: Any, like: Any) -> Any:
    """Traced arrays, laid out as the shapes in `like` are."""
    return jax.tree.map(lambda x, shape: jax.lax.with_sharding_constraint(x, shape.sharding), tree, like)


def replicated(mesh: Mesh) -> NamedSharding:
    """On every device."""
    return NamedSharding(mesh, PartitionSpec())


def rows_sharding(mesh: Mesh) -> NamedSharding:
    """Of every array of a batch: rows on axis 0, as many as `mesh.padded_rows` says."""
    return NamedSharding(mesh, PartitionSpec(ROWS))


def gathered(parameters: Any, mesh: Mesh | None, dtype: Precision) -> Any:
    """The parameters of one layer as its computation takes them: whole over `fsdp`, still spread over `tensor`.

    Matrices are gathered in the dtype that their products have. Their gradients are spread again, each device getting
    the sum of its own part alone.

    Args:
        parameters: a pytree of arrays with the names of parameters as its paths, not stacked.
        mesh: None leaves all as it is.
        dtype: of matrix products.
    """
    if mesh is None:
        return parameters

    def one(path: Any, x: jax.Array) -> jax.Array:
        names = _names(path)
        stored = spec_of(names, x.shape, mesh)
        used = PartitionSpec(*(None if axis == "fsdp" else axis for axis in stored))
        if names[-1] in ("weight", "embedding", "down", "up") or names == ("output",):
            x = x.astype(dtype)
        return x if stored == used else _moved(x, NamedSharding(mesh, stored), NamedSharding(mesh, used))

    return jax.tree_util.tree_map_with_path(one, parameters)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _moved(x: jax.Array, stored: NamedSharding, used: NamedSharding) -> jax.Array:
    return jax.lax.with_sharding_constraint(jax.lax.with_sharding_constraint(x, stored), used)


def _moved_forward(x: jax.Array, stored: NamedSharding, used: NamedSharding) -> tuple[jax.Array, None]:
    return _moved(x, stored, used), None


def _moved_backward(stored: NamedSharding, used: NamedSharding, residuals: None, gradient: jax.Array) -> Any:
    # The derivative of a plain constraint would ask for the sum whole on every device first.
    return (jax.lax.with_sharding_constraint(gradient, stored),)


_moved.defvjp(_moved_forward, _moved_backward)


def leaves(tree: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The arrays of a tree with the names on the way to them."""
    return ((_names(path), x) for path, x in jax.tree_util.tree_flatten_with_path(tree)[0])


def _mapped(shapes: Parameters, function: Any) -> Parameters:
    return cast(Parameters, jax.tree_util.tree_map_with_path(lambda path, x: function(_names(path), x), shapes))


def _names(path: Any) -> tuple[str, ...]:
    """The names of a path; what a Flax variable adds below its own isn't one."""
    names = [getattr(key, "key", None) or getattr(key, "name", None) for key in path]
    if path and isinstance(path[-1], jax.tree_util.GetAttrKey) and names[-1] == "value" and len(names) > 1:
        names.pop()
    return tuple(name for name in names if isinstance(name, str))


def _follows(
    parameters: Mapping[tuple[str, ...], Any], path: tuple[str, ...], shape: tuple[int, ...], mesh: Mesh
) -> PartitionSpec:
    """The place of an optimizer's array: of the parameter whose path ends its own, if it has its shape.

    Of one that lacks a dimension (Adafactor's means over rows or columns), the rest lie as in the parameter.
    """
    for start in range(len(path)):
        parameter = parameters.get(path[start:])
        if parameter is None:
            continue
        whole = tuple(parameter.shape)
        spec = tuple(spec_of(path[start:], whole, mesh))
        if whole == shape:
            return PartitionSpec(*spec)
        for left_out in reversed(range(len(whole))):
            if whole[:left_out] + whole[left_out + 1 :] == shape:
                return PartitionSpec(*spec[:left_out], *spec[left_out + 1 :])
    return PartitionSpec()


def _struct(x: Any, sharding: NamedSharding) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding)
