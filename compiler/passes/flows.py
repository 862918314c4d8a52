"""Steps of models: a flow from weights through training stages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from compiler.passes.build import Build, UnbuiltError, bare, measure_or_fraction, moments, place_of
from compiler.passes.data import Consumer, packed
from compiler.plan import PlannedArm, PlannedStage
from compiler.steps import AdamW, ModelPoint, Schedule, Train, Weights
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
        data = bare(stage.data.name)
        stage_seed = (seed if "order" in vary else 0) if own_seed is None else own_seed
        consumer = Consumer(weights, stage.loss, origin.template_args)
        pack = packed(build, stage, consumer, stage_seed, used[data])
        train = _train(build, stage, point, weights, pack)
        used[data] += 1
        point = ModelPoint(step=train)
        planned.append(PlannedStage(name=bare(stage.name), train=train))
    return PlannedArm(
        name=name,
        seed=seed if stages else None,
        weights=weights,
        template_args=origin.template_args,
        stages=tuple(planned),
    )


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
    for field, value in (("tokenizer", model.tokenizer), ("template", model.template)):
        if value is not None:
            raise UnbuiltError(f"{field}: of a model", place_of(model, field))
    if "://" in model.from_ and not model.from_.startswith("package://"):
        raise UnbuiltError(f"weights from {model.from_.split('://')[0]}://", place_of(model, "from"))
    return build.add(Weights(name=model.name, place=build.place(model, "from"), location=build.location(model.from_)))


def _train(build: Build, stage: Stage, model: ModelPoint, weights: str, pack: str) -> str:
    if not isinstance(stage.objective, Supervised):
        raise UnbuiltError(f"objective: {type(stage.objective).__name__.lower()}", place_of(stage, "objective"))
    for field, value in (("adapter", stage.adapter), ("until", stage.until)):
        if value is not None:
            raise UnbuiltError(f"{field}: of a stage", place_of(stage, field))
    if stage.loss not in (None, "all", "assistant", "last_assistant"):
        raise UnbuiltError(f"loss: {stage.loss}", place_of(stage, "loss"))
    if stage.reasoning != "train":
        raise UnbuiltError("reasoning: mask", place_of(stage, "reasoning"))
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
