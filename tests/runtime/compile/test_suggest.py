"""The search for a micro-batch and a rematerialisation that fit, with a compiler that is a formula."""

from __future__ import annotations

import pytest

from compiler.targets import Machine
from runtime.compile.jobs import Compiled, Job
from runtime.compile.suggest import suggest

JOB = Job(name="midtrain", kind="train", config={}, rows=64, length=4096)


def _compiled(job: Job) -> Compiled:
    """10 of parameters; of activations 96, or 32 with all computed again, over the number of micro-batches."""
    memory = 10 + {"projections": 96, "full": 32}[job.remat] // job.micro_batches
    return Compiled(
        name=job.name, kind=job.kind, kernel="xla", notes=(), micro_batches=job.micro_batches, remat=job.remat,
        rows=job.rows, idle=0.0, parameters_bytes=3, optimizer_bytes=6, frozen_bytes=0, batch_bytes=1,
        gradients_bytes=3, arguments_bytes=10, temporaries_bytes=memory - 10, code_bytes=0, memory_bytes=memory,
        lower_seconds=0.1, compile_seconds=1.0, cpu_seconds=1.0,
    )  # fmt: skip


def _machine(memory: int) -> Machine:
    return Machine("gpu", "h100", (8,), memory, (("fsdp", 8),))


@pytest.mark.parametrize(
    ("memory", "remat", "micro_batches", "compilations"),
    [
        (200, "projections", 1, 1),
        (60, "projections", 2, 3),
        (34, "projections", 4, 3),
        (22, "projections", 8, 3),
        (15, "full", 8, 4),
        (18, "full", 4, 5),
    ],
)
def test_the_fastest_that_fits(memory: int, remat: str, micro_batches: int, compilations: int) -> None:
    asked: list[Job] = []

    def compile(job: Job) -> Compiled:
        asked.append(job)
        return _compiled(job)

    suggestion = suggest(JOB, _compiled(JOB), compile, _machine(memory), row_devices=8)
    assert suggestion.found is not None
    assert (suggestion.found.remat, suggestion.found.micro_batches) == (remat, micro_batches)
    assert len(asked) == len(suggestion.tried) - 1 <= compilations


def test_nothing_fits() -> None:
    suggestion = suggest(JOB, _compiled(JOB), _compiled, _machine(12), row_devices=8)
    assert suggestion.found is None
