"""A train step as its pieces see it: objective, optimizer, batches and weights are each made from a `Stage`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import jax

from compiler.keys import total_of, update_at
from compiler.program.adapters import lora_of
from compiler.program.config import DecoderConfig, LoRA
from compiler.program.execution import OWN_KERNELS, Execution
from compiler.stages import GRPO
from compiler.steps import Order, Pack, Train
from compiler.values import Measure, Moment
from runtime.errors import UserError
from runtime.steps.context import Context
from runtime.steps.data import rows_of_batch, sorted_inputs
from runtime.train.placement import Placement, placement_of


@dataclass(frozen=True)
class Stage:
    """One train step of a plan, ready to run."""

    context: Context
    description: str
    """Its key in the plan."""
    step: Train
    placement: Placement

    @property
    def execution(self) -> Execution:
        """How its programs are computed."""
        running = self.context.running
        return Execution(
            self.placement.mesh, running.kernel or OWN_KERNELS.get(jax.default_backend(), "xla"), running.remat
        )

    @property
    def config(self) -> DecoderConfig:
        return self.context.model(self.step.weights).config

    @property
    def packed(self) -> Mapping[str, Any]:
        """Facts of the `pack` step: `updates`, `digest`, running totals by update."""
        return self.context.keys.results[self.step.pack].facts

    @property
    def lora(self) -> LoRA | None:
        return None if self.step.adapter is None else lora_of(self.step.adapter)

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts of the mix by name, in the order of the packing's sources."""
        steps = self.context.keys.plan.steps
        pack = steps[self.step.pack]
        assert isinstance(pack, Pack)
        order = steps[pack.order]
        assert isinstance(order, Order)
        return tuple(order.names[tokens] for tokens in sorted_inputs(self.context, pack))

    def share(self, length: str | Measure) -> Fraction:
        """A length at the beginning of the stage (warm-up) as a fraction of its updates."""
        if isinstance(length, str):
            return Fraction(length)
        return Fraction(update_at(Moment(kind="quantity", value=length), self.packed), self.packed["updates"])

    def last_share(self, length: str | Measure) -> Fraction:
        """A length at the end of the stage (decay) as a fraction of its updates."""
        if isinstance(length, str):
            return Fraction(length)
        before = max(total_of(length.unit, self.packed) - Fraction(length.count), Fraction(0))
        return 1 - self.share(Measure(count=str(before), unit=length.unit)) if before else Fraction(1)


def stage_of(context: Context, description: str, step: Train) -> Stage:
    """A train step with its mesh. Its `pack` step is done. UserError where a micro-batch holds no row."""
    running = context.running
    pack = context.keys.plan.steps[step.pack]
    assert isinstance(pack, Pack)
    rows, length = shape_of_batch(step, pack)
    micro_batches = -(-rows // rows_at_once(running.micro_batch, rows, length))
    return Stage(context, description, step, placement_of(running.shard, micro_batches))


def shape_of_batch(step: Train, pack: Pack) -> tuple[int, int]:
    """Rows of a batch as the program takes it, and the most tokens that each has room for."""
    if isinstance(step.objective, GRPO):
        return rows_of_batch(pack) * step.objective.group, pack.sequence
    return rows_of_batch(pack), pack.width


def rows_at_once(size: tuple[int, Literal["examples", "tokens"]] | None, rows: int, length: int) -> int:
    """Rows of a micro-batch, of a batch of `rows` rows that are `length` tokens long.

    Raises UserError for a size that holds no row.
    """
    if size is None:
        return rows
    count = size[0] if size[1] == "examples" else size[0] // length
    if count == 0:
        raise UserError(
            f"a micro-batch of {size[0]} tokens holds no row of {length}",
            f"write `micro_batch: {length} tokens` or more",
        )
    return min(count, rows)
