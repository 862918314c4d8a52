"""Steps of data: from a source's files to the batches of a stage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil

from compiler import operations
from compiler.passes import transforms  # as a module: an operation may refer to further sources
from compiler.passes.build import Build, Consumer, bare, measure, share
from compiler.steps import MixOf, Order, Pack, PartOf, PhaseOf, Read, Tokenize, Transform
from compiler.values import Measure, Share
from dsl.declarations.data import Mix, Part, Source, SourceView
from dsl.declarations.training import DPO, GRPO, Train
from dsl.declarations.transforms import Transform as Declared
from dsl.values import Quantity


def tokenized(build: Build, view: SourceView, consumer: Consumer) -> str:
    """The `tokenize` step of a source for a consumer."""
    step, format_ = rows(build, view, consumer)
    return build.add(
        Tokenize(
            name=view.name,
            place=build.place(view.source),
            rows=step,
            format=format_,
            weights=consumer.weights,
            loss=consumer.trains(format_),
            reasoning=consumer.reasons(format_),
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
            tokens=tuple(sorted(ordered.inputs)),
            sequence=int(stage.sequence.count),
            packing=stage.packing,
            overlong=stage.overlong,
            batch=measure(stage.batch),
            updates=int(stage.for_.count) if stage.for_ is not None and stage.for_.unit == "steps" else None,
            pairs=isinstance(stage.objective, DPO),
            reserved=0 if stage.rollout is None else stage.rollout.max_tokens,
        )
    )


def rows(build: Build, view: SourceView, consumer: Consumer | None) -> tuple[str, str]:
    """The step that gives a source's rows for a consumer, and their format.

    Without a consumer, NoReaderError where a transform counts tokens.
    """
    return list(stages_of_rows(build, view, consumer))[-1]


def stages_of_rows(build: Build, view: SourceView, consumer: Consumer | None) -> Iterator[tuple[str, str]]:
    """The steps that a source's rows pass, each with the format that it gives: from the files to the last transform."""
    source = view.source
    chain: list[Declared] = []
    if source.from_ is not None:
        start = source.from_.start
        held_out = view.holdout or start.holdout
        before = SourceView.model_construct(source=start.source, holdout=held_out)
        step, format_ = "", ""
        for step, format_ in stages_of_rows(build, before, consumer):
            yield step, format_
        chain.extend(transform for augment in source.from_.augments for transform in augment.apply)
    else:
        format_ = source.format or ""
        step = read(build, source.name, source, format_, source.files, source.fields)
        yield step, format_
    if source.holdout is not None:
        operation = operations.Holdout(side="held_out" if view.holdout else "kept", share=str(source.holdout))
        step = build.add(
            Transform(
                name=view.name,
                place=build.place(source, "holdout"),
                rows=step,
                format=format_,
                operation=operation,
            )
        )
        yield step, format_
    for number, transform in enumerate((*chain, *source.apply), -len(chain)):
        written = f"apply[{number}]" if number >= 0 else "from"
        step, format_ = transforms.transformed(build, view, written, step, format_, transform, consumer)
        yield step, format_


def read(build: Build, name: str, owner: Source, format_: str, files: Sequence[str], fields: dict[str, str]) -> str:
    """The `read` step of some files."""
    return build.add(
        Read(
            name=name,
            place=build.place(owner, "files"),
            format=format_,
            files=tuple(build.location(file) for file in files),
            fields=fields,
        )
    )


def _order(build: Build, stage: Train, consumer: Consumer, seed: int, use: int) -> str:
    data = stage.data
    assert data is not None, "the checker reports a stage without data"
    if isinstance(data, Mix):
        mix = _mix(build, data, consumer)
    else:
        part = PartOf(name=data.name, of=tokenized(build, data, consumer), amount=Share(kind="all"))
        mix = MixOf(
            phases=(PhaseOf(length=None, parts=(part,)),),
            budget=None,
            max_epochs=None,
            underfill="error",
        )
    cap = stage.max_epochs if stage.max_epochs is not None else data.max_epochs if isinstance(data, Mix) else None
    if cap is None:
        cap = stage.for_.count if stage.for_ is not None and stage.for_.unit == "epochs" else 1
    return build.add(
        Order(
            name=data.name,
            place=build.place(stage, "data") if isinstance(data, SourceView) else build.place(data),
            mix=mix.model_copy(update={"max_epochs": str(cap)}),
            length=None if stage.for_ is None else of_prompts(stage, stage.for_),
            sequence=int(stage.sequence.count),
            batch=measure(stage.batch),
            seed=seed,
            data=bare(data.name),
            use=use,
        )
    )


def of_prompts(stage: Train, quantity: Quantity) -> Measure:
    """A length or a point of a stage, its completions counted by their prompts: a group of answers is never parted."""
    if quantity.unit == "completions" and isinstance(stage.objective, GRPO):
        return Measure(count=str(ceil(quantity.count / stage.objective.group)), unit="prompts")
    return measure(quantity)


def _mix(build: Build, mix: Mix, consumer: Consumer) -> MixOf:
    """A mix with the mixes in it, down to the tokens of sources."""

    def parts(of: Sequence[Part]) -> tuple[PartOf, ...]:
        return tuple(
            PartOf(
                name=part.name,
                of=_mix(build, part.of, consumer) if isinstance(part.of, Mix) else tokenized(build, part.of, consumer),
                amount=None if part.amount is None else share(part.amount),
            )
            for part in of
        )

    phases = [PhaseOf(length=share(phase.for_), parts=parts(phase.parts)) for phase in mix.phases]
    temperature = None if mix.shares is None else str(mix.shares.temperature)
    return MixOf(
        phases=tuple(phases) or (PhaseOf(length=None, parts=parts(mix.parts), temperature=temperature),),
        budget=None if mix.budget is None else measure(mix.budget),
        max_epochs=None if mix.max_epochs is None else str(mix.max_epochs),
        underfill=mix.underfill,
    )
