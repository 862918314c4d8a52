"""Finds a micro-batch and a rematerialisation with which a train step fits, in few compilations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Literal

from compiler.targets import Machine
from runtime.compile.jobs import Compiled, Job

_POLICIES: tuple[Literal["projections", "full"], ...] = ("projections", "full")
"""From the fastest on. The second computes a layer's matrix products once more: a quarter more work."""


@dataclass(frozen=True)
class Suggestion:
    """What fits best, or why nothing does."""

    found: Compiled | None
    tried: tuple[Compiled, ...]


def suggest(
    job: Job, first: Compiled, compile: Callable[[Job], Compiled], machine: Machine, row_devices: int
) -> Suggestion:
    """The fastest that fits: little computed again, and then few and large micro-batches.

    Memory falls with the number of micro-batches, so that their least number is found by halving.

    Args:
        job: of a train step.
        first: what became of it as it stands.
        compile: see `ask.Compiler.compile`.
        machine: that it must fit.
        row_devices: over how many devices rows are spread: a micro-batch has one for each at least.
    """
    tried = [first]

    def attempt(remat: Literal["projections", "full"], micro_batches: int) -> Compiled:
        for each in tried:
            if (each.remat, each.micro_batches) == (remat, micro_batches):
                return each
        tried.append(compile(job.model_copy(update={"remat": remat, "micro_batches": micro_batches, "folder": None})))
        return tried[-1]

    counts = _counts(job.rows, row_devices)
    if (first.remat, first.micro_batches) == (_POLICIES[0], counts[0]) and fits(first, machine):
        return Suggestion(first, (first,))
    for remat in _POLICIES:
        if not fits(attempt(remat, counts[-1]), machine):
            continue
        low, high = 0, len(counts) - 1  # the one at `high` fits
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if fits(attempt(remat, counts[middle]), machine) else (middle + 1, high)
        return Suggestion(attempt(remat, counts[high]), tuple(tried))
    return Suggestion(None, tuple(tried))


def _counts(rows: int, row_devices: int) -> Sequence[int]:
    """Numbers of micro-batches to try: powers of two, as long as each keeps a row for every device."""
    most = max(rows // row_devices, 1)
    return list(takewhile(lambda count: count <= most, (2**power for power in range(rows.bit_length() + 1))))


def fits(compiled: Compiled, machine: Machine) -> bool:
    """Whether a program was made, and its memory is a device's or less."""
    return compiled.refused is None and (machine.memory is None or compiled.memory_bytes <= machine.memory)
