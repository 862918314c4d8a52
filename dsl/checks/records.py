"""Which formats and fields records may have at each transform of a chain, as far as the text tells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from dsl.checks.finding import at
from dsl.declarations.base import Place
from dsl.declarations.data import FORMATS, Augment, Source
from dsl.declarations.installed import word_of
from dsl.declarations.plug_ins import PlugIn
from dsl.declarations.transforms import (
    Generate,
    Judge,
    Rewrite,
    Sample,
    Score,
    Set,
    System,
    Template,
    Tools,
    Transform,
    Truncate,
)
from dsl.hole import HOLE, IncompleteError
from dsl.record_fields import DERIVED, Kind
from dsl.values import Range

CHANGES = (Sample, Rewrite, Generate, Template, Tools, System, Truncate, PlugIn)
"""What changes the text of a record: after it, the same question can have another answer."""


@dataclass(frozen=True, slots=True)
class Known:
    """A field that something before has given; `kind` is None where the text doesn't tell."""

    kind: Kind | None
    maker: str
    """The transform, or `fields`."""
    labels: tuple[str, ...] = ()
    """All that it can be, where it is one of a list."""
    scale: Range | None = None
    is_current: bool = True
    """Whether the record's text is still the one that it was made from."""


@dataclass(frozen=True, slots=True)
class Records:
    """Records at one place of a chain."""

    formats: tuple[str, ...]
    """Those that they may have; one, unless a mistake or a missing origin leaves it open."""
    fields: Mapping[str, Known]
    is_whole: bool = True
    """Whether the text tells of all fields but the file's own columns."""

    def derived(self) -> list[str]:
        """Names of the derived fields that such records have, or may have, in the order of the reference."""
        return list(dict.fromkeys(name for one in self.formats for name in DERIVED[one]))


OPEN = Records(FORMATS, {}, is_whole=False)
"""Records of which nothing is known."""


@dataclass(frozen=True, slots=True)
class Step:
    """A transform with the records that it gets, and what later ones make, by the new field's name."""

    transform: Transform
    records: Records
    later: Mapping[str, Known]
    chain: Source | Augment
    index: int

    def place(self, argument: str = "") -> Place:
        """Where the transform is written, or one of its arguments."""
        path = f"apply[{self.index}]"
        return at(self.chain, *([f"{path}.{argument}"] if argument else []), path, "apply")


def steps_of(owner: Source | Augment) -> Iterator[Step]:
    """The transforms of a source, those of the augments in its flow first; or of an augment for any records.

    Raises IncompleteError where a mistake hides the source's own.
    """
    if isinstance(owner, Augment):
        fitting = tuple(one for one in FORMATS if _passes(owner.apply, one))
        yield from _steps([owner], replace(OPEN, formats=fitting or FORMATS))
    elif owner.apply or owner.from_ is not None:
        records, augments = _origin(owner)
        yield from _steps([*augments, owner], records)


def _steps(chains: Sequence[Source | Augment], records: Records) -> Iterator[Step]:
    placed = [(one, chain, index) for chain in chains for index, one in enumerate(chain.apply)]
    later: list[Mapping[str, Known]] = [{}]
    for transform, _, _ in reversed(placed[1:]):
        made = new_fields(transform)
        later.append({**later[-1], **made} if made else later[-1])
    for (transform, chain, index), following in zip(placed, reversed(later), strict=False):
        if transform is not HOLE:
            yield Step(transform, records, following, chain, index)
        records = _after(records, transform)


def _records_of(source: Source) -> Records:
    records, augments = _origin(source)
    for chain in (*augments, source):
        for transform in chain.apply:
            records = _after(records, transform)
    return records


def _origin(source: Source) -> tuple[Records, tuple[Augment, ...]]:
    """The records that come to a source, and the augments that they pass first."""
    try:
        mapped = {name: Known(None, "fields") for name in source.fields}
        if source.from_ is None:
            format = source.format
            return Records(FORMATS if format is None or format is HOLE else (format,), mapped), ()
        if any(augment is HOLE for augment in source.from_.augments):
            return OPEN, ()
        records = _records_of(source.from_.start.source)
        if mapped:
            records = replace(records, fields={**records.fields, **mapped})
        return records, source.from_.augments
    except IncompleteError:
        return OPEN, ()


def _after(records: Records, transform: Transform) -> Records:
    if transform is HOLE:
        return replace(records, formats=FORMATS, is_whole=False)
    made = new_fields(transform)
    formats = tuple(one for one in records.formats if one in transform.takes) or FORMATS
    if made == {} and not isinstance(transform, CHANGES):
        return records if formats == records.formats else replace(records, formats=formats)
    fields: Mapping[str, Known] = {} if isinstance(transform, Generate) else records.fields
    if isinstance(transform, CHANGES):
        fields = {name: replace(known, is_current=False) for name, known in fields.items()}
    return Records(
        (transform.gives,) if transform.gives else formats,
        {**fields, **(made or {})},
        is_whole=records.is_whole and made is not None,
    )


def new_fields(transform: Transform) -> dict[str, Known] | None:
    """The fields that a transform gives to records, if it does; None where a mistake hides them."""
    if transform is HOLE:
        return None
    match transform:
        case Judge(as_=name):
            answers = transform.answers
            is_hidden = answers is HOLE or any(one is HOLE for one in answers)
            known = Known("a text", "judge", () if is_hidden or len(set(answers)) < 2 else answers)
        case Score(as_=name):
            scale = transform.scale
            known = Known("a number", "score", scale=None if scale is HOLE or scale.low == scale.high else scale)
        case Set(field=name):
            known = Known("a text", "set", () if transform.value is HOLE else (transform.value,))
        case PlugIn(makes=makes):
            return {made: Known(None, word_of(transform)) for made in makes}
        case _:
            return {}
    return None if name is HOLE else {name: known}


def _passes(apply: tuple[Transform, ...], format: str) -> bool:
    """Whether records of a format pass all transforms, as far as the text tells."""
    for transform in apply:
        if transform is HOLE:
            return True
        if format not in transform.takes:
            return False
        format = transform.gives or format
    return True
