"""Steps of data: from a source's files to the batches of a stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from compiler.passes.build import Build, UnbuiltError, bare, measure, place_of, share
from compiler.steps import Order, Pack, PartOf, PhaseOf, Read, Share, Tokenize, Transform
from dsl.declarations.data import Mix, Part, Source, SourceView
from dsl.declarations.training import Train
from dsl.declarations.transforms import Filter, Take
from dsl.declarations.transforms import Transform as Declared
from dsl.unparse import unparse

RUNNABLE_FORMATS = ("documents", "chat")


@dataclass(frozen=True)
class Consumer:
    """Who reads a source: the tokenizer and chat template of a `weights` step, and the loss that it is read for."""

    weights: str
    loss: str | None
    """None: all tokens of documents, the assistant's of chats."""
    template_args: dict[str, str]

    def trains(self, format_: str) -> str:
        """The loss for a source of a format."""
        return self.loss or ("all" if format_ == "documents" else "assistant")


def tokenized(build: Build, view: SourceView, consumer: Consumer) -> str:
    """The `tokenize` step of a source for a consumer."""
    rows, format_ = _rows(build, view, consumer)
    return build.add(
        Tokenize(
            name=view.name,
            place=build.place(view.source),
            rows=rows,
            format=format_,
            weights=consumer.weights,
            loss=consumer.trains(format_),
            template_args=consumer.template_args,
        )
    )


def packed(build: Build, stage: Train, consumer: Consumer, seed: int, use: int) -> str:
    """The `pack` step of a stage: its data in its order, in batches."""
    order = _order(build, stage, consumer, seed, use)
    ordered = build.steps[order]
    return build.add(
        Pack(
            name=ordered.name,
            place=build.place(stage, "sequence"),
            order=order,
            tokens=ordered.inputs,
            sequence=int(stage.sequence.count),
            packing=stage.packing,
            batch=measure(stage.batch),
            updates=int(stage.for_.count) if stage.for_ is not None and stage.for_.unit == "steps" else None,
        )
    )


def _rows(build: Build, view: SourceView, consumer: Consumer) -> tuple[str, str]:
    """The step that gives a source's rows for a consumer, and their format."""
    source = view.source
    chain: list[Declared] = []
    if source.from_ is not None:
        start = source.from_.start
        held_out = view.holdout or start.holdout
        rows, format_ = _rows(build, SourceView.model_construct(source=start.source, holdout=held_out), consumer)
        chain.extend(transform for augment in source.from_.augments for transform in augment.apply)
    else:
        format_ = source.format or ""
        if format_ not in RUNNABLE_FORMATS:
            raise UnbuiltError(f"format {format_}", place_of(source, "format"))
        rows = read(build, source.name, source, format_, source.files, source.fields)
    if source.holdout is not None:
        rows = build.add(
            Transform(
                name=view.name,
                place=build.place(source, "holdout"),
                rows=rows,
                format=format_,
                operation="holdout",
                argument=f"{'held_out' if view.holdout else 'kept'} {source.holdout}",
            )
        )
    for transform in (*chain, *source.apply):
        rows = _transformed(build, view, source, format_, rows, transform, consumer)
    return rows, format_


def read(build: Build, name: str, owner: Source, format_: str, files: Sequence[str], fields: dict[str, str]) -> str:
    """The `read` step of some files."""
    for file in files:
        if "://" in file and not file.startswith("package://"):
            raise UnbuiltError(f"reading {file.split('://')[0]}://", place_of(owner, "files"))
    return build.add(
        Read(
            name=name,
            place=build.place(owner, "files"),
            format=format_,
            files=tuple(build.location(file) for file in files),
            fields=fields,
        )
    )


def _transformed(
    build: Build,
    view: SourceView,
    source: Source,
    format_: str,
    rows: str,
    transform: Declared,
    consumer: Consumer,
) -> str:
    match transform:
        case Filter(predicate=predicate):
            operation, argument = "filter", unparse(predicate)
            counts_tokens = "tokens" in argument
        case Take(amount=amount):
            operation, argument = "take", f"{amount.count} {amount.unit}"
            counts_tokens = amount.unit != "examples"
        case _:
            raise UnbuiltError(f"the transform {type(transform).__name__.lower()}", place_of(source, "apply"))
    return build.add(
        Transform(
            name=view.name,
            place=build.place(source, "apply"),
            rows=rows,
            format=format_,
            operation=operation,
            argument=argument,
            weights=consumer.weights if counts_tokens else None,
            loss=consumer.trains(format_) if counts_tokens else None,
            template_args=consumer.template_args if counts_tokens else {},
        )
    )


def _order(build: Build, stage: Train, consumer: Consumer, seed: int, use: int) -> str:
    data = stage.data
    assert data is not None, "the checker reports a stage without data"
    if isinstance(data, Mix):
        phases = _phases(build, data, consumer)
        budget, max_epochs, underfill = data.budget, data.max_epochs, data.underfill
    else:
        whole = Share(kind="all")
        phases = (
            PhaseOf(
                length=None, parts=(PartOf(name=data.name, tokens=tokenized(build, data, consumer), amount=whole),)
            ),
        )
        budget, max_epochs, underfill = None, None, "error"
    cap = stage.max_epochs if stage.max_epochs is not None else max_epochs
    if cap is None:
        cap = stage.for_.count if stage.for_ is not None and stage.for_.unit == "epochs" else 1
    return build.add(
        Order(
            name=data.name,
            place=build.place(stage, "data") if isinstance(data, SourceView) else build.place(data),
            phases=phases,
            budget=None if budget is None else measure(budget),
            length=None if stage.for_ is None else measure(stage.for_),
            max_epochs=str(cap),
            underfill=underfill,
            sequence=int(stage.sequence.count),
            batch=measure(stage.batch),
            seed=seed,
            data=bare(data.name),
            use=use,
        )
    )


def _phases(build: Build, mix: Mix, consumer: Consumer) -> tuple[PhaseOf, ...]:
    if mix.shares is not None:
        raise UnbuiltError("shares: proportional", place_of(mix, "shares"))
    if not mix.phases:
        return (PhaseOf(length=None, parts=_parts(build, mix, mix.parts, consumer)),)
    return tuple(
        PhaseOf(length=share(phase.for_), parts=_parts(build, mix, phase.parts, consumer)) for phase in mix.phases
    )


def _parts(build: Build, mix: Mix, parts: Sequence[Part], consumer: Consumer) -> tuple[PartOf, ...]:
    for part in parts:
        if isinstance(part.of, Mix):
            raise UnbuiltError("a mix as a part of a mix", place_of(mix, "parts"))
    return tuple(
        PartOf(name=part.name, tokens=tokenized(build, part.of, consumer), amount=share(part.amount))
        for part in parts
        if isinstance(part.of, SourceView) and part.amount is not None
    )
