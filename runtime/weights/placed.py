"""Reads published weights straight onto the devices of a mesh, each process only what its own devices hold."""

from __future__ import annotations

import jax
import numpy as np

from compiler.program.config import DecoderConfig, Parameters
from compiler.program.groups import leaves, tree_of
from runtime.weights.layout import Entry, Tensor, check_shape, names, table
from runtime.weights.tensors import Tensors


def place(config: DecoderConfig, tensors: Tensors, abstract: Parameters) -> Parameters:
    """The decoder's parameters as JAX arrays.

    One parameter is read at a time, and of it what this process's devices hold: the host never has more of a model
    than its share of one parameter.

    Args:
        config: the model's shape.
        tensors: those of the opened model.
        abstract: for each parameter a `jax.ShapeDtypeStruct` with the sharding that it shall have.

    Raises:
        UserError: a tensor has another shape than the configuration says.
    """
    wanted = dict(leaves(abstract))
    return tree_of((entry.path, _placed(config, entry, tensors, wanted[entry.path])) for entry in table(config))


def _placed(config: DecoderConfig, entry: Entry, tensors: Tensors, wanted: jax.ShapeDtypeStruct) -> jax.Array:
    for name in names(config, entry):
        check_shape(entry, name, tensors.shape(name))
    read: dict[tuple[tuple[int, int], ...], Tensor] = {}  # devices that hold the same share one reading

    def share(index: tuple[slice, ...] | None) -> Tensor:
        assert index is not None
        spans = tuple(each.indices(size)[:2] for each, size in zip(index, wanted.shape, strict=True))
        if spans not in read:
            read[spans] = _share(entry, tensors, [slice(*span) for span in spans])
        return read[spans]

    assert wanted.sharding is not None
    return jax.block_until_ready(jax.make_array_from_callback(wanted.shape, wanted.sharding, share))


def _share(entry: Entry, tensors: Tensors, index: list[slice]) -> Tensor:
    """The part of a parameter that `index` says, one slice for each of its dimensions."""
    if not entry.stacked:
        return entry.parameter(tensors.part(entry.tensor, tuple(index)))
    layers, inner = index[0], tuple(index[:0:-1] if entry.transposed else index[1:])
    share: Tensor = np.empty([each.stop - each.start for each in index], dtype=np.float32)
    for place, layer in enumerate(range(layers.start, layers.stop)):
        share[place] = entry.parameter(tensors.part(entry.tensor.format(layer=layer), inner))
    return share
