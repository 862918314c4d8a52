"""What `mixc compile` leaves for review as one text: where every array lies, memory by kind, operations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from compiler.targets import Machine
from runtime.compile.foresee import Foreseen
from runtime.compile.jobs import Compiled
from runtime.compile.suggest import fits

UNITS = {"train": "an update", "scorer": "a batch", "sampler": "a token of every row"}
"""What a program's operations are counted for."""


def plan_text(target: str, machine: Machine, programs: Sequence[tuple[Foreseen, Compiled]]) -> str:
    """The text of a target's programs. It has no times, so the same program gives the same text."""
    lines = [heading(target, machine)]
    for foreseen, compiled in programs:
        lines += ["", *_program(machine, foreseen, compiled)]
    sources = list(dict.fromkeys(source for foreseen, _ in programs for source in foreseen.sources))
    return "\n".join([*lines, *([""] if sources else []), *sources]) + "\n"


def heading(target: str, machine: Machine) -> str:
    """The target in a line."""
    mesh = ", ".join(f"{axis} {size}" for axis, size in machine.shard)
    return f"target {target}: {machine.topology}, {machine.devices} devices as {mesh}"


def shape_of(foreseen: Foreseen, compiled: Compiled) -> str:
    """A program's batch, and how it is computed, in a line."""
    job = foreseen.job
    parts = f" in {compiled.micro_batches} micro-batches" if compiled.micro_batches > 1 else ""
    remat = f", remat {compiled.remat}" if job.kind == "train" else ""
    return f"{job.rows} rows of {job.length} tokens{parts}{remat}, attention by {compiled.kernel}"


def kinds_of(compiled: Compiled) -> dict[str, int]:
    """A device's bytes by what they hold. The last two are of the compiler's making."""
    return {
        "parameters": compiled.parameters_bytes,
        "optimizer": compiled.optimizer_bytes,
        "frozen": compiled.frozen_bytes,
        "batch": compiled.batch_bytes,
        "gradients": compiled.gradients_bytes,
        "activations_and_work": max(compiled.temporaries_bytes - compiled.gradients_bytes, 0),
        "code": compiled.code_bytes,
    }


def _program(machine: Machine, foreseen: Foreseen, compiled: Compiled) -> Iterator[str]:
    job = foreseen.job
    yield f"{job.kind} {', '.join(foreseen.used_by)}"
    yield f"  {shape_of(foreseen, compiled)}, {job.precision}"
    yield f"  {foreseen.flops:,} FLOPs {UNITS[job.kind]}"
    yield from (f"  {note}" for note in compiled.notes)
    if compiled.refused is not None:
        yield f"  the compiler says: {compiled.refused}"
    yield "  memory of a device, in bytes"
    figures = {name.replace("_", " "): f"{count:,}" for name, count in kinds_of(compiled).items() if count}
    room = "" if machine.memory is None else f" of {machine.memory:,}"
    figures["at most at once"] = f"{compiled.memory_bytes:,}{room}: {'fits' if fits(compiled, machine) else 'too much'}"
    yield from _columns([[name, figure] for name, figure in figures.items()])
    yield "  places"
    yield from _columns([[path, _array(found), _place(found["spec"])] for path, found in compiled.shardings.items()])


def _array(found: dict[str, Any]) -> str:
    return f"{found['dtype']}[{','.join(map(str, found['shape']))}]"


def _place(spec: Sequence[str | Sequence[str] | None]) -> str:
    """The axes that each dimension is spread over: `-, fsdp`; of none, `everywhere`."""
    axes = [each or "-" if isinstance(each, str | None) else " and ".join(each) or "-" for each in spec]
    return "everywhere" if all(each == "-" for each in axes) else ", ".join(axes)


def _columns(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Rows of cells, all but the last as wide as the widest of its column."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "    " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
