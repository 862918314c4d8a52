"""How a target has train steps run, and whether this machine is one."""

from __future__ import annotations

from compiler.targets import Machine, TargetError, machine_of
from dsl.declarations.targets import Target
from runtime.errors import UserError
from runtime.steps.context import Running


def machine_for(target: Target) -> Machine:
    """The devices of a target. UserError for a chip that isn't known, or axes that don't fit."""
    try:
        return machine_of(target)
    except TargetError as error:
        raise UserError(error.message, error.help) from error


def running_of(target: Target) -> Running:
    """What a target says of running. UserError where its axes don't fit its devices."""
    machine = machine_for(target)
    size = target.micro_batch
    return Running(
        shard=dict(machine.shard) if machine.devices > 1 else {},
        micro_batch=None if size is None else (int(size.count), "examples" if size.unit == "examples" else "tokens"),
        remat=target.remat or "projections",
        kernel=None if target.attention == "auto" else target.attention,
    )


def check_here(target: Target) -> None:
    """Raises UserError unless the devices of all processes together are those of the target."""
    import jax

    machine, here = machine_for(target), jax.default_backend()
    count = jax.device_count() if machine.devices > 1 else 1
    if (target.platform, machine.devices) == (here, count):
        return
    if target.platform == here == "cpu":
        mend = f"set XLA_FLAGS=--xla_force_host_platform_device_count={machine.devices}, or take another target"
    else:
        mend = "run it there, or name a target that is this machine with `--target`"
    raise UserError(
        f"target {target.name} has {machine.devices} {target.platform.upper()} devices, and here are "
        f"{jax.device_count()} of {here.upper()}",
        mend,
        str(target.place),
    )
