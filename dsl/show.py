"""What a declaration says: as it is written, or every field with its value and where that comes from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, cast

from dsl.declarations.base import Declaration, Place, Written
from dsl.declarations.data import SourceFlow
from dsl.declarations.models import ModelFlow
from dsl.declarations.shapes import AnyOf, BuiltIn, Claimed, FlowOf, ListOf, MappingOf, OneKey, Record, Shape, Typed
from dsl.declarations.training import Train
from dsl.format import format_source
from dsl.module import Module
from dsl.source import SourceFile
from dsl.unparse import unparse
from dsl.values import Amount


@dataclass(frozen=True, slots=True)
class Row:
    """One field of a resolved declaration; `place` is None for a default."""

    path: str
    value: str
    place: Place | None


def show(module: Module, name: str, *, resolved: bool = False) -> str:
    """A declaration as `.mix` text, or line by line as `NAME.FIELD: VALUE  # FILE:LINE`. Raises KeyError without it."""
    declaration = module.find(name)
    if declaration is None:
        raise KeyError(name)
    if not resolved:
        return format_source(SourceFile(declaration.place.source.path, written(declaration)))[0]
    rows = [(f"{name}.{row.path}: {row.value}", row.place) for row in rows_of(declaration)]
    width = min(max((len(text) for text, _ in rows), default=0), 80)
    return "".join(f"{text:<{width}}  # {origin(place)}\n" for text, place in rows)


def outline(module: Module) -> str:
    """What a file imports, its constants and its declarations, a line each."""
    lines = [f"import {alias}: {imported.source.path}" for alias, imported in module.imports.items()]
    lines += [f"let {name}: {text}" for name, text in module.constants.items()]
    for name, declaration in module.declarations.items():
        doc = getattr(declaration, "doc", None) or getattr(declaration, "question", None)
        lines.append(f"{type(declaration).__name__.lower()} {name}" + (f": {' '.join(doc.split())}" if doc else ""))
    return "".join(f"{line}\n" for line in lines)


def written(declaration: Declaration) -> str:
    """The text of a declaration in its file, with the comments inside it."""
    source, start = declaration.place.source, declaration.place.span.start
    first, _ = source.position(start)
    last = first
    for number in range(first + 1, len(source.line_starts) + 1):
        line = source.line(number)
        if line[:1] not in ("", " "):
            break
        if line.strip():
            last = number
    return "".join(f"{source.line(number)}\n" for number in range(first, last + 1))


def rows_of(declaration: Declaration) -> Iterator[Row]:
    """Every field of a declaration, those inside a field by dotted path."""
    yield from _fields(declaration, "", declaration.places, None)


def origin(place: Place | None) -> str:
    if place is None:
        return "default"
    line, _ = place.source.position(place.span.start)
    return f"{place.source.path}:{line}"


def _fields(value: Written, prefix: str, places: Mapping[str, Place], call: Place | None) -> Iterator[Row]:
    """The rows of all fields; one that a call gives without its name stands where the call does."""
    for name, field in type(value).by_written_name().items():
        place = places.get(prefix + name, call if field.facts.positional else None)
        yield from _rows(field.facts.shape, getattr(value, field.name), prefix + name, place, places)


def _rows(shape: Shape, value: Any, path: str, place: Place | None, places: Mapping[str, Place]) -> Iterator[Row]:
    match shape, value:
        case AnyOf(shapes), _:
            yield from _rows(_chosen(shapes, value), value, path, place, places)
        case BuiltIn(table), Written():
            yield Row(path, next(word for word, model in table.items() if model is type(value)), place)
            yield from _fields(value, f"{path}.", places, place)
        case Record(), Written():
            yield from _fields(value, f"{path}.", places, place)
        case ((MappingOf() | OneKey()), Written()):
            key, item = (getattr(value, name) for name in list(type(value).model_fields)[:2])
            label = key if isinstance(key, str) else key.name
            yield from _rows(shape.value, item, f"{path}.{label}", places.get(f"{path}.{label}", place), places)
        case MappingOf(item), dict() if value:
            for key, each in cast(dict[str, Any], value).items():
                yield from _rows(item, each, f"{path}.{key}", places.get(f"{path}.{key}", place), places)
        case MappingOf(entry=entry), tuple() if value and entry:
            for each in cast(tuple[Any, ...], value):
                yield from _rows(shape, each, path, place, places)
        case ListOf(OneKey() | BuiltIn() | Record() | Claimed() as item), tuple() if value:
            for index, each in enumerate(cast(tuple[Any, ...], value)):
                yield from _rows(item, each, f"{path}[{index}]", places.get(f"{path}[{index}]", place), places)
        case _:
            yield Row(path, text_of(shape, value, place), place)


def text_of(shape: Shape, value: Any, place: Place | None = None) -> str:
    """A value on one line; what a call of a declaration replaces is told by its `place`."""
    match shape, value:
        case _, None:
            return "none"
        case Typed("percent"), Fraction():
            return unparse(Amount("percent", value))
        case ListOf(item, entry=entry), tuple():
            items = cast(tuple[Any, ...], value)
            inner: list[Any] = (
                [getattr(each, next(iter(entry.model_fields))) for each in items] if entry else list(items)
            )
            return f"[{', '.join(text_of(item, each) for each in inner)}]"
        case ((MappingOf() | OneKey()), _) if not value:
            return "{}"
        case Claimed(), _:
            return value.text
        case AnyOf(shapes), _:
            return text_of(_chosen(shapes, value), value, place)
        case _, SourceFlow():
            return " |> ".join([value.start.name, *(_step(one, place) for one in value.augments)])
        case _, ModelFlow():
            return " |> ".join([_step(value.start, place), *(_step(one, place) for one in value.stages)])
        case FlowOf(), tuple():
            return " |> ".join(_step(one, place) for one in cast(tuple[Train, ...], value)) or "none"
        case _, Written():
            return getattr(value, "name", type(value).__name__.lower())
        case _:
            return unparse(value)


def _step(declaration: Declaration, place: Place | None) -> str:
    """A name in a flow, with the fields that are replaced right there."""
    fields = declaration.by_written_name()
    replaced = [
        (
            where.span.start,
            f"{path}={text_of(fields[path].facts.shape, getattr(declaration, fields[path].name), where)}",
        )
        for path, where in declaration.places.items()
        if place and path in fields and where.source is place.source and _holds(place, where)
    ]
    return f"{declaration.name}({', '.join(text for _, text in sorted(replaced))})" if replaced else declaration.name


def _holds(place: Place, inner: Place) -> bool:
    return place.span.start <= inner.span.start < place.span.end


def _chosen(shapes: tuple[Shape, ...], value: Any) -> Shape:
    """The alternative that a value came from."""
    if isinstance(value, Fraction):
        return next((one for one in shapes if isinstance(one, Typed)), shapes[0])
    if isinstance(value, tuple) and value:
        return next((one for one in shapes if isinstance(one, MappingOf)), shapes[0])
    return shapes[-1] if isinstance(value, dict) else shapes[0]
