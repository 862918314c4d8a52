"""A decoder's layers taken apart on a CPU: each layer's arrays by themselves, so that decoding copies no weights."""
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import functools
from typing import Any, cast

import jax
import numpy as np
from flax import nnx

from compiler.program.config import DecoderConfig, Parameters
from compiler.program.decoder import Decoder, Layer, assemble, parameter_shapes


def taken_apart(config: DecoderConfig, parameters: Parameters) -> Parameters:
    """The parameters with `layers` as a tuple, a tree for each layer; on anything but one CPU device as they are.

    A scan over stacked layers cuts each layer's matrices out of the stack before XLA's CPU products read them: a copy
    of all weights for every token. A layer's arrays here are views of the stack, so nothing is copied at all, where
    they begin at a place that XLA takes (it wants 64 bytes; others are copied once).

    The views must be gone before the stack is donated.
    """
    leaves = cast(list[jax.Array], jax.tree.leaves(parameters))
    if any(len(leaf.devices()) > 1 or next(iter(leaf.devices())).platform != "cpu" for leaf in leaves):
        return parameters
    device = next(iter(leaves[0].devices()))

    def layer(number: int) -> Parameters:
        def view(stacked: jax.Array) -> jax.Array:
            return jax.device_put(np.asarray(stacked)[number], device, may_alias=True)

        return jax.tree.map(view, parameters["layers"])

    return {**parameters, "layers": tuple(layer(number) for number in range(config.layers))}


def is_apart(parameters: Parameters) -> bool:
    """Whether the parameters are from `taken_apart`."""
    return isinstance(parameters["layers"], tuple)


def assembled_apart(config: DecoderConfig, parameters: Parameters) -> tuple[Decoder, list[Layer]]:
    """A decoder whose own layers are no arrays and must not be used, and its layers."""
    decoder = assemble(config, {**parameters, "layers": parameter_shapes(config)["layers"]})
    return decoder, [nnx.merge(_structure(config), each) for each in parameters["layers"]]


@functools.cache
def _structure(config: DecoderConfig) -> nnx.GraphDef[Layer]:
    def one() -> Layer:
        return Layer(config, nnx.Rngs(0), None)

    return cast(Any, nnx.graphdef(nnx.eval_shape(one)))
