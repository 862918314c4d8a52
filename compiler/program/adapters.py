"""Low-rank adapters: their first values, and the matrices that they become one with."""
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from fractions import Fraction
from typing import cast

import jax
import jax.numpy as jnp

from compiler.program.config import DecoderConfig, LoRA, Parameters
from compiler.program.decoder import adapter_shapes
from compiler.program.linear import adapted_matrices, first_down
from compiler.stages import Adapter


def lora_of(adapter: Adapter) -> LoRA:
    """The shape of a stage's adapter."""
    return LoRA(adapter.rank, float(Fraction(adapter.alpha)), float(Fraction(adapter.dropout)), adapter.on)


def initial_adapter(config: DecoderConfig, lora: LoRA, seed: int) -> Parameters:
    """An adapter's arrays as peft begins: `down` random, `up` zero, so that nothing changes at first.

    What is drawn for a matrix doesn't depend on which others have an adapter.
    """
    shapes = adapter_shapes(config, lora)
    layers: Parameters = {}
    for number, block, name in adapted_matrices(lora):
        matrix = shapes["layers"][block][name]
        keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), number), config.layers)
        down = jnp.stack([first_down(key, *matrix["down"].shape[1:]) for key in keys])
        layers.setdefault(block, {})[name] = {"down": down, "up": jnp.zeros(matrix["up"].shape, dtype=jnp.float32)}
    return {"layers": layers}


def merge(parameters: Parameters, adapter: Parameters, lora: LoRA) -> Parameters:
    """The parameters with `weight + down @ up * alpha / rank` in place of each adapted weight, in float32.

    Arrays without an adapter are the given ones. A decoder without adapters then computes the same, to rounding.
    """
    result: Parameters = {}
    for name, value in parameters.items():
        beside = adapter.get(name)
        if beside is None:
            result[name] = value
        elif "weight" in value:
            change = jnp.matmul(beside["down"], beside["up"], precision=jax.lax.Precision.HIGHEST)
            result[name] = {**value, "weight": value["weight"] + change * jnp.float32(lora.alpha / lora.rank)}
        else:
            result[name] = merge(cast(Parameters, value), cast(Parameters, beside), lora)
    return result
