"""The models of a plan: what their parameters are, and what of them a train step trains."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax

from compiler.program.adapters import initial_adapter, lora_of, merge
from compiler.program.config import DecoderConfig, LoRA, Parameters
from compiler.program.decoder import adapter_shapes, create, merged, parameter_shapes, parameters_of
from compiler.program.groups import idle, split
from compiler.steps import Train, Weights
from compiler.values import ModelPoint
from runtime.errors import UserError
from runtime.steps.context import Context
from runtime.steps.stage import Stage
from runtime.train.checkpoints import load_weights
from runtime.train.placement import Placement
from runtime.weights import pretrained


@dataclass(frozen=True)
class Split:
    """What of the decoder is trained, and what isn't."""

    trained: Parameters
    """A `jax.ShapeDtypeStruct` for each array; the weights that are kept are of these."""
    initial: Callable[[], Parameters]
    """These arrays before the first update, owned by nobody else."""
    frozen: Callable[[], Parameters]
    """The other arrays, placed as the step wants them; empty where all are trained."""


def split_of(stage: Stage) -> Split:
    """All parameters of the stage's input are trained but for frozen groups, or an adapter beside them all.

    Raises:
        UserError: a group has no parameters, or all parameters are frozen.
    """
    context, step = stage.context, stage.step
    shapes = _shapes(context, step)
    trained, fixed = split(shapes, step.groups)
    for group in idle(shapes, step.groups):
        raise UserError(
            f"no parameter is of the group '{group.paths}'",
            "write a pattern of dotted paths, `layers.attention.*`; an earlier group comes before a later one",
            step.place,
        )
    if not trained:
        raise UserError("all parameters are frozen", "leave some out of the groups with lr 0", step.place)

    def initial() -> Parameters:
        return split(_before(context, step, stage.placement), step.groups)[0]

    def frozen() -> Parameters:
        kept = split(_before(context, step, stage.placement), step.groups)[1] if fixed else {}
        if step.adapter is not None:
            kept = merged(parameters(context, step.base or step.model, step.weights, stage.placement), kept)
        return stage.placement.laid_out(kept)

    return Split(trained, initial, frozen)


def parameters(context: Context, model: ModelPoint, weights: str, placement: Placement | None = None) -> Parameters:
    """The parameters of a model: pretrained, or after an update of a done train step, an adapter merged in float32.

    With a `placement` each array is read straight to its devices: no process has more of a model than they hold.
    """
    step = context.keys.plan.steps[model.step]
    if isinstance(step, Weights):
        return _origin(context, model.step, step, placement)
    assert isinstance(step, Train)
    found = adapted(context, model, placement)
    if found is None:
        return _trained(context, step, model, placement)
    return merge(parameters(context, found.base, weights, placement), found.adapter, found.lora)


def whole(config: DecoderConfig, lora: LoRA | None, trained: Parameters, frozen: Parameters) -> Parameters:
    """The parameters of a model in training: what is trained and what isn't as one, an adapter merged in float32."""
    together = merged(trained, frozen)
    if lora is None:
        return together
    return merge(part(together, parameter_shapes(config)), part(together, adapter_shapes(config, lora)), lora)


def part(tree: Parameters, shapes: Parameters) -> Parameters:
    """Of a tree, the arrays that the shapes have."""
    return {name: part(tree[name], shape) if isinstance(shape, dict) else tree[name] for name, shape in shapes.items()}


def _origin(context: Context, description: str, step: Weights, placement: Placement | None) -> Parameters:
    """What a flow begins with: random or pretrained."""
    config = context.model(description).config
    shapes = _laid_out(parameter_shapes(config), placement)
    if step.architecture is not None:
        places = None if placement is None else jax.tree.map(lambda x: x.sharding, shapes)
        return jax.jit(lambda: parameters_of(create(config, step.seed)), out_shardings=places)()
    if placement is None:
        return pretrained.read_parameters(context.weights_path(description), config)
    return pretrained.place_parameters(context.weights_path(description), config, shapes)


@dataclass(frozen=True)
class Adapted:
    """A model that is an adapter on another."""

    lora: LoRA
    adapter: Parameters
    base: ModelPoint


def adapted(context: Context, model: ModelPoint, placement: Placement | None = None) -> Adapted | None:
    """The adapter of a model and what it lies on; None where its last stage has none."""
    step = context.keys.plan.steps[model.step]
    if not isinstance(step, Train) or step.adapter is None:
        return None
    return Adapted(lora_of(step.adapter), _trained(context, step, model, placement), step.base or step.model)


def _trained(context: Context, step: Train, model: ModelPoint, placement: Placement | None) -> Parameters:
    """What a train step trains, after an update: all parameters, or its adapter; what is frozen of it among it."""
    trained, fixed = split(_shapes(context, step), step.groups)
    update = context.update(model.step, model.at)
    loaded = load_weights(context.folder(model.step), update, _laid_out(trained, placement))
    return merged(loaded, split(_before(context, step, placement), step.groups)[1]) if fixed else loaded


def _before(context: Context, step: Train, placement: Placement | None) -> Parameters:
    """The same before the first update."""
    if step.adapter is None:
        return parameters(context, step.model, step.weights, placement)
    if step.base is None:
        return initial_adapter(context.model(step.weights).config, lora_of(step.adapter), step.seed)
    continued = context.keys.plan.steps[step.model.step]
    assert isinstance(continued, Train)
    assert continued.adapter is not None
    return _trained(context, continued, step.model, placement)


def _laid_out(shapes: Parameters, placement: Placement | None) -> Parameters:
    return shapes if placement is None else placement.parameters(shapes)


def _shapes(context: Context, step: Train) -> Parameters:
    config = context.model(step.weights).config
    return parameter_shapes(config) if step.adapter is None else adapter_shapes(config, lora_of(step.adapter))
