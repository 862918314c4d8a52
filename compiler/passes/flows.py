"""Steps of models: a flow from weights through training stages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from compiler.passes import data  # as a module: sources may be sampled from models
from compiler.passes.build import Build, Consumer, UnbuiltError, bare, measure_or_fraction, moments, place_of
from compiler.plan import PlannedArm, PlannedStage
from compiler.stages import AdamW, Schedule
from compiler.steps import Train, Weights
from compiler.values import ModelPoint
from dsl.declarations.models import Model, ModelFlow
from dsl.declarations.training import Constant, Cosine, Linear, Supervised
from dsl.declarations.training import Train as Stage


def arm(build: Build, name: str, flow: ModelFlow, seed: int, vary: Sequence[str]) -> PlannedArm:
    """One arm with one seed: the stages of its flow, after those of the model that it starts from.

    Every draw follows from (seed, purpose, data's name, how often that data was used before in this flow): arms that
    differ elsewhere see the same order.
    """
    origin, stages = _flattened(flow)
    weights = _weights(build, origin)
    point = ModelPoint(step=weights)
    used: Counter[str] = Counter()
    planned: list[PlannedStage] = []
    for stage, own_seed in stages:
        if stage.data is None:
            raise UnbuiltError("a stage without data", stage.place)
        _check_runs(stage)
        name_of_data = bare(stage.data.name)
        stage_seed = (seed if "order" in vary else 0) if own_seed is None else own_seed
        consumer = Consumer(weights, stage.loss, origin.template_args, stage.reasoning)
        pack = data.packed(build, stage, consumer, stage_seed, used[name_of_data])
        train = _train(build, stage, point, weights, pack)
        used[name_of_data] += 1
        point = ModelPoint(step=train)
        planned.append(PlannedStage(name=bare(stage.name), train=train))
    return PlannedArm(
        name=name,
        seed=seed if stages else None,
        weights=weights,
        template_args=origin.template_args,
        stages=tuple(planned),
    )


def origin(build: Build, model: Model) -> tuple[str, dict[str, str]]:
    """The `weights` step that a model began with, and the arguments of its chat template."""
    first, _ = _flattened(untrained(model))
    return _weights(build, first), first.template_args


def untrained(model: Model) -> ModelFlow:
    """A model as a flow without further stages."""
    return ModelFlow.model_construct(start=model, stages=())


def _flattened(flow: ModelFlow) -> tuple[Model, list[tuple[Stage, int | None]]]:
    """The weights that a flow begins with, and every stage after, each with the seed of the model that it is of."""
    start = flow.start
    if isinstance(start.from_, ModelFlow):
        origin, stages = _flattened(start.from_)
        before = [(stage, start.seed if own is None else own) for stage, own in stages]
    else:
        origin, before = start, []
    return origin, [*before, *((stage, None) for stage in flow.stages)]


def _weights(build: Build, model: Model) -> str:
    if not isinstance(model.from_, str):
        field = "api" if model.api is not None else "architecture"
        raise UnbuiltError("a served model" if field == "api" else "a model from scratch", place_of(model, field))
    if model.tokenizer is not None:
        raise UnbuiltError("tokenizer: of a model", place_of(model, "tokenizer"))
    return build.add(
        Weights(
            name=model.name,
            place=build.place(model, "from"),
            location=build.location(model.from_),
            template=None if model.template is None else build.location(model.template),
        )
    )


def _check_runs(stage: Stage) -> None:
    """UnbuiltError for what this version doesn't train."""
    if not isinstance(stage.objective, Supervised):
        raise UnbuiltError(f"objective: {type(stage.objective).__name__.lower()}", place_of(stage, "objective"))
    for field, value in (("adapter", stage.adapter), ("until", stage.until)):
        if value is not None:
            raise UnbuiltError(f"{field}: of a stage", place_of(stage, field))


def _train(build: Build, stage: Stage, model: ModelPoint, weights: str, pack: str) -> str:
    optimizer = stage.optimizer
    return build.add(
        Train(
            name=stage.name,
            place=build.place(stage),
            model=model,
            weights=weights,
            pack=pack,
            optimizer=AdamW(
                lr=str(optimizer.lr),
                b1=str(optimizer.b1),
                b2=str(optimizer.b2),
                eps=str(optimizer.eps),
                weight_decay=str(optimizer.weight_decay),
            ),
            schedule=_schedule(stage.schedule),
            max_grad_norm=None if stage.max_grad_norm is None else str(stage.max_grad_norm),
            precision=stage.precision,
            checkpoint=tuple(moments(build, pack, stage.checkpoint)),
        )
    )


def _schedule(schedule: Cosine | Linear | Constant) -> Schedule:
    warmup = measure_or_fraction(schedule.warmup)
    match schedule:
        case Cosine(final=final):
            return Schedule(kind="cosine", warmup=warmup, final=str(final))
        case Linear(final=final):
            return Schedule(kind="linear", warmup=warmup, final=str(final))
        case Constant():
            return Schedule(kind="constant", warmup=warmup, final="1")
