"""Declarations of targets: where a study runs, and how it is started there."""

from __future__ import annotations

from typing import Literal

from dsl.declarations.base import Declaration, Written, declared
from dsl.declarations.data import DOC
from dsl.declarations.shapes import BuiltIn, MappingOf, Measured, OneOf, Typed
from dsl.values import Quantity


class Local(Written):
    """Started here, in this process."""


class Slurm(Written):
    """Submitted to Slurm with `sbatch`."""

    partition: str | None = declared("execution", OneOf(), "The partition that jobs are queued in.", default=None)
    nodes: int = declared("execution", Typed("count", 1), "How many machines a job has.", default=1)
    account: str | None = declared("execution", OneOf(), "The account that is charged.", default=None)
    qos: str | None = declared("execution", OneOf(), "The quality of service that is asked for.", default=None)
    time: Quantity | None = declared(
        "execution", Measured(("minutes",)), "How long a job may run at most.", default=None
    )


class SkyPilot(Written):
    """Started on a cloud by SkyPilot."""

    accelerators: str = declared(
        "execution", Typed("text"), "The accelerators that are asked for: `tpu-v5litepod-256`, `H100:8`."
    )
    nodes: int = declared("execution", Typed("count", 1), "How many machines a job has.", default=1)
    spot: bool = declared(
        "execution",
        Typed("boolean"),
        "Whether to take spot machines: cheaper, and they may be taken away.",
        default=False,
    )
    cloud: str | None = declared("execution", OneOf(), "The cloud. Left out: the cheapest.", default=None)
    region: str | None = declared("execution", OneOf(), "The region. Left out: the cheapest.", default=None)


class JobSet(Written):
    """Started on Kubernetes as a JobSet."""

    image: str = declared("execution", Typed("text"), "A container image that has mixc.")
    nodes: int = declared("execution", Typed("count", 1), "How many pods a job has.", default=1)
    namespace: str | None = declared("execution", OneOf(), "The Kubernetes namespace.", default=None)
    queue: str | None = declared("execution", OneOf(), "The local queue of Kueue.", default=None)


LAUNCHERS: dict[str, type[Written]] = {"local": Local, "slurm": Slurm, "skypilot": SkyPilot, "jobset": JobSet}


class Target(Declaration):
    """Where a study runs: what changes the speed, and results to rounding only."""

    doc: str | None = declared("remark", Typed("text"), DOC, default=None)
    platform: Literal["cpu", "gpu", "tpu"] = declared("execution", OneOf(("cpu", "gpu", "tpu")), "The kind of device.")
    topology: str | None = declared(
        "execution", Typed("text"), "The devices and how many, or their grid: `h100:8`, `v5e:16x16`.", default=None
    )
    devices: int | None = declared(
        "execution", Typed("count", 1), "How many devices there are, where no topology says it.", default=None
    )
    memory: Quantity | None = declared("execution", Measured(("bytes",)), "The memory of one device.", default=None)
    shard: dict[str, int] = declared(
        "execution",
        MappingOf(Typed("count", 1)),
        "The mesh: its axes (`data`, `fsdp`, `tensor`) and their sizes, which multiply to the devices.",
        default={},
    )
    launcher: Local | Slurm | SkyPilot | JobSet | None = declared(
        "execution", BuiltIn(LAUNCHERS), "How a run is started. Left out: here.", default=None
    )
    micro_batch: Quantity | None = declared(
        "execution",
        Measured(("examples", "tokens")),
        "How much of a batch is computed at once. Left out: what fits.",
        default=None,
    )
    remat: Literal["none", "projections", "full"] | None = declared(
        "execution",
        OneOf(("none", "projections", "full")),
        "What of a layer is computed again in the backward pass: nothing, all but the results of its projections, or "
        "all. Left out: what fits.",
        default=None,
    )
    attention: Literal["auto", "xla", "splash", "pallas", "cudnn"] = declared(
        "execution",
        OneOf(("auto", "xla", "splash", "pallas", "cudnn")),
        "The kernel of attention: splash is for TPUs, pallas and cudnn are for GPUs, xla runs anywhere; `auto` takes "
        "the fastest that fits.",
        default="auto",
    )
