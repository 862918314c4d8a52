"""Accelerators in numbers, and what a target's topology means: which devices, how many, how they are joined."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from dsl.declarations.targets import Target

Platform: TypeAlias = Literal["cpu", "gpu", "tpu"]


class TargetError(Exception):
    """A target that can't be: `message` says why, `help` what to write."""

    def __init__(self, message: str, help: str) -> None:
        super().__init__(message)
        self.message = message
        self.help = help


@dataclass(frozen=True)
class Chip:
    """One device, as its maker's data sheet has it."""

    name: str
    platform: Platform
    memory: int
    """Bytes that a program can have: what XLA grants on a TPU; of a GPU, what the driver reports."""
    flops: float
    """Of dense bfloat16 matrix products, at peak, a second."""
    bandwidth: float
    """Of its memory, bytes a second."""
    description: str = ""
    """Of a GPU, what XLA is told of it (`xla.gpu.GpuTargetConfigProto` as text)."""


def _tpu(name: str, gibibytes: float, flops: float, bandwidth: float) -> Chip:
    return Chip(name, "tpu", int(gibibytes * 2**30), flops, bandwidth)


class _Make(NamedTuple):
    """What XLA asks of a GPU beside memory and speed."""

    title: str
    capability: int
    """The major number of the CUDA compute capability."""
    cores: int
    """Streaming multiprocessors."""
    fpus: int
    """Float32 units of each."""
    cache: int
    """Bytes of the second level."""
    clock: float
    """In GHz."""
    shared: tuple[int, int]
    """Bytes of shared memory of a multiprocessor, and those that one block can ask for."""


_A100 = _Make("NVIDIA A100-SXM4-80GB", 8, cores=108, fpus=64, cache=41_943_040, clock=1.41, shared=(167_936, 166_912))
_H100 = _Make("NVIDIA H100 80GB HBM3", 9, cores=132, fpus=128, cache=52_428_800, clock=1.98, shared=(233_472, 232_448))
_B200 = _Make("NVIDIA B200", 10, cores=148, fpus=128, cache=132_644_864, clock=1.965, shared=(233_472, 232_448))


def _gpu(name: str, memory: int, flops: float, bandwidth: float, make: _Make) -> Chip:
    description = f"""
        gpu_device_info {{
          threads_per_block_limit: 1024 threads_per_warp: 32 threads_per_core_limit: 2048
          shared_memory_per_block: 49152 shared_memory_per_block_optin: {make.shared[1]}
          shared_memory_per_core: {make.shared[0]}
          core_count: {make.cores} fpus_per_core: {make.fpus} clock_rate_ghz: {make.clock}
          block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
          memory_bandwidth: {int(bandwidth)} l2_cache_size: {make.cache} device_memory_size: {memory}
          cuda_compute_capability {{ major: {make.capability} }}
          registers_per_core_limit: 65536 registers_per_block_limit: 65536
        }}
        platform_name: "CUDA"
        dnn_version_info {{ major: 9 minor: 8 }}
        device_description_str: "{make.title}"
    """
    return Chip(name, "gpu", memory, flops, bandwidth, re.sub(r"\s+", " ", description).strip())


CHIPS: Mapping[str, Chip] = {
    chip.name: chip
    for chip in (
        _tpu("v5e", 15.75, 197e12, 819e9),
        _tpu("v5p", 95.74, 459e12, 2765e9),
        _tpu("v6e", 31.25, 918e12, 1640e9),
        _gpu("a100", 85_100_068_864, 312e12, 2.039e12, _A100),
        _gpu("h100", 84_942_979_072, 989e12, 3.352e12, _H100),
        _gpu("h200", 151_397_597_184, 989e12, 4.8e12, _H100._replace(title="NVIDIA H200 141GB HBM3e")),
        _gpu("b200", 191_514_411_008, 2250e12, 7.672e12, _B200),
    )
}
"""By the name that a topology begins with. SXM modules, where a GPU comes as several."""

GPU_SHARE = 0.92
"""Of a GPU's memory, what programs get: the rest is the driver's, the collectives' and the libraries' work space."""

GPUS_OF_A_HOST = 8


@dataclass(frozen=True)
class Machine:
    """The devices that a program is compiled for."""

    platform: Platform
    chip: str | None
    """A name of `CHIPS`; None for the CPU."""
    grid: tuple[int, ...]
    """How the devices are joined: the TPUs' torus; the number of GPUs, or of a CPU's pretended devices."""
    memory: int | None
    """Bytes of a device that a program can have; None where nothing says it."""
    shard: tuple[tuple[str, int], ...]
    """Axes of the mesh and their sizes, which multiply to the devices."""

    @property
    def devices(self) -> int:
        return math.prod(self.grid)

    @property
    def topology(self) -> str:
        """As a target writes it."""
        return f"{self.chip or 'cpu'}:{'x'.join(map(str, self.grid))}"

    @property
    def hosts_and_gpus(self) -> str:
        """Slices, hosts and GPUs a host, as XLA's topology of GPUs is written: `1x1x8`."""
        of_host = math.gcd(self.devices, GPUS_OF_A_HOST)
        return f"1x{self.devices // of_host}x{of_host}"


def machine_of(target: Target) -> Machine:
    """What a target declares. Raises TargetError for a chip that isn't in the table, or axes that don't fit."""
    if target.platform == "cpu":
        grid, chip = (target.devices or math.prod(target.shard.values()),), None
    elif target.topology is None:
        example = "v5e:16x16" if target.platform == "tpu" else "h100:8"
        raise TargetError(f"target {target.name} doesn't say which devices it has", f"write `topology: {example}`")
    else:
        chip, grid = parse_topology(target.topology, target.platform)
    memory = None if target.memory is None else int(target.memory.count)
    if chip is not None:
        usable = int(chip.memory * (GPU_SHARE if chip.platform == "gpu" else 1))
        memory = usable if memory is None else min(memory, usable)
    devices, shard = math.prod(grid), dict(target.shard) or {"fsdp": math.prod(grid)}
    if math.prod(shard.values()) != devices:
        raise TargetError(
            f"the axes of target {target.name} multiply to {math.prod(shard.values())}, and it has {devices} devices",
            f"write sizes whose product is {devices}, such as `shard: {{fsdp: {devices}}}`",
        )
    return Machine(target.platform, chip and chip.name, grid, memory, tuple(shard.items()))


def parse_topology(text: str, platform: Platform) -> tuple[Chip, tuple[int, ...]]:
    """The chip and the grid of `v5e:16x16` or `h100:8`. Raises TargetError."""
    name, _, sizes = text.partition(":")
    names = [chip.name for chip in CHIPS.values() if chip.platform == platform]
    chip = CHIPS.get(name.lower())
    if chip is None or chip.platform != platform:
        raise TargetError(f"'{name}' is no {platform.upper()} that the table has", f"it has: {', '.join(names)}")
    example = {"gpu": f"{name}:8", "v5p": "v5p:2x2x1"}.get(platform if platform == "gpu" else chip.name, f"{name}:4x4")
    grid = tuple(int(size) for size in sizes.split("x")) if re.fullmatch(r"[1-9]\d*(x[1-9]\d*)*", sizes) else ()
    if len(grid) != example.count("x") + 1:
        raise TargetError(f"'{text}' doesn't say how many devices there are", f"write it like `{example}`")
    return chip, grid
