"""A source alone: the steps that its rows pass, for a model that reads it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from compiler.passes import data, flows
from compiler.passes.build import Build, Consumer
from compiler.plan import Plan
from dsl.declarations.base import Place
from dsl.declarations.data import Mix, SourceView
from dsl.declarations.models import Model, ModelFlow
from dsl.declarations.studies import Study
from dsl.declarations.training import Train as Stage


@dataclass(frozen=True)
class Reader:
    """A model that reads a source, and the stage that it reads it in, if any."""

    model: Model
    stage: Stage | None


@dataclass(frozen=True)
class PlannedSource:
    """The steps of a source in a plan: of its rows, from the files on, each with the format that it gives."""

    plan: Plan
    places: dict[str, Place]
    rows: tuple[tuple[str, str], ...]
    tokens: str | None
    """The `tokenize` step, where a model reads it."""


def expand_source(spec: str, root: Path, view: SourceView, reader: Reader | None) -> PlannedSource:
    """The plan of one source for a reader. Raises UnbuiltError, and NoReaderError where there is none and should be."""
    build = Build(root, {})
    consumer = None if reader is None else _consumer(build, reader)
    rows = tuple(data.stages_of_rows(build, view, consumer))
    tokens = None
    if consumer is not None:
        tokens = data.tokenized(build, view, consumer)
    return PlannedSource(Plan(spec=spec, root=str(root), steps=build.steps), build.places, rows, tokens)


def readers(studies: Iterable[Study], models: Iterable[Model], view: SourceView) -> Iterator[Reader]:
    """Who trains on a source, or on what is made from it, in the order of the file; last, who trains on its other side
    (the rows that are held out are read as those that aren't)."""
    stages = [
        (flow.start, stage) for flow in _flows(studies, models) for stage in flow.stages if stage.data is not None
    ]
    for holdout in (view.holdout, not view.holdout):
        side = SourceView.model_construct(source=view.source, holdout=holdout)
        for model, stage in stages:
            assert stage.data is not None
            if any(_made_from(leaf, side) for leaf in leaves(stage.data)):
                yield Reader(model, stage)


def leaves(of: SourceView | Mix) -> Iterator[SourceView]:
    """The sources that a stage's data takes rows from."""
    if isinstance(of, SourceView):
        yield of
        return
    parts = (*of.parts, *(part for phase in of.phases for part in phase.parts))
    for part in parts:
        yield from leaves(part.of)


def _flows(studies: Iterable[Study], models: Iterable[Model]) -> Iterator[ModelFlow]:
    for study in studies:
        yield from study.arms.values()
        for factor in study.matrix or ():
            for level in factor.levels:
                if study.base is not None:
                    yield ModelFlow.model_construct(start=study.base.start, stages=level.stages)
    yield from (model.from_ for model in models if isinstance(model.from_, ModelFlow))


def _made_from(leaf: SourceView, view: SourceView) -> bool:
    if leaf.source.name == view.source.name:
        return leaf.holdout == view.holdout
    return leaf.source.from_ is not None and _made_from(leaf.source.from_.start, view)


def _consumer(build: Build, reader: Reader) -> Consumer:
    weights, template_args = flows.origin(build, reader.model)
    if reader.stage is None:
        return Consumer(weights, None, template_args)
    return Consumer(weights, reader.stage.loss, template_args, reader.stage.reasoning)
