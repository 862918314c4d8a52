"""A train step's program from what is known before its data is: so that it can be compiled anywhere."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from compiler.program.adapters import lora_of
from compiler.program.config import DecoderConfig, LoRA, Parameters
from compiler.program.decoder import adapter_shapes, merged, parameter_shapes
from compiler.program.execution import Execution
from compiler.program.groups import split
from compiler.program.optimizer import Optimizer, build
from compiler.program.policy import Repeated
from compiler.program.step import TrainStep, make_train_step
from compiler.steps import Train
from runtime.steps.objective import loss_of, updates_of_batch


@dataclass(frozen=True)
class Outline:
    """What the program of a train step is made of."""

    step: Train
    config: DecoderConfig
    parts: int
    """Parts of the mix that have a loss each; 0 where there is one alone."""
    updates: int
    warmup: Fraction
    """Of the updates."""
    decay: Fraction
    execution: Execution
    micro_batches: int

    @property
    def lora(self) -> LoRA | None:
        return None if self.step.adapter is None else lora_of(self.step.adapter)

    @property
    def identity(self) -> tuple[object, ...]:
        """Steps that are alike in this share one program."""
        step = self.step
        of_step = step.objective, step.adapter, step.groups, step.precision, step.seed, step.optimizer, step.schedule
        of_step = *of_step, step.rollout, step.max_grad_norm
        return (*of_step, *(getattr(self, name) for name in _FIELDS if name != "step"))


_FIELDS = tuple(Outline.__dataclass_fields__)


def make_program(outline: Outline, trained: Parameters) -> tuple[Optimizer, TrainStep]:
    """The optimizer and the compiled step; `trained` are the shapes of what is trained."""
    step, times = outline.step, updates_of_batch(outline.step.objective)
    optimizer = build(
        step.optimizer,
        step.schedule,
        step.groups,
        outline.updates * times,
        outline.warmup,
        outline.decay,
        step.max_grad_norm,
        trained,
    )
    loss = loss_of(step, outline.config, outline.lora, outline.parts, outline.execution)
    update = make_train_step(loss, optimizer, outline.micro_batches, step.seed, outline.execution.mesh)
    return optimizer, update if times == 1 else Repeated(update, times)


def shapes_of(outline: Outline) -> tuple[Parameters, Parameters]:
    """The shapes of what is trained, and of what is frozen (see `models.split_of`)."""
    if outline.lora is None:
        return split(parameter_shapes(outline.config), outline.step.groups)
    trained, fixed = split(adapter_shapes(outline.config, outline.lora), outline.step.groups)
    return trained, merged(parameter_shapes(outline.config), fixed)
