"""What a reader may want to know of the word at a place, as Markdown."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from dsl.declarations import KINDS
from dsl.declarations.base import Declaration, Place
from dsl.editor.target import (
    At,
    BuiltInWord,
    ConstantOf,
    Declared,
    Extends,
    FieldOf,
    FilePath,
    Imported,
    Labelled,
    Pointed,
    RecordWord,
    place_of,
    target_at,
)
from dsl.editor.view import View
from dsl.editor.words import EXTENDS, about_field, description, signature, told
from dsl.hole import IncompleteError
from dsl.scope import Definition
from dsl.show import Row, rows_of
from dsl.source import Span

_MOST_ROWS = 24
"""More lines than this of a declaration hide what is behind the hover."""
_WORDS = ("doc", "question")
"""Fields that are for the reader, told as they are."""


@dataclass(frozen=True, slots=True)
class Hover:
    """Markdown about what stands at `span`."""

    text: str
    span: Span


def hover(view: View, offset: int) -> Hover | None:
    """What is to be told of a place; None where there is nothing."""
    pointed = target_at(view, offset)
    if pointed is None:
        return None
    paragraphs = list(_about(view, pointed))
    return Hover("\n\n".join(paragraphs), pointed.span) if paragraphs else None


def _about(view: View, pointed: Pointed) -> Iterator[str]:
    place = place_of(pointed.target)
    match pointed.target:
        case Declared(definition):
            yield from _declaration(view, definition, place)
        case Imported(_, name, imported):
            shown = view.shown(imported.scope.source.path) if imported.scope else "a file that can't be read"
            yield _code(f"import {name}: {shown}")
            names = [one.title for one in imported.scope.definitions.values()] if imported.scope else []
            if names:
                yield ", ".join(f"`{name}`" for name in names)
        case ConstantOf(scope, name):
            cell = scope.constants[name]
            value = cell.value
            source = cell.scope.source
            text = source.text[value.span.start : value.span.end] if value else ""
            yield _code(f"${name}: {text}")
            yield f"Given at {_shown(view, Place(source, cell.key.span))}."
        case Labelled():
            if place is not None:
                yield _code(place.source.line(place.source.position(place.span.start)[0]).strip())
        case FieldOf(model, name):
            yield _code(name)
            yield description(model, name)
            yield "  \n".join(about_field(model, name))
            yield from _resolved(view, pointed)
        case Extends(kind):
            yield _code(f"extends: a {kind}")
            yield EXTENDS
        case BuiltInWord(word, model) if model is KINDS.get(word):
            yield _code(word)
            yield told(model)
        case BuiltInWord(word, model):
            yield _code(signature(word, model))
            yield told(model)
            fields = [f"- `{name}`: {description(model, name)}" for name in model.by_written_name()]
            if fields:
                yield "\n".join(fields)
        case RecordWord(word, field):
            yield _code(word)
            yield f"Of a record: {field.meaning} ({field.kind})."
        case FilePath(path):
            yield _code(view.shown(str(path)))


def _declaration(view: View, definition: Definition, place: At | None) -> Iterator[str]:
    yield _code(definition.title)
    declared = view.declaration(definition)
    rows = [row for row in _rows(declared) if row.place is not None] if declared else []
    yield from (row.value for row in rows if row.path in _WORDS)
    lines = [f"{row.path}: {row.value}" for row in rows if row.path not in _WORDS]
    if len(lines) > _MOST_ROWS:
        lines[_MOST_ROWS:] = [f"… and {len(lines) - _MOST_ROWS} more"]
    if lines:
        yield _code("\n".join(lines))
    if place is not None:
        yield f"Declared at {_shown(view, Place(place.source, place.span))}."


def _resolved(view: View, pointed: Pointed) -> Iterator[str]:
    """The value that a field has in the declaration around it, and where that comes from."""
    spot = pointed.spot
    declared = view.declaration(spot.definition) if spot.definition else None
    if declared is None or not spot.path:
        return
    inside = (f"{spot.path}.", f"{spot.path}[")
    rows = [row for row in _rows(declared) if row.path == spot.path or row.path.startswith(inside)]
    if rows:
        yield _code("\n".join(f"{row.path}: {row.value}  # {_origin(view, row)}" for row in rows[:_MOST_ROWS]))


def _rows(declaration: Declaration) -> Iterator[Row]:
    """The rows of `mixc show`, but of fields in which something is wrong."""
    fields = declaration.by_written_name()
    for written in fields:
        others = {one.name: None for name, one in fields.items() if name != written}
        alone = declaration.model_copy(update=others)
        try:
            rows = list(rows_of(alone))
        except IncompleteError:
            continue
        yield from (row for row in rows if row.path.partition(".")[0].partition("[")[0] == written and row.path)


def _origin(view: View, row: Row) -> str:
    """Where a value stands; of one that a constant gives, where the constant is used too."""
    if row.constant is None:
        return _shown(view, row.place)
    return f"{_shown(view, row.constant.value)} (${row.constant.name}, {_shown(view, row.constant.use)})"


def _shown(view: View, place: Place | None) -> str:
    if place is None:
        return "default"
    line, _ = place.source.position(place.span.start)
    is_file = os.path.isabs(place.source.path)
    return f"{view.shown(place.source.path) if is_file else place.source.path}:{line}"


def _code(text: str) -> str:
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}yaml\n{text}\n{fence}"
