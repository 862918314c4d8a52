"""What format a source's records have after its transforms, as far as the text tells."""

from __future__ import annotations

from collections.abc import Iterator

from dsl.checks.finding import Finding, at, title
from dsl.declarations.data import Augment, Mix, Source, SourceView
from dsl.declarations.evals import Eval
from dsl.declarations.installed import word_of
from dsl.declarations.transforms import Transform
from dsl.describe import alternatives

PLURAL = {"documents": "documents", "chat": "chats", "preference": "preferences", "prompts": "prompts"}
"""Records of each format, in words."""


def format_of(source: Source) -> str | None:
    """The format of a source's records after `apply`; None where a mistake leaves it open."""
    return _after(origin_format(source), source.apply)


def origin_format(source: Source) -> str | None:
    """The format of the records before `apply`: what is said, else what they have where they come from."""
    if source.format is not None or source.from_ is None:
        return source.format
    current = format_of(source.from_.start.source)
    for augment in source.from_.augments:
        current = _after(current, augment.apply)
    return current


def formats_of(data: Mix | SourceView) -> Iterator[tuple[str, SourceView]]:
    """The formats that a stage reads, each with a source that has it."""
    if isinstance(data, SourceView):
        if found := format_of(data.source):
            yield found, data
        return
    for part in [*data.parts, *(part for phase in data.phases for part in phase.parts)]:
        yield from formats_of(part.of)


def chain_fits(source: Source) -> Iterator[Finding]:
    """Each transform takes the format that it is given, in `apply` and in the augments of a flow."""
    if source.from_ is not None:
        current = format_of(source.from_.start.source)
        for augment in source.from_.augments:
            yield from _misfits(source, augment, current, "from")
            current = _after(current, augment.apply)
    yield from _misfits(source, source, origin_format(source), None)


def augment_fits(augment: Augment) -> Iterator[Finding]:
    """The transforms of an augment can follow one another."""
    if augment.apply:
        misfits = [_first_misfit(augment.apply, start) for start in augment.apply[0].takes]
        reached = [index for index in misfits if index is not None]
        if len(reached) == len(misfits):
            message = f"no format of records passes all transforms of {title(augment)}"
            place = at(augment, f"apply[{max(reached)}]", "apply")
            yield Finding(message, place, "put those that give another format last")


def loss_is_of_text(eval: Eval) -> Iterator[Finding]:
    """An eval takes the loss of documents or chats: preferences have two answers, and prompts none."""
    for index, view in enumerate(eval.loss):
        found = format_of(view.source)
        if found in ("preference", "prompts"):
            message = f"{title(eval)} takes the loss of {view.name}, which has {PLURAL[found]}"
            yield Finding(message, at(eval, f"loss[{index}]", "loss"), "take it of documents or chats")


def _misfits(source: Source, chain: Source | Augment, start: str | None, place: str | None) -> Iterator[Finding]:
    index = _first_misfit(chain.apply, start) if start else None
    if start is not None and index is not None:
        transform = chain.apply[index]
        current = _after(start, chain.apply[:index]) or start
        word = word_of(transform)
        takes = alternatives(PLURAL[one] for one in transform.takes)
        message = f"{word} takes {takes}, and {title(source)} has {PLURAL[current]} there"
        if place:
            message = f"{word} in {title(chain)} takes {takes}, not {PLURAL[current]}"
        help = "leave it out, or put a transform before it that gives such records"
        yield Finding(message, at(source, place or f"apply[{index}]", "apply"), help)


def _first_misfit(apply: tuple[Transform, ...], start: str | None) -> int | None:
    current = start
    for index, transform in enumerate(apply):
        if current is not None and current not in transform.takes:
            return index
        current = transform.gives or current
    return None


def _after(start: str | None, apply: tuple[Transform, ...]) -> str | None:
    if start is None or _first_misfit(apply, start) is not None:
        return None
    for transform in apply:
        start = transform.gives or start
    return start
