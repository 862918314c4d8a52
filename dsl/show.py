"""What a declaration says: as it is written, or every field with its value and where that comes from."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import lru_cache
from typing import Any, cast

from dsl.declarations.base import Declaration, Place, Written
from dsl.declarations.data import Source, SourceFlow, SourceView
from dsl.declarations.evals import Eval
from dsl.declarations.installed import word_of
from dsl.declarations.models import ModelFlow
from dsl.declarations.plug_ins import PlugIn
from dsl.declarations.shapes import AnyOf, BuiltIn, Claimed, FlowOf, ListOf, MappingOf, OneKey, Record, Shape, Typed
from dsl.declarations.training import Train
from dsl.flows import has_holdout
from dsl.format import format_source
from dsl.format_scalar import may_be_plain
from dsl.module import Module
from dsl.places import Constant, Places
from dsl.quoting import double_quoted
from dsl.scope import Scope
from dsl.source import SourceFile
from dsl.unparse import unparse
from dsl.values import Amount


@dataclass(frozen=True, slots=True)
class Row:
    """One field of a resolved declaration; `place` is None where nothing is written there: a default.

    `constant` is the one that gives the value, or the value around it.
    """

    path: str
    value: str
    place: Place | None
    constant: Constant | None = None


def show(module: Module, name: str, *, resolved: bool = False) -> str:
    """A declaration as `.mix` text, or line by line as `NAME.FIELD: VALUE  # FILE:LINE`. Raises KeyError without it."""
    declaration = find(module, name)
    if declaration is None:
        raise KeyError(name)
    if not resolved:
        return format_source(SourceFile(declaration.place.source.path, written(declaration)))[0]
    return aligned((f"{name}.{row.path}", row) for row in rows_of(declaration))


def show_constant(row: Row, *, resolved: bool = False) -> str:
    """The same of a constant."""
    if resolved:
        return aligned([(row.path, row)])
    return format_source(SourceFile("", f"let:\n  {row.path.rpartition('.')[2]}: {row.value}\n"))[0]


def aligned(rows: Iterable[tuple[str, Row]]) -> str:
    """Rows under their names, one a line, the places in a column."""
    lines = [(f"{name}: {double_quoted(row.value) if chr(10) in row.value else row.value}", row) for name, row in rows]
    width = min(max((len(text) for text, _ in lines), default=0), 80)
    return "".join(f"{text:<{width}}  # {origin(row)}\n" for text, row in lines)


def find(module: Module, name: str) -> Declaration | None:
    """What declares a name of the language: `docs`, `k.docs.holdout`, `k.assessment.adherence`; else None."""
    if (found := module.find(name)) is not None:
        return found
    before, _, last = name.rpartition(".")
    around = find(module, before) if before else None
    match around:
        case Source() if last == "holdout" and has_holdout(around):
            return around
        case Eval():
            return next((member for member in around.suite if member.name.rpartition(".")[2] == last), None)
        case _:
            return None


def constant(scope: Scope, name: str) -> Row | None:
    """A `let:` constant by its name as seen from a file: `dose`, `honeypot.dose`; None where there is none."""
    alias, dot, rest = name.partition(".")
    if dot:
        inner = scope.imports[alias].scope if alias in scope.imports else None
        row = constant(inner, rest) if inner else None
        return row and replace(row, path=name)
    cell = scope.constants.get(name)
    if cell is None or cell.value is None:
        return None
    source, span = cell.scope.source, cell.value.span
    return Row(name, source.text[span.start : span.end], Place(source, cell.key.span))


def outline(module: Module) -> str:
    """What a file imports, its constants and its declarations, a line each."""
    lines = [f"import {alias}: {imported.source.path}" for alias, imported in module.imports.items()]
    lines += [f"let {name}: {text}" for name, text in module.constants.items()]
    for name, declaration in module.declarations.items():
        doc = getattr(declaration, "doc", None) or getattr(declaration, "question", None)
        lines.append(f"{_kind(declaration)} {name}" + (f": {' '.join(doc.split())}" if doc else ""))
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


def origin(row: Row) -> str:
    """`FILE:LINE`; of what a constant gives, `FILE:LINE ($NAME, FILE:LINE)`: its value's place and its use's."""
    if row.constant is not None:
        return f"{_line_of(row.constant.value)} (${row.constant.name}, {_line_of(row.constant.use)})"
    return "default" if row.place is None else _line_of(row.place)


def _line_of(place: Place) -> str:
    path = place.source.path
    return path if path.startswith("--set ") else f"{path}:{place.source.position(place.span.start)[0]}"


def _fields(value: Written, prefix: str, places: Mapping[str, Place], call: Place | None) -> Iterator[Row]:
    """The rows of all fields; one that a call gives without its name stands where the call does."""
    for name, one in type(value).by_written_name().items():
        place = places.get(prefix + name, call if one.facts.positional else None)
        yield from _rows(one.facts.shape, getattr(value, one.name), prefix + name, place, places)


def _rows(shape: Shape, value: Any, path: str, place: Place | None, places: Mapping[str, Place]) -> Iterator[Row]:
    match shape, value:
        case AnyOf(shapes), _:
            yield from _rows(_chosen(shapes, value), value, path, place, places)
        case BuiltIn(table), Written():
            yield _row(path, _word(table, value), place, places)
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
            yield _row(path, text_of(shape, value, place), place, places)


def _row(path: str, text: str, place: Place | None, places: Mapping[str, Place]) -> Row:
    return Row(path, text, place, places.constant(path) if isinstance(places, Places) else None)


def text_of(shape: Shape, value: Any, place: Place | None = None) -> str:
    """A value on one line, as it may be written at `place`."""
    match shape, value:
        case _, None:
            return "none"
        case Typed("percent"), Fraction():
            return unparse(Amount("percent", value))
        case ((Typed("location") | FlowOf()), str()):
            return _location(value, place)
        case ListOf(item, entry=entry), tuple():
            items = cast(tuple[Any, ...], value)
            inner: list[Any] = (
                [getattr(each, next(iter(entry.model_fields))) for each in items] if entry else list(items)
            )
            return f"[{', '.join(_item(text_of(item, each, place), each) for each in inner)}]"
        case ((MappingOf() | OneKey()), _) if not value:
            return "{}"
        case Claimed(), _:
            return value.text
        case AnyOf(shapes), _:
            return text_of(_chosen(shapes, value), value, place)
        case _, SourceFlow():
            return " |> ".join([_named(value.start, place), *(_named(one, place) for one in value.augments)])
        case _, ModelFlow():
            return " |> ".join([_named(value.start, place), *(_named(one, place) for one in value.stages)])
        case FlowOf(), tuple():
            return " |> ".join(_named(one, place) for one in cast(tuple[Train, ...], value)) or "none"
        case _, (Declaration() | SourceView()):
            return _named(value, place)
        case BuiltIn(table), Written():
            return _Call(_word(table, value), [f"{name}={text}" for name, text in _changed(value)]).text
        case _:
            return unparse(value)


def _item(text: str, value: Any) -> str:
    """An item of a list, in quotes where the list would be another without them."""
    return double_quoted(text) if isinstance(value, str) and not may_be_plain(text, in_flow=True) else text


def _location(text: str, place: Place | None) -> str:
    """A path as the file writes it that says it; the same on every machine."""
    if place is None or not os.path.isabs(text):
        return text
    return os.path.relpath(text, os.path.dirname(os.path.realpath(place.source.path)))


def _word(table: Mapping[str, type[Written]], value: Written) -> str:
    if isinstance(value, PlugIn):
        return word_of(value)
    return next(word for word, model in table.items() if model is type(value))


def _changed(value: Written) -> Iterator[tuple[str, str]]:
    """The fields of a built-in that aren't as they would be without being written."""
    for name, one in type(value).by_written_name().items():
        if (given := getattr(value, one.name)) != type(value).model_fields[one.name].default:
            yield name, text_of(one.facts.shape, given)


# Names, and calls of them.


@dataclass(slots=True)
class _Call:
    word: str
    arguments: list[str] = field(default_factory=list[str])

    @property
    def text(self) -> str:
        return f"{self.word}({', '.join(self.arguments)})" if self.arguments else self.word


def _named(one: Declaration | SourceView, place: Place | None) -> str:
    """A name, with the fields that a call replaces: those that are given there, or outside declarations of its kind."""
    if isinstance(one, SourceView):
        return f"{_named(one.source, place)}{'.holdout' if one.holdout else ''}"
    if not any(_is_replaced(one, where, place) for where in one.places.values()):
        return one.name
    return _Call(one.name, _calls(_replaced_rows(one, place))).text


def _replaced_rows(one: Declaration, place: Place | None) -> Iterator[Row]:
    """The fields that a call replaces, with what a constant gives inside them."""
    replaced: list[str] = []
    for row in rows_of(one):
        if row.place is not None and _is_replaced(one, row.place, place):
            replaced.append(f"{row.path}.")
            yield row
        elif row.constant is not None and row.path.startswith(tuple(replaced)):
            yield row


def _is_replaced(one: Declaration, where: Place, place: Place | None) -> bool:
    is_there = place is not None and where.source is place.source and _holds(place, where)
    return is_there or _word_around(where.source, where.source.position(where.span.start)[0]) != _kind(one)


def _calls(rows: Iterable[Row]) -> list[str]:
    """Rows as arguments, in the order in which they are written; those inside a built-in as its own."""
    open_calls: list[tuple[str, _Call]] = []
    outermost: list[tuple[int, str, _Call]] = []
    for row in rows:
        call = _Call(row.value)
        around = next(((path, one) for path, one in reversed(open_calls) if row.path.startswith(f"{path}.")), None)
        if around is None:
            outermost.append((row.place.span.start if row.place else 0, row.path, call))
        else:
            around[1].arguments.append(f"{row.path.removeprefix(f'{around[0]}.')}={row.value}")
        open_calls.append((row.path, call))
    return [f"{path}={call.text}" for _, path, call in sorted(outermost, key=lambda one: one[:2])]


def _kind(declaration: Declaration) -> str:
    return type(declaration).__name__.lower()


@lru_cache(maxsize=1 << 14)
def _word_around(source: SourceFile, number: int) -> str:
    """The first word of the top-level key that line `number` belongs to."""
    while number > 1 and source.line(number)[:1] in ("", " ", "#"):
        number -= 1
    return source.line(number).partition(" ")[0]


def _holds(place: Place, inner: Place) -> bool:
    return place.span.start <= inner.span.start < place.span.end


def _chosen(shapes: tuple[Shape, ...], value: Any) -> Shape:
    """The alternative that a value came from."""
    if isinstance(value, Fraction):
        return next((one for one in shapes if isinstance(one, Typed)), shapes[0])
    if isinstance(value, tuple) and value:
        return next((one for one in shapes if isinstance(one, MappingOf)), shapes[0])
    return shapes[-1] if isinstance(value, dict) else shapes[0]
