"""Seconds in which the train step of an 8B model compiles ahead of time for a pod and a node, against what is asked.

    python bench/compile.py     (a Python with libtpu, and with jax-cuda12-plugin and jax-cuda12-pjrt of JAX's version)

Qwen3-8B's shape, 64 x 4096 tokens a batch, bfloat16, AdamW; and the same with a third of the layers: compile time
should be flat in depth. Each compilation is a process of its own.
"""

from __future__ import annotations

import sys
from pathlib import Path

# A script's folder comes first in the search path, and tokenize.py in it would hide the standard library's.
ROOT = Path(__file__).parent.parent
sys.path[0] = str(ROOT)

from dataclasses import asdict, replace

from bench.record import record
from compiler.program.shapes import published
from compiler.stages import AdamW, Schedule
from compiler.steps import Train
from compiler.targets import Machine, Platform, parse_topology
from compiler.values import ModelPoint
from runtime.compile.ask import compiler_for
from runtime.compile.jobs import Compiled, Job

TARGETS: tuple[tuple[str, Platform, dict[str, int], int, float], ...] = (
    ("v5e:16x16", "tpu", {"fsdp": 64, "tensor": 4}, 1, 60.0),
    ("h100:8", "gpu", {"fsdp": 8}, 8, 30.0),
)
"""Topology, platform, mesh, micro-batches, and the seconds that are asked for."""

ROWS, LENGTH, LAYERS, FEWER = 64, 4096, 36, 12


def main() -> None:
    for topology, platform, shard, micro_batches, asked in TARGETS:
        chip, grid = parse_topology(topology, platform)
        machine = Machine(platform, chip.name, grid, chip.memory, tuple(shard.items()))
        whole, fewer = (compiled(machine, layers, micro_batches) for layers in (LAYERS, FEWER))
        mesh = ", ".join(f"{axis} {size}" for axis, size in shard.items())
        packages = ["jax", "libtpu"] if platform == "tpu" else ["jax", "jax-cuda12-plugin", "jax-cuda12-pjrt"]
        work = (
            f"Qwen3-8B, {LAYERS} layers, {ROWS} x {LENGTH} tokens in {micro_batches} micro-batches, bfloat16, AdamW, "
            f"{mesh}, attention by {whole.kernel}: {_gibibytes(whole.memory_bytes)} a device"
        )
        record(
            f"compile: {topology}",
            work,
            f"{_seconds(whole):.1f} s ({whole.cpu_seconds:.0f} s of the cores' time)",
            f"asked: {asked:.0f} s",
            asked / _seconds(whole),
            packages,
        )
        record(
            f"compile: {topology}, depth",
            f"the same with {LAYERS} layers and with {FEWER}: {_gibibytes(fewer.memory_bytes)} a device",
            f"{LAYERS} layers: {_seconds(whole):.1f} s ({whole.cpu_seconds:.0f} s of the cores' time)",
            f"{FEWER} layers: {_seconds(fewer):.1f} s ({fewer.cpu_seconds:.0f} s of the cores' time)",
            _seconds(fewer) / _seconds(whole),
            packages,
        )


def compiled(machine: Machine, layers: int, micro_batches: int) -> Compiled:
    """The train step of the 8B shape with so many layers."""
    step = Train(
        name="midtrain",
        place="",
        model=ModelPoint(step="weights"),
        weights="weights",
        pack="pack",
        optimizer=AdamW(lr="2e-5", b1="0.9", b2="0.95", eps="1e-8", weight_decay="0.1"),
        schedule=Schedule(kind="cosine", warmup="0.03", final="0.1"),
        max_grad_norm="1",
        precision="bfloat16",
    )
    config = asdict(replace(published("qwen3_8b"), layers=layers))
    job = Job(
        name="midtrain",
        kind="train",
        config=config,
        rows=ROWS,
        length=LENGTH,
        step=step,
        micro_batches=micro_batches,
    )
    with compiler_for(machine) as compiler:
        found = compiler.compile(job)
    if found.refused is not None:
        raise SystemExit(found.refused)
    return found


def _seconds(compiled: Compiled) -> float:
    return compiled.lower_seconds + compiled.compile_seconds


def _gibibytes(count: int) -> str:
    return f"{count / 2**30:.1f} GiB"


if __name__ == "__main__":
    main()
