"""Kinds, built-ins and their fields as entries: what the reference page and `mixc explain` are made of."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from dsl.declarations import KINDS
from dsl.declarations.base import Role, Written
from dsl.declarations.installed import plug_in
from dsl.declarations.shapes import AnyOf, BuiltIn, ListOf, MappingOf, OneKey, Record, Shape
from dsl.declarations.transforms import Transform
from dsl.describe import expected
from dsl.reference.notes import GROUPS, Group
from dsl.show import text_of


@dataclass(frozen=True, slots=True)
class FieldEntry:
    """A field by its written name; `default` is None where it is required, and '' where it may be left out."""

    name: str
    shape: Shape
    role: Role
    default: str | None
    positional: bool
    description: str

    @property
    def written(self) -> str:
        """How it is written: `a number (0.95, 1e-4), from 0 to 1`."""
        return expected(self.shape)


@dataclass(frozen=True, slots=True)
class Entry:
    """A kind, a built-in, or a record inside a kind.

    `places` are the fields where a built-in may stand (`train.optimizer`); a record's one place is its `name`.
    `group` is None for kinds and records. `takes` and `gives` are a transform's formats, `gives` None for the same.
    """

    name: str
    model: type[Written]
    text: str
    fields: tuple[FieldEntry, ...]
    group: Group | None = None
    places: tuple[str, ...] = ()
    records: tuple[Entry, ...] = ()
    takes: tuple[str, ...] = ()
    gives: str | None = None

    @property
    def signature(self) -> str:
        """A built-in's call: `sample(with=…, n=1, [temperature=…])`."""
        return f"{self.name}({', '.join(map(_argument, self.fields))})" if self.fields else self.name


@cache
def kinds() -> dict[str, Entry]:
    """The entry of every kind word, in the order of the language."""
    return {word: _entry(word, kind, records=tuple(_records(word, kind))) for word, kind in KINDS.items()}


@cache
def built_ins() -> tuple[Entry, ...]:
    """Every built-in with the fields where it may stand, table by table; plug-ins are none.

    Raises KeyError for a field of no group.
    """
    places: dict[int, list[str]] = {}
    tables: dict[int, tuple[Group, Mapping[str, type[Written]]]] = {}
    for word, kind in KINDS.items():
        for name, field in kind.by_written_name().items():
            for shape in inner(field.facts.shape):
                if isinstance(shape, BuiltIn):
                    tables.setdefault(id(shape.table), (GROUPS[name], shape.table))
                    places.setdefault(id(shape.table), []).append(f"{word}.{name}")
    return tuple(
        _entry(name, model, group=group, places=tuple(places[key]))
        for key, (group, table) in tables.items()
        for name, model in table.items()
    )


def plug_in_entry(word: str) -> Entry:
    """A plug-in as if it were a built-in. Raises KeyError where there is none, PlugInError where it can't be used."""
    places = next(one.places for one in built_ins() if one.takes)
    return _entry(word, plug_in(word), group=GROUPS["apply"], places=places)


def inner(shape: Shape) -> Iterator[Shape]:
    """A shape and those inside it."""
    yield shape
    match shape:
        case ListOf(item):
            yield from inner(item)
        case MappingOf(value) | OneKey(value):
            yield from inner(value)
        case AnyOf(shapes):
            for one in shapes:
                yield from inner(one)
        case _:
            pass


def _records(word: str, kind: type[Written]) -> Iterator[Entry]:
    for name, field in kind.by_written_name().items():
        for shape in inner(field.facts.shape):
            if isinstance(shape, Record):
                yield _entry(f"{word}.{name}", shape.model, places=(f"{word}.{name}",))


def _entry(
    name: str,
    model: type[Written],
    group: Group | None = None,
    places: tuple[str, ...] = (),
    records: tuple[Entry, ...] = (),
) -> Entry:
    takes, gives = (model.takes, model.gives) if issubclass(model, Transform) else ((), None)
    return Entry(name, model, inspect.getdoc(model) or "", tuple(_fields(model)), group, places, records, takes, gives)


def _fields(model: type[Written]) -> Iterator[FieldEntry]:
    for name, field in model.by_written_name().items():
        info, facts = model.model_fields[field.name], field.facts
        default = None if field.is_required else _default(facts.shape, info.get_default())
        yield FieldEntry(name, facts.shape, facts.role, default, facts.positional, info.description or "")


def _default(shape: Shape, value: object) -> str:
    return "" if value in (None, (), {}) else text_of(shape, value)


def _argument(field: FieldEntry) -> str:
    if field.positional:
        return field.name
    if field.default:
        return f"{field.name}={field.default}"
    return f"{field.name}=…" if field.default is None else f"[{field.name}=…]"
