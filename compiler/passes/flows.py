"""Steps of models: a flow from weights through training stages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from compiler.passes import data, rewards  # as modules: sources may be sampled from models, and answers judged
from compiler.passes.build import Build, Consumer, bare
from compiler.passes.origins import served, weights
from compiler.passes.points import end_of, moments
from compiler.passes.stages import adapter, groups, objective, optimizer, rollout, schedule
from compiler.plan import PlannedArm, PlannedStage
from compiler.stages import Adapter
from compiler.steps import Pack, Respond, Train
from compiler.values import ModelPoint
from dsl.declarations.models import Model, ModelFlow
from dsl.declarations.training import DPO, GRPO
from dsl.declarations.training import Train as Stage


@dataclass(frozen=True)
class _Seeds:
    """The seed of each purpose that something is drawn for."""

    order: int
    sampling: int
    initialisation: int


def arm(build: Build, name: str, flow: ModelFlow, seed: int, vary: Sequence[str]) -> PlannedArm:
    """One arm with one seed: the stages of its flow, after those of the model that it starts from.

    Every draw follows from (seed, purpose, data's name, how often that data was used before in this flow): arms that
    differ elsewhere see the same order.
    """
    origin, own, stages = _flattened(flow)
    if origin.api is not None:
        assert not stages, "the checker reports a served model that is trained"
        return PlannedArm(
            name=name, seed=None, weights=None, start=None, template_args={}, stages=(), api=served(origin)
        )
    reader = weights(build, origin, 0)
    start = weights(build, origin, _seeds(own, seed, vary).initialisation)
    point = ModelPoint(step=start)
    used: Counter[str] = Counter()
    planned: list[PlannedStage] = []
    for stage, own_seed in stages:
        assert stage.data is not None, "the checker reports a stage without data"
        name_of_data = bare(stage.data.name)
        seeds = _seeds(own_seed, seed, vary)
        consumer = Consumer(reader, stage.loss, origin.template_args, stage.reasoning)
        pack = data.packed(build, stage, consumer, seeds.order, used[name_of_data])
        train = _train(build, stage, point, reader, pack, seeds)
        used[name_of_data] += 1
        end = end_of(build, stage, pack)
        point = ModelPoint(step=train, at=end)
        planned.append(PlannedStage(name=bare(stage.name), train=train, end=end))
    return PlannedArm(
        name=name,
        seed=seed if stages else None,
        weights=reader,
        start=start,
        template_args=origin.template_args,
        stages=tuple(planned),
        sampling_seed=seed if stages and "sampling" in vary else 0,
    )


def _seeds(own: int | None, seed: int, vary: Sequence[str]) -> _Seeds:
    """Those of a model with a seed of its own, else of a study's seed for what varies with it."""

    def of(purpose: str) -> int:
        return (seed if purpose in vary else 0) if own is None else own

    return _Seeds(of("order"), of("sampling"), of("initialisation"))


def origin(build: Build, model: Model) -> tuple[str, dict[str, str]]:
    """The `weights` step that tells how a model reads, and the arguments of its chat template."""
    first, _, _ = _flattened(untrained(model))
    return weights(build, first, 0), first.template_args


def untrained(model: Model) -> ModelFlow:
    """A model as a flow without further stages."""
    return ModelFlow.model_construct(start=model, stages=())


def _flattened(flow: ModelFlow) -> tuple[Model, int | None, list[tuple[Stage, int | None]]]:
    """What a flow begins with, and every stage after; each with the seed of its model, where that has one."""
    start = flow.start
    if isinstance(start.from_, ModelFlow):
        origin, own, stages = _flattened(start.from_)
        before = [(stage, start.seed if inner is None else inner) for stage, inner in stages]
        own = start.seed if own is None else own
    else:
        origin, own, before = start, start.seed, []
    return origin, own, [*before, *((stage, None) for stage in flow.stages)]


def _train(build: Build, stage: Stage, model: ModelPoint, reader: str, pack: str, seeds: _Seeds) -> str:
    low_rank = adapter(stage)
    base = None if low_rank is None else _continued(build, model, low_rank)
    draws = low_rank is not None and (base is None or low_rank.dropout != "0")
    samples = isinstance(stage.objective, GRPO)
    return build.add(
        Train(
            name=stage.name,
            place=build.place(stage),
            model=model,
            weights=reader,
            pack=pack,
            objective=objective(stage),
            adapter=low_rank,
            base=base,
            groups=groups(build, stage),
            reference=_reference(build, stage, model, reader, pack),
            reward=None if stage.reward is None else rewards.reward(build, stage.reward),
            rollout=rollout(stage),
            seed=seeds.initialisation if draws else 0,
            sampling_seed=seeds.sampling if samples else 0,
            optimizer=optimizer(stage.optimizer),
            schedule=schedule(stage.schedule),
            max_grad_norm=None if stage.max_grad_norm is None else str(stage.max_grad_norm),
            precision=stage.precision,
            checkpoint=tuple(moments(build, objective(stage), pack, stage.checkpoint)),
            ends=(end_of(build, stage, pack),),
            on_spike=stage.on_spike,
        )
    )


def _continued(build: Build, model: ModelPoint, adapter: Adapter) -> ModelPoint | None:
    """What the adapter of a stage lies on where it goes on with that of the stage before, None where it is new."""
    before = build.steps[model.step]
    if not isinstance(before, Train) or before.adapter != adapter:
        return None
    return before.model if before.base is None else before.base


def _reference(build: Build, stage: Stage, model: ModelPoint, reader: str, pack: str) -> str | None:
    """The log-probabilities that the stage's input gives the pairs, where margins are measured from those."""
    if not isinstance(stage.objective, DPO) or not stage.objective.reference:
        return None
    packed = build.steps[pack]
    assert isinstance(packed, Pack)
    return build.add(
        Respond(
            name=packed.name,
            place=build.place(stage, "objective"),
            model=model,
            weights=reader,
            method="pairs",
            items=(packed.order,),
            precision=stage.precision,
        )
    )
