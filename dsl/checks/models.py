"""Rules for models and targets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import prod

from dsl.checks.finding import Finding, at, given, title
from dsl.checks.training import flow_can_train
from dsl.declarations.models import Model, ModelFlow
from dsl.declarations.training import Target
from dsl.describe import alternatives, known_help

ORIGINS = ("from", "architecture", "api")
AXES = ("data", "fsdp", "tensor")
_TOPOLOGY = re.compile(r"[a-z0-9-]+:([0-9]+(?:x[0-9]+)*)")


def one_origin(model: Model) -> Iterator[Finding]:
    """A model has weights, or a shape, or is served."""
    found = given(model, ORIGINS)
    if len(found) != 1:
        message = f"{title(model)} has {' and '.join(repr(one) for one in found) or 'no origin'}"
        yield Finding(message, at(model, *found[1:]), f"write exactly one of {alternatives(ORIGINS)}")


def is_served(model: Model) -> Iterator[Finding]:
    """A ceiling on spending is for a served model."""
    if model.api is None and "spend" in model.places and len(given(model, ORIGINS)) == 1:
        yield Finding(f"'spend' in {title(model)}, which costs nothing a call", at(model, "spend"), "leave it out")


def flow_is_sound(model: Model) -> Iterator[Finding]:
    """Each stage of a model's flow has data, and what it starts from can be trained."""
    if isinstance(model.from_, ModelFlow):
        yield from flow_can_train(model.from_, model, "from")


def axes_are_known(target: Target) -> Iterator[Finding]:
    """A mesh has the axes data, fsdp and tensor."""
    for axis in target.shard:
        if axis not in AXES:
            message = f"unknown mesh axis '{axis}' in {title(target)}"
            yield Finding(message, at(target, f"shard.{axis}", "shard"), known_help(axis, AXES))


def topology_is_readable(target: Target) -> Iterator[Finding]:
    """A topology names a device and how many, `h100:8` or `v5e:16x16`."""
    if target.topology is not None and _TOPOLOGY.fullmatch(target.topology) is None:
        message = f"'{target.topology}' in {title(target)} is not a topology"
        yield Finding(message, at(target, "topology"), "write DEVICE:COUNT or DEVICE:AxB, as in h100:8 and v5e:16x16")


def axes_multiply_to_devices(target: Target) -> Iterator[Finding]:
    """The mesh uses every device once."""
    devices, size = device_count(target), prod(target.shard.values())
    if target.shard and devices is not None and size != devices:
        axes = " * ".join(str(one) for one in target.shard.values())
        product = f"{axes} = {size}" if len(target.shard) > 1 else axes
        message = f"the mesh of {title(target)} has {product} devices, not {devices}"
        yield Finding(message, at(target, "shard"), f"choose axes that multiply to {devices}")


def device_count(target: Target) -> int | None:
    """How many devices a target has, where the text says."""
    if target.topology is None:
        return target.devices
    match = _TOPOLOGY.fullmatch(target.topology)
    return prod(int(one) for one in match.group(1).split("x")) if match else None


def devices_agree(target: Target) -> Iterator[Finding]:
    """`devices` and `topology` say the same."""
    devices = device_count(target)
    if target.topology is not None and target.devices is not None and devices is not None and devices != target.devices:
        message = f"{title(target)} has {target.devices} devices, and {target.topology} is {devices}"
        yield Finding(message, at(target, "devices"), "leave 'devices' out: the topology says it")
