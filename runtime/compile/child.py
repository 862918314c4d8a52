"""The compiling process: reads devices and then jobs, a line of JSON each, and answers each job with a line.

python -m runtime.compile.child    (the environment as `devices.environment` says)
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TextIO

import jax
from jax.sharding import Mesh

from compiler.program.config import DecoderConfig
from compiler.program.mesh import make_mesh
from compiler.targets import Machine
from runtime.compile.devices import described
from runtime.compile.jobs import Compiled, Devices, Failed, Job
from runtime.compile.memory import largest, local_bytes, measured, refused, shardings
from runtime.compile.programs import program_of
from runtime.errors import UserError


def serve(lines: TextIO, answers: TextIO) -> None:
    """Until the lines end."""
    asked = Devices.model_validate_json(lines.readline())
    try:
        machine = Machine(asked.platform, asked.chip, asked.grid, None, tuple(asked.shard.items()))
        mesh = make_mesh(asked.shard, described(machine))
        for line in lines:
            answer = compiled(Job.model_validate_json(line), mesh, asked.platform)
            print(answer.model_dump_json(), file=answers, flush=True)
    except UserError as error:
        print(Failed(message=error.message, help=error.help).model_dump_json(), file=answers, flush=True)


def compiled(job: Job, mesh: Mesh, platform: str) -> Compiled:
    """Compiles a job's program."""
    program = program_of(job, mesh, platform)
    wall, cpu = time.perf_counter(), time.process_time()
    lowered = program.lower()
    lowering = time.perf_counter() - wall
    of = {kind: local_bytes(tree) for kind, tree in program.arguments.items()}
    try:
        result = lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        found = refused(error, sum(of.values()))
        if found is None:
            raise
        stats, text = found, ""
    else:
        stats, text = measured(result), result.as_text() or ""
    seconds, cpu = time.perf_counter() - wall - lowering, time.process_time() - cpu
    if job.folder is not None:
        _write(Path(job.folder), lowered.as_text(), text)
    return Compiled(
        name=job.name,
        kind=job.kind,
        kernel=program.kernel,
        notes=program.notes,
        micro_batches=job.micro_batches,
        remat=job.remat,
        rows=program.rows,
        idle=program.idle,
        parameters_bytes=of["parameters"],
        optimizer_bytes=of.get("optimizer", 0),
        frozen_bytes=of.get("frozen", 0),
        batch_bytes=of["batch"],
        gradients_bytes=of["parameters"] if job.kind == "train" else 0,
        lower_seconds=lowering,
        compile_seconds=seconds,
        cpu_seconds=cpu,
        largest=largest(text, job, DecoderConfig(**job.config)),
        shardings=shardings(program.arguments),
        arguments_bytes=stats.arguments,
        temporaries_bytes=stats.temporaries,
        code_bytes=stats.code,
        memory_bytes=stats.peak,
        refused=stats.refused,
    )


def _write(folder: Path, stablehlo: str, optimised: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "stablehlo.mlir").write_text(stablehlo, encoding="utf-8")
    if optimised:
        (folder / "optimised.hlo").write_text(optimised, encoding="utf-8")


if __name__ == "__main__":
    # What libraries print goes to standard error: answers alone stand on standard output.
    answers, sys.stdout = sys.stdout, sys.stderr
    serve(sys.stdin, answers)
