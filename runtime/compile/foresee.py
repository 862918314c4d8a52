"""From a plan to the programs that a run of it would compile, as far as its text and what is there already tell."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compiler.keys import Keys, locations_of
from compiler.lock import Lock
from compiler.passes.expand import expand
from compiler.passes.figures import used_by
from compiler.plan import Plan
from compiler.program.config import DecoderConfig, training_flops
from compiler.program.shapes import of_location
from compiler.stages import GRPO
from compiler.steps import DataStep, Order, Pack, Respond, Train, Weights
from dsl.declarations.models import Model
from dsl.declarations.studies import Study
from dsl.declarations.targets import Target
from runtime.compile.jobs import Job
from runtime.errors import UserError
from runtime.located import is_remote
from runtime.steps.context import Context, Running
from runtime.steps.running import running_of
from runtime.steps.stage import rows_at_once, shape_of_batch
from runtime.weights import pretrained

_UNKNOWN_UPDATES = 1000  # the schedule's constants don't change a program


@dataclass(frozen=True)
class Foreseen:
    """A program, and where it stands."""

    job: Job
    used_by: tuple[str, ...]
    """STUDY/ARM/STAGE, or MODEL/STAGE; the models that are asked, of other programs."""
    key: str | None
    """The description key of the first step that it is of."""
    flops: int
    """Of one run of the program, with rows full of one segment each."""
    sources: tuple[str, ...]
    """Where its numbers come from, a sentence each, where that isn't the data itself."""


def plan_of_text(
    spec: str,
    root: Path,
    studies: Sequence[Study],
    models: Sequence[Model],
    new_context: Callable[[Keys], Context],
) -> tuple[Plan, Context]:
    """The plan, with the results that the store has already. Makes nothing, and asks nobody outside of this machine.

    Raises UnbuiltError where a declaration asks for what this version doesn't run.
    """
    plan, _ = expand(spec, root, studies, models, {})
    context = new_context(Keys(plan))
    here = {key: step for key, step in plan.steps.items() if not any(map(is_remote, locations_of(step)))}
    context.files.look_up(plan.model_copy(update={"steps": here}))  # what isn't there is no error here
    for description, step in plan.steps.items():
        if isinstance(step, DataStep) and context.keys.of(description, context.files.digests) is not None:
            found = context.store.find(context.key(description))
            if found is not None:
                context.keys.found(description, found)
    return plan, context


def programs(context: Context, target: Target | None, lock: Lock | None, *, every: bool = False) -> list[Foreseen]:
    """The train programs of a plan, scorers and samplers of its evaluations, and the samplers of its rollouts.

    Stages whose programs are alike stand together. With `every`, scorer and sampler of each model stand there even if
    nothing in the plan asks for them.

    Raises:
        UserError: the shape of a model isn't known.
    """
    plan, found = context.keys.plan, dict[str, Foreseen]()
    configs = {key: _config(context, key, step, lock) for key, step in plan.of(Weights) if _is_used(plan, key)}
    for description, step in plan.of(Train):
        for each in _of_train(context, target, description, step, *configs[step.weights]):
            _add(found, each)
    asked = {step.weights for _, step in plan.of(Respond) if step.answering is None}
    answering = {step.weights for _, step in plan.of(Respond) if step.answering is not None}
    for key, (config, source) in configs.items():
        name = plan.steps[key].name
        if every or key in asked:
            _add(found, _scorer(name, config, source))
        if every or key in answering:
            _add(found, _sampler(name, config, source, rows=64, length=min(config.context, 4096)))
    return list(found.values())


def _is_used(plan: Plan, weights: str) -> bool:
    return any(isinstance(step, Train | Respond) and step.weights == weights for step in plan.steps.values())


def _add(found: dict[str, Foreseen], new: Foreseen) -> None:
    """Puts it in, or beside one that is alike."""
    job = new.job
    apart = {"name", "place", "model", "pack", "base", "reference", "reward", "checkpoint", "seed"}
    alike = job.model_dump_json(exclude={"name": True, "step": apart} if job.step else {"name"})
    before = found.get(alike)
    if before is None:
        found[alike] = new
    else:
        found[alike] = dataclasses.replace(before, used_by=(*before.used_by, *new.used_by))


def _of_train(
    context: Context, target: Target | None, description: str, step: Train, config: DecoderConfig, source: str
) -> Iterator[Foreseen]:
    plan = context.keys.plan
    pack = plan.steps[step.pack]
    assert isinstance(pack, Pack)
    order = plan.steps[pack.order]
    assert isinstance(order, Order)
    facts: dict[str, Any] = context.keys.results[step.pack].facts if step.pack in context.keys.results else {}
    rows, length = shape_of_batch(step, pack)
    running = Running() if target is None else running_of(target)
    at_once = rows_at_once(running.micro_batch, rows, length)
    sources = [source] if source else []
    if not facts:
        sources.append(f"the data isn't there yet: rows are taken to be as long as they may be, {length} tokens")
    users = tuple(used_by(plan, description))
    job = Job(
        name=step.name,
        kind="train",
        config=dataclasses.asdict(config),
        rows=rows,
        length=length,
        precision=step.precision,
        step=step,
        parts=len(order.inputs) if len(order.inputs) > 1 else 0,
        updates=facts.get("updates", _UNKNOWN_UPDATES),
        micro_batches=-(-rows // at_once),
        remat=running.remat,
        attention=running.kernel or "auto",
    )
    flops = training_flops(config, rows * length, rows * length * (length + 1) // 2)
    yield Foreseen(job, users, description, flops, tuple(sources))
    if isinstance(step.objective, GRPO):
        yield _sampler(step.name, config, source, rows, length)


def _scorer(name: str, config: DecoderConfig, source: str) -> Foreseen:
    from runtime.evals.sequences import BATCH_TOKENS, ROW_TOKENS

    rows = BATCH_TOKENS // ROW_TOKENS
    job = Job(name=name, kind="scorer", config=dataclasses.asdict(config), rows=rows, length=ROW_TOKENS)
    flops = training_flops(config, BATCH_TOKENS, rows * ROW_TOKENS * (ROW_TOKENS + 1) // 2) // 3
    return Foreseen(job, (name,), None, flops, (source,) if source else ())


def _sampler(name: str, config: DecoderConfig, source: str, rows: int, length: int) -> Foreseen:
    job = Job(name=name, kind="sampler", config=dataclasses.asdict(config), rows=rows, length=length)
    return Foreseen(job, (name,), None, training_flops(config, rows, rows * length) // 3, (source,) if source else ())


def _config(context: Context, key: str, step: Weights, lock: Lock | None) -> tuple[DecoderConfig, str]:
    """The shape of some weights, and where it is from, if that isn't the weights themselves."""
    if key in context.keys.results:
        return DecoderConfig(**context.keys.results[key].facts["config"]), ""
    if step.architecture is not None:
        return DecoderConfig(**step.architecture), ""
    assert step.location is not None
    if not is_remote(step.location) and step.location in context.files.digests:
        return pretrained.describe(context.files.model(step.location)).config, ""
    locked = None if lock is None else lock.models.get(" with ".join(locations_of(step)))
    if locked is not None:
        return DecoderConfig(**locked.config), f"the shape of {step.name} is that of the lock"
    published = of_location(step.location)
    if published is None:
        raise UserError(
            f"the shape of {step.name} isn't known: {step.location} isn't in the lock nor in the table of shapes",
            "run `mixc lock FILE` where the weights can be reached",
            step.place,
        )
    return published, f"the shape of {step.name} is from the table of published shapes: {step.location} isn't locked"
