"""Steps of transforms: each declared one as an operation, with the models and rows that it refers to."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from compiler import operations
from compiler.operations import Asked, Operation
from compiler.passes import data, flows, items, origins  # as modules: sources ask models, which are trained on sources
from compiler.passes.build import Build, Consumer, NoReaderError, measure
from compiler.steps import Transform
from dsl.declarations import transforms as declared
from dsl.declarations.data import SourceView
from dsl.declarations.evals import Eval
from dsl.declarations.installed import offer_of
from dsl.declarations.models import Model
from dsl.declarations.plug_in_values import to_json, version_of
from dsl.declarations.plug_ins import PlugIn
from dsl.unparse import unparse
from dsl.values import Range

_LIKENESS = {"minhash": Fraction(4, 5), "embedding": Fraction(19, 20)}
"""From when on rows count as the same, where the spec doesn't say it."""


def transformed(
    build: Build,
    view: SourceView,
    written: str,
    rows: str,
    format_: str,
    transform: declared.Transform,
    consumer: Consumer | None,
) -> tuple[str, str]:
    """The step of one transform of a source, and the format of the rows that it gives.

    `written` is the field of the source that brings it. Raises NoReaderError where it counts tokens without a consumer.
    """
    operation = _operation(build, transform, consumer)
    counts = _counts_tokens(operation)
    if counts and consumer is None:
        raise NoReaderError(type(transform).__name__.lower())
    used = consumer if counts else None
    step = build.add(
        Transform(
            name=view.name,
            place=build.place(view.source, written if written in view.source.places else "apply"),
            rows=rows,
            format=format_,
            operation=operation,
            weights=None if used is None else used.weights,
            loss=None if used is None else used.trains(format_),
            reasoning="train" if used is None else used.reasons(format_),
            template_args={} if used is None else used.template_args,
        )
    )
    return step, transform.gives or format_


def _counts_tokens(operation: Operation) -> bool:
    match operation:
        case operations.Filter(predicate=predicate):
            return "tokens" in predicate
        case operations.Take(amount=amount):
            return amount.unit != "examples"
        case operations.Generate(count=count):
            return count.unit == "tokens"
        case operations.Truncate():
            return True
        case _:
            return False


def _operation(build: Build, transform: declared.Transform, consumer: Consumer | None) -> Operation:
    match transform:
        case declared.Filter(predicate=predicate):
            return operations.Filter(predicate=unparse(predicate))
        case declared.Take(amount=amount):
            return operations.Take(amount=measure(amount))
        case declared.Split(share=share):
            return operations.Split(low=str(share.low), high=str(share.high))
        case declared.Set(field=field, value=value):
            return operations.SetField(field=field, value=value)
        case declared.Truncate(to=to):
            return operations.Truncate(tokens=int(to.count))
        case declared.Template(file=file):
            return operations.Template(file=build.location(file))
        case declared.Dedup(by=by, threshold=threshold):
            likeness = None if by == "exact" else str(_LIKENESS[by] if threshold is None else threshold)
            return operations.Dedup(by=by, threshold=likeness)
        case declared.Exclude():
            return _exclude(build, transform, consumer)
        case declared.Tools(files=files, count=count, chance=chance):
            low, high = _whole(count)
            return operations.Tools(files=_located(build, files), low=low, high=high, chance=str(chance))
        case declared.System(files=files, chance=chance):
            return operations.System(files=_located(build, files), chance=str(chance))
        case declared.Sample(n=n):
            model = asked(build, transform.with_, transform.temperature, transform.max_tokens)
            return operations.Sample(model=model, n=n)
        case declared.Judge(as_=field, prompt=prompt, answers=answers):
            model = asked(build, transform.with_)
            return operations.Judge(model=model, field=field, prompt=build.location(prompt), answers=answers)
        case declared.Score(as_=field, prompt=prompt, scale=scale):
            model, low, high = asked(build, transform.with_), str(scale.low), str(scale.high)
            return operations.Score(model=model, field=field, prompt=build.location(prompt), low=low, high=high)
        case declared.Rewrite(turns=turns, prompt=prompt):
            model = asked(build, transform.with_, transform.temperature, transform.max_tokens)
            return operations.Rewrite(model=model, turns=turns, prompt=build.location(prompt))
        case declared.Generate():
            return operations.Generate(
                model=asked(build, transform.with_, transform.temperature, transform.max_tokens),
                plan=None if transform.plan is None else build.location(transform.plan),
                prompt=build.location(transform.prompt),
                vars=transform.vars,
                genres=transform.genres,
                angles=transform.angles,
                audiences=transform.audiences,
                count=measure(transform.count),
            )
        case PlugIn():
            fields, files = to_json(transform, build.location)
            word, version = offer_of(type(transform)).word, version_of(type(transform))
            return operations.PlugIn(name=word, version=version, fields=fields, files=files)
        case _:
            raise AssertionError(f"{type(transform).__name__} has no operation")


def _exclude(build: Build, transform: declared.Exclude, consumer: Consumer | None) -> operations.Exclude:
    against = tuple(_against(build, transform.overlap, consumer))
    return operations.Exclude(
        against=against,
        by=transform.by,
        ngram=transform.ngram if transform.by == "ngram" else None,
        threshold=str(transform.threshold) if transform.by == "embedding" else None,
    )


def _against(build: Build, overlap: Eval | SourceView, consumer: Consumer | None) -> Iterator[str]:
    """The steps that give the rows which others may not overlap with."""
    if isinstance(overlap, SourceView):
        yield data.rows(build, overlap, consumer)[0]
    else:
        yield from items.items_of(build, overlap, consumer)


def asked(build: Build, model: Model, temperature: Fraction | None = None, max_tokens: int | None = None) -> Asked:
    """A model that is asked; what a transform itself says of sampling goes before what the model says."""
    asked = origins.served(model, temperature, max_tokens)
    if model.api is not None:
        return asked
    # Who is asked doesn't vary with a study's seeds: a model from a flow answers as with its own seed, else with 0.
    arm = flows.arm(build, model.name, flows.untrained(model), 0, ("order",))
    own = {"point": arm.final, "weights": arm.weights, "template_args": arm.template_args}
    return asked.model_copy(update=own)


def _located(build: Build, files: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(build.location(file) for file in files)


def _whole(count: Range) -> tuple[int, int]:
    return int(count.low), int(count.high)
