"""Devices that are only described: what JAX compiles for when the machine isn't there."""

from __future__ import annotations

from typing import Any

from compiler.targets import CHIPS, Machine
from runtime.errors import UserError

TPU_EXTRA, GPU_EXTRA = "tpu-compile", "gpu-compile"


def environment(platform: str, devices: int) -> dict[str, str]:
    """What a compiling process's environment must say before JAX is imported."""
    # This process computes nothing, so that no device of this machine is taken.
    variables = {"JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "3"}
    if platform == "tpu":
        # Else libtpu asks Google's cloud over the network which machine this is.
        return variables | {
            "TPU_SKIP_MDS_QUERY": "1",
            "TPU_ACCELERATOR_TYPE": "v5e-4",
            "TPU_WORKER_HOSTNAMES": "localhost",
        }
    if platform == "cpu":
        return variables | {"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"}
    return variables


def described(machine: Machine) -> list[Any]:
    """The devices. Raises UserError where what compiles for them isn't installed, or there are none of this kind."""
    import jax
    from jax.experimental import topologies

    if machine.chip is None:
        return jax.devices("cpu")
    chip = CHIPS[machine.chip]
    if chip.platform == "gpu":
        _need("jax_plugins.xla_cuda12", f"NVIDIA GPUs ({machine.topology})", GPU_EXTRA)
        options = {"target_config": chip.description, "topology": machine.hosts_and_gpus}
        return list(topologies.get_topology_desc(platform="cuda", topology_name=chip.name, **options).devices)
    _need("libtpu", f"TPUs ({machine.topology})", TPU_EXTRA)
    try:
        return list(topologies.get_topology_desc(platform="tpu", topology_name=machine.topology).devices)
    except jax.errors.JaxRuntimeError as error:
        raise UserError(
            f"there are no TPUs like '{machine.topology}': {str(error).splitlines()[0]}",
            "write a topology that can be had, such as `v5e:4x4`, `v5e:16x16`, `v5p:2x2x2`, `v6e:8x8`",
        ) from error


def _need(module: str, what: str, extra: str) -> None:
    from importlib.util import find_spec

    try:
        found = find_spec(module) is not None
    except ModuleNotFoundError:
        found = False
    if not found:
        raise UserError(f"what compiles for {what} isn't installed", f"install it with `pip install 'mixc[{extra}]'`")
