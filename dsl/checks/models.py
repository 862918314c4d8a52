"""Rules for models and targets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import prod

from dsl.checks.finding import Finding, at, given, key_place, title
from dsl.checks.training import flow_can_train
from dsl.declarations.models import Architecture, Model, ModelFlow
from dsl.declarations.targets import Target
from dsl.describe import alternatives, known_help
from dsl.hole import known

ORIGINS = ("from", "architecture", "api")
SAMPLING = ("temperature", "top_p", "max_tokens")
AXES = ("data", "fsdp", "tensor")
WINDOWED = ("mistral", "gemma2", "gemma3", "olmo3")
"""Families with layers that see a window."""
PLATFORMS = {
    "gpu": (
        "a10", "a10g", "a100", "b100", "b200", "b300", "gb200", "gb300", "gh200", "h100", "h200", "l4", "l40", "l40s",
        "mi250x", "mi300x", "mi325x", "mi355x", "t4", "v100",
    ),
    "tpu": ("v2", "v3", "v4", "v5e", "v5litepod", "v5p", "v6e"),
}  # fmt: skip
"""Devices of which the platform is known."""
KERNELS = {"splash": "tpu", "pallas": "gpu", "cudnn": "gpu"}
"""Kernels of attention that run on one platform alone."""
_HUB_NAME = re.compile(r"[A-Z][A-Za-z0-9-]*/[A-Za-z0-9][A-Za-z0-9._-]*|[a-z0-9-]+/[A-Z][A-Za-z0-9._-]*")
_TOPOLOGY = re.compile(r"[a-z0-9-]+:([1-9][0-9]*(?:x[1-9][0-9]*)*)")


def one_origin(model: Model) -> Iterator[Finding]:
    """A model has weights, or a shape, or is served."""
    found = given(model, ORIGINS)
    if len(found) != 1:
        message = f"{title(model)} has {' and '.join(repr(one) for one in found) or 'no origin'}"
        yield Finding(message, at(model, *found[1:]), f"write exactly one of {alternatives(ORIGINS)}")


def api_names_a_provider(model: Model) -> Iterator[Finding]:
    """A served model is written as PROVIDER/NAME."""
    api = known(model.api)
    if api is not None and not all(api.partition("/")[::2]):
        message = f"'{api}' in {title(model)} doesn't say who serves it"
        yield Finding(message, at(model, "api"), "write PROVIDER/NAME, as in 'openai/gpt-5'")


def weights_are_near(model: Model) -> Iterator[Finding]:
    """A path that looks like a model of the Hugging Face hub is a folder beside the file."""
    place = at(model, "from")
    written = place.source.text[place.span.start : place.span.end]
    if isinstance(known(model.from_), str) and _HUB_NAME.fullmatch(written):
        message = f"'{written}' in {title(model)} is a path, of a folder beside this file"
        yield Finding(message, place, f"write 'hf://{written}' for a model of the hub, or './{written}' for the folder")


def is_served(model: Model) -> Iterator[Finding]:
    """Sampling settings and a ceiling on spending are for a served model."""
    if len(given(model, ORIGINS)) == 1 and "api" not in model.places:
        for field in given(model, ("spend", "price")):
            yield Finding(f"'{field}' in {title(model)}, which costs nothing a call", at(model, field), "leave it out")
        for field in given(model, SAMPLING):
            message = f"'{field}' does nothing in {title(model)}, which isn't served"
            help = "leave it out: what samples from weights says how, as evals and transforms do"
            yield Finding(message, at(model, field), help)


def weights_are_there(model: Model) -> Iterator[Finding]:
    """A tokenizer and a template are for weights, a seed for a flow that is trained."""
    match given(model, ORIGINS):
        case ["api"]:
            for field in given(model, ("tokenizer", "template", "seed")):
                message = f"'{field}' does nothing in {title(model)}, which is served"
                yield Finding(message, at(model, field), "leave it out")
        case ["from"] if isinstance(model.from_, str) and "seed" in model.places:
            message = f"'seed' does nothing in {title(model)}, whose weights are trained already"
            yield Finding(message, at(model, "seed"), "leave it out: a seed is for a model from a flow")
        case _:
            pass


def shape_adds_up(model: Model) -> Iterator[Finding]:
    """Heads share the queries, and the width between them, evenly; rotary positions turn channels in pairs."""
    shape = model.architecture
    if not isinstance(shape, Architecture):
        return
    heads, groups = shape.heads, shape.key_value_heads or shape.heads
    if heads % groups:
        message = f"{heads} heads don't share {groups} key-value heads evenly in {title(model)}"
        place = at(model, "architecture.key_value_heads", "architecture")
        yield Finding(message, place, f"write a 'key_value_heads' that {heads} is a multiple of")
    if shape.head_size is None and shape.hidden % heads:
        message = f"a width of {shape.hidden} doesn't part into {heads} heads in {title(model)}"
        place = at(model, "architecture.hidden", "architecture")
        yield Finding(message, place, f"write a multiple of {heads}, or say the 'head_size'")
    elif (shape.head_size or shape.hidden // heads) % 2:
        size = shape.head_size or shape.hidden // heads
        message = f"heads of {size} channels in {title(model)}: rotary positions turn them in pairs"
        place = at(model, "architecture.head_size", "architecture.hidden", "architecture")
        yield Finding(message, place, "write an even size of heads")


def windows_are_there(model: Model) -> Iterator[Finding]:
    """A window is for a family that has windowed layers."""
    shape = model.architecture
    if isinstance(shape, Architecture) and shape.window is not None and shape.family not in WINDOWED:
        message = f"'window' does nothing in {title(model)}: {shape.family} has no windowed layers"
        help = f"leave it out, or write a 'family' that has some: {alternatives(WINDOWED)}"
        yield Finding(message, at(model, "architecture.window", "architecture"), help)


def scratch_has_a_tokenizer(model: Model) -> Iterator[Finding]:
    """Random weights come without a tokenizer, and what they learn hangs on which one it is."""
    if given(model, ORIGINS) == ["architecture"] and not given(model, ("tokenizer",)):
        message = f"{title(model)} starts from scratch, and has no 'tokenizer'"
        help = "write 'tokenizer:' with the folder of a tokenizer, or with a model that has one"
        yield Finding(message, at(model, "architecture"), help)


def flow_is_sound(model: Model) -> Iterator[Finding]:
    """Each stage of a model's flow has data, and what it starts from can be trained."""
    if isinstance(model.from_, ModelFlow):
        yield from flow_can_train(model.from_, model, "from")


def axes_are_known(target: Target) -> Iterator[Finding]:
    """A mesh has the axes data, fsdp and tensor."""
    for axis in target.shard:
        if axis not in AXES:
            message = f"unknown mesh axis '{axis}' in {title(target)}"
            yield Finding(message, key_place(target, f"shard.{axis}", "shard"), known_help(axis, AXES))


def topology_is_readable(target: Target) -> Iterator[Finding]:
    """A topology names a device and how many, `h100:8` or `v5e:16x16`."""
    if target.topology is not None and _chips(target.topology) is None:
        message = f"'{target.topology}' in {title(target)} is not a topology"
        yield Finding(message, at(target, "topology"), "write DEVICE:COUNT or DEVICE:AxB, as in h100:8 and v5e:16x16")


def platform_has_topology(target: Target) -> Iterator[Finding]:
    """The devices of a topology are of the target's platform."""
    if target.topology is None or _chips(target.topology) is None:
        return
    device = target.topology.partition(":")[0]
    platform = next((one for one, devices in PLATFORMS.items() if device in devices), target.platform)
    if platform != target.platform:
        message = f"the platform of {title(target)} is {target.platform}, and {device} is a {platform}"
        yield Finding(message, at(target, "topology"), f"write 'platform: {platform}', or another topology")


def platform_has_kernel(target: Target) -> Iterator[Finding]:
    """The kernel of attention runs on the target's platform."""
    platform = KERNELS.get(target.attention)
    if platform is not None and platform != target.platform:
        message = f"the platform of {title(target)} is {target.platform}, and {target.attention} is for {platform}"
        yield Finding(message, at(target, "attention"), "write 'attention: auto', or leave it out")


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
    return _chips(target.topology)


def _chips(topology: str) -> int | None:
    """How many devices a topology names; None where it is not one."""
    match = _TOPOLOGY.fullmatch(known(topology))
    return prod(int(one) for one in match.group(1).split("x")) if match else None


def devices_agree(target: Target) -> Iterator[Finding]:
    """`devices` and `topology` say the same."""
    devices = device_count(target)
    if target.topology is not None and target.devices is not None and devices is not None and devices != target.devices:
        message = f"{title(target)} has {target.devices} devices, and {target.topology} is {devices}"
        yield Finding(message, at(target, "devices"), "leave 'devices' out: the topology says it")
