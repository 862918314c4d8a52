"""Which of a model's parameters a stage trains: how many, at what cost, and what its groups say of them."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from compiler.program.config import DecoderConfig, parameter_count, training_flops
from compiler.stages import Adapter, Group
from compiler.steps import Train


def trained_parameters(config: DecoderConfig, step: Train) -> int:
    """How many parameters a stage changes: all, those of its adapter, or those that no group freezes."""
    if step.adapter is not None:
        return adapter_parameters(config, step.adapter)
    if not step.groups:
        return parameter_count(config)
    from compiler.program.decoder import parameter_shapes  # imports JAX, which a plan without groups doesn't wait for
    from compiler.program.groups import leaves, split

    trained, _ = split(parameter_shapes(config), step.groups)
    return sum(prod(shape.shape) for _, shape in leaves(trained))


def adapter_parameters(config: DecoderConfig, adapter: Adapter) -> int:
    """The elements of low-rank adapters: `rank` for each channel that goes into a matrix or comes out of it."""
    queries = config.heads * config.head_size
    keys = config.key_value_heads * config.head_size
    channels = {
        "attention": 2 * (config.hidden + queries) + 2 * (config.hidden + keys),
        "mlp": 3 * (config.hidden + config.intermediate),
    }
    return config.layers * adapter.rank * sum(channels[part] for part in adapter.on)


def stage_flops(
    config: DecoderConfig, step: Train, tokens: int, pairs: int, windowed_pairs: int | None = None
) -> int | None:
    """Floating-point operations of a stage's updates, as `training_flops` counts them.

    The matrices below an adapter have no gradient of their own: two of the six operations a weight and token fall
    away, and the adapter's six come on top. Of groups that are frozen nothing is left out. None for rollouts: how long
    answers will be, nobody knows.
    """
    if step.objective.kind == "grpo":
        return None
    whole = training_flops(config, tokens, pairs, windowed_pairs)
    if step.adapter is None:
        return whole
    matrices = training_flops(config, tokens, 0, 0) // 3
    return whole - matrices + 6 * adapter_parameters(config, step.adapter) * tokens


def idle_groups(config: DecoderConfig, step: Train) -> Iterator[Group]:
    """Groups that no parameter belongs to."""
    from compiler.program.decoder import parameter_shapes
    from compiler.program.groups import idle

    yield from idle(parameter_shapes(config), step.groups)


def parameter_paths(config: DecoderConfig) -> list[str]:
    """The dotted paths of all parameters."""
    from compiler.program.decoder import parameter_shapes
    from compiler.program.groups import leaves

    return [".".join(path) for path, _ in leaves(parameter_shapes(config))]
